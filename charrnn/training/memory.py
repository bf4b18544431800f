"""The memory that training takes: an estimate, and what is said where there is not so much."""

import contextlib
from collections.abc import Iterator

from charrnn.config.train import TrainConfig
from charrnn.engines.select import EngineSpec
from charrnn.errors import CharRNNError, is_out_of_memory
from charrnn.machine import memory_limit
from charrnn.network.architecture import Architecture

OPTIMIZER_MOMENTS = {"adamw": 2, "adam": 2, "rmsprop": 1, "sgd": 0}
"""Numbers that an optimizer keeps for each weight."""


def training_memory(architecture: Architecture, config: TrainConfig) -> int:
    """Return the bytes that training needs besides the program, roughly."""
    return _model_memory(architecture, config) + _batch_memory(architecture, config)


def check_memory(architecture: Architecture, config: TrainConfig, spec: EngineSpec) -> None:
    """Raise CharRNNError if training on the processor would take more memory than there is at most."""
    limit = memory_limit()
    least = _model_memory(architecture, config) + _batch_memory(architecture, config) // 2
    if spec.device == "cpu" and limit is not None and least > limit:
        raise _not_enough(architecture, config, f", and there is at most {_size(limit)}")


def _model_memory(architecture: Architecture, config: TrainConfig) -> int:
    """Return the bytes of the weights, their gradients and moments; of a copy of what is in a checkpoint while it is
    written, of its bytes, and of what is read again; of the best weights, and of those that are evaluated."""
    moments = OPTIMIZER_MOMENTS[config.optimizer]
    copies = 2 + moments + 3 * (1 + moments) + 2
    return 4 * copies * architecture.num_parameters


def _batch_memory(architecture: Architecture, config: TrainConfig) -> int:
    """Return the bytes of the activations of a batch: by PyTorch; the compiled core needs about half of them."""
    units = sum(architecture.hidden) * (3 * architecture.num_gates + 2) + 3 * architecture.embedding
    return 4 * (config.batch or 0) * (config.seq_len or 0) * (units + 3 * architecture.vocabulary)


@contextlib.contextmanager
def memory_errors(architecture: Architecture, config: TrainConfig) -> Iterator[None]:
    """Raise CharRNNError where memory ends in this block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise _not_enough(architecture, config) from error


def _not_enough(architecture: Architecture, config: TrainConfig, there: str = "") -> CharRNNError:
    sizes = f"{architecture.num_parameters:,} parameters and batches of {config.batch} x {config.seq_len} tokens"
    needed = _size(training_memory(architecture, config))
    text = f"not enough memory for {sizes}: needs about {needed}{there}; lower {{hidden}} or {{batch}}"
    return CharRNNError(text, ("hidden", "batch"))


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

"""The recipe: what a run is given where its user leaves it open, and why.

Found by measurement: benchmarks/RESULTS.md has the figures.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from charrnn.config.params import seconds
from charrnn.config.train import DEFAULT_TIME, TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec
from charrnn.errors import InputError
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture
from charrnn.network.cells import CELLS
from charrnn.training.throughput import measure_throughput

SIZES = [32, 48, 64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024]
"""Hidden sizes the plan chooses among."""


CUDNN_MULTIPLE = 128
"""Of which H and the embedding's width are multiples on CUDA: cuDNN's persistent kernels for LSTM in float16 want that,
and rows by the eight, 128 at most; elsewhere it does no harm."""


# The size of a layer: a weight wants to read some symbols, as a small model that has read much beats a large
# one that has not; and a text can fill only so many weights, though with dropout more than it has symbols.
WEIGHTS_PER_TOKEN = 10.0


TOKENS_PER_WEIGHT = 3.5


MAX_UNTIMED_SIZE = 256  # the most where no time is given


TWO_LAYERS_FROM = 500_000  # weights of one layer, from which on two smaller ones learn more in the same time


MAX_EPOCHS = 30
"""Where there is a time to keep, and the text is short enough to be read that often."""


# A text that is read often is learnt by heart, unless some of the model is left out of each step: of the units, from
# so many epochs on and so much more each time they double; of the recurrent weights, later and faster.
_DROPOUT, _WEIGHT_DROP = (2.4, 0.15), (7.0, 0.2)


_MOST_LEFT_OUT = 0.5


def tokens_per_step(config: TrainConfig) -> int:
    """Symbols that a step learns from."""
    assert config.batch is not None
    assert config.seq_len is not None
    return config.batch * config.seq_len


def apply_default_time(config: TrainConfig, reasons: list[str]) -> TrainConfig:
    """Return the configuration with a time budget, where it bounds the training by nothing."""
    if config.time is None and config.steps is None and config.epochs is None:
        config = replace(config, time=DEFAULT_TIME)
        reasons.append(f"time {seconds(DEFAULT_TIME)}: neither --time nor --epochs nor --steps was given")
    return config


def complete_batch(config: TrainConfig, size: int, device: str, reasons: list[str]) -> TrainConfig:
    """Batch and chunk length: as asked, else 16 rows of 64 symbols, fewer for a short text; a GPU takes 64."""
    most = 16 if device == "cpu" else 64
    seq_len = config.seq_len or max(1, min(64, size // (config.batch or 4)))
    batch = config.batch or max(1, min(most, size // (8 * seq_len)))
    if batch * seq_len > size:
        raise InputError(
            f"the text to train on has {size:,} tokens, and --batch {batch} times --seq-len {seq_len}"
            f" needs {batch * seq_len:,}; lower either"
        )
    if config.batch is None and batch < most:
        reasons.append(f"batch {batch}: the text has only {size:,} symbols")
    return replace(config, batch=batch, seq_len=seq_len)


def complete_hidden(
    config: TrainConfig,
    split: Dataset,
    spec: EngineSpec,
    elapsed: Callable[[], float],
    reasons: list[str],
    check: Callable[[], None],
) -> TrainConfig:
    """The largest layer whose weights the text and the time can fill, or instead of a large one two."""
    sizes = SIZES if spec.device == "cpu" else [size for size in SIZES if size % CUDNN_MULTIPLE == 0]
    used = int(np.unique(split.train.ids[: 1 << 20]).size)  # symbols that occur: of 256 bytes perhaps 65

    def of_size(size: int, layers: int | None) -> TrainConfig:
        return complete_model(replace(config, hidden=(size,), layers=layers), spec.device, [])

    def architecture(size: int, layers: int | None) -> Architecture:
        """Weights of symbols that never occur are not learned."""
        return replace(architecture_of(of_size(size, layers), split), vocabulary=used)

    def allowed(layers: int | None) -> list[int]:
        most = WEIGHTS_PER_TOKEN * len(split.train)
        return [size for size in sizes if architecture(size, layers).num_parameters <= most] or sizes[:1]

    layers, largest = config.layers, allowed(config.layers)[-1]
    chosen, why = min(largest, MAX_UNTIMED_SIZE), f"the text has {len(split.train):,} symbols"
    if config.time is not None:
        reference = min(largest, 128 if config.time < 30 else 256)  # near to what will be chosen
        model, count = of_size(reference, layers), config.threads or available_cpus()
        speed = measure_throughput(architecture_of(model, split), model, split, spec, [count], check)[count]
        there = architecture(reference, layers).num_parameters
        left = 0.85 * (config.time - elapsed())

        def enough(size: int, layers: int | None) -> bool:
            """Whether there is time to read enough; smaller layers run farther from the processor's limit."""
            here = architecture(size, layers).num_parameters
            read: float = left * speed * there / here * min(1.0, (here / there) ** 0.25)
            return read >= TOKENS_PER_WEIGHT * here

        def best(layers: int | None) -> int:
            return max(size for size in allowed(layers) if size == sizes[0] or enough(size, layers))

        chosen = best(layers)
        if layers is None and architecture(chosen, 1).num_layer_parameters >= TWO_LAYERS_FROM:
            layers = 2
            chosen = best(layers)
            reasons.append("layers 2: one layer would be so large that two learn more in the same time")
        if chosen < allowed(layers)[-1]:
            why = f"what {seconds(config.time)} can teach at this machine's speed"
    elif chosen == MAX_UNTIMED_SIZE:
        why = "quick to train; name a size for more"
    reasons.append(f"hidden {chosen}: {why}")
    if spec.device != "cpu" and config.cell == "lstm":
        reasons.append(
            f"hidden and embedding are multiples of {CUDNN_MULTIPLE}: with --precision float16 cuDNN then keeps an"
            " LSTM's weights on the chip"
        )
    return replace(config, hidden=(chosen,), layers=layers)


def complete_model(config: TrainConfig, device: str, reasons: list[str]) -> TrainConfig:
    """Layers, embedding and learning rate, once hidden is known."""
    assert config.hidden is not None
    hidden = config.hidden * (config.layers or 1) if len(config.hidden) == 1 else config.hidden
    embedding = config.embedding or (min(128, max(16, hidden[0] // 2)) if device == "cpu" else CUDNN_MULTIPLE)
    lr = config.lr
    if lr is None:
        lr = default_lr(config, max(hidden))
        reasons.append(f"lr {lr:g}: for {config.optimizer}, {config.cell} and {max(hidden)} units")
    return replace(config, hidden=hidden, layers=len(hidden), embedding=embedding, lr=lr)


def default_lr(config: TrainConfig, hidden: int) -> float:
    """The highest learning rate that serves a cell of this size well, to two digits."""
    if config.optimizer == "sgd":
        return 0.5
    if config.optimizer == "rmsprop":
        return 2e-3
    scale = 0.6 if config.base_cell == "rnn" else 1.6
    return float(f"{min(1e-2, scale / hidden):.2g}")


def architecture_of(config: TrainConfig, split: Dataset) -> Architecture:
    """Of a model whose sizes are decided."""
    assert config.hidden is not None
    assert config.embedding is not None
    return Architecture(config.base_cell, split.tokenizer.size, config.hidden, config.embedding, config.activation)


def complete_dropout(config: TrainConfig, epochs: float, architecture: Architecture, reasons: list[str]) -> TrainConfig:
    """Dropout, of units and of weights, as asked, else by how often the text will be read.

    Where most weights are the embedding's and the head's, as with Chinese, more units are left out, up to half as many
    again: nothing else keeps those weights from learning the text by heart.
    """

    def left_out(name: str, free: float, more: float, factor: float = 1.0) -> float:
        share = min(_MOST_LEFT_OUT, more * math.log2(max(1.0, epochs / free)))
        share = round(20 * factor * share) / 20
        if share:
            reasons.append(f"{name} {share:g}: the text is read {epochs:.1f} times")
        return share

    if config.dropout is None:
        symbols = 1 - architecture.num_layer_parameters / architecture.num_parameters
        config = replace(config, dropout=left_out("dropout", *_DROPOUT, 1 + max(0.0, symbols - 0.5)))
    if config.weight_drop is None:
        recurrent = CELLS[config.base_cell].recurrent_matmuls
        config = replace(config, weight_drop=left_out("weight-drop", *_WEIGHT_DROP) if recurrent else 0.0)
    return config

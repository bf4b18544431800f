"""The memory that training takes, and what is said where there is not so much."""

from pathlib import Path
from typing import Any

import pytest
import torch

from charrnn.config.train import TrainConfig
from charrnn.engines.select import EngineSpec
from charrnn.errors import CharRNNError
from charrnn.network.architecture import Architecture
from charrnn.training import memory
from charrnn.training.learner import Learner
from tests import trainings

SMALL = Architecture("lstm", 10, (8,), 4)


def config(**options: Any) -> TrainConfig:
    return TrainConfig(**{"batch": 4, "seq_len": 16, **options})


def test_an_estimate() -> None:
    """15 copies of the weights with Adam, 7 with SGD; a batch twice as large needs twice as much."""
    weights = 4 * SMALL.num_parameters
    activations = memory.training_memory(SMALL, config()) - 15 * weights
    assert activations == 4 * 64 * (8 * 14 + 3 * 4 + 3 * 10)
    assert memory.training_memory(SMALL, config(optimizer="sgd")) == 7 * weights + activations
    assert memory.training_memory(SMALL, config(batch=8)) == 15 * weights + 2 * activations


def test_what_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = (EngineSpec("torch", device, "float32", 1, "") for device in ("cpu", "cuda:0"))
    weights = 15 * 4 * SMALL.num_parameters
    memory.check_memory(SMALL, config(), cpu)
    monkeypatch.setattr(memory, "memory_limit", lambda: weights)
    memory.check_memory(SMALL, config(), gpu)  # another memory
    with pytest.raises(
        CharRNNError, match=r"not enough memory for 582 parameters .* there is at most 0 MB; lower hidden"
    ):
        memory.check_memory(SMALL, config(), cpu)
    monkeypatch.setattr(memory, "memory_limit", lambda: None)
    memory.check_memory(SMALL, config(), cpu)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="no gradient"), memory.memory_errors(SMALL, config()):
        raise RuntimeError("no gradient")


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")]
)
def test_rs_03_memory_that_ends_on_the_way(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RS-03: of the processor or of a GPU: a sentence with an estimate; what was saved stays."""

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Learner, "step", fail)
    with pytest.raises(
        CharRNNError, match=r"^not enough memory for [\d,]+ parameters and batches of 4 x 8 tokens: needs"
    ):
        trainings.train(tmp_path / "run")
    assert (tmp_path / "run" / "last.safetensors").exists()

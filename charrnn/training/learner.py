"""A model, its optimizer, and the step they take together.

Teacher forcing: at every place the model reads the true text and is to predict what comes next;
the loss is the mean of -ln p in nats per symbol.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, SupportsFloat

import numpy as np

from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import Batch
from charrnn.engines.base import Array, OptimizerParams
from charrnn.engines.select import training_engine
from charrnn.errors import CheckpointError, NonFiniteError
from charrnn.machine import available_cpus
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import Masks, dropout_masks, weight_masks
from charrnn.network.init import initial_weights
from charrnn.training.distributed import SingleProcess, World

MAX_LOSS = 700.0
"""Nats per symbol whose perplexity is no finite number; only steps that are far too large lead there."""

MAX_PENDING = 16
"""Steps of a GPU that it is not asked about."""

_COUNTED = 1 << 22  # symbols of the text whose frequencies a model begins with


@dataclass(frozen=True)
class Step:
    """What a step found: the loss in nats per symbol, and the gradient's norm before clipping."""

    loss: float
    gradient_norm: float


class PendingStep(NamedTuple):
    """What a step found, once the device has found it."""

    number: int
    rate: float
    loss: SupportsFloat
    gradient_norm: SupportsFloat


class Learner:
    """A model and its optimizer on a device, and the state carried from chunk to chunk.

    Args:
        architecture: of the model.
        config: complete: its batch and lr are no longer None.
        device: "cpu", "cuda" or "cuda:N".

    Attributes:
        engine: what runs the model, "native" or "torch".
    """

    def __init__(
        self, architecture: Architecture, config: TrainConfig, device: str, world: World | None = None
    ) -> None:
        assert config.batch is not None
        self.architecture, self.config, self.world = architecture, config, world or SingleProcess()
        self.model = training_engine(architecture, name=config.engine, device=device, precision=config.precision)
        self.engine = self.model.name
        self.set_num_threads(config.threads or available_cpus())
        self.model.load_weights(initial_weights(architecture, config.seed))
        self.optimizer = self.model.make_optimizer(OptimizerParams(config.optimizer, config.weight_decay))
        self._state = self.model.zero_state(config.batch)
        self._at_once = device == "cpu"
        self._pending: list[PendingStep] = []
        self._last_result = Step(math.nan, math.nan)

    def set_num_threads(self, count: int) -> None:
        """How many processor threads steps take. They shape no result of the native engine."""
        self.model.set_num_threads(count)

    def step(self, chunk: Batch, number: int, rate: float) -> Step:
        """Learn from a chunk.

        Args:
            chunk: of B rows. number: of the step, from 0; decides the dropout masks. rate: the learning rate.

        Returns:
            What it found. A GPU is asked now and then alone, as it would have to wait for the answer: then it is of a
            step before.

        Raises:
            NonFiniteError: the perplexity or the gradient is not finite; on the processor the weights are unchanged.
        """
        config, rows = self.config, len(chunk.inputs)
        units, weights = None, {}
        if config.dropout:
            units = dropout_masks(
                self.architecture, config.dropout, seed=config.seed, step=number, first_row=0, rows=rows
            )
        if config.weight_drop:
            weights = weight_masks(self.architecture, config.weight_drop, seed=config.seed, step=number)
        loss, state = self.model.forward_backward(chunk.inputs, chunk.targets, self._state, Masks(units, weights))
        self._pending.append(PendingStep(number, rate, loss, self.optimizer.gradient_norm()))
        if self._at_once:
            self.synchronize()
        self.optimizer.step(rate, config.clip if config.clip > 0 else math.inf)
        self._state = state
        if len(self._pending) == MAX_PENDING or math.isnan(self._last_result.loss):
            self.synchronize()
        return self._last_result

    def synchronize(self) -> Step:
        """Wait until all steps are taken.

        Returns:
            What the last one found; with float16 the last whose gradients it could hold.

        Raises:
            NonFiniteError: as `step`.
        """
        pending, self._pending = self._pending, []
        for number, rate, *found in pending:
            loss, norm = map(float, found)
            if loss < MAX_LOSS and math.isfinite(norm):
                self._last_result = Step(loss, norm)
            elif loss < MAX_LOSS and self.optimizer.overflowed():
                if math.isnan(self._last_result.loss):
                    self._last_result = Step(loss, 0.0)  # no norm is known as yet
            else:
                what = ", as a perplexity" if math.isfinite(loss) and math.isfinite(norm) else ""
                made = "; the update was not made" if self._at_once else ""
                raise NonFiniteError(
                    f"step {number + 1}: loss {loss:g}, gradient norm {norm:g} at learning rate {rate:g}:"
                    f" not finite{what}{made}"
                )
        return self._last_result

    def reset_state(self) -> None:
        """Drop the state: what the rows read next is from elsewhere."""
        assert self.config.batch is not None
        self._state = self.model.zero_state(self.config.batch)

    def init_output_bias(self, ids: Array) -> None:
        """Let a fresh model begin with the odds that symbols have in the text, not with even ones.

        Its first steps would teach it no more than that; and symbols that never occur, as most bytes in a plain text,
        would spoil its features while they are unlearned: 300 steps on Tiny Shakespeare end 0.05 nats
        lower with characters, 0.2 with bytes.

        Args:
            ids: of the text, whose beginning is looked at.
        """
        beginning = ids[:_COUNTED].astype(np.int64)
        counts = np.bincount(beginning, minlength=self.architecture.vocabulary) + 0.5
        self.model.load_weights({**self.weights(), "head.bias": np.log(counts / counts.sum())})

    def weights(self) -> dict[str, Array]:
        """A copy of the weights, by the names of `Architecture.shapes`. Raises as `synchronize`."""
        self.synchronize()
        return self.model.weights()

    @property
    def state(self) -> tuple[Array, ...]:
        """What is carried to the next chunk, by layer, (S, B, H)."""
        return self.model.state_to_numpy(self._state)

    def state_dict(self) -> dict[str, Array]:
        """All that a resumed run needs besides the weights: the carried state and the optimizer's."""
        tensors = {f"state.{layer}": state for layer, state in enumerate(self.state)}
        for name, values in self.optimizer.state_dict().items():
            tensors |= {f"optimizer.{name}.{key}": value for key, value in values.items()}
        return tensors

    def load_state_dict(self, weights: Mapping[str, Array], tensors: Mapping[str, Array]) -> None:
        """Take up what `weights` and `tensors` gave.

        Raises:
            CheckpointError: the optimizer's state is not whole.
        """
        self.model.load_weights(weights)
        self._state = self.model.state_from_numpy(
            [tensors[f"state.{layer}"] for layer in range(self.architecture.num_layers)]
        )
        moments: dict[str, dict[str, Array]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                name, _, moment = key.removeprefix("optimizer.").rpartition(".")
                moments.setdefault(name, {})[moment] = value
        try:
            self.optimizer.load_state_dict(moments)
        except ValueError as error:
            raise CheckpointError(f"the run cannot be resumed: {error}") from None

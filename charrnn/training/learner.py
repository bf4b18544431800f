"""The training step: masks, forward and backward, clipping, update.

Teacher forcing: at every place the model reads the true text and predicts the next token; the loss is the mean of
-ln p, in nats per token.
"""

import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, SupportsFloat

from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import Batch
from charrnn.engines.base import Array, Ids, OptimizerParams, State
from charrnn.engines.select import EngineSpec, resolve, training_engine
from charrnn.errors import CharRNNError, NonFiniteError
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import Masks, dropout_masks, weight_masks
from charrnn.network.head import HeadLayout
from charrnn.network.init import initial_weights
from charrnn.training.clusters import token_counts
from charrnn.training.distributed import ALONE, SingleProcess, World, difference, rows_of
from charrnn.training.thread_trial import ThreadTrial

MAX_LOSS = 700.0
"""Nats per token above which exp(loss) is not finite; only steps that are far too large lead there."""

MAX_PENDING = 16
"""Steps on a GPU after which it is asked for their losses, as asking means waiting."""


def training_spec(config: TrainConfig, *, device: str | None = None) -> EngineSpec:
    """Return what trains a model here; device: in place of the one that the options name.

    Raises:
        UsageError: it is not here.
    """
    return resolve(
        engine=config.engine,
        device=device or config.device,
        precision=config.precision,
        threads=config.threads,
        training=True,
    )


@dataclass(frozen=True)
class StepResult:
    """The loss of a step in nats per token, and the norm of its gradient before clipping."""

    loss: float
    gradient_norm: float


class PendingStep(NamedTuple):
    """A step whose loss and gradient norm the device may still be at work on; and whether a process stops."""

    number: int
    lr: float
    stop: SupportsFloat
    loss: SupportsFloat
    gradient_norm: SupportsFloat


class Learner:
    """A model, its optimizer, and the state carried from batch to batch.

    Args:
        architecture: the model's sizes.
        config: complete: nothing in it is left open.
        spec: what runs it.
        world: the processes that train together; each learner has its rows of the batch.

    Attributes:
        model: the engine that runs the model. engine: its name, "native" or "torch".
        wants_stop: whether this process is to stop. must_stop: whether one of the processes wanted to, as of the steps
            that are known to be taken.
    """

    def __init__(self, architecture: Architecture, config: TrainConfig, spec: EngineSpec, world: World = ALONE) -> None:
        self.architecture, self.config, self.world = architecture, config, world
        self.rows = rows_of(world, config.batch)
        self.wants_stop = self.must_stop = False
        self.model = training_engine(spec, architecture)
        self.engine = self.model.name
        self.model.load_weights(initial_weights(architecture, config.seed))
        self.optimizer = self.model.make_optimizer(OptimizerParams(config.optimizer, config.weight_decay))
        self._state = self.model.zero_state(self.rows.stop - self.rows.start)
        self._is_synchronous = spec.device == "cpu"
        self._pending: list[PendingStep] = []
        self._last_result = StepResult(math.nan, math.nan)
        self._trial: ThreadTrial | None = None
        if self.engine == "native" and world.size == 1:
            self._trial = ThreadTrial(spec.threads, max(spec.threads, spec.most_threads), self.model.set_num_threads)

    def set_num_threads(self, count: int) -> None:
        """Use this many processor threads, and try no others. The results of the native engine do not depend on it."""
        self.model.set_num_threads(count)
        self._trial = None

    def step(self, batch: Batch, step: int, lr: float) -> StepResult:
        """Take a training step.

        Args:
            batch: ids of this process's rows. step: its number, from 0; decides the dropout masks.
            lr: the learning rate.

        Returns:
            The result of this step; on a GPU, which is asked only now and then, that of an earlier one.

        Raises:
            NonFiniteError: exp(loss) or the gradient is not finite; on the CPU the weights are unchanged.
        """
        config, begin = self.config, time.perf_counter()
        loss, state = self.model.forward_backward(batch.inputs, batch.targets, self._state, self._masks(batch, step))
        stop: SupportsFloat = 0.0
        if not isinstance(self.world, SingleProcess):
            gradients = self.model.gradients
            gradients[-1] = float(self.wants_stop)
            self.world.all_reduce(gradients)
            loss, stop = gradients[-2:] + 0
        self._pending.append(PendingStep(step, lr, stop, loss, self.optimizer.gradient_norm()))
        if self._is_synchronous:
            self.synchronize()
        self.optimizer.step(lr, config.clip if config.clip > 0 else math.inf)
        self._state = state
        if len(self._pending) == MAX_PENDING or math.isnan(self._last_result.loss):
            self.synchronize()
        if self._trial:
            self._trial.add(time.perf_counter() - begin)
        return self._last_result

    def _masks(self, batch: Batch, step: int) -> Masks:
        """Draw what is dropped in a step."""
        units, weights, config = None, {}, self.config
        if config.dropout:
            first, rows = self.rows.start, len(batch.inputs)
            units = dropout_masks(
                self.architecture, config.dropout, seed=config.seed, step=step, first_row=first, rows=rows
            )
        if config.weight_drop:
            weights = weight_masks(self.architecture, config.weight_drop, seed=config.seed, step=step)
        return Masks(units, weights)

    def synchronize(self) -> StepResult:
        """Wait until all steps are taken.

        Returns:
            The result of the last one; in float16 of the last one whose gradients did not overflow.

        Raises:
            NonFiniteError: as `step`.
        """
        pending, self._pending = self._pending, []
        for step, lr, *values in pending:
            stop, loss, norm = map(float, values)
            self.must_stop |= stop > 0
            if loss < MAX_LOSS and math.isfinite(norm):
                self._last_result = StepResult(loss, norm)
            elif loss < MAX_LOSS and self.optimizer.overflowed():
                if math.isnan(self._last_result.loss):
                    self._last_result = StepResult(loss, 0.0)  # there is no norm yet
            else:
                what = ", as a perplexity" if math.isfinite(loss) and math.isfinite(norm) else ""
                made = "; the update was not made" if self._is_synchronous else ""
                raise NonFiniteError(
                    f"step {step + 1}: loss {loss:g}, gradient norm {norm:g} at learning rate {lr:g}:"
                    f" not finite{what}{made}"
                )
        return self._last_result

    def with_options(self, config: TrainConfig, spec: EngineSpec) -> "Learner":
        """Return a learner that goes on from here with other options."""
        learner = Learner(self.architecture, config, spec, self.world)
        learner.load_state_dict(self.weights(), self.state_dict())
        return learner

    def reset_state(self) -> None:
        """Zero the carried state: the rows go on from elsewhere."""
        self._state = self.model.zero_state(self.rows.stop - self.rows.start)

    def begin(self, ids: Ids, weights: Mapping[str, Array] | None = None) -> None:
        """Begin a run: with weights, which are another model's, or as a new model with the frequencies of these ids."""
        if weights is None:
            self.init_output_bias(ids)
        else:
            self.model.load_weights(weights)

    def init_output_bias(self, ids: Ids) -> None:
        """Let a new model predict each token with its frequency in the text, instead of all with the same probability.

        Its first steps would learn no more than that. And unlearning tokens that never occur, as most bytes in a plain
        text, would spoil its features: on Tiny Shakespeare 300 steps end 0.05 nats lower with characters, 0.2 with
        bytes.

        Args:
            ids: of the text: see `token_counts`.
        """
        counts = token_counts(ids, self.architecture.vocabulary) + 0.5
        bias = HeadLayout.of(self.architecture).bias_of(counts)
        self.model.load_weights({**self.weights(), "head.bias": bias})

    def share_weights(self) -> None:
        """Give all processes the weights of the first: processors may differ in the last bit of what they drew."""
        if self.world.size > 1:
            self.model.load_weights(self.world.broadcast(self.model.weights()))

    def check_alike(self) -> None:
        """Raise CharRNNError unless the weights are the same in all processes, to the last bit."""
        if self.world.size > 1:
            digest = 0
            for weight in self.weights().values():
                digest = zlib.crc32(weight.tobytes(), digest)
            if different := difference(self.world.gather(f"{digest:08x}")):
                raise CharRNNError(
                    f"the weights are no longer the same everywhere (CRC-32 {different}): a machine makes errors, or"
                    " its processor or PyTorch is of another kind"
                )

    def weights(self) -> dict[str, Array]:
        """Return a copy of the weights, named as `Architecture.shapes`. Raise as `synchronize`."""
        self.synchronize()
        return self.model.weights()

    @property
    def state(self) -> State:
        """The state that this process's rows carry to the next batch: (S, B, H) of each layer."""
        return self.model.state_to_numpy(self._state)

    def state_dict(self) -> dict[str, Array]:
        """Return what resuming needs besides the weights: the carried state and the optimizer's."""
        tensors = {f"state.{layer}": state for layer, state in enumerate(self.world.gather_rows(self.state))}
        for name, values in self.optimizer.state_dict().items():
            tensors |= {f"optimizer.{name}.{key}": value for key, value in values.items()}
        return tensors

    def load_state_dict(self, weights: Mapping[str, Array], tensors: Mapping[str, Array]) -> None:
        """Go on from what `weights` and `state_dict` returned.

        Raises:
            ValueError: a tensor is missing, or is not one of theirs.
        """
        self.model.load_weights(weights)
        self._state = self.model.state_from_numpy(
            [tensors[f"state.{layer}"][:, self.rows] for layer in range(self.architecture.num_layers)]
        )
        self.optimizer.load_state_dict(optimizer_state(tensors))


def optimizer_state(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the optimizer's part of what `Learner.state_dict` returned, as `Optimizer.state_dict` has it."""
    optimizer: dict[str, dict[str, Array]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            name, _, tensor = key.removeprefix("optimizer.").rpartition(".")
            optimizer.setdefault(name, {})[tensor] = value
    return optimizer

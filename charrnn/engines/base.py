"""What an engine is: the two contracts that all other rooms know of engines.

*Inference* scores, predicts and samples over named arrays; *training* reads a batch and leaves the gradients of its
loss. Only the torch engine imports torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, SupportsFloat

import numpy as np
import numpy.typing as npt

from charrnn.config.sample import SamplingParams
from charrnn.config.train import TrainConfig
from charrnn.network.architecture import Architecture

Array = npt.NDArray[Any]


Ids = npt.NDArray[Any]
"""Token ids; integers."""


State = tuple[Array, ...]
"""One array per layer, float, shape (S, B, H): `h`, and for LSTM then `c`. A value: engines never
change a state they were handed."""


END, FORBIDDEN = -1, -2
"""In an automaton, (A, V) integers: in state a, which is 0 where a text begins, the symbol v leads to state
`automaton[a, v]`, or ends the text, or is not drawn. Some symbol is drawn in each state that is reached."""


BETAS = (0.5, 0.99)
"""Of Adam and AdamW; short means, as runs are short."""


LR_MULTIPLIERS = {"embedding": 2.0, "head.weight": 3.0}
"""How much faster than the layers other matrices learn with Adam and AdamW: all rates are those of the layers, which
would become unstable first."""


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """Texts to be written. What they are depends on neither `batch` nor the times that a sampler is given.

    Attributes:
        logits, state: what each text begins with: (1, V), and the state of one row.
        config: the controls; `num` texts of at most `length` symbols, at least 1.
        seed: of all draws.
        automaton: what may be drawn, and what ends a text: see `END`.
        batch: texts written side by side at most.
    """

    logits: Array
    state: State
    config: SamplingParams
    seed: int
    automaton: Array
    batch: int


class SampledTokens(NamedTuple):
    """Symbols, each text's own in order. N of them:

    Attributes:
        texts: integers (N,), which text. ids: integers (N,). last: bool (N,), whether the text ends with it.
    """

    texts: Array
    ids: Array
    last: Array


class Sampler(Protocol):
    """Texts that are being written side by side; where one ends the next begins."""

    def write(self, seconds: float) -> SampledTokens:
        """Go on for about so long, at least 8 symbols of each text; nothing comes once all texts are finished.

        Raises:
            NonFiniteError: a logit is not finite.
        """
        ...

    def finish(self, text: int) -> None:
        """Write no more of a text."""
        ...


class InferenceEngine(ABC):
    """A model that reads ids. An id equal to `architecture.bos_id` is `<s>`: before reading it that
    row's state is set to zero, so that a text is scored by putting `<s>` before it."""

    name: ClassVar[str]
    architecture: Architecture
    dtype: npt.DTypeLike = np.float32

    def zero_state(self, batch: int) -> State:
        """The state of `batch` rows that have read nothing; `<s>` must come next."""
        S = self.architecture.num_states
        return tuple(np.zeros((S, batch, H), self.dtype) for H in self.architecture.hidden)

    @abstractmethod
    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """Read ids one after another, telling what each cost.

        Args:
            ids: integers of shape (B, T), B and T at least 1, in [0, V]; V is `<s>`.
            state: of B rows, after all that came before `ids`.

        Returns:
            nats, float64 (B, T): -ln p(ids[b, t] | everything before it); 0 where it is `<s>`.
            The state after the last id.
        """

    @abstractmethod
    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """Read one id per row.

        A row's logits and state are the same to the last bit whatever rows stand beside it.

        Args:
            ids: integers of shape (B,) in [0, V].
            state: of B rows.

        Returns:
            logits (B, V) of the next symbol, and the state after `ids`.
        """

    def sampler(self, request: GenerationRequest) -> Sampler | None:
        """Begin to write texts; None of an engine that has no loop of its own: it is stepped."""
        return None


class Optimizer(ABC):
    """What updates a model's weights. Biases are not decayed.

    Args:
        shapes: of the weights, by name.
        config: complete.

    Attributes:
        decays, paces: of each weight, its weight decay and its learning rate as a multiple of the run's.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], config: TrainConfig) -> None:
        adaptive = config.optimizer.startswith("adam")
        self.betas = BETAS
        self.decays = [config.weight_decay if len(shape) > 1 else 0.0 for shape in shapes.values()]
        self.lr_multipliers = [LR_MULTIPLIERS.get(name, 1.0) if adaptive else 1.0 for name in shapes]

    @abstractmethod
    def norm(self) -> SupportsFloat:
        """The norm of all gradients together, which a GPU may yet be at work on."""

    def overflows(self) -> bool:
        """Whether gradients that are not finite may be float16's fault: then `update` changes nothing but the scale of
        the next ones."""
        return False

    @abstractmethod
    def update(self, rate: float, limit: float) -> None:
        """Make a step, after `norm` was asked for.

        Args:
            rate: the learning rate.
            limit: gradients whose norm is larger are scaled down to it (Pascanu et al. 2013).
        """

    @abstractmethod
    def state(self) -> dict[str, dict[str, Array]]:
        """What is carried from step to step, by weight: `step`, and arrays of the weight's shape; copies."""

    @abstractmethod
    def load(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """Take up what `state` gave."""


class TrainingEngine(Protocol):
    """A model that learns. Its weights are float32 and zero until they are written; an optimizer knows where they and
    their gradients are."""

    name: ClassVar[str]
    architecture: Architecture

    def set_num_threads(self, count: int) -> None:
        """How many of the processor's threads it takes."""
        ...

    def make_optimizer(self, config: TrainConfig) -> Optimizer:
        """The optimizer that a run asks for; the model is on its device."""
        ...

    def copy_weights(self) -> dict[str, Array]:
        """Float32 copies, named and shaped as `Architecture.shapes`."""
        ...

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Write all weights, named and shaped as `Architecture.shapes`; a checkpoint checks its own."""
        ...

    def zero_state(self, batch: int) -> Any:
        """The state of `batch` rows that have read nothing, as the engine has it; `<s>` must come next."""
        ...

    def state_from_numpy(self, arrays: Sequence[Array]) -> Any:
        """The state that arrays (S, B, H), one of each layer, tell."""
        ...

    def state_to_numpy(self, state: Any) -> State:
        """What `state_from_numpy` takes."""
        ...

    def forward_backward(
        self,
        ids: Array,
        targets: Array,
        state: Any,
        masks: Sequence[Array] | None = None,
        weight_masks: Mapping[str, Array] | None = None,
    ) -> tuple[SupportsFloat, Any]:
        """Read ids and leave the gradients of what the targets cost; the weights stay.

        Args:
            ids: int64 (B, T) in [0, V]; before an id V, `<s>`, is read that row's state is set to zero.
            targets: int64 (B, T) in [0, V), what is to be predicted after each.
            state: of B rows, after all that came before `ids`.
            masks: `draws.dropout_masks`, or None.
            weight_masks: `draws.weight_masks`, or None: what these weights are multiplied by here, and here alone.

        Returns:
            The mean of -ln p of the targets in nats, which a GPU may still be at work on; and the state after them.
        """
        ...

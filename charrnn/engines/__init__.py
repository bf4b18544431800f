"""Ways to run one model. The two contracts below are all that other modules know of engines.

*Inference* (`native`, `numpy`, `reference`, and `torch` for CUDA) is the protocol here, over named
arrays. *Training* (`native`, `torch`) is a model that reads a chunk and leaves the gradients of what it cost. Only
the torch engine imports torch.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, SupportsFloat

import numpy as np
import numpy.typing as npt

from charrnn.config.sample import SampleConfig
from charrnn.config.train import TrainConfig
from charrnn.engines import core
from charrnn.errors import UsageError
from charrnn.machine import processors
from charrnn.network.architecture import Architecture

if TYPE_CHECKING:
    from charrnn.training.optimizers import Optimizer

Array = npt.NDArray[Any]

State = tuple[Array, ...]
"""One array per layer, float, shape (S, B, H): `h`, and for LSTM then `c`. A value: engines never
change a state they were handed."""

ENDS, NEVER = -1, -2
"""In an automaton, (A, V) integers: in state a, which is 0 where a text begins, the symbol v leads to state
`automaton[a, v]`, or ends the text, or is not drawn. Some symbol is drawn in each state that is reached."""


@dataclass(frozen=True, eq=False)
class Request:
    """Texts to be written. What they are depends on neither `batch` nor the times that a sampler is given.

    Attributes:
        logits, state: what each text begins with: (1, V), and the state of one row.
        config: the controls; `num` texts of at most `length` symbols, at least 1.
        seed: of all draws.
        automaton: what may be drawn, and what ends a text: see `ENDS`.
        batch: texts written side by side at most.
    """

    logits: Array
    state: State
    config: SampleConfig
    seed: int
    automaton: Array
    batch: int


class Written(NamedTuple):
    """Symbols, each text's own in order. N of them:

    Attributes:
        texts: integers (N,), which text. ids: integers (N,). last: bool (N,), whether the text ends with it.
    """

    texts: Array
    ids: Array
    last: Array


class Sampler(Protocol):
    """Texts that are being written side by side; where one ends the next begins."""

    def write(self, seconds: float) -> Written:
        """Go on for about so long, at least 8 symbols of each text; nothing comes once all texts are finished.

        Raises:
            NonFiniteError: a logit is not finite.
        """
        ...

    def finish(self, text: int) -> None:
        """Write no more of a text."""
        ...


class Inference(ABC):
    """A model that reads ids. An id equal to `architecture.start` is `<s>`: before reading it that
    row's state is set to zero, so that a text is scored by putting `<s>` before it."""

    name: ClassVar[str]
    architecture: Architecture
    dtype: npt.DTypeLike = np.float32

    def zero_state(self, batch: int) -> State:
        """The state of `batch` rows that have read nothing; `<s>` must come next."""
        S = self.architecture.states
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

    def sampler(self, request: Request) -> Sampler | None:
        """Begin to write texts; None of an engine that has no loop of its own: it is stepped."""
        return None


class Training(Protocol):
    """A model that learns. Its weights are float32 and zero until they are written; an optimizer knows where they and
    their gradients are."""

    name: ClassVar[str]
    architecture: Architecture

    def use_threads(self, count: int) -> None:
        """How many of the processor's threads it takes."""
        ...

    def make_optimizer(self, config: TrainConfig) -> "Optimizer":
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

    def state_of(self, arrays: Sequence[Array]) -> Any:
        """The state that arrays (S, B, H), one of each layer, tell."""
        ...

    def arrays_of(self, state: Any) -> State:
        """What `state_of` takes."""
        ...

    def learn(
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


def choose_engine(name: str, device: str, *, cell: str = "lstm", training: bool = False) -> str:
    """The engine that runs a model: "native", "numpy" or "torch".

    Args:
        name: what was asked for; "auto" takes the fastest that is here.
        device: "cpu", "cuda" or "cuda:N".
        cell: of the model.
        training: whether it is to train.

    Raises:
        UsageError: the engine asked for is not here, or does not run on the device or with the cell.
    """
    if name == "auto":
        if device == "cpu" and core.pays() and core.runs(cell):
            return "native"
        return "torch" if training or device != "cpu" else "numpy"
    if name == "native" and core.library() is None:
        raise UsageError("--engine native: the compiled core was not built when charrnn was installed here")
    if name == "native" and not core.runs(cell):
        raise UsageError(f"--engine native has no kernel for --cell {cell}")
    if name != "torch" and device != "cpu":
        raise UsageError(f"--engine {name} runs on the CPU, and --device is {device}")
    return name


def choose_precision(name: str, engine: str, device: str = "cpu", *, training: bool = False) -> str:
    """What products are computed in: "float32", "tf32", "bfloat16" or "float16".

    Args:
        name: what was asked for; "auto" takes float32, but TF32 to train on CUDA.
        engine: as `choose_engine` gave it.
        device: "cpu", "cuda" or "cuda:N".
        training: whether it is to train.

    Raises:
        UsageError: the engine does not have it there.
    """
    if name == "auto":
        return "tf32" if training and device != "cpu" else "float32"
    known = {"native": ("float32", "bfloat16"), "torch": ("float32", "bfloat16", "float16")}.get(engine, ("float32",))
    if device != "cpu":
        known = (*known, "tf32")
    if name not in known:
        has = " and ".join(", ".join(known).rsplit(", ", 1))
        raise UsageError(f"--precision {name}: the engine is {engine} on {device}, which has {has}")
    return name


def inference(
    architecture: Architecture,
    weights: Mapping[str, Array],
    *,
    name: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
    precision: str = "auto",
) -> Inference:
    """The engine that scores and samples.

    Args:
        architecture: the model's sizes.
        weights: float32 arrays named and shaped as `architecture.shapes()`.
        name, device: as for `choose_engine`.
        threads: of the processor, where the engine has its own; None: as many as there are.
        precision: as for `choose_precision`.

    Raises:
        UsageError: as `choose_engine` and `choose_precision` do.
    """
    name = choose_engine(name, device, cell=architecture.cell)
    precision = choose_precision(precision, name, device)
    match name:
        case "native":
            from charrnn.engines.native import NativeEngine

            return NativeEngine(architecture, weights, threads or processors(), precision)
        case "torch":
            from charrnn.engines.torch import TorchEngine

            return TorchEngine(architecture, weights, device, precision)
        case _:
            from charrnn.engines.numpy import NumpyEngine

            return NumpyEngine(architecture, weights)


def training_model(architecture: Architecture, *, name: str, device: str, precision: str) -> Training:
    """The engine that trains; its weights are yet to be written.

    Args:
        architecture: the model's sizes.
        name, device: as for `choose_engine`.
        precision: as for `choose_precision`.

    Raises:
        UsageError: as `choose_engine` and `choose_precision` do.
    """
    name = choose_engine(name, device, cell=architecture.cell, training=True)
    precision = choose_precision(precision, name, device, training=True)
    if name == "native":
        from charrnn.engines.native_training import NativeModel

        return NativeModel(architecture, precision)
    from charrnn.engines.torch_training import LanguageModel

    return LanguageModel(architecture, precision).to(device)

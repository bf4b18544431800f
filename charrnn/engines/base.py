"""The contracts between engines and the other rooms.

An `InferenceEngine` scores, predicts and steps; a `Sampler` generates many texts; a `TrainingEngine` leaves the
gradients of a batch's loss, and its `Optimizer` updates the weights. Only the torch engine imports torch.

This file is long: the contracts are read together.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, SupportsFloat

import numpy as np
import numpy.typing as npt

from charrnn.config.sample import SamplingParams
from charrnn.errors import UsageError
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import NO_MASKS, Masks

Array = npt.NDArray[Any]

Ids = npt.NDArray[Any]
"""Token ids; integers."""

State = tuple[Array, ...]
"""Arrays whose axis 1 is the batch row: (S, B, H) of each layer, `h` and for LSTM then `c`. A value: engines never
change a state that they were given."""

END, FORBIDDEN = -1, -2
"""In a `TokenDFA`: the text ends with this token; the token is not drawn."""

NOTHING = -1
"""In place of a drawn id: none was allowed, and the text ends before it."""

MAX_DFA_SIZE = 1 << 26
"""States times vocabulary of a `TokenDFA`."""

BETAS = (0.5, 0.99)
"""Of Adam and AdamW; short means, as runs are short."""

OPTIMIZER_TENSORS = {
    "adamw": ("exp_avg", "exp_avg_sq"),
    "adam": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg",),
    "sgd": ("momentum_buffer",),
}
"""What an optimizer keeps of each weight, besides the count of its steps; SGD counts none."""

SCALER = {
    **dict.fromkeys(("scale", "growth_factor", "backoff_factor"), np.float64),
    **dict.fromkeys(("growth_interval", "_growth_tracker"), np.int64),
}
"""What the scaler of a float16 loss keeps, and of which types."""

LR_MULTIPLIERS = {"embedding": 2.0, "head.weight": 3.0}
"""How much faster than the layers other matrices learn with Adam and AdamW: all rates are those of the layers, which
would become unstable first."""


def tokens_of(ids: Ids, vocabulary: int) -> Ids:
    """Return the token that each id is, of those that end a text too; V where it is `<s>` alone."""
    return np.where(ids > vocabulary, ids - vocabulary - 1, ids)


def take_rows(state: State, rows: Sequence[int]) -> State:
    """Return a copy of some rows of a state, in this order."""
    return tuple(array[:, rows] for array in state)


def check_dfa_size(states: int, vocabulary: int) -> None:
    """Check that an automaton may have so many states.

    Raises:
        UsageError: states times vocabulary is beyond `MAX_DFA_SIZE`.
    """
    if states * vocabulary > MAX_DFA_SIZE:
        raise UsageError(
            f"the constraint needs {states:,} states for {vocabulary:,} tokens: more than {MAX_DFA_SIZE:,} transitions"
        )


@dataclass(frozen=True, eq=False)
class TokenDFA:
    """Which tokens may be drawn where in a text, as a deterministic finite automaton over token ids.

    Attributes:
        next: int32 (A, V): the state that each token leads to, or `END`, or `FORBIDDEN`. Some token is allowed in each
            state.
        distance: int32 (A,), the fewest tokens from each state to an `END`, the greatest int32 where none can be
            reached: texts then end within their length wherever they can. None: they are cut at their length.

    Raises:
        UsageError: A * V is beyond `MAX_DFA_SIZE`.
        ValueError: an array is of the wrong shape, `next` leads to a state that does not exist, or allows nothing.
    """

    next: Array
    distance: Array | None = None

    def __post_init__(self) -> None:
        if self.next.ndim != 2 or not self.next.size:
            raise ValueError(f"an automaton's transitions of shape {self.next.shape}")
        check_dfa_size(*self.next.shape)
        table = np.ascontiguousarray(self.next, np.int32)
        object.__setattr__(self, "next", table)
        if table.min() < FORBIDDEN or table.max() >= len(table):
            raise ValueError("the automaton leads to a state that it does not have")
        if (table == FORBIDDEN).all(axis=1).any():
            raise ValueError("the automaton has a state where nothing is allowed")
        if self.distance is not None:
            object.__setattr__(self, "distance", np.ascontiguousarray(self.distance, np.int32))
            if self.distance.shape != table.shape[:1]:
                raise ValueError(f"distances of shape {self.distance.shape} for {len(table)} states")


@dataclass(frozen=True, eq=False)
class CopyIndex:
    """Which character follows which N characters of a text, so that no longer stretch of it is written again.

    A key is a hash of the N characters in its upper 43 bits and the code point that follows in the others. The hash is
    the sum of c[i] base^(N - i), modulo 2^64 (Karp & Rabin 1987). Where other characters have the same hash, what they
    must not be followed by is not drawn either; no copy is drawn. Each byte that is not UTF-8 is a character, as
    Python's "surrogateescape" has it.

    Attributes:
        length: N, at least 1.
        keys: uint64 (K,), ascending, each once.
        token_bytes: what each of V tokens stands for.
    """

    length: int
    keys: Array
    token_bytes: Sequence[bytes]

    base: ClassVar[int] = 0x9E3779B97F4A7C15
    point_bits: ClassVar[int] = 21


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """Texts to be generated. Which they are depends neither on `batch_size` nor on the times given to the sampler.

    Attributes:
        logits: (P, V) of the first token after each of P prompts.
        state: of P rows, after each prompt.
        dfa_start: integers (P,), the automaton's state in which texts begin.
        per_prompt: texts of each prompt, at least 1: text t continues prompt t // per_prompt. None: there is no end of
            texts, and text t continues prompt t % P.
        params: how tokens are drawn, and how many; see `length`.
        seed: of all draws.
        dfa: of V tokens.
        batch_size: texts side by side, at most.
        with_nats: whether `SampledTokens.nats` are wanted.
        copies: of V tokens: no longer stretch of its text is copied. None: it may be.
        repeat_context: of each prompt, ids that `params.no_repeat` takes for the beginning of its texts; none: ().
        copy_context: the same, of `copies`.

    An id that leads to `END` is not part of a text: it neither repeats nor copies.

    Raises:
        ValueError: shapes or numbers do not fit together.
    """

    logits: Array
    state: State
    dfa_start: Array
    per_prompt: int | None
    params: SamplingParams
    seed: int
    dfa: TokenDFA
    batch_size: int
    with_nats: bool = False
    copies: CopyIndex | None = None
    repeat_context: Sequence[Ids] = ()
    copy_context: Sequence[Ids] = ()

    def __post_init__(self) -> None:
        (A, V), P = self.dfa.next.shape, len(self.logits)
        if self.logits.shape != (P, V) or not P:
            raise ValueError(f"logits of shape {self.logits.shape} for {V} tokens")
        if any(array.ndim != 3 or array.shape[1] != P for array in self.state):
            raise ValueError(f"a state that has not {P} rows")
        if self.dfa_start.shape != (P,) or self.dfa_start.min() < 0 or self.dfa_start.max() >= A:
            raise ValueError(f"texts begin in states {self.dfa_start} of an automaton of {A}")
        if (self.per_prompt is not None and self.per_prompt < 1) or self.batch_size < 1:
            raise ValueError("nothing is requested")
        if any(context and len(context) != P for context in (self.repeat_context, self.copy_context)):
            raise ValueError(f"contexts that are not of {P} prompts")
        if self.copies is not None and len(self.copies.token_bytes) != V:
            raise ValueError(f"what may be copied is known for {len(self.copies.token_bytes)} tokens, not {V}")
        if max(self.num_texts or 0, self.length) >= 1 << 63 or max(self.batch_size, P) > 1 << 30:
            raise ValueError("more is requested than can be counted")

    @property
    def length(self) -> int:
        """Most tokens in a text."""
        return self.params.length or sys.maxsize

    @property
    def num_texts(self) -> int | None:
        """How many texts there are; None: there is no end of them."""
        return None if self.per_prompt is None else len(self.logits) * self.per_prompt

    def prompt_of(self, text: int) -> int:
        """Return the prompt that a text continues."""
        return text % len(self.logits) if self.per_prompt is None else text // self.per_prompt


class SampledTokens(NamedTuple):
    """N tokens, each text's own in order.

    Attributes:
        texts: integers (N,), which text. ids: integers (N,); `NOTHING`: the text ends before it.
        nats: float64 (N,), -ln p of the token, the model's own: without temperature, top-k and so on, and automaton.
            NaN where the request is without; 0 of `NOTHING`.
        last: bool (N,), whether the text ends with it.
    """

    texts: Array
    ids: Array
    nats: Array
    last: Array


class Sampler(Protocol):
    """Texts that are generated side by side; where one ends the next begins. Calls from several threads take turns."""

    def advance(self, seconds: float) -> SampledTokens:
        """Go on for about so long, by at least 8 tokens of each text; return what was drawn, nothing once all texts are
        finished.

        Raises:
            NonFiniteError: a logit is not finite.
        """
        ...

    def finish(self, text: int) -> None:
        """Draw no more tokens of a text that has begun."""
        ...


class InferenceEngine(ABC):
    """A model that reads token ids.

    An id equal to `vocabulary` is BOS, `<s>`: its row's state is zeroed before it is read, so that a text is scored by
    putting `<s>` before it. An id V + 1 + t is a token t after which a text ends: t is scored, and `<s>` is read in its
    place, as in training. A row's results do not depend on its neighbours: those of the native engine, and of the
    numpy engine's `step`, to the last bit. Calls from several threads take turns.

    Attributes:
        name: of the engine.
        vocabulary: V, the number of tokens.
        adaptive: whether it learns from what it scores: then B is 1, and texts are read in order.
    """

    name: str
    vocabulary: int
    adaptive: bool = False

    @abstractmethod
    def zero_state(self, batch: int) -> State:
        """Return the state of `batch` rows that have read nothing; `<s>` must come next."""

    @abstractmethod
    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """Score ids, one after another.

        Args:
            ids: integers (B, T) in [0, 2 V], B and T at least 1.
            state: of B rows, after all that comes before `ids`.

        Returns:
            nats, float64 (B, T): -ln p of each token, given everything before it; 0 at `<s>`; and the state after the
            last id.

        Raises:
            ValueError: an id is out of range, or the state does not fit. So do `predict` and `step`.
        """

    @abstractmethod
    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """Read ids as `score` does.

        Returns:
            ln p of every token that could stand at each place, float32 (B, T, V), 0 at `<s>`; and the state after the
            last id. Callers keep B*T*V below 2**24.
        """

    @abstractmethod
    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """Read one id per row; an adaptive engine does not learn from it.

        Args:
            ids: integers (B,) in [0, V].
            state: of B rows.

        Returns:
            Logits (B, V) of the next token, of a head of two levels ln p; and the state after `ids`.
        """

    def sampler(self, request: GenerationRequest) -> Sampler | None:
        """Begin to generate texts; return None where the engine has no loop of its own: `generation.sampling` steps it.

        Raises:
            ValueError: the request does not fit the model.
        """
        return None

    def fresh(self) -> "InferenceEngine":
        """Return the engine as it was before it read anything: itself, unless it is adaptive."""
        return self


@dataclass(frozen=True)
class OptimizerParams:
    """What an optimizer is.

    Attributes:
        name: "adamw", "adam", "rmsprop" or "sgd".
        weight_decay: of matrices; biases are not decayed.
    """

    name: str
    weight_decay: float = 0.0

    @property
    def betas(self) -> tuple[float, float]:
        """Decay rates of the running means of Adam and AdamW."""
        return BETAS

    def weight_decay_of(self, shape: Sequence[int]) -> float:
        """Return the weight decay of a weight of this shape."""
        return self.weight_decay if len(shape) > 1 else 0.0

    def lr_multiplier(self, weight: str) -> float:
        """Return the learning rate of a weight as a multiple of the run's."""
        return LR_MULTIPLIERS.get(weight, 1.0) if self.name in ("adamw", "adam") else 1.0

    def max_tensors(self, weights: int) -> int:
        """Return how many tensors the optimizer of so many weights keeps at most, its loss's scaler's included."""
        return (len(OPTIMIZER_TENSORS[self.name]) + (self.name != "sgd")) * weights + len(SCALER)

    def check_state(self, state: Mapping[str, Mapping[str, Array]], shapes: Mapping[str, Sequence[int]]) -> None:
        """Check what an optimizer is to go on from.

        Args:
            state: see `Optimizer.state_dict`. shapes: of the weights.

        Raises:
            ValueError: a tensor is missing, of the wrong dtype or shape, or holds what it cannot; it is named.
        """
        if "scaler" in state:
            _check_tensors("scaler", state["scaler"], {name: ((), dtype) for name, dtype in SCALER.items()})
            if any(state["scaler"][name] >= 1 << 31 for name, dtype in SCALER.items() if dtype is np.int64):
                raise ValueError("the optimizer's scaler counts further than it can")
        if not state.keys() - {"scaler"}:
            return
        tensors = OPTIMIZER_TENSORS[self.name]
        steps = set()
        for weight, shape in shapes.items():
            expected = dict.fromkeys(tensors, (tuple(shape), np.float32))
            counted = {} if self.name == "sgd" else {"step": ((), np.float32)}
            found = state.get(weight, {})
            _check_tensors(weight, found, {**counted, **expected})
            steps |= {float(found[name]) for name in counted}
        if len(steps) > 1 or not all(step.is_integer() for step in steps):
            raise ValueError("the optimizer's counts of steps differ, or are not whole")


def _check_tensors(weight: str, found: Mapping[str, Array], expected: Mapping[str, tuple[Any, Any]]) -> None:
    """Check shapes, dtypes and values; of all tensors only the means of gradients may be negative."""
    for name, (shape, dtype) in expected.items():
        tensor = found.get(name)
        if tensor is None:
            raise ValueError(f"the optimizer's state has no {weight}.{name}")
        if tensor.shape != shape or tensor.dtype != dtype:
            raise ValueError(
                f"the optimizer's {weight}.{name} is {tensor.dtype} of shape {tensor.shape}, not"
                f" {np.dtype(dtype)} of shape {shape}"
            )
        if not np.isfinite(tensor).all() or (name not in ("exp_avg", "momentum_buffer") and (tensor < 0).any()):
            raise ValueError(f"the optimizer's {weight}.{name} holds numbers that it cannot have")


class Optimizer(Protocol):
    """What updates an engine's weights, in place."""

    def gradient_norm(self) -> SupportsFloat:
        """Return the norm of all gradients together, which a GPU may still be at work on. Each step asks for it
        once."""
        ...

    def step(self, lr: float, max_norm: float) -> None:
        """Update the weights, after `gradient_norm`; gradients whose norm is larger than `max_norm` are scaled down to
        it (Pascanu et al. 2013)."""
        ...

    def overflowed(self) -> bool:
        """Return whether gradients that are not finite may be float16's fault: then `step` changes nothing but the
        scale of the next ones."""
        ...

    def state_dict(self) -> dict[str, dict[str, Array]]:
        """Return a copy of what is carried from step to step, by weight: `step`, and arrays of the weight's shape."""
        ...

    def load_state_dict(self, state: Mapping[str, Mapping[str, Array]]) -> None:
        """Go on from what `state_dict` returned; of an optimizer that has made no step it is empty.

        Raises:
            ValueError: a tensor is missing or of the wrong shape; it is named.
        """
        ...


class TrainingEngine(Protocol):
    """A model that learns. Its weights are float32, and zero until they are loaded.

    Attributes:
        name: of the engine.
        architecture: the model's sizes.
        gradients: (G + 2,) in one piece, an array or a tensor on the engine's device: the gradients of all weights, in
            the order of `Architecture.shapes`, then the loss, and a number that is the caller's.
    """

    name: str
    architecture: Architecture

    @property
    def gradients(self) -> Any: ...

    def set_num_threads(self, count: int) -> None:
        """Use this many threads of the processor."""
        ...

    def make_optimizer(self, params: OptimizerParams) -> Optimizer:
        """Return an optimizer of the weights; they are on their device."""
        ...

    def weights(self) -> dict[str, Array]:
        """Return float32 copies, named and shaped as `Architecture.shapes`."""
        ...

    def load_weights(self, weights: Mapping[str, Array]) -> None:
        """Replace all weights.

        Raises:
            ValueError: they are not named and shaped as `Architecture.shapes`.
        """
        ...

    def zero_state(self, batch: int) -> Any:
        """Return the engine's own state of `batch` rows that have read nothing; `<s>` must come next."""
        ...

    def state_from_numpy(self, arrays: Sequence[Array]) -> Any:
        """Return the engine's own state from arrays (S, B, H), one of each layer."""
        ...

    def state_to_numpy(self, state: Any) -> State:
        """Return a state as arrays (S, B, H), one of each layer."""
        ...

    def forward_backward(
        self, inputs: Ids, targets: Ids, state: Any, masks: Masks = NO_MASKS
    ) -> tuple[SupportsFloat, Any]:
        """Read `inputs`, and replace the gradients by those of the loss; the weights stay.

        Args:
            inputs: int64 (B, T) in [0, V]; before an id V, `<s>`, is read its row's state is zeroed.
            targets: int64 (B, T) in [0, V), the id to be predicted after each.
            state: of B rows, after all that comes before `inputs`.
            masks: what is dropped, here alone.

        Returns:
            The loss: the mean of -ln p of the targets, in nats, which a GPU may still be at work on; and the state
            after the last id.
        """
        ...

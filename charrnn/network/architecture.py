"""What a model is made of: its sizes, and the names and shapes of its weights.

Everything a checkpoint's config says about the network. The equations are in
`engines/reference.py`; gate order and weight layout are those of PyTorch where it has the cell.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from charrnn.network.cells import CELLS, Cell

ACTIVATIONS = ("tanh", "relu", "sigmoid")


MAX_SIZE = 1 << 16  # of a layer or an embedding


MAX_LAYERS = 64


MAX_VOCABULARY = 0x110000 + 1  # every code point, and <unk>


@dataclass(frozen=True)
class Architecture:
    """The shape of a recurrent language model over V symbols.

    The input table has V + 1 rows; row V is the start symbol `<s>`, and reading it first sets
    that row's state to zero. The head reads the sum of the layers' outputs, or, where the
    layers' sizes differ, their concatenation.

    Attributes:
        cell: a name in `CELLS`.
        vocabulary: V, the number of symbols the model predicts.
        hidden: H of each layer, the first layer first.
        embedding: E, the width of the input table.
        activation: the `rnn` cell's nonlinearity, "tanh", "relu" or "sigmoid".

    Raises:
        ValueError: a value is of the wrong type or out of range; the message names it.
    """

    cell: str
    vocabulary: int
    hidden: tuple[int, ...]
    embedding: int
    activation: str = "tanh"

    def __post_init__(self) -> None:
        _check(isinstance(self.cell, str) and self.cell in CELLS, "cell", self.cell)
        _check(self.activation in ACTIVATIONS, "activation", self.activation)
        _check(self.cell == "rnn" or self.activation == "tanh", "activation", self.activation)
        _check(_whole(self.vocabulary, MAX_VOCABULARY), "vocabulary", self.vocabulary)
        _check(_whole(self.embedding, MAX_SIZE), "embedding", self.embedding)
        _check(
            isinstance(self.hidden, tuple)
            and 1 <= len(self.hidden) <= MAX_LAYERS
            and all(_whole(size, MAX_SIZE) for size in self.hidden),
            "hidden",
            self.hidden,
        )

    @property
    def start(self) -> int:
        """The id of `<s>`."""
        return self.vocabulary

    @property
    def kind(self) -> Cell:
        """What a layer of that cell has."""
        return CELLS[self.cell]

    @property
    def gates(self) -> int:
        """G, the number of gates stacked in a layer's weights."""
        return len(self.kind.gates)

    @property
    def states(self) -> int:
        """S, the vectors a layer carries from step to step: 2 for LSTM (h, c), else 1 (h)."""
        return self.kind.states

    @property
    def layers(self) -> int:
        """L."""
        return len(self.hidden)

    @property
    def summed(self) -> bool:
        """Whether the head reads the sum of the layers' outputs; else their concatenation."""
        return len(set(self.hidden)) == 1

    @property
    def features(self) -> int:
        """The width of what the head reads."""
        return self.hidden[0] if self.summed else sum(self.hidden)

    @property
    def inputs(self) -> tuple[int, ...]:
        """The width of each layer's input."""
        return (self.embedding, *self.hidden[:-1])

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, in the order a checkpoint documents them."""
        shapes: dict[str, tuple[int, ...]] = {"embedding": (self.vocabulary + 1, self.embedding)}
        for layer, (width, size) in enumerate(zip(self.inputs, self.hidden, strict=True)):
            shapes |= {f"layers.{layer}.{name}": shape for name, shape in self.kind.shapes(width, size).items()}
        shapes["head.weight"] = (self.vocabulary, self.features)
        shapes["head.bias"] = (self.vocabulary,)
        return shapes

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    @property
    def layer_parameters(self) -> int:
        """The number of the layers' weights, without embedding and head."""
        return sum(math.prod(shape) for name, shape in self.shapes().items() if name.startswith("layers."))

    def to_json(self) -> dict[str, object]:
        """A JSON object that `from_json` reads back."""
        return {
            "cell": self.cell,
            "vocabulary": self.vocabulary,
            "hidden": list(self.hidden),
            "embedding": self.embedding,
            "activation": self.activation,
        }

    @classmethod
    def from_json(cls, values: object) -> "Architecture":
        """Read what `to_json` wrote, trusting nothing.

        Raises:
            ValueError: not an object, a key missing or unknown, a value of the wrong type or range.
        """
        if not isinstance(values, Mapping):
            raise ValueError("config is not an object")
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(f"config has the keys {sorted(map(str, values))}, not {sorted(known)}")
        hidden = values["hidden"]
        return cls(**{**values, "hidden": tuple(hidden) if isinstance(hidden, list) else hidden})


def _whole(value: object, largest: int) -> bool:
    return type(value) is int and 1 <= value <= largest


def _check(holds: bool, name: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{name} cannot be {str(value)[:80]!r}")

"""The architecture of a model: its sizes, and the names and shapes of its weights.

It is what a checkpoint's `config` holds. The equations are in `engines/reference.py`; gate order and weight layout are
PyTorch's where it has the cell.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from charrnn.network.cells import CELLS, Cell, cell_name

ACTIVATIONS = ("tanh", "relu", "sigmoid")


MAX_SIZE = 1 << 16  # of a layer or an embedding


MAX_LAYERS = 64


MAX_VOCABULARY = 0x110000 + 1  # every code point, and <unk>


MAX_CLUSTERS = 255  # of rare tokens: a token's is a byte


@dataclass(frozen=True)
class Architecture:
    """The sizes of a recurrent language model over a vocabulary of V tokens.

    The embedding table has V + 1 rows; row V is the BOS token `<s>`, and a row of the batch that reads it has its state
    set to zero first. The head reads the sum of the layers' outputs or, where the layers' sizes differ, their
    concatenation.

    Attributes:
        cell: a name in `CELLS`.
        vocabulary: V, the vocabulary size: how many tokens the model predicts.
        hidden: H, the hidden size, of each layer, the first layer first.
        embedding: E, the embedding size.
        activation: the nonlinearity of the `rnn` cell, "tanh", "relu" or "sigmoid"; "tanh" for all other cells.
        clusters: of a head of two levels (see `network.head`) the cluster of each token, 1 to C, or 0 for the first
            level; empty: the head is one softmax.

    Raises:
        ValueError: a value is of the wrong type or out of range; the message names it.
    """

    cell: str
    vocabulary: int
    hidden: tuple[int, ...]
    embedding: int
    activation: str = "tanh"
    clusters: bytes = b""

    def __post_init__(self) -> None:
        _check(isinstance(self.cell, str) and self.cell in CELLS, "cell", self.cell)
        _check(self.activation in ACTIVATIONS, "activation", self.activation)
        _check(self.cell == "rnn" or self.activation == "tanh", "activation", self.activation)
        _check(_is_size(self.vocabulary, MAX_VOCABULARY), "vocabulary", self.vocabulary)
        _check(_is_size(self.embedding, MAX_SIZE), "embedding", self.embedding)
        _check(
            isinstance(self.hidden, tuple)
            and 1 <= len(self.hidden) <= MAX_LAYERS
            and all(_is_size(size, MAX_SIZE) for size in self.hidden),
            "hidden",
            self.hidden,
        )
        if self.clusters and not (
            isinstance(self.clusters, bytes)
            and len(self.clusters) == self.vocabulary
            and {0, *self.clusters} == {*range(self.num_clusters + 1)} != {0}
        ):
            raise ValueError("clusters are not 0 to C, one for each token, and each of 1 to C for one at least")

    @property
    def bos_id(self) -> int:
        """The id of `<s>`, which is V."""
        return self.vocabulary

    @property
    def cell_name(self) -> str:
        """The cell as `--cell` has it: `rnn-relu` for `rnn` with the activation `relu`."""
        return cell_name(self.cell, self.activation)

    @property
    def cell_type(self) -> Cell:
        """The cell's parts: its gates, and which weights it has."""
        return CELLS[self.cell]

    @property
    def num_gates(self) -> int:
        """G, the number of gates stacked in a layer's weights."""
        return len(self.cell_type.gates)

    @property
    def num_states(self) -> int:
        """S, the vectors that a layer carries from step to step: 2 for LSTM (h, c), else 1 (h)."""
        return self.cell_type.num_states

    @property
    def num_layers(self) -> int:
        """L, the number of layers."""
        return len(self.hidden)

    @property
    def sums_layers(self) -> bool:
        """Whether the head reads the sum of the layers' outputs; otherwise it reads their concatenation."""
        return len(set(self.hidden)) == 1

    @property
    def feature_size(self) -> int:
        """The size of the vector that the head reads."""
        return self.hidden[0] if self.sums_layers else sum(self.hidden)

    @property
    def input_sizes(self) -> tuple[int, ...]:
        """The size of each layer's input."""
        return (self.embedding, *self.hidden[:-1])

    @property
    def num_clusters(self) -> int:
        """C, the clusters of rare tokens that the head has a softmax for; 0: it is one softmax."""
        return max(self.clusters, default=0)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of every weight, in the order of docs/format.md."""
        shapes: dict[str, tuple[int, ...]] = {"embedding": (self.vocabulary + 1, self.embedding)}
        for layer, (input_size, hidden_size) in enumerate(zip(self.input_sizes, self.hidden, strict=True)):
            layer_shapes = self.cell_type.shapes(input_size, hidden_size)
            shapes |= {f"layers.{layer}.{name}": shape for name, shape in layer_shapes.items()}
        shapes["head.weight"] = (self.vocabulary + self.num_clusters, self.feature_size)
        shapes["head.bias"] = (self.vocabulary + self.num_clusters,)
        return shapes

    @property
    def num_parameters(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    @property
    def num_layer_parameters(self) -> int:
        """The number of parameters of the recurrent layers, without embedding and head."""
        return sum(math.prod(shape) for name, shape in self.shapes().items() if name.startswith("layers."))

    def to_json(self) -> dict[str, object]:
        """Return a JSON object that `from_json` reads back; its keys are those of the file format."""
        return {
            "cell": self.cell,
            "vocabulary": self.vocabulary,
            "hidden": list(self.hidden),
            "embedding": self.embedding,
            "activation": self.activation,
            **({"clusters": self.num_clusters} if self.clusters else {}),
        }

    @classmethod
    def from_json(cls, values: object) -> "Architecture":
        """Return the architecture that `to_json` wrote, every value checked.

        Which tokens are in which of its clusters is in a tensor of the file; here the first tokens are, one in each.

        Raises:
            ValueError: not an object, a key is missing or unknown, or a value is of the wrong type or out of range.
        """
        if not isinstance(values, Mapping):
            raise ValueError("config is not an object")
        known, sizes = {field.name for field in fields(cls)}, dict(values)
        clusters = sizes.pop("clusters", None)
        if set(sizes) != known - {"clusters"}:
            raise ValueError(f"config has the keys {sorted(map(str, values))}, not {sorted(known - {'clusters'})}")
        hidden = sizes["hidden"]
        architecture = cls(**{**sizes, "hidden": tuple(hidden) if isinstance(hidden, list) else hidden})
        if "clusters" not in values:
            return architecture
        V = architecture.vocabulary
        _check(_is_size(clusters, min(MAX_CLUSTERS, V)), "clusters", clusters)
        return replace(architecture, clusters=bytes(range(1, clusters + 1)) + bytes(V - clusters))


def _is_size(value: object, largest: int) -> bool:
    return type(value) is int and 1 <= value <= largest


def _check(valid: bool, name: str, value: object) -> None:
    if not valid:
        raise ValueError(f"{name} cannot be {str(value)[:80]!r}")

"""Architecture: properties, shapes, and which values are refused."""

import json
from typing import Any

import pytest

from charrnn.network.architecture import MAX_LAYERS, MAX_SIZE, MAX_VOCABULARY, Architecture

VALUES: dict[str, Any] = {"cell": "lstm", "vocabulary": 20, "hidden": [8, 8], "embedding": 4, "activation": "tanh"}


@pytest.mark.parametrize(
    ("architecture", "num_gates", "num_states", "sums_layers", "feature_size", "input_sizes"),
    [
        (Architecture("rnn", 5, (3,), 2, "relu"), 1, 1, True, 3, (2,)),
        (Architecture("lstm", 5, (3, 3), 2), 4, 2, True, 3, (2, 3)),
        (Architecture("gru", 5, (3, 4, 3), 2), 3, 1, False, 10, (2, 3, 4)),
    ],
)
def test_properties(
    architecture: Architecture,
    num_gates: int,
    num_states: int,
    sums_layers: bool,
    feature_size: int,
    input_sizes: tuple[int, ...],
) -> None:
    assert (architecture.num_gates, architecture.num_states) == (num_gates, num_states)
    assert architecture.sums_layers == sums_layers
    assert (architecture.feature_size, architecture.input_sizes) == (feature_size, input_sizes)
    assert architecture.bos_id == architecture.vocabulary == 5
    assert architecture.num_layers == len(architecture.hidden)


def test_shapes() -> None:
    """The shapes of docs/format.md, in its order; the head reads the concatenation of two layers of different size."""
    assert list(Architecture("gru", 7, (3, 4), 2).shapes().items()) == [
        ("embedding", (8, 2)),
        ("layers.0.weight_ih", (9, 2)),
        ("layers.0.weight_hh", (9, 3)),
        ("layers.0.bias_ih", (9,)),
        ("layers.0.bias_hh", (9,)),
        ("layers.1.weight_ih", (12, 3)),
        ("layers.1.weight_hh", (12, 4)),
        ("layers.1.bias_ih", (12,)),
        ("layers.1.bias_hh", (12,)),
        ("head.weight", (7, 7)),
        ("head.bias", (7,)),
    ]


GATES = {"rnn": 1, "lstm": 4, "gru": 3, "gru-v1": 3, "mgu": 2, "lstm-relu": 4, "lstm-cellless": 3}
"""G of cells in which every gate reads input and state; the gates of `mingru` read the input alone."""


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("layers", [1, 3])
def test_parameters(cell: str, layers: int) -> None:
    """The number of parameters is that of an embedding table, G gates with input, state and two biases, and a head."""
    V, E, H = 11, 5, 6
    expected = (V + 1) * E + V * H + V
    for layer in range(layers):
        expected += GATES[cell] * H * ((E if layer == 0 else H) + H + 2)
    assert Architecture(cell, V, (H,) * layers, E).num_parameters == expected


def test_parameters_of_other_cells() -> None:
    """Three peepholes for each unit; two or three gates that read the input alone."""
    V, E, H = 11, 5, 6
    rest = (V + 1) * E + V * H + V
    for cell, layer in (
        ("lstm-peephole", 4 * H * (E + H + 2) + 3 * H),
        ("mingru", 2 * H * (E + 1)),
        ("minlstm", 3 * H * (E + 1)),
    ):
        assert Architecture(cell, V, (H,), E).num_parameters == rest + layer


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture("rnn", 1, (1,), 1, "sigmoid"),
        Architecture("lstm", MAX_VOCABULARY, (MAX_SIZE,) * MAX_LAYERS, MAX_SIZE),
        Architecture("gru", 2, (3, 4), 5),
        Architecture("gru", 300, (3, 4), 5, clusters=bytes(range(1, 256)) + bytes(45)),
    ],
)
def test_json_round_trip(architecture: Architecture) -> None:
    assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "GRU"},
        {"cell": None},
        {"cell": "gru", "activation": "relu"},
        {"activation": "softmax"},
        {"vocabulary": 0},
        {"vocabulary": MAX_VOCABULARY + 1},
        {"vocabulary": 2**31},
        {"vocabulary": True},
        {"vocabulary": 20.0},
        {"embedding": 0},
        {"embedding": "4"},
        {"embedding": MAX_SIZE + 1},
        {"hidden": []},
        {"hidden": 8},
        {"hidden": "8"},
        {"hidden": [8, "8"]},
        {"hidden": [8, 0]},
        {"hidden": [-1]},
        {"hidden": [10**7]},
        {"hidden": [float("nan")]},
        {"hidden": [True]},
        {"hidden": [8] * (MAX_LAYERS + 1)},
        {"hidden": {"0": 8}},
        {"clusters": 0},
        {"clusters": -1},
        {"clusters": 256},
        {"clusters": True},
        {"clusters": None},
        {"clusters": [1]},
        {"clusters": 2, "vocabulary": 1},
    ],
    ids=str,
)
def test_invalid_values(change: dict[str, Any]) -> None:
    """CK-12: a short message names the key, whatever its value."""
    with pytest.raises(ValueError, match=f"({'|'.join(change)}) cannot be ") as caught:
        Architecture.from_json(VALUES | change)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    "clusters", [b"\0", b"\1" * 4, b"\0" * 5, bytes([0, 1, 3, 3, 1]), bytearray(b"\1" * 5), [1] * 5], ids=repr
)
def test_clusters_that_are_none(clusters: Any) -> None:
    """Another number of tokens, no cluster, one without a token, and other types."""
    with pytest.raises(ValueError, match="clusters are not 0 to C"):
        Architecture("gru", 5, (3,), 2, clusters=clusters)


@pytest.mark.parametrize(
    "values", [None, [], "lstm", {}, VALUES | {"layers": 2}, {k: v for k, v in VALUES.items() if k != "cell"}], ids=str
)
def test_invalid_configs(values: object) -> None:
    """CK-12: not an object, or a key is missing or unknown."""
    with pytest.raises(ValueError, match="config"):
        Architecture.from_json(values)

"""The torch model: its loss and gradients against the reference, its first weights, its dropout."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from charrnn.engines.base import Array
from charrnn.engines.reference import ReferenceEngine
from charrnn.engines.torch.layers import RecurrentLayer
from charrnn.engines.torch.model import LanguageModel
from charrnn.network import cells
from charrnn.network.architecture import Architecture
from charrnn.network.dropout import dropout_masks
from charrnn.network.init import initial_weights
from tests.engines.models import USUAL

V = 4
CELLS = [("rnn", "relu"), ("rnn", "sigmoid"), *((cell, "tanh") for cell in cells.CELLS)]
MODELS = [
    Architecture(cell, vocabulary=V, hidden=hidden, embedding=2, activation=activation)
    for (cell, activation), hidden in product(CELLS, [(3,), (3, 2)])
]
TWO_LEVELS = Architecture("gru", V, (3,), 2, clusters=bytes([0, 1, 2, 1]))
B, T = 2, 6
RESETS = {
    "none": [[0, 1, 2, 3, 0, 1], [3, 2, 1, 0, 3, 2]],
    "first": [[V, 1, 2, 3, 0, 1], [3, 2, 1, 0, 3, 2]],
    "middle": [[0, 1, V, 3, V, V], [V, 2, 1, 0, V, 2]],
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from more, and wait long for them on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def name(value: object) -> str | None:
    if isinstance(value, Architecture):
        return f"{value.cell}-{value.activation}-{'x'.join(map(str, value.hidden))}"
    return None


def point(architecture: Architecture) -> dict[str, Array]:
    """Where derivatives are taken: weights and, as `state.LAYER`, the state handed in; float64."""
    random = np.random.default_rng(7)
    shapes = dict(architecture.shapes())
    for layer, H in enumerate(architecture.hidden):
        shapes[f"state.{layer}"] = (architecture.num_states, B, H)
    return {key: 0.7 * random.standard_normal(shape) for key, shape in shapes.items()}


def loadings(architecture: Architecture) -> list[Array]:
    """What the objective weighs nats (B, T) and the last state by, so that no gradient cancels."""
    random = np.random.default_rng(8)
    states = [random.standard_normal((architecture.num_states, B, H)) for H in architecture.hidden]
    return [random.standard_normal((B, T)), *states]


def reference_objective(architecture: Architecture, ids: Array, at: dict[str, Array]) -> complex:
    state = tuple(at[f"state.{layer}"] for layer in range(architecture.num_layers))
    engine = ReferenceEngine(architecture, at)
    nats, after = engine.nats(ids, state)
    first, *rest = loadings(architecture)
    # The first column is predicted from the state handed in; the model is not asked for it.
    total = (nats * first)[:, 1:].sum()
    return complex(total + sum((a * b).sum() for a, b in zip(after, rest, strict=True)))


def torch_objective(architecture: Architecture, ids: Array, at: dict[str, Array]) -> tuple[float, dict[str, Array]]:
    """The same from the torch model, with its gradient."""
    model = LanguageModel(architecture).double()
    model.load_weights({key: value for key, value in at.items() if not key.startswith("state")})
    state = tuple(torch.tensor(at[f"state.{layer}"], requires_grad=True) for layer in range(architecture.num_layers))
    tokens = torch.tensor(ids)
    logits, after = model(tokens, state)
    targets = tokens[:, 1:]
    logs = logits[:, :-1].log_softmax(dim=-1)
    nats = -logs.gather(2, targets.clamp(max=V - 1)[:, :, None])[:, :, 0].masked_fill(targets == V, 0)
    first, *rest = (torch.tensor(value) for value in loadings(architecture))
    total: Tensor = (nats * first[:, 1:]).sum()
    for a, b in zip(after, rest, strict=True):
        total = total + (a * b).sum()
    torch.autograd.backward(total)
    leaves = model.named_weights() | {f"state.{layer}": value for layer, value in enumerate(state)}
    return total.item(), {key: leaf.grad.numpy() for key, leaf in leaves.items() if leaf.grad is not None}


def gradient(
    function: Callable[[dict[str, Array]], complex], at: dict[str, Array], derivative: str
) -> dict[str, Array]:
    """Every partial derivative, one at a time: by the complex step (exact), or by central differences."""
    grad = {}
    for key, value in at.items():
        slope = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            if derivative == "complex step":
                to_device = value.astype(np.complex128)
                to_device[index] += 1e-30j
                slope[index] = function(at | {key: to_device}).imag / 1e-30
            else:
                ahead, behind = value.copy(), value.copy()
                ahead[index] += 1e-5
                behind[index] -= 1e-5
                slope[index] = (function(at | {key: ahead}) - function(at | {key: behind})).real / 2e-5
        grad[key] = slope
    return grad


def test_the_loss_of_two_levels_is_that_of_its_probabilities() -> None:
    """And its gradients are, though a cluster's softmax is made for its own targets alone; one has none."""
    at, targets = point(TWO_LEVELS), torch.tensor([[0, 1, 3, 1], [1, 0, 0, 3]])
    features, found = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)).double(), []
    for its_own in (True, False):
        model = LanguageModel(TWO_LEVELS).double()
        model.load_weights({key: value for key, value in at.items() if not key.startswith("state")})
        logits = model.head(features)
        assert torch.allclose(logits.exp().sum(dim=-1), torch.ones(2, 4, dtype=torch.float64))
        whole = -logits.gather(2, targets[..., None]).mean()
        loss = model.loss(features, targets) if its_own else whole
        loss.backward()
        found.append([loss.detach(), model.head.weight.grad, model.head.bias.grad])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def assert_same_gradients(architecture: Architecture, resets: str, derivative: str, within: float) -> None:
    ids, at = np.array(RESETS[resets]), point(architecture)
    value, grad = torch_objective(architecture, ids, at)
    assert math.isclose(value, reference_objective(architecture, ids, at).real, rel_tol=1e-12)
    true = gradient(lambda to_device: reference_objective(architecture, ids, to_device), at, derivative)
    assert set(grad) == set(true)
    for key, slope in true.items():
        error = np.abs(grad[key] - slope).max()
        assert error < within * max(1.0, np.abs(slope).max()), f"{key}: {error}"


@pytest.mark.parametrize(
    ("architecture", "resets"),
    [
        *((model, resets) for model in MODELS for resets in RESETS if model.cell in USUAL or resets == "middle"),
        (TWO_LEVELS, "middle"),
    ],
    ids=name,
)
def test_nu10_outputs_and_gradients_equal_the_reference(architecture: Architecture, resets: str) -> None:
    """NU-10: float64 nn.RNN, nn.LSTM and nn.GRU, every gradient to 1e-9, by the complex step."""
    assert_same_gradients(architecture, resets, "complex step", 1e-9)


@pytest.mark.parametrize("architecture", [model for model in MODELS[1::2] if model.cell in USUAL], ids=name)
def test_gradients_equal_central_differences(architecture: Architecture) -> None:
    """Gradients of the torch engine equal finite differences of the float64 reference."""
    assert_same_gradients(architecture, "middle", "central differences", 1e-6)


def test_nu10_a_wrong_gradient_is_seen() -> None:
    """Negative control: with one reset fewer on one side the comparison fails."""
    architecture, at = MODELS[-1], point(MODELS[-1])
    _, grad = torch_objective(architecture, np.array(RESETS["middle"]), at)
    _, others = torch_objective(architecture, np.array(RESETS["first"]), at)
    assert np.abs(grad["layers.0.weight_hh"] - others["layers.0.weight_hh"]).max() > 1e-3


@pytest.mark.parametrize(("cell", "activation"), CELLS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_packed_segments_equal_running_step_by_step(cell: str, activation: str, share: float) -> None:
    layer = RecurrentLayer(cell, 3, 4, activation).double()
    random = torch.Generator().manual_seed(5)
    for weight in layer.parameters():
        nn.init.normal_(weight, generator=random)
    S = 2 if cell == "lstm" else 1
    x = torch.randn(5, 11, 3, dtype=torch.float64, generator=random)
    state = torch.randn(S, 5, 4, dtype=torch.float64, generator=random)
    resets = torch.rand(5, 11, generator=random) < share
    outputs, after = layer(x, resets, state)
    for t in range(11):
        state = state.masked_fill(resets[:, t][None, :, None], 0)
        stepped, state = layer(x[:, t : t + 1], None, state)
        assert torch.allclose(outputs[:, t], stepped[:, 0], rtol=0, atol=1e-12)
    assert torch.allclose(after, state, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("vocabulary", "hidden"), [(65, (16,)), (3000, (64,)), (65, (32, 32, 32)), (2, (48, 16))], ids=str
)
@pytest.mark.parametrize(("cell", "activation"), [each for each in CELLS if each[0] != "lstm-cellless"])
def test_nu08_first_loss_is_ln_v(cell: str, activation: str, hidden: tuple[int, ...], vocabulary: int) -> None:
    """NU-08: of a model that has learnt nothing, within 5 %; a state that is nowhere below 0 costs a little more, and
    that of the form without a cell grows on and on."""
    architecture = Architecture(cell, vocabulary, hidden, embedding=32, activation=activation)
    model = LanguageModel(architecture)
    model.load_weights(initial_weights(architecture, 3))
    ids = torch.from_numpy(np.random.default_rng(4).integers(0, vocabulary, (8, 65)))
    with torch.no_grad():
        logits, _ = model(ids[:, :-1], model.zero_state(8))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()
    assert abs(loss / math.log(vocabulary) - 1) < (0.15 if cell == "minlstm" else 0.05)


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_first_weights(cell: str, activation: str) -> None:
    architecture = Architecture(cell, 65, (32, 32), embedding=16, activation=activation)
    weights = initial_weights(architecture, seed=2**64 - 1)
    assert {key: value.shape for key, value in weights.items()} == architecture.shapes()
    scale = 4 if activation == "sigmoid" else 1
    if cell not in ("mingru", "minlstm"):
        for gate in np.split(weights["layers.1.weight_hh"] / scale, architecture.num_gates):
            assert np.allclose(gate @ gate.T, np.eye(32), atol=1e-5)
    if cell.startswith("lstm") and cell != "lstm-cellless":
        assert weights["layers.1.bias_ih"].reshape(4, 32).sum(axis=1).tolist() == [0, 32, 0, 0]
    again = initial_weights(architecture, seed=2**64 - 1)
    other = initial_weights(architecture, seed=1)
    assert all(np.array_equal(weights[key], again[key]) for key in weights)
    assert not np.array_equal(weights["embedding"], other["embedding"])
    assert not np.array_equal(weights["layers.0.weight_ih"][:, :16], weights["layers.1.weight_ih"][:, :16])


def test_sigmoid_network_starts_as_the_image_of_a_tanh_one() -> None:
    sizes = (65, (16, 12), 8)
    tanh, sigmoid = (Architecture("rnn", *sizes, activation=kind) for kind in ("tanh", "sigmoid"))
    ids = torch.arange(20)[None]
    one, other = LanguageModel(tanh), LanguageModel(sigmoid)
    one.load_weights(initial_weights(tanh, 6))
    other.load_weights(initial_weights(sigmoid, 6))
    state = tuple(torch.rand(1, 1, H) for H in (16, 12))
    outputs, _ = one.outputs(ids, state)
    images, _ = other.outputs(ids, tuple((1 + layer) / 2 for layer in state))
    assert torch.allclose(images, (1 + outputs) / 2, atol=1e-5)


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_nu09_every_cell_learns(cell: str, activation: str) -> None:
    """A part of NU-09: some characters, twice, are learnt to below half their first loss in 60 steps of Adam;
    an LSTM of relus is slower."""
    architecture = Architecture(cell, 8, (24,), embedding=8, activation=activation)
    model = LanguageModel(architecture)
    model.load_weights(initial_weights(architecture, 1))
    length = 50 if cell in USUAL else 12  # the others take their time
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, 8, (1, length)).repeat(2, axis=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        logits, _ = model(ids[:, :-1], model.zero_state(1))
        loss = nn.functional.cross_entropy(logits[0], ids[0, 1:])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] * (0.7 if cell == "lstm-relu" else 0.5)


@pytest.mark.parametrize("hidden", [(6,), (6, 6), (6, 5)], ids=str)
def test_masks_drop_what_they_name(hidden: tuple[int, ...]) -> None:
    architecture = Architecture("gru", 9, hidden, embedding=4)
    model = LanguageModel(architecture)
    model.load_weights(initial_weights(architecture, 1))
    ids = torch.arange(8).reshape(2, 4)
    masks = [torch.from_numpy(m) for m in dropout_masks(architecture, 0.5, seed=1, step=0, first_row=0, rows=2)]
    plain, _ = model(ids, model.zero_state(2))
    ones, _ = model(ids, model.zero_state(2), [torch.ones_like(mask) for mask in masks])
    assert torch.equal(plain, ones)
    for place in range(len(masks)):
        alone = [masks[place] if place == other else torch.ones_like(masks[other]) for other in range(len(masks))]
        logits, _ = model(ids, model.zero_state(2), alone)
        assert not torch.equal(plain, logits), f"mask {place} has no effect"
    x = model.embedding[ids]
    outputs, state = [], model.zero_state(2)
    for number, layer in enumerate(model.layers):
        x, _ = layer(x if number == 0 else x * masks[number - 1][:, None], None, state[number])
        outputs.append(x)
    logits, _ = model(ids, state, masks)
    assert torch.allclose(logits, model.head(model.features(outputs) * masks[-1][:, None]))


@pytest.mark.parametrize("architecture", MODELS, ids=name)
def test_weights_go_out_and_come_back(architecture: Architecture) -> None:
    model, other = LanguageModel(architecture), LanguageModel(architecture)
    assert not any(value.any() for value in model.weights().values())
    model.load_weights(initial_weights(architecture, 5))
    weights = model.weights()
    assert {key: value.shape for key, value in weights.items()} == architecture.shapes()
    assert list(weights) == list(architecture.shapes())
    assert all(value.dtype == np.float32 and value.flags.c_contiguous for value in weights.values())
    assert sum(parameter.numel() for parameter in model.parameters()) == architecture.num_parameters
    other.load_weights(weights)
    ids = torch.tensor(RESETS["middle"])
    assert torch.equal(model(ids, model.zero_state(2))[0].detach(), other(ids, other.zero_state(2))[0].detach())
    weights["embedding"][:] = 0
    assert model.weights()["embedding"].any(), "weights() must copy"


def test_a_wrong_shape_is_refused() -> None:
    model = LanguageModel(MODELS[0])
    weights = model.weights()
    with pytest.raises(ValueError, match="head"):
        model.load_weights(weights | {"head.bias": weights["head.bias"][:1]})
    with pytest.raises(ValueError, match="are missing or unknown"):
        model.load_weights({"head.bias": weights["head.bias"]})


def test_torchs_own_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    LanguageModel(MODELS[0]).load_weights(initial_weights(MODELS[0], 1))
    assert torch.equal(before, torch.get_rng_state())


def test_cpu_engines_do_without_torch() -> None:
    modules = "charrnn.rng, charrnn.engines.numpy.inference, charrnn.engines.reference"
    program = f"import sys, {modules}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"

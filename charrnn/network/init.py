"""Initial weights: see `initial_weights`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream, generator

Array = npt.NDArray[Any]


def initial_weights(architecture: Architecture, seed: int) -> dict[str, Array]:
    """Return float32 initial weights, a function of the seed alone.

    They are the same on every machine but for the last bit, where LAPACK rounds differently.

    - The embedding is normal with standard deviation 1/2: with 0.1 all tokens have nearly the same embedding at first,
      and a GRU's loss is half a nat higher after 150 steps. The head is so small that the first loss is ln V.
    - Input matrices are uniform with variance 1 / fan_in (LeCun et al. 1998). Recurrent matrices are orthogonal, each
      gate's by itself (Saxe et al. 2013), for relu too: with the identity (Le et al. 2015) the activations grow
      without bound over a state that is carried through a whole text.
    - Biases and peepholes are zero, except the bias of a forget gate, which is 1 (Gers et al. 2000; Jozefowicz et al.
      2015).
    - A sigmoid network starts as the image of a tanh network under sigmoid(a) = (1 + tanh(a/2)) / 2. Otherwise a
      derivative of 1/4 and a mean output of 1/2 make its state decay at once, and it learns little.

    Args:
        architecture: the model's sizes.
        seed: the run's seed.

    Returns:
        Arrays named and shaped as `Architecture.shapes`.
    """
    weights: dict[str, Array] = {}
    cell = architecture.cell_type
    for number, (name, shape) in enumerate(architecture.shapes().items()):
        rng = generator(seed, RngStream.INIT_WEIGHTS, number)
        if name == "embedding":
            value = 0.5 * rng.standard_normal(shape)
        elif name == "head.weight":
            value = 0.2 / np.sqrt(shape[1]) * rng.standard_normal(shape)
        elif name.endswith("weight_ih"):
            value = rng.uniform(-1, 1, shape) * np.sqrt(3 / shape[1])
        elif name.endswith("weight_hh"):
            value = np.concatenate([_orthogonal(rng, shape[1]) for _ in range(architecture.num_gates)])
        else:
            value = np.zeros(shape)
        if name.endswith("bias_ih") and cell.forget_gate:
            value.reshape(len(cell.gates), -1)[cell.gates.index(cell.forget_gate)] = 1
        weights[name] = value.astype(np.float32)
    if architecture.activation == "sigmoid":
        _tanh_to_sigmoid(architecture, weights)
    return weights


def _orthogonal(rng: np.random.Generator, size: int) -> Array:
    """Return an orthogonal matrix (H, H), float64, drawn uniformly (by Haar measure)."""
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)))  # with LAPACK's own signs it would not be uniform


def _tanh_to_sigmoid(architecture: Architecture, weights: dict[str, Array]) -> None:
    """Change a tanh network's weights, in place, into those of a sigmoid network with outputs h' = (1 + h) / 2.

    h' = sigmoid(a') has that relation to h = tanh(W x + U h) if a' = 2 (W x + U (2 h' - 1)), and likewise where x is
    the h of the layer below.
    """
    for layer in range(architecture.num_layers):
        W, U = weights[f"layers.{layer}.weight_ih"], weights[f"layers.{layer}.weight_hh"]
        bias = -2 * U.sum(axis=1)
        W *= 2
        U *= 4
        if layer > 0:
            bias -= W.sum(axis=1)
            W *= 2
        weights[f"layers.{layer}.bias_ih"] += bias

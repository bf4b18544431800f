"""The weights that a model begins with."""

from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.network.architecture import Architecture
from charrnn.rng import RngStream, generator

Array = npt.NDArray[Any]


def initial_weights(architecture: Architecture, seed: int) -> dict[str, Array]:
    """Float32 weights to begin training with, a function of the seed alone.

    The same on every machine but for the last bit, where its LAPACK rounds otherwise.

    - The embedding is normal of deviation 1/2: with 0.1 the symbols look alike at first, and a GRU is
      half a nat behind after 150 steps. The head is so small that the first loss is ln V.
    - Input matrices are uniform of variance 1 / fan in (LeCun et al. 1998), recurrent ones orthogonal gate
      by gate (Saxe et al. 2013), also for relu: the identity (Le et al. 2015) adds up without bound over
      a state that is carried through a whole text.
    - Biases and peepholes are zero, but 1 is the bias of a forget gate (Gers et al. 2000; Jozefowicz et al. 2015).
    - The sigmoid network starts as the image of a tanh one under sigmoid(a) = (1 + tanh(a/2)) / 2.
      Otherwise a slope of 1/4 and a mean output of 1/2 make it forget at once, and it learns little.

    Args:
        architecture: the model's sizes.
        seed: of the run.
    """
    weights: dict[str, Array] = {}
    cell = architecture.kind
    for number, (name, shape) in enumerate(architecture.shapes().items()):
        draw = generator(seed, RngStream.INITIALISE, number)
        if name == "embedding":
            value = 0.5 * draw.standard_normal(shape)
        elif name == "head.weight":
            value = 0.2 / np.sqrt(shape[1]) * draw.standard_normal(shape)
        elif name.endswith("weight_ih"):
            value = draw.uniform(-1, 1, shape) * np.sqrt(3 / shape[1])
        elif name.endswith("weight_hh"):
            value = np.concatenate([_orthogonal(draw, shape[1]) for _ in range(architecture.gates)])
        else:
            value = np.zeros(shape)
        if name.endswith("bias_ih") and cell.forget:
            value.reshape(len(cell.gates), -1)[cell.gates.index(cell.forget)] = 1
        weights[name] = value.astype(np.float32)
    if architecture.activation == "sigmoid":
        _tanh_to_sigmoid(architecture, weights)
    return weights


def _orthogonal(draw: np.random.Generator, size: int) -> Array:
    """A matrix drawn evenly from all orthogonal ones (H, H), float64."""
    q, r = np.linalg.qr(draw.standard_normal((size, size)))
    return np.asarray(q * np.sign(np.diag(r)))  # a sign left to LAPACK would not be even


def _tanh_to_sigmoid(architecture: Architecture, weights: dict[str, Array]) -> None:
    """Make h' = sigmoid(W' x' + U' h' + b') follow h = tanh(W x + U h), as h' = (1 + h) / 2.

    So a' = 2 (W x + U (2 h' - 1)), and likewise where x is the h of the layer below.
    """
    for layer in range(architecture.layers):
        W, U = weights[f"layers.{layer}.weight_ih"], weights[f"layers.{layer}.weight_hh"]
        bias = -2 * U.sum(axis=1)
        W *= 2
        U *= 4
        if layer > 0:
            bias -= W.sum(axis=1)
            W *= 2
        weights[f"layers.{layer}.bias_ih"] += bias

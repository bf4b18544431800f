"""What engines have in common: states, features and weights as arrays."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.engines.base import Array, State
from charrnn.network.architecture import Architecture


def zero_state(architecture: Architecture, batch: int, dtype: npt.DTypeLike = np.float32) -> State:
    """Return the state of `batch` rows that have read nothing, (S, B, H) of each layer."""
    return tuple(np.zeros((architecture.num_states, batch, H), dtype) for H in architecture.hidden)


def layer_features(architecture: Architecture, outputs: Sequence[Array]) -> Array:
    """Return what the head reads, (..., F), from each layer's output (..., H)."""
    if len(outputs) == 1:
        return outputs[0]
    if not architecture.sums_layers:
        return np.concatenate(outputs, axis=-1)
    total = outputs[0] + outputs[1]
    for output in outputs[2:]:
        total += output
    return total


def check_weights(weights: Mapping[str, Array], architecture: Architecture) -> None:
    """Check names and shapes of weights.

    Raises:
        ValueError: they are not those of `Architecture.shapes`.
    """
    shapes = architecture.shapes()
    if set(weights) != set(shapes):
        raise ValueError(f"weights {sorted(set(weights) ^ set(shapes))} are missing or unknown")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ValueError(f"the weight {name} is of shape {weights[name].shape}, not {shape}")


def gradient_views(gradients: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return each weight's part of `TrainingEngine.gradients`, of the weight's shape."""
    views, begin = {}, 0
    for name, shape in shapes.items():
        end = begin + math.prod(shape)
        views[name] = gradients[begin:end].reshape(shape)
        begin = end
    return views


def as_rows(x: Array, shape: tuple[int, int, int]) -> Array:
    """Return an array of this shape (T, B, N) as float32 rows (T * B, N) of any stride; what the core has made is not
    copied.

    Raises:
        ValueError: it is of another shape.
    """
    if x.shape != shape:
        raise ValueError(f"an array of shape {x.shape}, not {shape}")
    rows = x.astype(np.float32, copy=False).reshape(-1, shape[2])
    return rows if rows.strides[1] == rows.itemsize else np.ascontiguousarray(rows)


def row_stride(rows: Array) -> int:
    """Return how many numbers lie from one row to the next."""
    return rows.strides[0] // rows.itemsize

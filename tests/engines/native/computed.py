"""What the core computes of small models: a step of training, its gradients, and a digest of everything. PyTorch is not
imported."""

import hashlib
import math
from functools import cache
from typing import NamedTuple

import numpy as np

from charrnn.config.sample import SampleConfig
from charrnn.engines.arrays import gradient_views
from charrnn.engines.base import Array, OptimizerParams, TrainingEngine
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.native.training import NativeTraining
from charrnn.generation.sampling import make_sampler
from charrnn.network.architecture import Architecture
from tests.engines.models import CELLS, USUAL, drawn, requested

V = 11


def ids_of(B: int, T: int, starts: float, vocabulary: int = V, seed: int = 5) -> tuple[Array, Array]:
    """What a step reads and is to predict."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, vocabulary, (B, T))
    read = np.where(random.random((B, T)) < starts, vocabulary, ids)
    return read, random.integers(0, vocabulary, (B, T))


class Setting(NamedTuple):
    """A step's state before, the masks, and the loss's derivatives by the state after, which counts too."""

    state: list[Array]
    masks: list[Array] | None
    after: list[Array]


def setting_of(architecture: Architecture, B: int, masks: bool) -> Setting:
    random = np.random.default_rng(8)
    shapes = [(architecture.num_states, B, H) for H in architecture.hidden]
    state, after = ([random.standard_normal(shape).astype(np.float32) for shape in shapes] for _ in range(2))
    widths = [*architecture.input_sizes[1:], architecture.feature_size]
    drawn_masks = [2 * (random.random((B, width)) < 0.5).astype(np.float32) for width in widths]
    return Setting(state, drawn_masks if masks else None, after)


def made(architecture: Architecture, threads: int = 1, precision: str = "float32") -> NativeTraining:
    model = NativeTraining(architecture, precision)
    model.set_num_threads(threads)
    model.load_weights(drawn(architecture, scale=0.2))
    return model


def native(architecture: Architecture, threads: int = 1, precision: str = "float32") -> NativeInference:
    return NativeInference(architecture, drawn(architecture, scale=0.2), threads, precision)


def large(cell: str = "gru", layers: int = 1) -> Architecture:
    """So large that all threads are woken up for it."""
    return Architecture(cell, 70, (200,) * layers, embedding=16)


def learnt(model: NativeTraining, ids: Array, targets: Array, masks: bool) -> tuple[float, dict[str, Array]]:
    """The cost of a step, and its gradients by the weights and by the state before."""
    setting = setting_of(model.architecture, len(ids), masks)
    features, after = model.forward(ids, tuple(setting.state), setting.masks)
    loss, grad = model.loss(features, targets)
    before = model.backward(grad, tuple(setting.after))
    for layer, slope in zip(after, setting.after, strict=True):
        loss += float(layer.ravel().astype(float) @ slope.ravel())
    return loss, {f"state {number}": slope for number, slope in enumerate(before)} | model.grads


def gradients_of(model: TrainingEngine) -> dict[str, Array]:
    return gradient_views(np.asarray(model.gradients), model.architecture.shapes())


def optimized(model: TrainingEngine) -> tuple[dict[str, Array], list[float]]:
    """Weights after some steps of AdamW, most of them clipped, and the gradients' norms."""
    optimizer = model.make_optimizer(OptimizerParams("adamw", 0.3))
    norms = []
    for number in range(5):
        random = np.random.default_rng(number)
        for name, shape in model.architecture.shapes().items():
            gradients_of(model)[name][:] = random.standard_normal(shape)
        norms.append(float(optimizer.gradient_norm()))
        optimizer.step(0.01 * (number + 1), 1.0 if number else math.inf)
    return model.weights(), norms


@cache
def digest(threads: int, precision: str = "float32") -> str:
    """Of all that the core computes for some models: a score of several rows, a step, gradients, texts."""
    hashed = hashlib.sha256()
    for cell, activation in CELLS:
        clusters = bytes(token % 3 for token in range(V)) if cell == "gru" else b""
        architecture = Architecture(cell, V, (33, 20), embedding=9, activation=activation, clusters=clusters)
        engine = native(architecture, threads, precision)
        ids, _ = ids_of(5, 40, 0.1)
        nats, state = engine.score(ids, engine.zero_state(5))
        logits, after = engine.step(ids[:, 0], state)
        learned: list[Array] = []
        if precision != "int8":
            learned += learnt(made(architecture, threads, precision), *ids_of(5, 12, 0.1), masks=False)[1].values()
            learned += optimized(made(architecture, threads))[0].values()
        length = 200 if cell in USUAL else 40
        config = SampleConfig(length=length, num=9, temp=0.9, top_k=9, top_p=0.95, min_p=0.01)
        first = logits[:1], tuple(layer[:, :1] for layer in after)
        dfa = np.zeros((1, V), np.int32)
        request = requested(first, config, seed=6, dfa=dfa, batch_size=4, with_nats=True)
        written = make_sampler(engine, request).advance(60)
        assert len(written.ids) == 9 * length
        for array in (nats, logits, *state, *after, *written, *learned):
            hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()

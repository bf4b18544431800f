"""How long every cell takes, as a multiple of lstm: training, scoring and sampling.

    python benchmarks/cell_speed.py [--cells mgu,gru-v1] [--hidden 256] [--rounds 9] [--without-core]

One layer, 65 tokens, the embedding as wide as the layer, float32. Training, loss and gradients: B 32, T 64; scoring: 64
texts side by side; sampling: one text. Columns beside have what each cell takes without the core: PyTorch trains, NumPy
scores and samples.
"""

import argparse
import json
import statistics
from typing import Any

from contest import contest, ratio, serve

from charrnn.network.cells import CELL_NAMES, cell_and_activation

V = 65
TRAINED, SCORED, SAMPLED = (32, 64), (64, 64), (1, 256)
"""Rows, and characters of each in a call."""

WITHOUT = {"train": "torch", "score": "numpy", "sample": "numpy"}


def runner(kind: str, engine: str, cell: str, hidden: int) -> tuple[Any, int]:
    """Return what is timed, and the characters in it."""
    import numpy as np

    from charrnn.config.sample import SampleConfig
    from charrnn.engines.base import GenerationRequest, TokenDFA
    from charrnn.engines.select import inference_engine, resolve, training_engine
    from charrnn.generation.sampling import make_sampler
    from charrnn.machine import configure_threading
    from charrnn.network.architecture import Architecture
    from charrnn.network.init import initial_weights

    configure_threading()
    name, activation = cell_and_activation(cell)
    architecture = Architecture(name, V, (hidden,), hidden, activation)
    weights = initial_weights(architecture, 1)
    B, T = {"train": TRAINED, "score": SCORED, "sample": SAMPLED}[kind]
    ids, targets = np.random.default_rng(0).integers(0, V, (2, B, T))
    if kind == "train":
        learning = training_engine(resolve(engine=engine, training=True), architecture)
        learning.load_weights(weights)
        return lambda: learning.forward_backward(ids, targets, learning.zero_state(B)), B * T
    model = inference_engine(resolve(engine=engine), architecture, weights)
    if kind == "score":
        return lambda: model.score(ids, model.zero_state(B)), B * T
    logits, state = model.step(np.full(B, V), model.zero_state(B))
    request = GenerationRequest(
        logits,
        state,
        dfa_start=np.zeros(B, np.int32),
        per_prompt=1,
        params=SampleConfig(length=T),
        seed=1,
        dfa=TokenDFA(np.zeros((1, V), np.int32)),
        batch_size=B,
    )

    def sample() -> None:
        sampler = make_sampler(model, request)
        while len(sampler.advance(1.0).ids):
            pass

    return sample, B * T


def main() -> None:
    parser = argparse.ArgumentParser(description="How long every cell takes, as a multiple of lstm.")
    parser.add_argument("--cells", default=",".join(CELL_NAMES))
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--without-core", action="store_true", help="the columns of PyTorch and NumPy too")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        serve(*runner(*json.loads(arguments.contender)))
        return
    cells = ["lstm", *(cell for cell in arguments.cells.split(",") if cell != "lstm")]
    columns = [(kind, engine) for kind in WITHOUT for engine in ("auto", WITHOUT[kind])]
    columns = [each for each in columns if each[1] == "auto" or arguments.without_core]
    found: dict[str, list[str]] = {cell: [] for cell in cells}
    for kind, engine in columns:
        wanted = {"lstm": (kind, "auto", "lstm", arguments.hidden)}
        wanted |= {f"{cell} by {engine}": (kind, engine, cell, arguments.hidden) for cell in cells}
        speeds = contest(wanted, __file__, rounds=arguments.rounds, turn=0.2)
        for cell in cells:
            usual = statistics.median(speeds[f"{cell} by {engine}"]) / 1e3
            found[cell].append(f"{ratio(speeds, 'lstm', f'{cell} by {engine}'):.2f} ({usual:.1f}k/s)")
    titles = [kind if engine == "auto" else f"{kind}, {engine}" for kind, engine in columns]
    print("| cell |", " | ".join(titles), "|")
    print("|---" * (1 + len(columns)) + "|")
    for cell in cells:
        print("|", " | ".join([cell, *found[cell]]), "|", flush=True)


if __name__ == "__main__":
    main()

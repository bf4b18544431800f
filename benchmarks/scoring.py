"""Scoring: characters a second of charrnn's engines and of nn.GRU, for one text and for 64 side by side.

python benchmarks/scoring.py [--hidden 512] [--rounds 9]
"""

import argparse
import json
import math
import statistics
from typing import Any

from contest import contest, ratio, serve

V = 65
TEXTS = [(1, 1024), (64, 128)]
"""Rows, and characters of each in a call."""


def by_torch(hidden: int, B: int, T: int) -> Any:
    """The loss of a chunk, with the state carried, by PyTorch as a user would write it."""
    import torch
    from torch import nn

    embedding, rnn, head = nn.Embedding(V, hidden), nn.GRU(hidden, hidden, batch_first=True), nn.Linear(hidden, V)
    ids = torch.randint(0, V, (B, T + 1))
    state = None

    @torch.no_grad()
    def run() -> None:
        nonlocal state
        outputs, state = rnn(embedding(ids[:, :-1]), state)
        nn.functional.cross_entropy(head(outputs).flatten(0, 1), ids[:, 1:].flatten(), reduction="none")

    return run


def by_engine(name: str, precision: str, hidden: int, B: int, T: int) -> Any:
    """As `charrnn eval` does it."""
    from charrnn.machine import configure_threading

    configure_threading()
    import numpy as np

    from charrnn.engines.select import inference_engine, resolve
    from charrnn.network.architecture import Architecture

    architecture = Architecture("gru", V, (hidden,), hidden)
    draw = np.random.default_rng(0)
    weights = {key: draw.normal(0, 0.05, shape).astype(np.float32) for key, shape in architecture.shapes().items()}
    engine = inference_engine(resolve(engine=name, precision=precision), architecture, weights)
    ids, state = draw.integers(0, V, (B, T)), engine.zero_state(B)

    def run() -> None:
        nonlocal state
        _, state = engine.score(ids, state)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Scoring, charrnn's engines against nn.GRU.")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        name, precision, *shape = json.loads(arguments.contender)
        serve(by_torch(*shape) if name == "nn.GRU" else by_engine(name, precision, *shape), math.prod(shape[1:]))
        return
    print(f"GRU 1x{arguments.hidden}, characters a second; float32, and native with bfloat16 for products too\n")
    print("| texts | nn.GRU | numpy | native | bfloat16 | native / nn.GRU | native / numpy | bfloat16 / nn.GRU |")
    print("|---|---|---|---|---|---|---|---|")
    contenders = {each: (each, "float32") for each in ("nn.GRU", "numpy", "native")} | {
        "bfloat16": ("native", "bfloat16")
    }
    for B, T in TEXTS:
        commands = {title: (*kind, arguments.hidden, B, T) for title, kind in contenders.items()}
        speeds = contest(commands, __file__, rounds=arguments.rounds)
        medians = [f"{statistics.median(speeds[title]):,.0f}" for title in contenders]
        pairs = [("native", "nn.GRU"), ("native", "numpy"), ("bfloat16", "nn.GRU")]
        ratios = [f"{ratio(speeds, *pair):.2f}" for pair in pairs]
        print("|", " | ".join([str(B), *medians, *ratios]), "|", flush=True)


if __name__ == "__main__":
    main()

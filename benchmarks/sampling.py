"""Sampling: characters a second of charrnn's engines, and of nn.GRU called for one character at a time.

    python benchmarks/sampling.py [--rounds 9]

Both draw from the softmax at temperature 0.8; 65 tokens, the embedding as wide as the layer. nn.GRU writes one
text in every row of the table, without controls. What `max_copy` must not copy is a million characters at random: of 3
characters almost all have followers that are forbidden, of 30 none.
"""

import argparse
import json
import statistics
from typing import Any

from contest import contest, ratio, serve

V = 65
CASES: list[tuple[int, int, dict[str, Any]]] = [
    (256, 1, {}), (512, 1, {}), (512, 1, {"top_k": 20, "top_p": 0.9, "min_p": 0.01}), (512, 1, {"no_repeat": 8}),
    (512, 1, {"max_copy": 30}), (512, 1, {"max_copy": 3}), (256, 64, {}), (512, 64, {}), (512, 64, {"max_copy": 30}),
]  # fmt: skip
"""Hidden units, texts side by side, controls."""

LENGTH = 1000


def by_torch(hidden: int) -> Any:
    """As a user of PyTorch would write it."""
    import torch
    from torch import nn

    embedding, rnn, head = nn.Embedding(V, hidden), nn.GRU(hidden, hidden, batch_first=True), nn.Linear(hidden, V)
    token, state = torch.zeros(1, 1, dtype=torch.int64), None

    @torch.no_grad()
    def run() -> None:
        nonlocal token, state
        for _ in range(100):
            outputs, state = rnn(embedding(token), state)
            token = torch.multinomial(torch.softmax(head(outputs[:, -1]) / 0.8, dim=-1), 1)

    return run


def by_engine(
    name: str,
    hidden: int,
    texts: int,
    controls: dict[str, Any],
    *,
    cell: str = "gru",
    layers: int = 1,
    precision: str = "float32",
    threads: int | None = None,
) -> Any:
    """As `charrnn sample` does it."""
    from charrnn.machine import configure_threading

    configure_threading()
    import numpy as np

    from charrnn.config.sample import SampleConfig
    from charrnn.engines.base import GenerationRequest
    from charrnn.engines.select import inference_engine, resolve
    from charrnn.generation.constraints import token_dfa
    from charrnn.generation.copies import blocks_of, copy_index
    from charrnn.generation.prompts import read_prefix
    from charrnn.generation.sampling import make_sampler
    from charrnn.network.architecture import Architecture

    architecture = Architecture(cell, V, (hidden,) * layers, hidden)
    draw = np.random.default_rng(0)
    weights = {key: draw.normal(0, 0.05, shape).astype(np.float32) for key, shape in architecture.shapes().items()}
    engine = inference_engine(resolve(engine=name, precision=precision, threads=threads), architecture, weights)
    tokens = [bytes([ord(" ") + token]) for token in range(V)]
    copies, max_copy = None, controls.get("max_copy", 0)
    if max_copy:
        text = (draw.integers(0, V, 1_000_000) + ord(" ")).astype(np.uint8).tobytes()
        copies = copy_index(blocks_of([[text]], max_copy), max_copy, len(text) + 1, tokens)
    config = SampleConfig(temp=0.8, length=LENGTH, num=texts, **controls)
    request = GenerationRequest(
        *read_prefix(engine, np.zeros(0, np.int64)),
        dfa_start=np.zeros(1, np.int32),
        per_prompt=texts,
        params=config,
        seed=1,
        dfa=token_dfa(V, 0, ()),
        batch_size=texts,
        copies=copies,
    )

    def run() -> None:
        sampler = make_sampler(engine, request)
        while len(sampler.advance(0.02).ids):
            pass

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Sampling, charrnn's engines against nn.GRU.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        name, hidden, texts, controls = json.loads(arguments.contender)
        if name == "torch":
            serve(by_torch(hidden), 100)
        else:
            serve(by_engine(name, hidden, texts, controls), LENGTH * texts)
        return
    print("GRU, float32, characters a second\n")
    print("| GRU | texts | controls | nn.GRU, T = 1, one text | numpy | native | native / nn.GRU | native / numpy |")
    print("|---|---|---|---|---|---|---|---|")
    for hidden, texts, controls in CASES:
        commands = {name: (name, hidden, texts, controls) for name in ("torch", "numpy", "native")}
        speeds = contest(commands, __file__, rounds=arguments.rounds)
        medians = [f"{statistics.median(speeds[name]):,.0f}" for name in commands]
        ratios = [f"{ratio(speeds, 'native', name):.2f}" for name in ("torch", "numpy")]
        shown = ", ".join(f"{key} {value}" for key, value in controls.items()) or "none"
        print("|", " | ".join([f"1x{hidden}", str(texts), shown, *medians, *ratios]), "|", flush=True)


if __name__ == "__main__":
    main()

"""Whole training steps: charrnn's against the same model written with torch.nn.

A step is forward, backward, head, loss, clipping and AdamW; 65 symbols, the embedding as wide as the layers.

    python benchmarks/training.py [--cells gru,lstm,rnn] [--rounds 9]
"""

import argparse
import json
import math
import statistics
import sys
from typing import Any

from contest import contest, ratio, serve

V = 65
SHAPES = [(16, 256, 64, 1), (32, 256, 64, 1), (64, 256, 128, 1), (16, 384, 64, 1), (32, 512, 64, 1), (32, 512, 64, 2)]
"""B, H, T, layers."""


def torch_step(cell: str, B: int, H: int, T: int, layers: int, device: str = "cpu") -> Any:
    """As a user of PyTorch would write it."""
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(V, H)
            self.rnn = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell](H, H, layers, batch_first=True)
            self.head = nn.Linear(H, V)

        def forward(self, ids: Any, state: Any) -> Any:
            outputs, state = self.rnn(self.embedding(ids), state)
            return self.head(outputs), state

    torch.manual_seed(0)
    model = Model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    inputs, targets = torch.randint(0, V, (2, B, T), device=device).unbind()
    state = None

    def step() -> None:
        nonlocal state
        logits, after = model(inputs, state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state = tuple(each.detach() for each in after) if cell == "lstm" else after.detach()

    return step


def charrnn_step(cell: str, B: int, H: int, T: int, layers: int, device: str = "cpu", precision: str = "auto") -> Any:
    """As `charrnn train` takes it."""
    from charrnn.machine import processors, share_processors

    share_processors()
    import numpy as np

    from charrnn.architecture import Architecture
    from charrnn.config import TrainConfig
    from charrnn.data.rows import Chunk
    from charrnn.training.learner import Learner

    config = TrainConfig(
        cell=cell, batch=B, seq_len=T, hidden=(H,) * layers, lr=1e-3, threads=processors(), precision=precision
    )
    learner = Learner(Architecture(cell, V, (H,) * layers, H), config, device)
    inputs, targets = np.random.default_rng(0).integers(0, V, (2, B, T))
    chunk = Chunk(inputs, targets)
    return lambda: learner.step(chunk, 0, 1e-3)


def peak() -> float:
    """Floating-point operations a second of a large product of matrices, by torch on all threads."""
    import time

    import torch

    a = torch.rand(1536, 1536)
    times = []
    for _ in range(12):
        begin = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begin)
    return 2 * 1536**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Whole training steps, charrnn's against torch.nn's.")
    parser.add_argument("--cells", default="gru,lstm,rnn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        name, *shape = json.loads(arguments.contender)
        cell, B, H, T, layers = shape
        serve({"torch": torch_step, "charrnn": charrnn_step}[name](cell, B, H, T, layers), B * T)
        return
    from charrnn.cells import CELLS

    most = peak()
    print(f"a large product of matrices runs at {most / 1e9:.0f} GFLOP/s here\n")
    print("| cell | B | H | T | layers | torch.nn, k chars/s | charrnn, k chars/s | ratio | share of that speed |")
    print("|---|---|---|---|---|---|---|---|---|")
    for cell in arguments.cells.split(","):
        ratios = []
        for B, H, T, layers in SHAPES:
            shape = (cell, B, H, T, layers)
            speeds = contest({name: (name, *shape) for name in ("torch", "charrnn")}, __file__, rounds=arguments.rounds)
            found = ratio(speeds, "charrnn", "torch")
            theirs, ours = (statistics.median(speeds[name]) for name in ("torch", "charrnn"))
            # forward, and twice that backward; the first layer's input is looked up
            flops = 6 * (len(CELLS[cell].gates) * H * H * (2 * layers - 1) + V * H) * ours
            shown = (*shape, f"{theirs / 1e3:.1f}", f"{ours / 1e3:.1f}", f"{found:.2f}", f"{flops / most:.2f}")
            print("|", " | ".join(map(str, shown)), "|")
            sys.stdout.flush()
            if layers == 1:
                ratios.append(found)
        print(f"| {cell} | | | | 1 | | geometric mean | {math.exp(statistics.mean(map(math.log, ratios))):.2f} | |")


if __name__ == "__main__":
    main()

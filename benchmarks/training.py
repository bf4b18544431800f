"""Whole training steps: charrnn's against the same model written with torch.nn.

A step is forward, backward, head, loss, clipping and AdamW; 65 tokens, the embedding as wide as the layers.

    python benchmarks/training.py [--cells gru,lstm,rnn] [--precision bfloat16] [--rounds 9]

torch.nn's is in float32 always; with bfloat16, its autocast stands beside it.
"""

import argparse
import json
import math
import statistics
import sys
from typing import Any

from contest import contest, ratio, serve

V = 65
SHAPES = [
    (16, 256, 64, 1), (16, 256, 64, 2), (32, 256, 64, 1), (64, 256, 128, 1), (16, 384, 64, 1), (32, 512, 64, 1),
    (32, 512, 64, 2),
]  # fmt: skip
"""B, H, T, layers."""


def torch_step(cell: str, B: int, H: int, T: int, layers: int, device: str = "cpu", precision: str = "float32") -> Any:
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
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits, after = model(inputs, state)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state = tuple(each.detach().float() for each in after) if cell == "lstm" else after.detach().float()

    if device == "cpu" and precision != "float32":
        try:
            step()
        except RuntimeError:  # oneDNN has no such LSTM for this processor; PyTorch's own loop does it
            torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    return step


def charrnn_step(
    cell: str,
    B: int,
    H: int,
    T: int,
    layers: int,
    device: str = "cpu",
    precision: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
) -> Any:
    """As `charrnn train` takes it; threads: as many throughout, None: all there are, or what is faster just now."""
    from charrnn.machine import available_cpus, configure_threading

    configure_threading()
    import numpy as np

    from charrnn.config.train import TrainConfig
    from charrnn.dataset.batches import Batch
    from charrnn.network.architecture import Architecture
    from charrnn.network.cells import cell_and_activation
    from charrnn.training.learner import Learner, training_spec

    sizes: dict[str, Any] = {"cell": cell, "batch": B, "seq_len": T, "hidden": (H,) * layers}
    config = TrainConfig(**sizes, lr=1e-3, engine=engine, threads=threads or available_cpus(), precision=precision)
    name, activation = cell_and_activation(cell)
    architecture = Architecture(name, V, (H,) * layers, H, activation)
    learner = Learner(architecture, config, training_spec(config, device=device))
    if threads:
        learner.set_num_threads(threads)
    inputs, targets = np.random.default_rng(0).integers(0, V, (2, B, T))
    chunk = Batch(inputs, targets)
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
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        name, precision, *shape = json.loads(arguments.contender)
        cell, B, H, T, layers = shape
        kind = {"torch": torch_step, "autocast": torch_step, "charrnn": charrnn_step}[name]
        serve(kind(cell, B, H, T, layers, precision=precision), B * T)
        return
    from charrnn.network.cells import CELLS

    most = peak()
    print(f"a large product of matrices runs at {most / 1e9:.0f} GFLOP/s here\n")
    precision = arguments.precision
    kinds = {"torch": "float32", **({"autocast": precision} if precision != "float32" else {}), "charrnn": precision}
    speed = ", k chars/s"
    titles = {
        "torch": f"torch.nn{speed}",
        "autocast": f"its autocast{speed}",
        "charrnn": f"charrnn, {precision}{speed}",
    }
    print(f"| cell | B | H | T | layers | {' | '.join(titles[name] for name in kinds)} | ratio | share of that speed |")
    print("|---" * (7 + len(kinds)) + "|")
    for cell in arguments.cells.split(","):
        ratios = []
        for B, H, T, layers in SHAPES:
            shape = (cell, B, H, T, layers)
            commands = {name: (name, kind, *shape) for name, kind in kinds.items()}
            speeds = contest(commands, __file__, rounds=arguments.rounds)
            found = ratio(speeds, "charrnn", "torch")
            usual = {name: statistics.median(each) for name, each in speeds.items()}
            # forward, and twice that backward; the first layer's input is looked up
            flops = 6 * (len(CELLS[cell].gates) * H * H * (2 * layers - 1) + V * H) * usual["charrnn"]
            each = [f"{usual[name] / 1e3:.1f}" for name in kinds]
            shown = (*shape, *each, f"{found:.2f}", f"{flops / most:.2f}")
            print("|", " | ".join(map(str, shown)), "|")
            sys.stdout.flush()
            if layers == 1:
                ratios.append(found)
        mean = math.exp(statistics.mean(map(math.log, ratios)))
        print(f"| {cell} | geometric mean, one layer | | | {' |' * len(kinds)} {mean:.2f} | |")


if __name__ == "__main__":
    main()

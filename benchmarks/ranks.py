"""Steps of two processes with a thread each against those of one process with a thread, and with two.

Batches of 64 rows of 64 tokens in all, embedding 128, two layers of 512: each of two processes has 32 rows, and they
average their gradients over the loopback by Gloo.

    python benchmarks/ranks.py [--cells gru,lstm] [--rounds 9]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import contest, ratio, serve

B, T, V, E, HIDDEN = 64, 64, 100, 128, (512, 512)

CONTENDERS = {"1 x 1": (1, 1), "2 x 1": (2, 1), "1 x 2": (1, 2)}
"""By name: processes, and threads of each."""


def step_of(cell: str, threads: int, world: Any) -> Any:
    """Return what takes a step of this process's rows."""
    import numpy as np

    from charrnn.config.train import TrainConfig
    from charrnn.dataset.batches import Batch
    from charrnn.network.architecture import Architecture
    from charrnn.training.learner import Learner, training_spec

    config = TrainConfig(cell=cell, batch=B, seq_len=T, hidden=HIDDEN, lr=1e-3, threads=threads, device="cpu")
    learner = Learner(Architecture(cell, V, HIDDEN, E), config, training_spec(config), world)
    learner.set_num_threads(threads)  # and try no others
    ids = np.random.default_rng(0).integers(0, V, (2, B, T))
    inputs, targets = ids[:, learner.rows]
    batch = Batch(inputs, targets)
    return lambda: learner.step(batch, 0, 1e-3)


def contend(cell: str, processes: int, threads: int) -> None:
    """Be a contender: alone, or with another process that takes each step too."""
    from charrnn.machine import configure_threading

    configure_threading()
    if processes == 1:
        from charrnn.training.distributed import ALONE

        serve(step_of(cell, threads, ALONE), B * T)
        return
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder, "store"))
        words = json.dumps([cell, threads, store])
        other = subprocess.Popen([sys.executable, __file__, "--other", words], stdin=subprocess.DEVNULL)
        with member(store, 0) as world:
            step = step_of(cell, threads, world)

            def run() -> None:
                world.broadcast(True)
                step()

            serve(run, B * T)
            world.broadcast(False)
        other.wait()


def member(store: str, rank: int) -> Any:
    """Return the world of two processes that meet by a file."""
    import torch
    import torch.distributed as dist

    from charrnn.training.distributed import join

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    return join()


def assist(cell: str, threads: int, store: str) -> None:
    """Be the second of two processes, until the first has ended."""
    from charrnn.errors import LostProcessError
    from charrnn.machine import configure_threading

    configure_threading()
    try:
        with member(store, 1) as world:
            step = step_of(cell, threads, world)
            while world.broadcast(True):
                step()
    except LostProcessError:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Steps of two processes against those of one.")
    parser.add_argument("--cells", default="gru,lstm")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--other", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        contend(*json.loads(arguments.contender))
        return
    if arguments.other:
        assist(*json.loads(arguments.other))
        return
    print("| cell | " + " | ".join(f"{name}, chars/s" for name in CONTENDERS) + " | 2 x 1 : 1 x 1 | 2 x 1 : 1 x 2 |")
    print("|" + "---|" * (len(CONTENDERS) + 3))
    for cell in arguments.cells.split(","):
        commands = {name: (cell, *ways) for name, ways in CONTENDERS.items()}
        speeds = contest(commands, __file__, rounds=arguments.rounds, turn=1.0)
        medians = [f"{sorted(each)[len(each) // 2]:,.0f}" for each in speeds.values()]
        ratios = [f"{ratio(speeds, '2 x 1', other):.2f}" for other in ("1 x 1", "1 x 2")]
        print(f"| {cell} | " + " | ".join([*medians, *ratios]) + " |", flush=True)


if __name__ == "__main__":
    main()

"""Training with two threads against one: alone, beside a busy program, and with one processor for both.

    python benchmarks/neighbours.py [--cell gru] [--rounds 15]

The busy program is a loop that this one starts, on any processor, and ends. The table has how many times as fast two
threads are; a run tries the other numbers of threads now and then, which is off here.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

from contest import contest, ratio, serve
from training import charrnn_step

SHAPES = [(16, 128, 64, 1), (16, 256, 64, 1), (16, 256, 64, 2)]
"""B, H, T, layers."""

PLACES = ("alone", "beside a busy loop", "on one processor")

LONGEST = 600
"""Seconds after which the busy loop ends by itself."""


def busy_loop() -> "subprocess.Popen[bytes]":
    """Start a program that does nothing but use a processor."""
    program = f"import time\nend = time.monotonic() + {LONGEST}\nwhile time.monotonic() < end:\n    pass"
    return subprocess.Popen([sys.executable, "-c", program])


def step_with(threads: int, place: str, cell: str, B: int, H: int, T: int, layers: int) -> Any:
    """A training step with so many threads."""
    if place == "on one processor":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return charrnn_step(cell, B, H, T, layers, threads=threads)


def main() -> None:
    parser = argparse.ArgumentParser(description="Two threads against one, alone and beside a busy program.")
    parser.add_argument("--cell", default="gru")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        threads, place, cell, *shape = json.loads(arguments.contender)
        serve(step_with(threads, place, cell, *shape), shape[0] * shape[2])
        return
    print(f"| {arguments.cell}, B 16, T 64 | place | one thread, k chars/s | two threads | ratio |")
    print("|---|---|---|---|---|")
    for shape in SHAPES:
        for place in PLACES:
            commands = {str(count): (count, place, arguments.cell, *shape) for count in (1, 2)}
            neighbour = busy_loop() if place == "beside a busy loop" else None
            try:
                speeds = contest(commands, __file__, rounds=arguments.rounds)
            finally:
                if neighbour:
                    neighbour.kill()
                    neighbour.wait()
            usual = [f"{statistics.median(speeds[name]) / 1e3:.1f}" for name in commands]
            name = f"{shape[3]}x{shape[1]}"
            print("|", " | ".join([name, place, *usual, f"{ratio(speeds, '2', '1'):.2f}"]), "|", flush=True)


if __name__ == "__main__":
    main()

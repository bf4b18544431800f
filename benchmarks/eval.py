"""What `charrnn eval` scores a second, in each of its ways, and nn.GRU beside it; without the start of the process.

python benchmarks/eval.py [TEXT] [--hidden 512] [--rounds 9]

TEXT has a text a line; without one it is a list of words. The model is a GRU of random weights, which take as long.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from contest import contest, ratio, serve

WAYS: dict[str, tuple[str, ...]] = {
    "--streams 64": ("--streams", "64"),
    "--lines": ("--lines",),
    "--jsonl": ("--jsonl", "text"),
    "--csv": ("--csv", "1"),
    "one text": (),
    "--by token": ("--by", "token"),
    "--lines --by word": ("--lines", "--by", "word"),
}
"""Options, by what the table calls them."""

GOALS = {
    "--streams 64": ("nn.GRU", 2.5),
    "--lines": ("--streams 64", 0.8),
    "--jsonl": ("--lines", 0.8),
    "--csv": ("--lines", 0.8),
    "--by token": ("one text", 0.5),
}
"""Which share of another way each is to reach."""

ROWS, LENGTH = 64, 128
"""What nn.GRU reads at a time."""


def make_texts(folder: Path, source: Path | None) -> int:
    """Write the texts in each form; return their characters, ends included."""
    lines = source.read_text(encoding="utf-8").splitlines() if source else dir(os) * 40
    (folder / "lines.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    objects = (json.dumps({"id": number, "text": line}) + "\n" for number, line in enumerate(lines))
    (folder / "objects.jsonl").write_text("".join(objects), encoding="utf-8")
    cells = (f'"{line}",{number}\n' for number, line in enumerate(lines))
    (folder / "cells.csv").write_text("".join(cells), encoding="utf-8")
    return sum(map(len, lines)) + len(lines)


def make_model(folder: Path, hidden: int) -> None:
    """Save a model that knows the texts' characters."""
    import numpy as np

    from charrnn.checkpoint.format import Checkpoint, write
    from charrnn.network.architecture import Architecture
    from charrnn.tokenizers.char import CharTokenizer

    points = np.unique(list(map(ord, (folder / "lines.txt").read_text(encoding="utf-8"))))
    tokenizer = CharTokenizer(points.astype(np.uint32))
    architecture = Architecture("gru", tokenizer.size, (hidden,), hidden)
    draw = np.random.default_rng(0)
    weights = {key: draw.normal(0, 0.05, shape).astype(np.float32) for key, shape in architecture.shapes().items()}
    write(folder / "model.safetensors", Checkpoint(architecture, tokenizer, weights))


def by_program(folder: Path, way: str) -> Any:
    """The command, in this process, its output dropped."""
    from charrnn.__main__ import main as charrnn_main

    file = {"--jsonl": "objects.jsonl", "--csv": "cells.csv"}.get(way, "lines.txt")
    words = ["eval", "-q", "-m", str(folder / "model.safetensors"), *WAYS[way], str(folder / file)]

    def run() -> None:
        with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):
            if charrnn_main(words):
                raise SystemExit(f"charrnn {' '.join(words)} failed")

    return run


def contender(kind: str, folder: Path, chars: int, hidden: int) -> tuple[Any, float]:
    """What a contender runs, and how many characters that scores."""
    if kind == "nn.GRU":
        from scoring import by_torch

        return by_torch(hidden, ROWS, LENGTH), ROWS * LENGTH
    return by_program(folder, kind), chars


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path, nargs="?")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        kind, folder, chars, hidden = json.loads(options.contender)
        serve(*contender(kind, Path(folder), chars, hidden))
        return
    with tempfile.TemporaryDirectory() as name:
        chars = make_texts(Path(name), options.text)
        make_model(Path(name), options.hidden)
        kinds = ["nn.GRU", *WAYS]
        commands = {kind: (kind, name, chars, options.hidden) for kind in kinds}
        speeds = contest(commands, __file__, rounds=options.rounds, turn=0.1)
    print(f"GRU 1x{options.hidden}, {chars:,} characters, Python {sys.version.split()[0]}\n")
    print("| way | characters a second | share | of | goal |\n|---|---|---|---|---|")
    for kind in kinds:
        other, goal = GOALS.get(kind, ("", 0.0))
        share = f"{ratio(speeds, kind, other):.2f} | {other} | {goal}" if other else " | | "
        print(f"| {kind} | {statistics.median(speeds[kind]):,.0f} | {share} |", flush=True)


if __name__ == "__main__":
    main()

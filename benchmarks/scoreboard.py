"""What charrnn learns in a given time, with its own defaults.

    python benchmarks/scoreboard.py SHARED [--rows shakespeare-60s,names-60s] [--seeds 3] [--full]

SHARED is a folder with tinyshakespeare.txt and names.txt; the other texts are Python's own. Everything counts as
time, from the start of the command to the scored and saved model. A row is `charrnn train` as the table names it, with
the command's own figures: of all of the validation text, unless the row says of how much.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import training
from contest import contest
from trained import trained

ROWS = {
    "shakespeare-15s": ("tinyshakespeare.txt", "--time", "15s"),
    "shakespeare-60s": ("tinyshakespeare.txt", "--time", "60s"),
    "shakespeare-5m": ("tinyshakespeare.txt", "--time", "5m"),
    "names-60s": ("names.txt", "--records", "--time", "60s"),
    "python-docs-5m": ("python-docs", "--time", "5m"),
    "python-stdlib-5m": ("python-stdlib", "--time", "5m"),
}
"""The text, and the rest of the command."""

LONG = {"shakespeare-15m": ("tinyshakespeare.txt", "--time", "15m")}
"""Rows of a full board alone."""

COLUMNS = (
    "row", "seed", "seconds", "characters read", "hidden", "parameters", "carried", "window-256", "bits/char",
    "5-gram", "xz", "validation tokens",
)  # fmt: skip


def yardstick() -> float:
    """Tokens a second that `nn.GRU` 1x256 learns from here, in rows of 16 times 64."""
    speeds = contest({"torch": ("torch", "float32", "gru", 16, 256, 64, 1)}, training.__file__, rounds=5)
    return statistics.median(speeds["torch"])


def main() -> None:
    """Print a Markdown table."""
    rows = ROWS | LONG
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--rows", help=f"some of {', '.join(rows)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="the long rows too")
    options = parser.parse_args()
    chosen = options.rows.split(",") if options.rows else list(rows if options.full else ROWS)
    if unknown := set(chosen) - set(rows):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    print(f"nn.GRU 1x256 trains on {yardstick() / 1e3:.1f} thousand characters a second here;", end=" ")
    print(f"Python {sys.version.split()[0]}; nats per token, and bits per character\n")
    print("|", " | ".join(COLUMNS), "|\n|" + "---|" * len(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            carried = []
            for seed in range(options.seeds):
                text, *rest = rows[name]
                corpus = str(options.shared / text) if text.endswith(".txt") else text
                done = trained(corpus, *rest, "--seed", str(seed), "--out", str(Path(folder) / f"{name}-{seed}"))
                simple = done["baselines"] or {}
                read = done["step"] * done["batch"] * done["seq_len"]
                shown = (
                    name, seed, f"{done['seconds']:.1f}", f"{read / 1e6:.2f}M",
                    "x".join(map(str, done["hidden"])), f"{done['parameters'] / 1e3:.0f}k", f"{done['carried']:.4f}",
                    f"{done['window_256']:.4f}", f"{done['bits_per_char']:.3f}",
                    *(f"{simple[key]:.3f}" if simple.get(key) else "" for key in ("ngram", "xz")),
                    f"{done['tokens']:,}" + f" of {done['val_tokens']:,}" * (done["tokens"] < done["val_tokens"]),
                )  # fmt: skip
                carried.append(done["carried"])
                print("|", " | ".join(map(str, shown)), "|", flush=True)
            if options.seeds > 1:
                print(f"| {name} | median | | | | | {statistics.median(carried):.4f} |", flush=True)


if __name__ == "__main__":
    main()

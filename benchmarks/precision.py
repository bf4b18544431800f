"""Whether training in bfloat16 learns as well as in float32: the same steps, several seeds.

    python benchmarks/precision.py tinyshakespeare.txt python-docs

What a processor without bfloat16 computes is what one with it does, but for the rounding of sums: only slower.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from trained import trained

PRECISIONS = ("float32", "bfloat16")


def train(corpus: str, precision: str, seed: int, steps: int, hidden: int, out: Path) -> float:
    """Nats per token of the validation text, its state carried."""
    done = trained(
        corpus, "--cell", "gru", "--hidden", str(hidden), "--precision", precision, "--seed", str(seed),
        "--steps", str(steps), "--patience", "0", "--out", str(out),
    )  # fmt: skip
    return float(done["carried"])


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    print(f"GRU 1x{options.hidden}, {options.steps:,} steps; nats per token, carried\n")
    print("| corpus | precision | seeds | mean | standard deviation |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for corpus in options.corpora:
            found: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
            for seed in range(options.seeds):
                for precision, nats in found.items():
                    out = Path(folder) / f"{Path(corpus).stem}-{precision}-{seed}"
                    nats.append(train(corpus, precision, seed, options.steps, options.hidden, out))
            for precision, nats in found.items():
                each = " ".join(f"{value:.4f}" for value in nats)
                spread = statistics.stdev(nats) if len(nats) > 1 else 0.0
                shown = (Path(corpus).stem, precision, each, f"{statistics.mean(nats):.4f}", f"{spread:.4f}")
                print("|", " | ".join(shown), "|", flush=True)


if __name__ == "__main__":
    main()

"""Every cell with every tokenizer for an equal time: bits per byte of the validation text.

    python benchmarks/combinations.py tinyshakespeare.txt --time 60s

Bits per byte compare across tokenizers, perplexities do not: a symbol is more or less text.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CELLS = ("rnn", "lstm", "gru")
TOKENIZERS = ("char", "byte", "sentencepiece")


def train(text: str, cell: str, tokenizer: str, time: str, out: Path) -> dict[str, float]:
    """The `done` event of one training."""
    command = [
        sys.executable, "-m", "charrnn", "train", text, "--cell", cell, "--tokenizer", tokenizer, "--time", time,
        "--out", str(out), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    event: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return event


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--time", default="60s")
    options = parser.parse_args()
    print(f"| cell | {' | '.join(TOKENIZERS)} |\n|---|{'---|' * len(TOKENIZERS)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for cell in CELLS:
            found = [
                train(options.text, cell, tokenizer, options.time, Path(folder) / f"{cell}-{tokenizer}")
                for tokenizer in TOKENIZERS
            ]
            print(f"| {cell} | {' | '.join('{:.3f}'.format(each['bits_per_byte']) for each in found)} |", flush=True)


if __name__ == "__main__":
    main()

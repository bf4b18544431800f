"""Every cell with every tokenizer for an equal time: bits per byte of the validation text.

    python benchmarks/combinations.py tinyshakespeare.txt --time 60s

Bits per byte compare across tokenizers, perplexities do not: a token is more or less text.
"""

import argparse
import tempfile

from trained import trained

CELLS = ("rnn", "lstm", "gru")
TOKENIZERS = ("char", "byte", "sentencepiece")


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
                trained(
                    options.text,
                    "--cell",
                    cell,
                    "--tokenizer",
                    tokenizer,
                    "--time",
                    options.time,
                    "--out",
                    f"{folder}/{cell}-{tokenizer}",
                )
                for tokenizer in TOKENIZERS
            ]
            print(f"| {cell} | {' | '.join('{:.3f}'.format(each['bits_per_byte']) for each in found)} |", flush=True)


if __name__ == "__main__":
    main()

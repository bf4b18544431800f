"""What `--match` draws, beside P(text | match), free draws that match, and beside what is forbidden step by step.

    python benchmarks/masking.py names.txt [--model MODEL] [--num 3000]

A GRU is trained on the names first, unless a model is named. Rows are of equally many texts. Two distributions, of
lengths or of first letters, differ by half the sum of their absolute differences (total variation); in brackets what
two free draws differ by.
"""

import argparse
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

from trained import trained

import charrnn
from charrnn.generation.generate import generate

PATTERNS = ["s[a-z]{4,8}", "[a-z]*qu[a-z]*"]


def distance(some: Sequence[str], others: Sequence[str], key: Callable[[str], object]) -> float:
    """Total variation of what `key` says of each text."""
    one, other = Counter(map(key, some)), Counter(map(key, others))
    return sum(abs(one[value] / len(some) - other[value] / len(others)) for value in one | other) / 2


def free(model: charrnn.Model, pattern: str, num: int, seed: int) -> Iterator[str]:
    """The first `num` texts that match, and then how many were drawn."""
    for drawn, text in enumerate(model.samples(0, seed=seed), 1):
        if re.fullmatch(pattern, text):
            yield text
            num -= 1
            if not num:
                print(f"<!-- {pattern}: {drawn:,} drawn freely -->", flush=True)
                return


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--num", type=int, default=3_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.model or f"{folder}/names"
        if not options.model:
            trained(options.names, "--records", "--cell", "gru", "--hidden", "256", "--steps", "2500", "--out", file)
        model = charrnn.load(file)
        print("| pattern | texts | characters | nats | distance of lengths | of first letters |")
        print("|---|---|---|---|---|---|")
        for pattern in PATTERNS:
            wanted = list(free(model, pattern, options.num, 1))
            again = list(free(model, pattern, options.num, 2))
            matched = list(model.samples(options.num, match=pattern, seed=3))
            with mock.patch("charrnn.generation.texts.generate_matching", generate):
                masked = list(model.samples(options.num, match=pattern, seed=3))
            for name, texts in (("drawn freely", wanted), ("`--match`", matched), ("step by step", masked)):
                chars = sum(map(len, texts)) / len(texts)
                nats = sum(score.nats for score in model.score_many(texts)) / len(texts)
                apart = ""
                if texts is not wanted:
                    keys: tuple[Callable[[str], object], ...] = (len, lambda text: text[0])
                    found = [(distance(texts, wanted, key), distance(again, wanted, key)) for key in keys]
                    apart = " | ".join(f"{one:.3f} ({other:.3f})" for one, other in found)
                print(f"| `{pattern}` | {name} | {chars:.2f} | {nats:.2f} | {apart or ' | '} |", flush=True)


if __name__ == "__main__":
    main()

"""A text with every fault that `charrnn check` finds, and the same text without."""

import numpy as np

RNG = np.random.default_rng(0)
WORDS = ["".join(RNG.choice([*"abcdehiklmnoprstuvw"], RNG.integers(2, 9))) for _ in range(2000)]
LINES = [" ".join(line) for line in RNG.choice(WORDS, (1500, 8)).tolist()]
TEXT = "".join(f"{line}\n" for line in LINES)

KINDS = {
    "encoding",
    "bom",
    "line-ends",
    "control",
    "normal-forms",
    "look-alikes",
    "long-lines",
    "duplicates",
    "repeats",
    "leakage",
}
"""What is found in it."""


def spoiled() -> bytes:
    """A text with every fault there is: 40 % of its lines come again, and its end, to be validated on, is old text."""
    lines = [*LINES, *LINES[:1000]]
    found = []
    for number, line in enumerate(lines):
        data = line.encode()
        match number % 25:
            case 3 | 13:
                data = line.replace("e", "\u00e9").encode()
            case 4:
                data = line.replace("e", "e\u0301").encode()
            case 5:
                data = " ".join(map(_with_look_alikes, line.split(" "))).encode()
            case 6:
                data = line.replace("e", "\u00e9").encode("latin-1")
            case 7:
                data = b"\x1b[31m" + data + b"\x07"
        found.append(data + (b"\r\n" if number % 3 == 0 else b"\n"))
    found.insert(700, b"QUJD" * 4000 + b"\n")
    return b"\xef\xbb\xbf" + b"".join(found)


def _with_look_alikes(word: str) -> str:
    """A word with Cyrillic letters among Latin ones, if it has both o or a and others."""
    spoiled = word.replace("o", "\u043e").replace("a", "\u0430")
    return spoiled if len(word) > 2 and {*word} - {"o", "a"} else word

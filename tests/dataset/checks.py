"""A text without faults, and what is found in others."""

from pathlib import Path

import numpy as np

from charrnn.corpus.formats import PLAIN_TEXT, TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.check import check_corpus
from charrnn.dataset.findings import Finding
from charrnn.dataset.prepare import PrepareOptions

RNG = np.random.default_rng(0)
WORDS = ["".join(RNG.choice([*"abcdefghij"], RNG.integers(2, 9))) for _ in range(500)]
CLEAN = [" ".join(line) for line in RNG.choice(WORDS, (400, 9)).tolist()]
"""Lines that do not come again."""


def findings(
    data: bytes, folder: Path, text_format: TextFormat = PLAIN_TEXT, val: bytes | None = None, share: float = 0.1
) -> list[Finding]:
    """What is found in a file."""
    files = [folder / "text.txt", folder / "val.txt"]
    files[0].write_bytes(data)
    files[1].write_bytes(val or b"")
    corpora = [read_corpus([str(file)], text_format, errors="replace") for file in files[: 1 if val is None else 2]]
    found, _ = check_corpus(corpora[0], corpora[1] if val is not None else None, PrepareOptions(val_fraction=share))
    return found


def of_kind(found: list[Finding], kind: str) -> Finding:
    [one] = [each for each in found if each.kind == kind]
    return one

"""That the scripts which need another machine, or hours, run at all; and that an ARPA file says what was counted."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from charrnn.scoring.kneser_ney import kneser_ney_texts, ngram_tables

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
def test_gpu_smoke(shared: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), str(shared / "tinyshakespeare.txt"), "--smoke"]
    done = subprocess.run(command, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()
    assert b"| lstm | 4, 32, 16, 2 |" in done.stdout
    assert b"failed" not in done.stdout


WORDS = ["</s>", "61", "62", "63", "20", "<unk>"]

CORPORA = {
    "words": [[1, 2, 4, 1, 3, 0], [1, 2, 1, 2, 3, 4, 1, 0], [2, 0], [1, 2, 4, 1, 0], [0]],
    "one line": [[1, 1, 1, 0]],
    "empty lines": [[0], [0], [0]],
    "many": [[*np.random.default_rng(line).geometric(0.5, line % 9).clip(1, 4), 0] for line in range(300)],
}
"""Tokens of `WORDS`, a list a line."""


class Arpa:
    """An ARPA file, read as its definition has it."""

    def __init__(self, text: str) -> None:
        head, *sections, end = text.split("\n\n")
        assert head.startswith("\\data\\")
        assert end == "\\end\\\n"
        counts = [int(line.split("=")[1]) for line in head.splitlines()[1:]]
        self.order = len(counts)
        self.stored: dict[tuple[str, ...], tuple[float, float]] = {}
        for length, (count, section) in enumerate(zip(counts, sections, strict=True), 1):
            title, *lines = section.splitlines()
            assert title == f"\\{length}-grams:"
            assert len(lines) == count
            for line in lines:
                log10p, words, *backoff = line.split("\t")
                assert len(backoff) == (length < self.order)
                gram = tuple(words.split(" "))
                assert len(gram) == length
                assert gram not in self.stored
                assert length == 1 or {gram[1:], gram[:-1]} <= self.stored.keys()  # KenLM needs them
                self.stored[gram] = float(log10p), float(*backoff)

    def log10p(self, context: tuple[str, ...], word: str) -> float:
        context = context[-(self.order - 1) :] if self.order > 1 else ()
        if (*context, word) in self.stored:
            return self.stored[*context, word][0]
        return self.stored.get(context, (0.0, 0.0))[1] + self.log10p(context[1:], word)


@pytest.mark.parametrize("order", [2, 3, 5])
@pytest.mark.parametrize("name", CORPORA)
def test_arpa(name: str, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every context, seen or not, probabilities sum to 1; they are those of Kneser-Ney."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from arpa import arpa_lines

    size, train = len(WORDS), [np.array(line) for line in CORPORA[name]]
    arpa = Arpa("".join(arpa_lines(ngram_tables(train, size, order), WORDS)))
    contexts = [("<s>", *rest) for n in range(4) for rest in itertools.product(WORDS[1:], repeat=n)]
    for context in [*contexts, (), ("63", "<unk>", "61"), ("61", "62", "20", "61")]:
        assert math.fsum(10 ** arpa.log10p(context, word) for word in WORDS) == pytest.approx(1, abs=1e-6), context
    val = [np.array(line) for line in ([1, 2, 4, 1, 0], [0], [5, 1, 2, 3, 0], [3, 3, 2, 4, 4, 1, 2, 4, 1, 3, 0])]
    found = []
    for line in [*train, *val]:
        words = ["<s>", *(WORDS[token] for token in line)]
        found += [arpa.log10p(tuple(words[:at]), words[at]) for at in range(1, len(words))]
    ours = np.log10(kneser_ney_texts(train, [*train, *val], size, order))
    assert found == pytest.approx(ours.tolist(), abs=1e-6)

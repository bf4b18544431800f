"""Models of every tokenizer and cell, and what scores with them."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.corpus.formats import Place, Row
from charrnn.engines.base import Array
from charrnn.engines.native import lib
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.scorer import Scorer
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny
from tests.scoring import oracle

TOKENIZERS: dict[str, Tokenizer] = {
    "char": tiny.char("\n\t abcdehimnorstuw;.é日"),  # of which U, ß and others are not
    "byte": ByteTokenizer(),
    "sentencepiece": tiny.pieces(),
}

tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS)
cells = pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
needs_core = pytest.mark.skipif(lib.library() is None, reason="the compiled core was not built here")
engines = pytest.mark.parametrize("engine", [pytest.param("native", marks=needs_core), "numpy", "torch"])


@functools.cache
def drawn(tokenizer: str, cell: str = "gru", hidden: tuple[int, ...] = (12,), separator: bytes = b"") -> Checkpoint:
    """Return a small model with weights at random."""
    return tiny.drawn(TOKENIZERS[tokenizer], cell, hidden, separator=separator)


@functools.cache
def ln_p(model: Checkpoint, text: bytes) -> Array:
    """Return what the oracle does, once for each text."""
    return oracle.ln_p(model, oracle.ids_of(model, text))


@functools.cache
def token_nats(model: Checkpoint, text: bytes) -> Array:
    """Return what the oracle does, once for each text."""
    return oracle.nats_of(model, oracle.ids_of(model, text))


@functools.cache
def nats(model: Checkpoint, text: bytes, prompt: bytes = b"") -> float:
    """Return what the oracle does, once for each text."""
    return oracle.nats(model, text, prompt)


def scorer(model: Checkpoint, engine: str = "auto", **options: Any) -> Scorer:
    """Return what scores with a model."""
    made = ScoringOptions(**options)
    return Scorer(tiny.engine_of(model, engine), model.tokenizer, model.separator, made)


def rows_of(texts: Sequence[bytes | None], prompts: Sequence[bytes | None] = ()) -> list[Row]:
    """Return texts as the lines of a file, each with its prompt."""
    pairs = itertools.zip_longest(texts, prompts)
    return [Row(text, b"", Place("f", line), prompt=prompt) for line, (text, prompt) in enumerate(pairs, 1)]


def close(expected: float | Sequence[float]) -> Any:
    """Return what compares as equal to the oracle's numbers."""
    return pytest.approx(expected, rel=1e-6, abs=1e-12)

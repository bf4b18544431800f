"""Rows with the state carried from one to the next: each one's share of the exact score of them all."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from charrnn.corpus.formats import Row, located
from charrnn.engines.base import Ids
from charrnn.errors import InputError
from charrnn.scoring.batching import Piece, score_ids
from charrnn.scoring.entries import Outcome
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import Scorer
from charrnn.tokenizers.utf8 import Utf8Decoder


def carried_outcomes(scorer: Scorer, rows: Iterable[tuple[Row, bytes] | None]) -> Iterator[tuple[Row, Outcome]]:
    """Return the score of each row, or why it has none, in order: a row that cannot be used is left out of the whole.

    Args:
        scorer: of a model that is not one of records.
        rows: each with what ends it, which is scored too. None: what has come is to be scored before more is fetched.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    waiting: deque[tuple[Row, Outcome | tuple[int, int, int, int]]] = deque()  # a score, or the lengths of one to come

    def pieces() -> Iterator[Piece]:
        is_first = True
        for each in rows:
            if each is None:
                yield Piece(np.zeros(0, np.int64))
                continue
            row, end = each
            if row.text is None or row.fault is not None:
                waiting.append((row, row.fault or Score()))
                continue
            try:
                ids, lengths = _encode(scorer, row.text + end, is_first)
            except InputError as error:
                waiting.append((row, located(error, row.place)))
                continue
            is_first = False
            waiting.append((row, lengths if len(ids) else Score(0.0, 0, 0, 0.0, *lengths)))
            if len(ids):
                yield Piece(ids, np.array([len(ids)]))

    for spans in score_ids(scorer.engine, scorer.tokenizer, [pieces()], slots=1, check=scorer.check):
        for nats, tokens, oov, oov_nats in zip(
            spans.nats.tolist(), spans.tokens.tolist(), spans.oov.tolist(), spans.oov_nats.tolist(), strict=True
        ):
            yield from _scored(waiting)
            row, lengths = waiting.popleft()
            assert isinstance(lengths, tuple)
            yield row, Score(nats, tokens, oov, oov_nats, *lengths)
        yield from _scored(waiting)


def _scored(waiting: "deque[tuple[Row, Outcome | tuple[int, int, int, int]]]") -> Iterator[tuple[Row, Outcome]]:
    """Return the rows before the next one whose score is to come."""
    while waiting:
        row, outcome = waiting[0]
        if not isinstance(outcome, Score | InputError):
            return
        waiting.popleft()
        yield row, outcome


def _encode(scorer: Scorer, text: bytes, is_first: bool) -> tuple[Ids, tuple[int, int, int, int]]:
    """Return the ids of a row, and its characters, bytes, words and replaced places."""
    encoder = scorer.tokenizer.encoder(scorer.options.decoding)
    if not is_first and isinstance(encoder, Utf8Decoder):
        encoder.bom = True  # it is a character within a text
    ids = encoder.feed(text, final=True)
    scorer.rows.unknown_chars.update(encoder.unknown_chars)
    return ids, (encoder.chars, encoder.bytes, encoder.words, encoder.replaced)

"""Ids to nats, for many texts side by side, each exactly: what all scoring comes down to."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from charrnn.engines.base import Array, Ids, InferenceEngine, State, take_rows
from charrnn.errors import NonFiniteError
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Tokenizer

BATCH_SLOTS = 64
"""Texts scored side by side at most."""


_CALL_IDS = 1 << 16  # in one call of an engine: bounds the memory


_PREFIX_IDS = 4096  # of a prompt, in one call


@dataclass
class _Slot:
    """A row of the batch: the text that it reads, and the ids fetched from that but not yet read.

    Attributes:
        text: its number. chunks: the rest of its ids; None: there are no more texts.
        ids: of the chunk being read; None: the text has not begun.
    """

    text: int = -1
    chunks: Iterator[Ids] | None = None
    ids: Ids | None = None


class _Segment(NamedTuple):
    """Where a part of a text stands in the batch: ids[row, begin:end]."""

    row: int
    text: int
    begin: int
    end: int


def score_ids(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    texts: Iterable[Iterable[Ids]],
    *,
    slots: int = BATCH_SLOTS,
    check: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Score]:
    """Score texts side by side, each exactly: from `<s>` to its end with the state carried.

    A row that has finished its text continues with the next one: `<s>` resets its state.

    Args:
        engine: reads the ids. tokenizer: the model's; it knows the nats of `<unk>`.
        texts: each an iterable of id arrays, one after another; fetched as they are needed. `<s>` among them is
            read and not scored: what stands between two is scored on its own.
        slots: how many texts are read side by side.
        check: called with the number of tokens read so far before each call of the engine; may raise.

    Yields:
        A score per text, in order: `nats`, `tokens`, `oov` and `oov_nats`; the lengths are 0.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    bos = engine.vocabulary
    waiting = enumerate(texts)
    rows: list[_Slot] = []
    while len(rows) < slots and (slot := _next_text(waiting)) is not None:
        rows.append(slot)
    state = engine.zero_state(max(1, len(rows)))
    scores: dict[int, Score] = {}
    finished: set[int] = set()
    due = read = 0
    while rows:
        T = max(16, min(4096, _CALL_IDS // len(rows)))
        ids = np.full((len(rows), T), bos, np.int64)  # (B, T)
        segments: list[_Segment] = []
        used = max(_fill(slot, ids[row], waiting, row, segments, finished) for row, slot in enumerate(rows))
        if used:
            check(read)
            ids = ids[:, :used]
            read += sum(segment.end - segment.begin for segment in segments)
            nats, state = engine.score(ids, state)
            oov = ids == tokenizer.unknown if tokenizer.unknown is not None else np.zeros_like(ids, bool)
            nats = nats + tokenizer.unknown_cost * oov
            is_bos = ids == bos
            for row, text, begin, end in segments:
                score = _score(nats[row, begin:end], oov[row, begin:end], is_bos[row, begin:end])
                scores[text] = scores[text] + score if text in scores else score
        unfinished = [row for row, slot in enumerate(rows) if slot.chunks is not None]
        if len(unfinished) < len(rows):
            rows = [rows[row] for row in unfinished]
            state = take_rows(state, unfinished)
        while due in finished:
            finished.remove(due)
            yield scores.pop(due, Score())
            due += 1


def _next_text(waiting: Iterator[tuple[int, Iterable[Ids]]]) -> _Slot | None:
    text, chunks = next(waiting, (-1, None))
    return None if chunks is None else _Slot(text, iter(chunks))


def _fill(
    slot: _Slot,
    ids: Ids,
    waiting: Iterator[tuple[int, Iterable[Ids]]],
    row: int,
    segments: list[_Segment],
    finished: set[int],
) -> int:
    """Put the slot's next ids into `ids` (T,), which is full of `<s>`, and those of further texts while there is room.

    Adds where each text's part stands to `segments`, and the texts that end to `finished`.

    Returns:
        How many of `ids` are in use.
    """
    place = 0
    while place < len(ids) and slot.chunks is not None:
        if slot.ids is None:  # a text begins: its `<s>` stands there already
            slot.ids = ids[:0]
            place += 1
        elif len(slot.ids):
            taken = slot.ids[: len(ids) - place]
            ids[place : place + len(taken)] = taken
            segments.append(_Segment(row, slot.text, place, place + len(taken)))
            slot.ids = slot.ids[len(taken) :]
            place += len(taken)
        elif (chunk := next(slot.chunks, None)) is not None:
            slot.ids = chunk
        else:
            finished.add(slot.text)
            following = _next_text(waiting) or _Slot()
            slot.text, slot.chunks, slot.ids = following.text, following.chunks, following.ids
    return place


def _score(nats: Array, oov: Array, is_bos: Array) -> Score:
    """Return the score of a segment, (N,) each."""
    total = float(nats.sum())
    if not math.isfinite(total):
        raise NonFiniteError
    unknown, num_bos = int(np.count_nonzero(oov)), int(np.count_nonzero(is_bos))
    return Score(total, len(nats) - num_bos, unknown, float(nats[oov].sum()) if unknown else 0.0)


class Prefix(NamedTuple):
    """What a model knows after it has read a prompt.

    Attributes:
        logits: (1, V), of the next token. state: of one row.
    """

    logits: Array
    state: State


def read_prefix(engine: InferenceEngine, prompt: Ids) -> Prefix:
    """Read `<s>` and a prompt.

    Args:
        prompt: ids (T,) in [0, V]; T may be 0.
    """
    state = engine.zero_state(1)
    ids = np.concatenate([[engine.vocabulary], prompt]).astype(np.int64)
    for begin in range(0, len(ids) - 1, _PREFIX_IDS):  # many in a call, as a call for each would be slow
        _, state = engine.score(ids[None, begin : min(begin + _PREFIX_IDS, len(ids) - 1)], state)
    return Prefix(*engine.step(ids[-1:], state))

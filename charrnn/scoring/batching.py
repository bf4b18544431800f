"""Ids to nats, for many texts side by side, each exactly: what all scoring comes down to."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from charrnn.engines.base import Array, Ids, InferenceEngine, State
from charrnn.errors import NonFiniteError
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Tokenizer

BATCH_SLOTS = 64
"""Texts scored side by side at most."""


_CALL_IDS = 1 << 16  # in one call of an engine: bounds the memory


_PREFIX_IDS = 4096  # of a prompt, in one call


@dataclass
class _Slot:
    """A row of the batch: the text that it reads, and the ids fetched from that but not yet read."""

    text: int = -1
    pieces: Iterator[Ids] | None = None
    ids: Ids | None = None


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
        engine: reads the ids. tokenizer: the model's; it knows what `<unk>` costs.
        texts: each an iterable of id arrays, one after another; fetched as they are needed. `<s>` among them is
            read and costs nothing: what stands between two is scored on its own.
        slots: how many texts are read side by side.
        check: called with the number of tokens read so far before each call of the engine; may raise.

    Yields:
        A score per text, in order: `nats`, `tokens`, `oov` and `oov_nats`; the lengths are 0.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    start = engine.vocabulary
    waiting = enumerate(iter(texts))
    rows: list[_Slot] = []
    while len(rows) < slots and (row := _next_text(waiting)) is not None:
        rows.append(row)
    state = engine.zero_state(max(1, len(rows)))
    tallies: dict[int, Score] = {}
    finished: set[int] = set()
    due = read = 0
    while rows:
        length = max(16, min(4096, _CALL_IDS // len(rows)))  # T
        ids = np.full((len(rows), length), start, np.int64)  # (B, T)
        segments: list[tuple[int, int, int, int]] = []  # row, text, from, to
        used = max(_fill(row, ids[b], waiting, b, segments, finished) for b, row in enumerate(rows))
        if used:
            check(read)
            ids = ids[:, :used]
            read += sum(end - begin for _, _, begin, end in segments)
            nats, state = engine.score(ids, state)
            oov = ids == tokenizer.unknown if tokenizer.unknown is not None else np.zeros_like(ids, bool)
            nats = nats + tokenizer.unknown_cost * oov
            starts = ids == start
            for b, text, begin, end in segments:
                tally = _tally(nats[b, begin:end], oov[b, begin:end], int(starts[b, begin:end].sum()))
                tallies[text] = tallies[text] + tally if text in tallies else tally
        alive = [b for b, row in enumerate(rows) if row.pieces is not None]
        if len(alive) < len(rows):
            rows = [rows[b] for b in alive]
            state = tuple(layer[:, alive] for layer in state)
        while due in finished:
            finished.remove(due)
            yield tallies.pop(due, Score())
            due += 1


def _next_text(waiting: Iterator[tuple[int, Iterable[Ids]]]) -> _Slot | None:
    text, pieces = next(waiting, (-1, None))
    return None if pieces is None else _Slot(text, iter(pieces))


def _fill(
    row: _Slot,
    line: Array,
    waiting: Iterator[tuple[int, Iterable[Ids]]],
    b: int,
    segments: list[tuple[int, int, int, int]],
    finished: set[int],
) -> int:
    """Put the row's next ids into `line`, which is full of `<s>`, and those of further texts while there is room.

    Adds where each text's part stands to `segments`, and the texts that end to `finished`.

    Returns:
        How many ids of the line are in use.
    """
    place = 0
    while place < len(line) and row.pieces is not None:
        if row.ids is None:  # a text begins: its `<s>` stands in the line already
            row.ids = line[:0]
            place += 1
        elif len(row.ids):
            taken = row.ids[: len(line) - place]
            line[place : place + len(taken)] = taken
            segments.append((b, row.text, place, place + len(taken)))
            row.ids = row.ids[len(taken) :]
            place += len(taken)
        elif (piece := next(row.pieces, None)) is not None:
            row.ids = piece
        else:
            finished.add(row.text)
            after = _next_text(waiting) or _Slot()
            row.text, row.pieces, row.ids = after.text, after.pieces, after.ids
    return place


def _tally(nats: Array, oov: Array, starts: int) -> Score:
    total = float(nats.sum())
    if not math.isfinite(total):
        raise NonFiniteError
    unknown = int(oov.sum())
    return Score(total, len(nats) - starts, unknown, float(nats[oov].sum()))


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

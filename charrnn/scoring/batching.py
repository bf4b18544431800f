"""Ids to nats, for many sequences side by side, each exactly: what all scoring comes down to."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from charrnn.engines.base import Array, Ids, InferenceEngine, State, take_rows, tokens_of
from charrnn.errors import NonFiniteError
from charrnn.scoring.details import Details, details_of
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Tokenizer

BATCH_SLOTS = 64
"""Sequences scored side by side at most."""


_CALL_IDS = 1 << 16  # in one call of an engine: bounds the memory


_MIN_STEPS, _MAX_STEPS = 16, 1 << 12  # time steps of a call


_CALL_PROBABILITIES = 1 << 23  # of the ids that could stand in the places of one call, where they are wanted


_MAX_HELD = 1 << 20  # spans, or ids in their details, that wait for those of a sequence before theirs: no more begin


_NO_ENDS = np.zeros(0, np.int64)


class Piece(NamedTuple):
    """A part of a sequence.

    Attributes:
        ids: (N,), of tokens, those that end a text too: see `InferenceEngine`. `<s>` among them is read and not scored.
            One without ids says that what has come is to be scored before more is fetched, where `slots` is 1.
        ends: (K,), where the spans that end in this piece end, each after its last id, ascending. What follows the last
            end is a span that goes on; one at the end of a sequence ends with it.
    """

    ids: Ids
    ends: Ids | None = None


class Spans(NamedTuple):
    """The nats of K consecutive spans of a sequence, and of what they are the sum.

    Attributes:
        nats, oov_nats: float64 (K,): of all tokens, and of the unknown ones among them.
        tokens, oov: int64 (K,): how many there are.
        is_last: whether the sequence ends with them.
        details: of the token that each span is; None: they were not asked for.
    """

    nats: Array
    tokens: Array
    oov: Array
    oov_nats: Array
    is_last: bool
    details: Details | None = None

    def total(self) -> Score:
        """Return the score of all together, without lengths."""
        tokens, oov = int(self.tokens.sum()), int(self.oov.sum())
        return Score(float(self.nats.sum()), tokens, oov, float(self.oov_nats.sum()))


@dataclass(eq=False, slots=True)
class _Sequence:
    """What has been scored of a sequence and not been returned.

    Attributes:
        parts: of spans that have ended: each (4, K), nats, tokens, oov, oov_nats.
        open: (4,), of the span that has not ended; None: nothing.
        finished: whether the sequence has been read to its end.
    """

    parts: list[Array] = field(default_factory=list)
    details: list[Details] = field(default_factory=list)
    open: Array | None = None
    finished: bool = False

    def add(self, values: Array, ends: Ids) -> None:
        """Add values (4, N) of the tokens that come next; spans end at `ends`, ascending, in 1..N."""
        begin = 0
        if len(ends):
            begin = int(ends[-1])
            sums = np.add.reduceat(values[:, :begin], np.append(0, ends[:-1]), axis=1)
            if self.open is not None:
                sums[:, 0] += self.open
                self.open = None
            self.parts.append(sums)
        if begin < values.shape[1]:
            rest = values[:, begin:].sum(axis=1)
            self.open = rest if self.open is None else self.open + rest

    def finish(self) -> int:
        """End the last span with the sequence; return how many spans this adds."""
        self.finished = True
        if self.open is None or not self.open[1]:  # nothing, or `<s>` alone
            return 0
        self.parts.append(self.open[:, None])
        return 1

    def take(self) -> Spans:
        """Return the spans that have ended and not been returned."""
        parts = np.concatenate(self.parts, axis=1) if self.parts else np.zeros((4, 0))
        details = Details(*map(np.concatenate, zip(*self.details, strict=True))) if self.details else None
        self.parts, self.details = [], []
        nats, tokens, oov, oov_nats = parts
        return Spans(nats, tokens.astype(np.int64), oov.astype(np.int64), oov_nats, self.finished, details)


@dataclass(eq=False, slots=True)
class _Slot:
    """A row of the batch: the sequence that it reads, and the ids fetched from that but not yet read.

    Attributes:
        chunks: the rest of the sequence. begun: whether its `<s>` has been read.
        ids, ends: of the chunk being read.
    """

    sequence: _Sequence
    chunks: Iterator[Piece]
    begun: bool = False
    ids: Ids = field(default_factory=lambda: _NO_ENDS)
    ends: Ids = field(default_factory=lambda: _NO_ENDS)


class _Segment(NamedTuple):
    """Where a part of a sequence stands in the batch: ids[row, begin:end]; spans end at `ends`, in 1..end - begin."""

    row: int
    sequence: _Sequence
    begin: int
    end: int
    ends: Ids


def score_ids(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    sequences: Iterable[Iterable[Piece]],
    *,
    slots: int = BATCH_SLOTS,
    top: int | None = None,
    check: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Spans]:
    """Score sequences side by side, each exactly: from `<s>` to its end with the state carried.

    A row that has finished its sequence continues with the next one: `<s>` resets its state.

    Args:
        engine: reads the ids. tokenizer: the model's; it knows the nats of `<unk>`.
        sequences: each the chunks of ids that follow one another; fetched as they are needed.
        slots: how many sequences are read side by side.
        top: return details too, with so many of the likeliest ids; every span is then one token. None: without.
        check: called with the number of tokens read so far before each call of the engine; may raise.

    Yields:
        Spans of each sequence, in order: those of a sequence together that have ended when they are returned, and at
        least once `is_last`.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    batch = _Batch(engine, tokenizer, iter(sequences), slots, top)
    while batch.start_rows():
        yield from batch.score(check)


class _Batch:
    """The rows that `score_ids` reads."""

    def __init__(
        self,
        engine: InferenceEngine,
        tokenizer: Tokenizer,
        waiting: Iterator[Iterable[Piece]],
        slots: int,
        top: int | None,
    ) -> None:
        self._engine, self._tokenizer, self._top = engine, tokenizer, top
        self._call_ids = _CALL_IDS if top is None else min(_CALL_IDS, max(1, _CALL_PROBABILITIES // engine.vocabulary))
        self._slots = max(1, min(slots, self._call_ids // _MIN_STEPS))
        self._max_held = _MAX_HELD // (1 + (top or 0))
        self._waiting: Iterator[Iterable[Piece]] | None = waiting
        self._rows: list[_Slot] = []
        self._state: State = ()
        self._due: deque[_Sequence] = deque()  # that have begun and not been returned whole, in order
        self._held = self._read = 0  # spans that have not been returned, tokens

    def start_rows(self) -> bool:
        """Begin sequences in rows that are free; return whether there is anything to read."""
        begun = len(self._rows)
        while len(self._rows) < self._slots and (slot := self._next()) is not None:
            self._rows.append(slot)
        new = len(self._rows) - begun
        if begun and new:  # whatever their states are, `<s>` resets them
            self._state = take_rows(self._state, [*range(begun), *[0] * new])
        elif new:
            self._state = self._engine.zero_state(new)
        return bool(self._rows)

    def _next(self) -> _Slot | None:
        """Return the next sequence; None: there is none, or too much waits to be returned."""
        if self._waiting is None or self._held > self._max_held:
            return None
        chunks = next(self._waiting, None)
        if chunks is None:
            self._waiting = None
            return None
        self._due.append(sequence := _Sequence())
        return _Slot(sequence, iter(chunks))

    def score(self, check: Callable[[int], None]) -> Iterator[Spans]:
        """Read on in all rows; return the spans that have ended and are due."""
        B = len(self._rows)
        T = min(_MAX_STEPS, self._call_ids // B)
        ids = np.full((B, T), self._engine.vocabulary, np.int64)  # full of `<s>`
        segments: list[_Segment] = []
        finished: list[_Sequence] = []
        used = max(self._fill(row, ids[row], segments, finished) for row in range(B))
        if used:
            check(self._read)
            self._call(ids[:, :used], segments)
        for sequence in finished:
            self._held += sequence.finish()
        unfinished = [row for row, slot in enumerate(self._rows) if not slot.sequence.finished]
        if len(unfinished) < B:
            self._rows = [self._rows[row] for row in unfinished]
            self._state = take_rows(self._state, unfinished)
        while self._due and (self._due[0].parts or self._due[0].finished):
            sequence = self._due[0]
            if sequence.finished:
                self._due.popleft()
            spans = sequence.take()
            self._held -= len(spans.nats)
            yield spans
            if not sequence.finished:
                break

    def _fill(self, row: int, ids: Ids, segments: list[_Segment], finished: list[_Sequence]) -> int:
        """Put the next ids of a row's sequence into `ids` (T,), which is full of `<s>`, and those of further sequences
        while there is room; return how many are in use."""
        slot, place = self._rows[row], 0
        while place < len(ids):
            if not slot.begun:  # its `<s>` stands there already
                slot.begun = True
                place += 1
            elif count := min(len(slot.ids), len(ids) - place):
                ids[place : place + count] = slot.ids[:count]
                ends = slot.ends[: np.searchsorted(slot.ends, count, "right")]
                segments.append(_Segment(row, slot.sequence, place, place + count, ends))
                slot.ids, slot.ends = slot.ids[count:], slot.ends[len(ends) :] - count
                place += count
            elif (chunk := next(slot.chunks, None)) is not None:
                if not len(chunk.ids):
                    break
                slot.ids, slot.ends = chunk.ids, _NO_ENDS if chunk.ends is None else chunk.ends
            else:
                finished.append(slot.sequence)
                if (following := self._next()) is None:
                    break
                self._rows[row] = slot = following
        return place

    def _call(self, ids: Ids, segments: list[_Segment]) -> None:
        """Read ids (B, T), and add what they cost to their sequences."""
        if self._top is None:
            nats, self._state = self._engine.score(ids, self._state)  # (B, T)
        else:
            ln_p, self._state = self._engine.predict(ids, self._state)  # (B, T, V)
        ids = tokens_of(ids, self._engine.vocabulary)
        if self._top is not None:
            wanted = np.minimum(ids, self._engine.vocabulary - 1)[..., None]
            nats = np.where(ids == self._engine.vocabulary, 0, -np.take_along_axis(ln_p, wanted, 2)[..., 0])
        if not np.isfinite(nats).all():
            raise NonFiniteError
        oov = ids == self._tokenizer.unknown if self._tokenizer.unknown is not None else np.zeros_like(ids, bool)
        nats = nats + self._tokenizer.unknown_cost * oov
        values = np.stack([nats, ids != self._engine.vocabulary, oov, nats * oov])  # (4, B, T), float64
        for row, sequence, begin, end, ends in segments:
            if self._top is not None:
                scored = begin + np.flatnonzero(ids[row, begin:end] != self._engine.vocabulary)
                sequence.details.append(details_of(ln_p[row, scored], ids[row, scored], self._top))
            sequence.add(values[:, row, begin:end], ends)
            self._held += len(ends)
        self._read += int(values[1].sum())


def with_text_ends(ids: Ids, ends: Ids, bos: int) -> Ids:
    """Return ids, as int64, with `<s>` to be read in the place of the token before each of `ends`."""
    marked = ids.astype(np.int64)
    marked[ends - 1] += bos + 1
    return marked

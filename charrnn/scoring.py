"""Ids to nats: what a text costs under a model, every token once.

Definitions. `nats` is the sum over all N tokens of -ln p, the first included (predicted after
`<s>`), summed in float64; then

    perplexity      = exp(nats / N)
    bits_per_char   = nats / (ln 2 * code points)
    bits_per_byte   = nats / (ln 2 * input bytes)
    byte_perplexity = 2 ** bits_per_byte
    word_perplexity = exp(nats / words), words being separated by white space

An unknown character costs -ln p(`<unk>`) and the tokenizer's `unknown_cost`.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from charrnn.data import Ids
from charrnn.engines import Array, Inference
from charrnn.errors import InputError, NonFiniteError
from charrnn.tokenizers import Encoder, Tokenizer

LANES = 64
"""Texts scored side by side at most."""

_CALL = 1 << 16  # ids in one call of an engine: what bounds the memory


@dataclass(frozen=True)
class Score:
    """What a text costs, and how long it is. Scores of separate texts add up."""

    nats: float = 0.0
    tokens: int = 0
    oov: int = 0
    oov_nats: float = 0.0
    """The part of `nats` that unknown characters cost."""
    chars: int = 0
    bytes: int = 0
    words: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); inf where that is no float, nan where there are no tokens."""
        return _exp(self.nats, self.tokens)

    @property
    def perplexity_without_oov(self) -> float:
        """The same over the known characters alone."""
        return _exp(self.nats - self.oov_nats, self.tokens - self.oov)

    @property
    def bits_per_char(self) -> float:
        """Bits per code point of the input."""
        return _ratio(self.nats / math.log(2), self.chars)

    @property
    def bits_per_byte(self) -> float:
        """Bits per byte of the input."""
        return _ratio(self.nats / math.log(2), self.bytes)

    @property
    def byte_perplexity(self) -> float:
        """2 ** bits_per_byte."""
        return _exp(self.nats, self.bytes)

    @property
    def word_perplexity(self) -> float:
        """exp(nats / words)."""
        return _exp(self.nats, self.words)


def _ratio(value: float, count: int) -> float:
    return value / count if count else math.nan


def _exp(nats: float, count: int) -> float:
    try:
        return math.exp(_ratio(nats, count))
    except OverflowError:
        return math.inf


@dataclass
class _Lane:
    """One row: the text it is reading, and the ids fetched from it but not yet read."""

    text: int = -1
    pieces: Iterator[Ids] | None = None
    ids: Ids | None = None


def score_ids(
    engine: Inference,
    texts: Iterable[Iterable[Ids]],
    *,
    lanes: int = LANES,
    unknown: int | None = None,
    unknown_cost: float = 0.0,
    check: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Score]:
    """Score texts side by side, each exactly: from `<s>` to its end with the state carried.

    A row that has finished its text goes on with the next one: `<s>` resets its state.

    Args:
        engine: reads the ids.
        texts: each an iterable of id arrays, one after another; fetched as they are needed.
        lanes: how many texts stand side by side.
        unknown: the id of `<unk>`, or None. unknown_cost: nats added for each.
        check: called with the tokens read so far before each call of the engine; may raise.

    Yields:
        A score per text, in order, with `nats`, `tokens`, `oov` and `oov_nats`.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    start = engine.architecture.start
    waiting = enumerate(iter(texts))
    rows: list[_Lane] = []
    while len(rows) < lanes and (row := _next_text(waiting)) is not None:
        rows.append(row)
    state = engine.zero_state(max(1, len(rows)))
    tallies: dict[int, Score] = {}
    finished: set[int] = set()
    due = read = 0
    while rows:
        length = max(16, min(4096, _CALL // len(rows)))  # T
        ids = np.full((len(rows), length), start, np.int64)  # (B, T)
        segments: list[tuple[int, int, int, int]] = []  # row, text, from, to
        used = max(_fill(row, ids[b], waiting, b, segments, finished) for b, row in enumerate(rows))
        if used:
            check(read)
            ids = ids[:, :used]
            read += sum(end - begin for _, _, begin, end in segments)
            nats, state = engine.score(ids, state)
            oov = ids == unknown if unknown is not None else np.zeros_like(ids, bool)
            nats = nats + unknown_cost * oov
            for b, text, begin, end in segments:
                tallies[text] = tallies.get(text, Score()) + _tally(nats[b, begin:end], oov[b, begin:end])
        alive = [b for b, row in enumerate(rows) if row.pieces is not None]
        if len(alive) < len(rows):
            rows = [rows[b] for b in alive]
            state = tuple(layer[:, alive] for layer in state)
        while due in finished:
            finished.remove(due)
            yield tallies.pop(due, Score())
            due += 1


def _next_text(waiting: Iterator[tuple[int, Iterable[Ids]]]) -> _Lane | None:
    text, pieces = next(waiting, (-1, None))
    return None if pieces is None else _Lane(text, iter(pieces))


def _fill(
    row: _Lane,
    line: Array,
    waiting: Iterator[tuple[int, Iterable[Ids]]],
    b: int,
    segments: list[tuple[int, int, int, int]],
    finished: set[int],
) -> int:
    """Put the row's next ids into `line`, which is full of `<s>`; go on to further texts while there is room.

    Notes where each text's part stands in `segments`, which texts ended in `finished`, and returns
    how much of the line is of use.
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
            after = _next_text(waiting) or _Lane()
            row.text, row.pieces, row.ids = after.text, after.pieces, after.ids
    return place


def _tally(nats: Array, oov: Array) -> Score:
    total = float(nats.sum())
    if not math.isfinite(total):
        raise NonFiniteError("the model's figures are not finite: its weights are unusable")
    return Score(total, len(nats), int(oov.sum()), float(nats[oov].sum()))


def encoded(tokenizer: Tokenizer, encoder: Encoder, pieces: Iterable[bytes], unknown: str = "score") -> Iterator[Ids]:
    """Ids of a text that comes in pieces.

    Args:
        tokenizer: of the model.
        encoder: a fresh one; it holds the counts when the text has ended.
        pieces: bytes, cut anywhere.
        unknown: what becomes of characters the model does not know: "score", "skip" or "error".

    Raises:
        InputError: the text cannot be decoded, or has an unknown character under "error".
    """

    def ids(data: bytes, final: bool) -> Ids:
        found = encoder.feed(data, final=final)
        if tokenizer.unknown is None or unknown == "score":
            return found
        strange = found == tokenizer.unknown
        if unknown == "error" and strange.any():
            raise InputError("the text has a character that the model does not know (--unknown score counts it)")
        known: Ids = found[~strange]
        return known

    for piece in pieces:
        yield ids(piece, False)
    yield ids(b"", True)


def score_texts(
    engine: Inference,
    tokenizer: Tokenizer,
    texts: Iterable[Iterable[bytes]],
    *,
    unknown: str = "score",
    errors: str = "strict",
    lanes: int = LANES,
    check: Callable[[int], None] = lambda tokens: None,
) -> Iterator[Score]:
    """Score texts of bytes, each exactly, in order. As `score_ids`, with all counts filled in.

    Raises:
        InputError: a text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoders: dict[int, Encoder] = {}

    def ids() -> Iterator[Iterable[Ids]]:
        for index, pieces in enumerate(texts):
            encoders[index] = tokenizer.encoder(errors)
            yield encoded(tokenizer, encoders[index], pieces, unknown)

    scores = score_ids(
        engine,
        ids(),
        lanes=lanes,
        unknown=tokenizer.unknown,
        unknown_cost=tokenizer.unknown_cost,
        check=check,
    )
    for index, score in enumerate(scores):
        yield with_counts(score, encoders.pop(index))


def with_counts(score: Score, read: Encoder) -> Score:
    """A score with the lengths that the text's encoder counted; unknown characters that were skipped
    are among them."""
    return replace(score, oov=read.unknowns, chars=read.chars, bytes=read.bytes, words=read.words)


def windows(pieces: Iterable[Ids], window: int) -> Iterator[list[Ids]]:
    """A text cut every `window` symbols, each part to be scored from `<s>`."""
    held = np.zeros(0, np.int64)
    for piece in pieces:
        held = np.concatenate([held, piece])
        whole = len(held) // window * window
        for begin in range(0, whole, window):
            yield [held[begin : begin + window]]
        held = held[whole:]
    if len(held):
        yield [held]


def score_windows(
    engine: Inference,
    tokenizer: Tokenizer,
    pieces: Iterable[bytes],
    window: int,
    *,
    unknown: str = "score",
    errors: str = "strict",
    check: Callable[[int], None] = lambda tokens: None,
) -> Score:
    """Score a text with its state reset every `window` symbols.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    cuts = windows(encoded(tokenizer, encoder, pieces, unknown), window)
    scores = score_ids(engine, cuts, unknown=tokenizer.unknown, unknown_cost=tokenizer.unknown_cost, check=check)
    return with_counts(sum(scores, Score()), encoder)


def score_streams(
    engine: Inference,
    tokenizer: Tokenizer,
    pieces: Iterable[bytes],
    streams: int,
    *,
    unknown: str = "score",
    errors: str = "strict",
    check: Callable[[int], None] = lambda tokens: None,
) -> Score:
    """Score a text cut in `streams` equal pieces, each from `<s>`: fast, and an approximation.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    ids = np.concatenate([*encoded(tokenizer, encoder, pieces, unknown)])
    cuts = [[part] for part in np.array_split(ids, streams) if len(part)]
    scores = score_ids(
        engine,
        cuts,
        lanes=streams,
        unknown=tokenizer.unknown,
        unknown_cost=tokenizer.unknown_cost,
        check=check,
    )
    return with_counts(sum(scores, Score()), encoder)

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
from operator import add, attrgetter

import numpy as np

from charrnn.data import Ids
from charrnn.engines import Array, Inference
from charrnn.errors import InputError, NonFiniteError
from charrnn.tokenizers import Encoder, Tokenizer

LANES = 64
"""Texts scored side by side at most."""

_CALL = 1 << 16  # ids in one call of an engine: what bounds the memory
_HELD = 1 << 24  # ids of windows that are read side by side


@dataclass(frozen=True)
class Score:
    """What a text costs, and how long it is. Scores of separate texts add up."""

    nats: float = 0.0
    tokens: int = 0
    oov: int = 0
    """Unknown characters of the text, whether they were scored or left out."""
    oov_nats: float = 0.0
    """The part of `nats` that unknown characters cost."""
    oov_tokens: int = 0
    """The part of `tokens` that is unknown characters."""
    chars: int = 0
    bytes: int = 0
    words: int = 0
    replaced: int = 0
    """Pieces of invalid UTF-8 that were read as U+FFFD."""

    def __add__(self, other: "Score") -> "Score":
        return Score(*map(add, _values(self), _values(other)))

    @property
    def perplexity(self) -> float:
        """exp(nats / tokens); inf where that is no float, nan where there are no tokens."""
        return _exp(self.nats, self.tokens)

    @property
    def perplexity_without_oov(self) -> float:
        """The same over the known characters alone."""
        return _exp(self.nats - self.oov_nats, self.tokens - self.oov_tokens)

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


_values = attrgetter(*(each.name for each in fields(Score)))


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
        A score per text, in order, with `nats`, `tokens` and what is told of unknown symbols.

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
                tally = _tally(nats[b, begin:end], oov[b, begin:end])
                tallies[text] = tallies[text] + tally if text in tallies else tally
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
    unknown = int(oov.sum())
    return Score(total, len(nats), oov=unknown, oov_nats=float(nats[oov].sum()), oov_tokens=unknown)


def encoded(
    tokenizer: Tokenizer, encoder: Encoder, pieces: Iterable[bytes], unknown: str = "score", name: str = ""
) -> Iterator[Ids]:
    """Ids of a text that comes in pieces.

    Args:
        tokenizer: of the model.
        encoder: a fresh one; it holds the counts when the text has ended.
        pieces: bytes, cut anywhere.
        unknown: what becomes of characters the model does not know: "score", "skip" or "error".
        name: of the text, in messages.

    Raises:
        InputError: the text cannot be decoded, or has an unknown character under "error".
    """

    def ids(data: bytes, final: bool) -> Ids:
        try:
            found = encoder.feed(data, final=final)
        except InputError as error:
            raise InputError(f"{name}: {error}" if name else str(error)) from None
        if tokenizer.unknown is None or unknown == "score":
            return found
        strange = found == tokenizer.unknown
        if unknown == "error" and strange.any():
            place = encoder.chars - len(found) + int(strange.argmax())
            raise InputError(
                f"{name or 'the text'}: the model has never seen the character @ {place}; --unknown score counts"
                " such characters, --unknown skip leaves them out"
            )
        known: Ids = found[~strange]
        return known

    last = b""
    for piece in pieces:
        if last:
            yield ids(last, False)
        last = piece
    yield ids(last, True)


def score_texts(
    engine: Inference,
    tokenizer: Tokenizer,
    texts: Iterable[Iterable[bytes]],
    *,
    unknown: str = "score",
    errors: str = "strict",
    lanes: int = LANES,
    check: Callable[[int], None] = lambda tokens: None,
    name: Callable[[int], str] = lambda index: "",
) -> Iterator[Score]:
    """Score texts of bytes, each exactly, in order. As `score_ids`, with all counts filled in.

    Args:
        name: what the text of a number, from 0, is called in messages.

    Raises:
        InputError: a text cannot be read or decoded; raised when all those before it have been
            yielded, whatever was read side by side. NonFiniteError: the model's arithmetic overflows.
    """
    encoders: dict[int, Encoder] = {}
    failures: dict[int, InputError] = {}

    def ids() -> Iterator[Iterable[Ids]]:
        for index, pieces in enumerate(texts):
            if failures:
                return
            encoders[index] = tokenizer.encoder(errors)
            yield until_failure(index, encoded(tokenizer, encoders[index], pieces, unknown, name(index)))

    def until_failure(index: int, pieces: Iterator[Ids]) -> Iterator[Ids]:
        try:
            yield from pieces
        except InputError as error:
            failures[index] = error

    scores = score_ids(
        engine,
        ids(),
        lanes=lanes,
        unknown=tokenizer.unknown,
        unknown_cost=tokenizer.unknown_cost,
        check=check,
    )
    for index, score in enumerate(scores):
        if index in failures:
            raise failures[index]
        yield with_counts(score, encoders.pop(index))


def with_counts(score: Score, read: Encoder) -> Score:
    """A score with the lengths that the text's encoder counted; unknown characters that were skipped
    are among them."""
    return replace(
        score, oov=read.unknowns, chars=read.chars, bytes=read.bytes, words=read.words, replaced=read.replaced
    )


def windows(pieces: Iterable[Ids], window: int) -> Iterator[list[Ids]]:
    """A text cut every `window` symbols, each part to be scored from `<s>`."""
    held: list[Ids] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count < window:
            continue
        ids = np.concatenate(held)
        whole = count // window * window
        for begin in range(0, whole, window):
            yield [ids[begin : begin + window]]
        held, count = [ids[whole:]], count - whole
    if count:
        yield [np.concatenate(held)]


def score_windows(
    engine: Inference,
    tokenizer: Tokenizer,
    pieces: Iterable[bytes],
    window: int,
    *,
    unknown: str = "score",
    errors: str = "strict",
    check: Callable[[int], None] = lambda tokens: None,
    name: str = "",
) -> Score:
    """Score a text with its state reset every `window` symbols.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    cuts = windows(encoded(tokenizer, encoder, pieces, unknown, name), window)
    scores = score_ids(
        engine,
        cuts,
        lanes=max(1, min(LANES, _HELD // window)),
        unknown=tokenizer.unknown,
        unknown_cost=tokenizer.unknown_cost,
        check=check,
    )
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
    name: str = "",
) -> Score:
    """Score a text cut in `streams` equal pieces, each from `<s>`: fast, and an approximation.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    ids = np.concatenate([*encoded(tokenizer, encoder, pieces, unknown, name)])
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

"""Words and tokens: the units within a text, their nats and their places. They add up to the text."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from charrnn.corpus.inputs import Chunks
from charrnn.engines.base import Array, Ids
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, Piece, score_ids
from charrnn.scoring.details import Details
from charrnn.scoring.entries import NO_IDS
from charrnn.scoring.scorer import Scorer
from charrnn.tokenizers.byte import ByteTokenizer, is_space
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import SPACES, STEP, CodePoints, Utf8Decoder, char_starts, starts_char

Where = TypeVar("Where")
"""What a caller knows a text by."""


class UnitText(NamedTuple, Generic[Where]):
    """A text to be cut in units.

    Attributes:
        where: what the units are returned with. chunks: its bytes, its end among them. name: of it, in messages.
        prompt: returns the ids that it continues. line: of its first character.
    """

    where: Where
    chunks: Chunks
    name: str = ""
    prompt: Callable[[], Ids] = lambda: NO_IDS
    line: int = 1


@dataclass(slots=True)
class Unit(Generic[Where]):
    """A word or token, and what it costs.

    Attributes:
        where: its text. index: its number there, from 0.
        text: its bytes; of a word without white space. offset: where these begin, in characters from 0. line: likewise.
        nats, tokens, oov: as of a `Score`.
        rank: 1: no token was likelier. entropy: of the distribution in its place, in bits.
        top: the likeliest tokens in its place, likeliest first, and their nats. Of tokens alone, as far as asked for.
    """

    where: Where
    index: int
    text: bytes
    offset: int
    line: int
    nats: float
    tokens: int
    oov: int
    rank: int | None = None
    entropy: float | None = None
    top: list[tuple[int, float]] | None = None


class TextEnd(NamedTuple, Generic[Where]):
    """The end of a text, after its units.

    Attributes:
        failure: why there is no more of it; None: it is complete.
    """

    where: Where
    failure: InputError | None = None


def score_units(
    scorer: Scorer, texts: Iterable[UnitText[Where]], by: str, *, top: int | None = None, carry: bool = False
) -> Iterator[Unit[Where] | TextEnd[Where]]:
    """Return the units of texts, in order, and after those of each text its end.

    White space belongs to the word after it, what ends a text to its last word. A token that reaches into the next
    word belongs to the one in which it begins.

    Args:
        scorer: of the model; its options say how texts are decoded.
        by: "word" or "token".
        top: give ranks and entropies of tokens, and so many of the likeliest. None: without.
        carry: go on from text to text with the state, as if they were one text.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    waiting: deque[_Queue[Where]] = deque()  # of the sequences that are not finished, in order

    def sequences() -> Iterator[Iterable[Piece]]:
        for count, text in enumerate(texts):
            if count == 0 or not carry:
                waiting.append(deque())
            if not carry:
                yield _chunks(scorer, text, by, waiting[-1])
                continue
            rest = itertools.chain([text], texts)  # an iterator: what comes after the first
            yield itertools.chain.from_iterable(
                _chunks(scorer, each, by, waiting[-1], keeps_bom=number > 0) for number, each in enumerate(rest)
            )

    texts = iter(texts)
    slots = 1 if carry else BATCH_SLOTS
    for spans in score_ids(scorer.engine, scorer.tokenizer, sequences(), slots=slots, top=top, check=scorer.check):
        queue = waiting[0]
        for nth, nats in enumerate(spans.nats.tolist()):
            yield from _ends(queue)
            found = queue.popleft()
            if found is not None:
                assert not isinstance(found, TextEnd)
                yield Unit(*found, nats, int(spans.tokens[nth]), int(spans.oov[nth]), *_details_of(spans.details, nth))
        yield from _ends(queue)
        if spans.is_last:
            waiting.popleft()


_Queue = deque["tuple[Where, int, bytes, int, int] | TextEnd[Where] | None"]
"""What the spans of a sequence are: a unit's `where`, `index`, `text`, `offset` and `line`; None: of a prompt."""


def _ends(queue: "_Queue[Where]") -> Iterator[TextEnd[Where]]:
    """Return the texts that end before the next unit."""
    while queue and isinstance(queue[0], TextEnd):
        yield queue[0]
        queue.popleft()


def _details_of(details: Details | None, nth: int) -> tuple[int, float, list[tuple[int, float]]] | tuple[()]:
    if details is None:
        return ()
    top = zip(details.top_ids[nth].tolist(), details.top_nats[nth].tolist(), strict=True)
    return int(details.ranks[nth]), float(details.entropies[nth]), list(top)


def _chunks(
    scorer: Scorer, text: UnitText[Where], by: str, queue: "_Queue[Where]", *, keeps_bom: bool = False
) -> Iterator[Piece]:
    """Return the ids of a text, and put what their spans are into the queue."""
    cutter = _Cutter(scorer.tokenizer, by, scorer.options.errors, text.line, keeps_bom=keeps_bom)
    failure = None
    try:
        if len(prompt := text.prompt()):
            queue.extend(itertools.repeat(None, len(prompt)))
            yield Piece(prompt, np.arange(1, len(prompt) + 1))
        data = b""
        for chunk in text.chunks:
            for begin in range(0, len(chunk), STEP):
                if data:
                    yield from _units(cutter.feed(data), text.where, queue)
                data = chunk[begin : begin + STEP]
        yield from _units(cutter.feed(data, final=True), text.where, queue)
    except InputError as error:
        failure = error.prefixed(text.name) if text.name else error
    queue.append(TextEnd(text.where, failure))


def _units(cut: "_Cut", where: Where, queue: "_Queue[Where]") -> Iterator[Piece]:
    queue.extend((where, *place) for place in cut.places)
    if len(cut.ids):
        yield Piece(cut.ids, cut.ends)


class _Cut(NamedTuple):
    """Ids, where units end among them, and each unit's index, text, offset and line."""

    ids: Ids
    ends: Ids
    places: list[tuple[int, bytes, int, int]]


class _Cutter:
    """Cuts a text, which comes in chunks, in units.

    Args:
        line: of its first character. keeps_bom: whether a byte order mark at its start is a character.
    """

    def __init__(self, tokenizer: Tokenizer, by: str, errors: str, line: int, *, keeps_bom: bool) -> None:
        self._tokenizer, self._by = tokenizer, by
        self._decoder = Utf8Decoder("replace" if errors == "replace" else "strict")
        self._decoder.bom = keeps_bom
        self._encoder = tokenizer.encoder()
        if isinstance(self._encoder, Utf8Decoder):
            self._encoder.bom = True  # it was left out before
        self._sizes = np.array([len(each) for each in tokenizer.token_bytes])
        self._data, self._ids = b"", np.zeros(0, np.int64)  # what has come and is not in a unit that has ended
        self._index = self._chars = 0
        self._line = line

    def feed(self, data: bytes, final: bool = False) -> _Cut:
        """Return the units that have ended with these bytes; `final` says that the text ends here.

        Raises:
            InputError: the text is not what the tokenizer reads.
        """
        if not isinstance(self._tokenizer, ByteTokenizer):
            data = _utf8(self._decoder.decode(data, final))
        self._ids = np.concatenate([self._ids, self._encoder.feed(data, final)])
        self._data += data
        sizes = self._sizes[self._ids]
        if isinstance(self._tokenizer, CharTokenizer):  # one of them may be unknown
            sizes = np.diff(char_starts(self._data), append=len(self._data))
        token_ends = np.cumsum(sizes)  # in bytes
        read = self._data[: int(token_ends[-1])] if len(sizes) else b""
        if self._by == "token":
            ends = np.arange(1, len(sizes) + 1)
            begins_at, ends_at = token_ends - sizes, token_ends
        else:
            spaces = self._spaces(read)
            ends = _word_ends(spaces, token_ends, final)
            ends_at = token_ends[ends - 1]
            begins_at, ends_at = _without_spaces(spaces, np.append(0, ends_at[:-1])[: len(ends)], ends_at)
        chars, newlines = np.cumsum(starts_char(read)), np.cumsum(np.frombuffer(read, np.uint8) == 10)
        offsets, lines = [], []
        if len(ends):
            firsts = np.minimum(begins_at, len(read) - 1)
            offsets = (self._chars + chars[firsts] - 1).tolist()
            lines = (self._line + newlines[firsts] - (np.frombuffer(read, np.uint8)[firsts] == 10)).tolist()
        texts = [read[a:b] for a, b in zip(begins_at.tolist(), ends_at.tolist(), strict=True)]
        places = list(zip(itertools.count(self._index), texts, offsets, lines, strict=False))
        count = int(ends[-1]) if len(ends) else 0
        size = int(token_ends[count - 1]) if count else 0
        ids, self._ids, self._data = self._ids[:count], self._ids[count:], self._data[size:]
        self._index += len(ends)
        if size:
            self._chars += int(chars[size - 1])
            self._line += int(newlines[size - 1])
        return _Cut(ids, ends, places)

    def _spaces(self, data: bytes) -> Array:
        """Return for each byte whether it is white space, or part of it."""
        if isinstance(self._tokenizer, ByteTokenizer):
            return is_space(np.frombuffer(data, np.uint8))
        points = np.frombuffer(data.decode().encode("utf-32-le"), "<u4")
        return np.repeat(SPACES.take(points, mode="clip"), np.diff(char_starts(data), append=len(data)))


def _utf8(points: CodePoints) -> bytes:
    return points.astype("<u4", copy=False).tobytes().decode("utf-32-le").encode()


def _word_ends(spaces: Array, token_ends: Ids, final: bool) -> Ids:
    """Return after how many tokens words end: before white space that another word follows.

    Args:
        spaces: of the bytes. token_ends: of the tokens, in bytes. final: whether the text ends here; the last word then
            ends with it, and otherwise goes on.
    """
    if not len(token_ends):
        return np.zeros(0, np.int64)
    cuts = token_ends[:-1]
    starts = 1 + np.flatnonzero(spaces[cuts] & ~spaces[cuts - 1])  # tokens
    filled = np.flatnonzero(~spaces)
    starts = starts[token_ends[starts - 1] < filled[-1]] if len(filled) else starts[:0]
    return np.append(starts, len(token_ends)) if final else starts


def _without_spaces(spaces: Array, starts: Ids, ends: Ids) -> tuple[Ids, Ids]:
    """Return where the first character that is no white space begins in each piece, and where the last one ends."""
    filled = np.flatnonzero(~spaces)
    if not len(filled):
        return starts, starts
    firsts, lasts = np.searchsorted(filled, starts), np.searchsorted(filled, ends) - 1
    found = firsts <= lasts
    return (
        np.where(found, filled[np.minimum(firsts, len(filled) - 1)], starts),
        np.where(found, filled[lasts] + 1, starts),
    )

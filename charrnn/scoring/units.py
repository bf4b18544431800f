"""Words and tokens: the units within a text, their nats and their places. They add up to the text."""

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from charrnn.corpus.formats import Place
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
from charrnn.tokenizers.utf8 import SPACES, STEP, CodePoints, Utf8Decoder, char_starts, starts_char, without_line

Where = TypeVar("Where")
"""What a caller knows a text by."""


class UnitText(NamedTuple, Generic[Where]):
    """A text to be cut in units.

    Attributes:
        where: what the units are returned with. chunks: its bytes, its end among them. name: of it, in messages.
        prompt: ids that it continues. line, offset: of its first character.
        is_part: whether more of the text follows, which is read from `<s>`.
        keeps_bom: whether a byte order mark at its start is a character, as the text has begun before.
    """

    where: Where
    chunks: Chunks
    name: object = ""
    prompt: Ids = NO_IDS
    line: int = 1
    offset: int = 0
    is_part: bool = False
    keeps_bom: bool = False


@dataclass(slots=True)
class Unit(Generic[Where]):
    """A word or token, and what it costs.

    Attributes:
        where: its text.
        text: its bytes; of a word without white space. offset: where these begin, in characters from 0. line: likewise.
        nats, tokens, oov: as of a `Score`.
        rank: 1: no token was likelier. entropy: of the distribution in its place, in bits.
        top: the likeliest tokens in its place, likeliest first, and their nats. Of tokens alone, as far as asked for.
    """

    where: Where
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


_Queue = deque[tuple[Where, bytes, int, int] | TextEnd[Where] | None]
"""What the spans of a sequence are: a unit's `where`, `text`, `offset` and `line`; None: of a prompt."""


def score_units(
    scorer: Scorer, texts: Iterable[UnitText[Where] | None], by: str, *, top: int | None = None, carry: bool = False
) -> Iterator[Unit[Where] | TextEnd[Where]]:
    """Return the units of texts, in order, and after those of each text its end.

    White space belongs to the word after it, what ends a text to its last word. A token that reaches into the next
    word belongs to the one in which it begins.

    Args:
        scorer: of the model; its options say how texts are decoded.
        texts: None among them: what has come is to be scored before more is fetched, where the state is carried.
        by: "word" or "token".
        top: give ranks and entropies of tokens, and so many of the likeliest. None: without.
        carry: go on from text to text with the state, as if they were one text.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    waiting: deque[_Queue[Where]] = deque()  # of the sequences that are not finished, in order
    pieces = functools.partial(_pieces, scorer, by=by, has_details=top is not None)

    def sequences() -> Iterator[Iterable[Piece]]:
        if carry:
            waiting.append(deque())
            yield shares(waiting[-1])
            return
        for text in filter(None, texts):
            waiting.append(deque())
            yield pieces(text, waiting[-1])

    def shares(queue: _Queue[Where]) -> Iterator[Piece]:
        begun = False
        for text in texts:
            if text is None:
                yield Piece(NO_IDS)
            else:
                yield from pieces(text._replace(keeps_bom=begun), queue)
                begun = True

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


def _ends(queue: _Queue[Where]) -> Iterator[TextEnd[Where]]:
    """Return the texts that end before the next unit."""
    while queue and isinstance(queue[0], TextEnd):
        yield queue[0]
        queue.popleft()


def _details_of(details: Details | None, nth: int) -> tuple[int, float, list[tuple[int, float]]] | tuple[()]:
    if details is None:
        return ()
    top = zip(details.top_ids[nth].tolist(), details.top_nats[nth].tolist(), strict=True)
    return int(details.ranks[nth]), float(details.entropies[nth]), list(top)


def _pieces(
    scorer: Scorer, text: UnitText[Where], queue: _Queue[Where], *, by: str, has_details: bool
) -> Iterator[Piece]:
    """Return the ids of a text, and put what their spans are into the queue; with details each is one token."""
    cutter = _Cutter(scorer.tokenizer, by, scorer.options.errors, text)
    failure = None
    if size := len(text.prompt):
        ends = np.arange(1, size + 1) if has_details else np.array([size])
        queue.extend(itertools.repeat(None, len(ends)))
        yield Piece(text.prompt, ends)
    try:
        data = b""
        for chunk in text.chunks:
            for begin in range(0, len(chunk), STEP):
                if data:
                    yield from _units(cutter.feed(data), text.where, queue)
                data = chunk[begin : begin + STEP]
        yield from _units(cutter.feed(data, final=True), text.where, queue)
    except InputError as error:
        failure = _named(error, text.name)
    scorer.rows.unknown_chars.update(cutter.unknown_chars)
    if failure is not None or not text.is_part:
        queue.append(TextEnd(text.where, failure))


def _named(error: InputError, name: object) -> InputError:
    """Return an error that names the text."""
    if isinstance(name, Place):  # of a line: its number is there already
        error = InputError(without_line(error.text), error.fields)
    return error.prefixed(str(name)) if str(name) else error


def _units(cut: "_Cut", where: Where, queue: _Queue[Where]) -> Iterator[Piece]:
    queue.extend((where, *place) for place in cut.places)
    if len(cut.ids):
        yield Piece(cut.ids, cut.ends)


class _Cut(NamedTuple):
    """Ids, where units end among them, and each unit's text, offset and line."""

    ids: Ids
    ends: Ids
    places: list[tuple[bytes, int, int]]


class _Cutter:
    """Cuts a text, which comes in chunks, in units.

    Args:
        text: it, for its place.
    """

    def __init__(self, tokenizer: Tokenizer, by: str, errors: str, text: UnitText[Any]) -> None:
        self._tokenizer, self._by = tokenizer, by
        self._decoder = Utf8Decoder("replace" if errors == "replace" else "strict")
        self._decoder.bom = text.keeps_bom
        self._encoder = tokenizer.encoder()
        if isinstance(self._encoder, Utf8Decoder):
            self._encoder.bom = True  # it was left out before
        self._sizes = np.array([len(each) for each in tokenizer.token_bytes])
        self._data: list[bytes] = []  # what has come and is not in a unit that has ended
        self._ids: list[Ids] = [NO_IDS]  # of it
        self._after_space = False  # whether it ends with white space
        self._first, self._chars, self._line = text.offset, text.offset, text.line

    @property
    def unknown_chars(self) -> Mapping[int, int]:
        """How often each unknown code point has come."""
        return self._encoder.unknown_chars

    def feed(self, data: bytes, final: bool = False) -> _Cut:
        """Return the units that have ended with these bytes; `final` says that the text ends here.

        Raises:
            InputError: the text is not what the tokenizer reads.
        """
        if not isinstance(self._tokenizer, ByteTokenizer):
            begun = self._decoder.bom
            data = _utf8(self._decoder.decode(data, final))
            self._chars += self._decoder.bom and not begun  # a byte order mark was left out
        self._ids.append(self._encoder.feed(data, final))
        self._data.append(data)
        if self._by == "word" and not self._ends_word(data) and not final:
            return _Cut(NO_IDS, NO_IDS, [])
        ids, data = np.concatenate(self._ids), b"".join(self._data)
        sizes = self._sizes[ids]
        if isinstance(self._tokenizer, CharTokenizer):  # one of them may be unknown
            sizes = np.diff(char_starts(data), append=len(data))
        token_ends = np.cumsum(sizes)  # in bytes
        read = data[: int(token_ends[-1])] if len(sizes) else b""
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
            offsets = np.maximum(self._chars + chars[firsts] - 1, self._first).tolist()
            lines = (self._line + newlines[firsts] - (np.frombuffer(read, np.uint8)[firsts] == 10)).tolist()
        texts = [read[a:b] for a, b in zip(begins_at.tolist(), ends_at.tolist(), strict=True)]
        places = list(zip(texts, offsets, lines, strict=True))
        count = int(ends[-1]) if len(ends) else 0
        size = int(token_ends[count - 1]) if count else 0
        self._ids, self._data = [ids[count:]], [data[size:]]
        if size:
            self._chars += int(chars[size - 1])
            self._line += int(newlines[size - 1])
        return _Cut(ids[:count], ends, places)

    def _ends_word(self, data: bytes) -> bool:
        """Return whether a word may end with these bytes: some follow white space. A long word is put together once."""
        text = data if isinstance(self._tokenizer, ByteTokenizer) else data.decode()
        follows = self._after_space or text[:1].isspace()
        if text:
            self._after_space = text[-1:].isspace()
        return not text.isspace() and (follows or len(text.split(None, 1)) == 2)

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

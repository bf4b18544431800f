"""Words and tokens: the units within a text, their nats and their places. They add up to the text."""

import functools
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from charrnn.corpus.formats import located
from charrnn.corpus.inputs import Chunks
from charrnn.engines.base import Array, Ids
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, Piece, score_ids
from charrnn.scoring.cutter import UnitCutter
from charrnn.scoring.details import Details
from charrnn.scoring.entries import NO_IDS
from charrnn.scoring.scorer import Scorer
from charrnn.tokenizers.utf8 import STEP

Where = TypeVar("Where")
"""What a caller knows a text by: another object for each, the same for its parts."""


class UnitText(NamedTuple, Generic[Where]):
    """A text to be cut in units.

    Attributes:
        where: what the units are returned with. chunks: its bytes, its end among them. name: of it, in messages.
        prompt: ids that it continues. line, offset: of its first character. begin: likewise in bytes.
        is_part: whether more of the text follows, which is read from `<s>`.
        keeps_bom: whether a byte order mark at its start is a character, as the text has begun before.
    """

    where: Where
    chunks: Chunks
    name: object = ""
    prompt: Ids = NO_IDS
    line: int = 1
    offset: int = 0
    begin: int = 0
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
    scorer: Scorer,
    texts: Iterable[UnitText[Where] | None],
    by: str,
    *,
    top: int | None = None,
    carry: bool = False,
    one_by_one: bool = False,
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
        one_by_one: begin no text before the one before has ended; an empty chunk of a text is then as None.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    waiting: deque[_Queue[Where]] = deque()  # of the sequences that are not finished, in order
    token_sizes = np.array([len(token) for token in scorer.tokenizer.token_bytes])
    pieces = functools.partial(_pieces, scorer, by=by, token_sizes=token_sizes, has_details=top is not None)

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

    failed: object = object()  # the last text of which a part could not be used: nothing of its rest is returned

    def ends(queue: _Queue[Where]) -> Iterator[TextEnd[Where]]:
        """Return the texts that end before the next unit."""
        nonlocal failed
        while queue and isinstance(end := queue[0], TextEnd):
            if end.where is not failed:
                failed = end.where if end.failure is not None else failed
                yield end
            queue.popleft()

    slots = 1 if carry or one_by_one else BATCH_SLOTS
    for spans in score_ids(scorer.engine, scorer.tokenizer, sequences(), slots=slots, top=top, check=scorer.check):
        queue = waiting[0]
        for nth, nats in enumerate(spans.nats.tolist()):
            yield from ends(queue)
            found = queue.popleft()
            assert not isinstance(found, TextEnd)
            if found is not None and found[0] is not failed:
                yield Unit(*found, nats, int(spans.tokens[nth]), int(spans.oov[nth]), *_details_of(spans.details, nth))
        yield from ends(queue)
        if spans.is_last:
            waiting.popleft()


def _details_of(details: Details | None, nth: int) -> tuple[int, float, list[tuple[int, float]]] | tuple[()]:
    if details is None:
        return ()
    top = zip(details.top_ids[nth].tolist(), details.top_nats[nth].tolist(), strict=True)
    return int(details.ranks[nth]), float(details.entropies[nth]), list(top)


def _pieces(
    scorer: Scorer, text: UnitText[Where], queue: _Queue[Where], *, by: str, token_sizes: Array, has_details: bool
) -> Iterator[Piece]:
    """Return the ids of a text, and put what their spans are into the queue; with details each is one token."""
    cutter = UnitCutter(
        scorer.tokenizer,
        by,
        scorer.options.decoding,
        token_sizes,
        offset=text.offset,
        line=text.line,
        begin=text.begin,
        keeps_bom=text.keeps_bom,
    )
    failure = None
    if size := len(text.prompt):
        ends = np.arange(1, size + 1) if has_details else np.array([size])
        queue.extend(itertools.repeat(None, len(ends)))
        yield Piece(text.prompt, ends)
    try:
        data = b""
        for chunk in text.chunks:
            if not chunk:
                yield from _units(cutter, data, text, queue)
                yield Piece(NO_IDS)
                data = b""
            for begin in range(0, len(chunk), STEP):
                if data:
                    yield from _units(cutter, data, text, queue)
                data = chunk[begin : begin + STEP]
        yield from _units(cutter, data, text, queue, final=True)
    except InputError as error:
        failure = error
    scorer.rows.unknown_chars.update(cutter.unknown_chars)
    scorer.rows.replaced += cutter.replaced
    if failure is not None or not text.is_part:
        queue.append(TextEnd(text.where, failure))


def _units(
    cutter: UnitCutter, data: bytes, text: UnitText[Where], queue: _Queue[Where], *, final: bool = False
) -> Iterator[Piece]:
    """Return the ids of the units that have ended with these bytes, and put what they are into the queue.

    Raises:
        InputError: the text cannot be decoded; the message begins with its name.
    """
    try:
        cut = cutter.feed(data, final)
    except InputError as error:
        raise located(error, text.name) from None
    queue.extend((text.where, *place) for place in cut.places)
    if len(cut.ids):
        yield Piece(cut.ids, cut.ends)

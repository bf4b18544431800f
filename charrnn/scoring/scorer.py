"""Bytes to nats. `Scorer` is the one place that knows what suits a model: whole texts, windows, pieces, or records."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charrnn.corpus.formats import NamedText, Place, Row
from charrnn.corpus.inputs import Chunks
from charrnn.corpus.records import SeparatorScanner, insert_bos, split_records, with_final_separator
from charrnn.engines.base import Ids, InferenceEngine
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, score_ids
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Encoder, Tokenizer
from charrnn.tokenizers.utf8 import STEP, without_line

_MAX_WINDOW_IDS = 1 << 24  # of the windows that are read side by side


_BLOCK_IDS = 1 << 12  # of the records that a row of the batch reads at a time


@dataclass(frozen=True)
class ScoringOptions:
    """How texts are scored.

    Attributes:
        errors: what becomes of invalid UTF-8: "strict" and "skip" refuse it, "replace" reads U+FFFD. With "skip" the
            texts after one that cannot be used are scored too.
        window: tokens after which the state is reset; 0: never.
        streams: pieces of equal length that a text is cut in, each scored from `<s>`, side by side: fast, and an
            approximation. 1: none. Records are separate as it is: they are not cut.
    """

    errors: str = "strict"
    window: int = 0
    streams: int = 1


class Scorer:
    """Scores texts with a model; every token once, the first included.

    Texts are scored side by side, each exactly as if alone; an adaptive engine reads them one after another, each as
    if it had read nothing before.

    Args:
        engine, tokenizer: the model's.
        separator: what ends each record of a record model; empty: a text is read from start to end.
        options: how texts are scored.
        check: called with the number of tokens read so far before each call of the engine; may raise.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        tokenizer: Tokenizer,
        separator: bytes = b"",
        options: ScoringOptions = ScoringOptions(),
        *,
        check: Callable[[int], None] = lambda tokens: None,
    ) -> None:
        self.engine, self.tokenizer, self.separator, self.options = engine, tokenizer, separator, options
        self._check = check
        self._slots = BATCH_SLOTS
        if not separator and options.streams > 1:
            self._slots = options.streams
        elif not separator and options.window:
            self._slots = max(1, min(BATCH_SLOTS, _MAX_WINDOW_IDS // options.window))

    def texts(self, texts: Iterable[NamedText]) -> Iterator[Score]:
        """Return the score of each text, in order. Those of a record model are records, each scored from `<s>` and
        with its separator; what is missing of the last one's is added.

        Raises:
            InputError: a text cannot be read or decoded; raised once all those before it have been returned.
            NonFiniteError: the model's arithmetic overflows.
        """
        return _scores(self.text_outcomes(texts))

    def text_outcomes(self, texts: Iterable[NamedText]) -> Iterator["Outcome"]:
        """Return what `texts` returns or raises for each text; after an error there is more with `errors` "skip"."""
        return self._outcomes(texts, self._records if self.separator else self._sequences)

    def lines(self, rows: Iterable[Row]) -> Iterator[Score]:
        """Return the score of each row, in order: its text is scored from `<s>` and with its end, the model's
        separator or a newline, which is added where it is missing. Where a record model's separator stands in the text
        a record ends, as in `texts`. A row without text has no tokens. Raises as `texts`."""
        return _scores(self.line_outcomes(rows))

    def line_outcomes(self, rows: Iterable[Row]) -> Iterator["Outcome"]:
        """Return what `lines` returns or raises for each row; after an error there is more with `errors` "skip"."""
        return self._outcomes((NamedText(self._parts(row), row.place) for row in rows), self._sequences)

    def records(self, text: NamedText) -> Iterator[Score]:
        """Return the score of each record of a text, as `texts` scores it. Raises as `texts`."""
        records = itertools.chain.from_iterable(split_records(part, self.separator) for part in text.parts)
        return _scores(self._outcomes((NamedText([[record]], text.name) for record in records), self._sequences))

    def _parts(self, row: Row) -> Iterator[Chunks]:
        """Return the text of a row with its end, cut where records end. Raises the row's fault."""
        text, end = row.text, self.separator or b"\n"
        if row.fault is not None:
            raise row.fault
        if text is None:
            return
        if len(end) > 1 or (self.separator and end in text):
            yield from ([record] for record in list(split_records([text], end)) or [end])
        elif text.endswith(end):
            yield [text]
        else:
            yield [text + end] if len(text) < STEP else [text, end]  # a long one is not copied

    def _outcomes(self, texts: Iterable[NamedText], cut: "_Cut") -> Iterator["Outcome"]:
        if not self.engine.adaptive:
            yield from self._side_by_side(self.engine, texts, cut, self._slots)
        else:
            for text in texts:
                yield from self._side_by_side(self.engine.fresh(), [text], cut, 1)

    def _side_by_side(
        self, engine: InferenceEngine, texts: Iterable[NamedText], cut: "_Cut", slots: int
    ) -> Iterator["Outcome"]:
        """Return each text's score: the sum of its sequences', with their lengths."""
        waiting: deque[_Progress] = deque()  # the texts whose scores have not been returned, in order
        owners: deque[_Progress] = deque()  # of the sequences that are being scored, in order
        failed = False

        def sequences() -> Iterator[Iterable[Ids]]:
            nonlocal failed
            for text in texts:
                waiting.append(progress := _Progress())
                try:
                    for sequence in cut(text, progress):
                        progress.open += 1
                        owners.append(progress)
                        yield until_failure(progress, sequence)
                except InputError as error:
                    progress.failure, failed = error, True
                progress.complete = True
                if failed and self.options.errors != "skip":
                    return

        def until_failure(progress: _Progress, sequence: Iterable[Ids]) -> Iterator[Ids]:
            nonlocal failed
            try:
                yield from sequence
            except InputError as error:
                progress.failure, failed = error, True

        for score in score_ids(engine, self.tokenizer, sequences(), slots=slots, check=self._check):
            progress = owners.popleft()
            progress.open -= 1
            progress.score = progress.score + score if progress.score.tokens else score
            while waiting and waiting[0].complete and not waiting[0].open:
                yield waiting.popleft().result()
        while waiting:  # texts without tokens
            yield waiting.popleft().result()

    def _whole(self, text: NamedText, progress: "_Progress") -> Iterator[Iterator[Ids]]:
        """Return each part of a text as one sequence."""
        return (self._encode(part, text.name, progress) for part in text.parts)

    def _sequences(self, text: NamedText, progress: "_Progress") -> Iterator[Iterable[Ids]]:
        """Return each part of a text whole, in windows, or, unless it is of records, in pieces of equal length."""
        window, streams = self.options.window, 1 if self.separator else self.options.streams
        for sequence in self._whole(text, progress):
            if streams > 1:
                yield from ([piece] for piece in np.array_split(np.concatenate([*sequence]), streams) if len(piece))
            elif window:
                yield from ([piece] for piece in _windows(sequence, window))
            else:
                yield sequence

    def _records(self, text: NamedText, progress: "_Progress") -> Iterator[Iterable[Ids]]:
        """Return the records of a text, many in a sequence."""
        parts = itertools.chain.from_iterable(with_final_separator(part, self.separator) for part in text.parts)
        ids = self._encode(parts, text.name, progress)
        scanner = SeparatorScanner(self.tokenizer.encode(self.separator))
        return ([block] for block in _blocks(ids, scanner, self.engine.vocabulary, self.options.window))

    def _encode(self, chunks: Chunks, name: object, progress: "_Progress") -> Iterator[Ids]:
        """Return the ids of a text, chunk by chunk; its lengths are added to those of `progress`.

        Raises:
            InputError: the text cannot be read or decoded; the message begins with `name`.
        """
        encoder = self.tokenizer.encoder("replace" if self.options.errors == "replace" else "strict")
        data = b""
        for chunk in chunks:
            for begin in range(0, len(chunk), STEP):
                if data:
                    yield _feed(encoder, data, name)
                data = chunk[begin : begin + STEP]
        ids = _feed(encoder, data, name, final=True)
        lengths = Score(0.0, 0, 0, 0.0, encoder.chars, encoder.bytes, encoder.words, encoder.replaced)
        progress.lengths = progress.lengths + lengths if progress.lengths.bytes else lengths
        yield ids


Outcome = Score | InputError
"""The score of a text, or why it has none."""


def _scores(outcomes: Iterable[Outcome]) -> Iterator[Score]:
    """Return scores; raise an error in the place of one."""
    for outcome in outcomes:
        if isinstance(outcome, InputError):
            raise outcome
        yield outcome


_NOTHING = Score()


@dataclass(eq=False, slots=True)
class _Progress:
    """What has been scored of a text.

    Attributes:
        score: of the sequences that are finished, without lengths.
        lengths: of those that have been read. failure: why the text could not be read to its end.
        open: how many sequences have begun and are not finished.
        complete: whether all its sequences have begun.
    """

    score: Score = _NOTHING
    lengths: Score = _NOTHING
    open: int = 0
    complete: bool = False
    failure: InputError | None = None

    def result(self) -> Outcome:
        """Return the score with its lengths, or what the text failed with."""
        return self.score + self.lengths if self.failure is None else self.failure


_Cut = Callable[[NamedText, _Progress], Iterator[Iterable[Ids]]]
"""Makes the sequences of a text, each to be read from `<s>`."""


def _feed(encoder: Encoder, data: bytes, name: object, *, final: bool = False) -> Ids:
    try:
        return encoder.feed(data, final=final)
    except InputError as error:
        if isinstance(name, Place):  # of a line: its number is there already
            error = InputError(without_line(error.text), error.fields)
        raise error.prefixed(str(name)) if str(name) else error from None


def _windows(chunks: Iterable[Ids], window: int) -> Iterator[Ids]:
    """Return the ids of a text in pieces of `window`, the last one shorter."""
    held: list[Ids] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        if count < window:
            continue
        ids = np.concatenate(held)
        whole = count // window * window
        for begin in range(0, whole, window):
            yield ids[begin : begin + window]
        held, count = [ids[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _blocks(chunks: Iterable[Ids], scanner: SeparatorScanner, bos: int, window: int) -> Iterator[Ids]:
    """Return whole records, about `_BLOCK_IDS` ids at a time, with `<s>` before each but a block's first."""
    held: list[Ids] = []
    size = 0
    bounds = np.zeros(1, np.int64)  # where the records in `held` begin and end
    for chunk in chunks:
        bounds = np.append(bounds, scanner.feed(chunk) + size)
        held.append(chunk)
        size += len(chunk)
        complete = int(bounds[-1])
        if complete >= _BLOCK_IDS:
            ids = np.concatenate(held)
            _, firsts = np.unique(bounds // _BLOCK_IDS, return_index=True)
            for a, b in itertools.pairwise(np.union1d(bounds[firsts], complete).tolist()):
                yield _with_bos(ids[a:b], bounds[(bounds > a) & (bounds < b)] - a, bos, window)
            held, size, bounds = [ids[complete:]], size - complete, bounds[:1]
    if size:
        yield _with_bos(np.concatenate(held), bounds[(bounds > 0) & (bounds < size)], bos, window)


def _with_bos(ids: Ids, places: Ids, bos: int, window: int) -> Ids:
    """Return records with `<s>` before each but the first, which begin at `places`, and before each further window."""
    if window:
        starts = np.append(0, places)
        more = (np.diff(starts, append=len(ids)) - 1) // window  # windows of each record after its first
        within = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
        places = np.union1d(places, np.repeat(starts, more) + (within + 1) * window)
    return insert_bos(ids, places, bos)

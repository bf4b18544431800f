"""Bytes to nats. `Scorer` is the one place that knows what suits a model: whole texts, windows, pieces, or records."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from charrnn.corpus.formats import NamedText, Row, located
from charrnn.corpus.records import SeparatorScanner, with_final_separator
from charrnn.engines.base import Array, Ids, InferenceEngine
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, Piece, score_ids
from charrnn.scoring.blocks import cut_blocks, record_blocks, windows_of
from charrnn.scoring.entries import Entry, Outcome, TextEntry
from charrnn.scoring.options import DEFAULT_OPTIONS, ScoringOptions
from charrnn.scoring.rows import RowReader
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Encoder, Tokenizer
from charrnn.tokenizers.utf8 import STEP

_MAX_WINDOW_IDS = 1 << 24  # of the windows that are read side by side


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
        options: ScoringOptions = DEFAULT_OPTIONS,
        *,
        check: Callable[[int], None] = lambda tokens: None,
    ) -> None:
        self.engine, self.tokenizer, self.separator, self.options = engine, tokenizer, separator, options
        self.check = check
        self.rows = RowReader(tokenizer, separator, options, engine.vocabulary, self._sequences, alone=engine.adaptive)
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
        return self._outcomes(map(self._entry, texts))

    def blocks(self, text: NamedText) -> tuple[Score, Array, Array]:
        """Return the score of a text, and of the blocks of its lines the nats and the bytes, float64 (K,) each: about a
        thousand characters and the rest of the line, cut alike for every model of the same `ScoringOptions.boundary`.

        Raises as `texts`.
        """
        entry = self._entry(text)
        [score] = _scores(self._outcomes([entry]))
        return score, *entry.blocks()

    def lines(self, rows: Iterable[Row]) -> Iterator[Score]:
        """Return the score of each row, in order: its text is scored from `<s>` and with its end, the model's
        separator or a newline, which is added where it is missing. Where a record model's separator stands in the text
        a record ends, as in `texts`. A row without text has no tokens. Raises as `texts`."""
        return _scores(self.line_outcomes(rows))

    def line_outcomes(self, rows: Iterable[Row]) -> Iterator["Outcome"]:
        """Return what `lines` returns or raises for each row; after an error there is more with `errors` "skip"."""
        return self._outcomes(self.rows.entries(rows))

    def _entry(self, text: NamedText) -> TextEntry:
        """Return a whole text to be scored."""
        cut = self._records if self.separator else self._whole
        return TextEntry(text, cut, self.rows.prompt, self.rows.unknown_chars)

    def _outcomes(self, entries: Iterable["Entry"]) -> Iterator["Outcome"]:
        if not self.engine.adaptive:
            yield from self._side_by_side(self.engine, entries, self._slots)
        else:
            for entry in entries:
                yield from self._side_by_side(self.engine.fresh(), [entry], 1)

    def _side_by_side(self, engine: InferenceEngine, entries: Iterable["Entry"], slots: int) -> Iterator["Outcome"]:
        """Return what came of each text, in order."""
        waiting: deque[Entry] = deque()  # of what has not been returned, in order
        owners: deque[Entry] = deque()  # of the sequences that are being scored, in order
        failed = False

        def sequences() -> Iterator[Iterable[Piece]]:
            nonlocal failed
            for entry in entries:
                waiting.append(entry)
                try:
                    for sequence in entry.sequences():
                        entry.open += 1
                        owners.append(entry)
                        yield until_failure(entry, sequence)
                except InputError as error:
                    entry.failure, failed = entry.failure or error, True
                entry.complete = True
                if failed and self.options.errors != "skip":
                    return

        def until_failure(entry: Entry, sequence: Iterable[Piece]) -> Iterator[Piece]:
            nonlocal failed
            try:
                yield from sequence
            except InputError as error:
                entry.failure, failed = entry.failure or error, True

        for spans in score_ids(engine, self.tokenizer, sequences(), slots=slots, check=self.check):
            owners[0].add(spans)
            if spans.is_last:
                owners.popleft().open -= 1
            while waiting and waiting[0].complete and not waiting[0].open:
                yield from waiting.popleft().outcomes()
        while waiting:  # texts without tokens
            yield from waiting.popleft().outcomes()

    def _whole(self, text: NamedText, progress: "TextEntry") -> Iterator[Iterable[Piece]]:
        """Return a text as one sequence, in which blocks of lines are spans; or as `_sequences`."""
        if self.options.window or self.options.streams > 1:
            yield from self._sequences(text, progress)
            return
        boundary = self._boundary()
        for part in text.parts:
            yield (
                Piece(ids, np.array([len(ids)]) if is_end and len(ids) else None)
                for ids, is_end in self._encode(cut_blocks(part, boundary), text.name, progress)
            )

    def _boundary(self) -> bytes:
        """Return what ends the lines of a whole text; empty: nothing that ends a token and a record of this model."""
        boundary = self.options.boundary or self.separator or b"\n"
        ends_token = self.tokenizer.name != "sentencepiece" or boundary.endswith(b"\n")
        return boundary if ends_token and boundary.endswith(self.separator) else b""

    def _sequences(self, text: NamedText, progress: "TextEntry") -> Iterator[Iterable[Piece]]:
        """Return each part of a text whole, in windows, or, unless it is of records, in pieces of equal length."""
        window, streams = self.options.window, 1 if self.separator else self.options.streams
        progress.has_blocks = False
        for part in text.parts:
            sequence = (ids for ids, _ in self._encode(((chunk, False) for chunk in part), text.name, progress))
            if streams > 1:
                pieces = np.array_split(np.concatenate([*sequence]), streams)
                yield from ([Piece(piece)] for piece in pieces if len(piece))
            elif window:
                yield from ([Piece(piece)] for piece in windows_of(sequence, window))
            else:
                yield map(Piece, sequence)

    def _records(self, text: NamedText, progress: "TextEntry") -> Iterator[Iterable[Piece]]:
        """Return the records of a text, many in a sequence: those of a block."""
        parts = itertools.chain.from_iterable(with_final_separator(part, self.separator) for part in text.parts)
        chunks = self._encode(cut_blocks(parts, self._boundary()), text.name, progress)
        scanner = SeparatorScanner(self.tokenizer.encode(self.separator))
        return ([Piece(block)] for block in record_blocks(chunks, scanner, self.engine.vocabulary, self.options.window))

    def _encode(
        self, chunks: Iterable[tuple[bytes, bool]], name: object, progress: "TextEntry"
    ) -> Iterator[tuple[Ids, bool]]:
        """Return the ids of a text, chunk by chunk, and whether a block ends with them; what is read is counted.

        Raises:
            InputError: the text cannot be read or decoded; the message begins with `name`.
        """
        encoder = self.tokenizer.encoder(self.options.decoding)
        data, block, was_end = b"", 0, False
        for chunk, is_end in chunks:
            for begin in range(0, len(chunk), STEP):
                if data:
                    yield _feed(encoder, data, name), was_end
                data = chunk[begin : begin + STEP]
                was_end = is_end and begin + STEP >= len(chunk)
            block += len(chunk)
            if is_end:
                progress.block_sizes.append(block)
                block = 0
        ids = _feed(encoder, data, name, final=True)
        if block:
            progress.block_sizes.append(block)
        progress.count(encoder)
        yield ids, was_end


def _scores(outcomes: Iterable[Outcome]) -> Iterator[Score]:
    """Return scores; raise an error in the place of one."""
    for outcome in outcomes:
        if isinstance(outcome, InputError):
            raise outcome
        yield outcome


def _feed(encoder: Encoder, data: bytes, name: object, *, final: bool = False) -> Ids:
    try:
        return encoder.feed(data, final=final)
    except InputError as error:
        raise located(error, name) from None

"""Rows to be scored: short ones together, a long one or one that is not plain text on its own."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from charrnn.corpus.formats import NamedText, Place, Row, located
from charrnn.corpus.inputs import Chunks
from charrnn.corpus.records import split_records
from charrnn.engines.base import Ids
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, Piece
from charrnn.scoring.entries import NO_IDS, Cut, Entry, PackedEntry, TextEntry
from charrnn.scoring.options import ScoringOptions
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import STEP

_SHORT = 1 << 14  # bytes of a row, and tokens of a prompt, that are encoded and read together with others


_GROUP_BYTES = 1 << 18  # of short rows that are encoded together, each with its prompt


MAX_TEXTS = 1 << 12
"""Texts of a caller's own that are fetched before those among them are scored."""


_MAX_BYTES = 1 << 22  # of such texts, where they are enough to be scored side by side


class RowReader:
    """Makes of rows what is scored.

    Args:
        tokenizer, separator, options: as of a `Scorer`.
        bos: the id of `<s>`. sequences: makes the sequences of a text on its own. alone: whether no row is read
            together with others.

    Attributes:
        prompt: ids of what the texts continue that have none of their own.
        unknown_chars: how often unknown code points have come.
        replaced: places with invalid UTF-8 that were read as U+FFFD where texts are cut in words or tokens.

    Raises:
        InputError: the prompt cannot be used.
    """

    def __init__(
        self, tokenizer: Tokenizer, separator: bytes, options: ScoringOptions, bos: int, sequences: Cut, *, alone: bool
    ) -> None:
        self._tokenizer, self._separator, self._options, self._bos = tokenizer, separator, options, bos
        self._sequences, self._scores_alone = sequences, alone or options.window > 0 or options.streams > 1
        self.prompt = self._encode_prompt(options.prompt)
        self._scores_alone |= len(self.prompt) >= _SHORT
        self.unknown_chars: Counter[int] = Counter()
        self.replaced = 0

    def entries(self, rows: Iterable[Row]) -> Iterator[Entry]:
        """Return rows to be scored, in order: short ones together, if they are plain text in which no record ends."""
        group: list[tuple[Row, bytes]] = []
        size = 0
        for row in rows:
            if self._is_short(row):
                assert row.text is not None
                group.append((row, self.with_end(row.text)))
                size += len(row.text) + 1 + len(self.prompt)
                if size < _GROUP_BYTES:
                    continue
            yield from self._packed(group)
            group, size = [], 0
            if not self._is_short(row):
                yield self._alone(row)
        yield from self._packed(group)

    def _encode_prompt(self, prompt: bytes) -> Ids:
        """Return the ids of a prompt; those of characters that are not known are `<unk>`.

        Raises:
            InputError: it cannot be decoded, or holds the separator of the model's records.
        """
        if not prompt:
            return NO_IDS
        if self._separator and self._separator in prompt:
            raise InputError(
                f"the prompt holds {self._separator!r}, which ends a record of this model: nothing continues after it"
            )
        return self._tokenizer.encode(prompt, self._options.decoding)

    def prompt_of(self, row: Row) -> Ids:
        """Return the ids of what a row continues.

        Raises:
            InputError: as `_encode_prompt`; the message begins with the row's place.
        """
        if row.prompt is None:
            return self.prompt
        try:
            return self._encode_prompt(row.prompt)
        except InputError as error:
            raise located(error, row.place) from None

    def with_end(self, text: bytes) -> bytes:
        """Return a row's text with its end, if that is scored."""
        end = self._separator or b"\n"
        if not self._options.end or (text.endswith(end) and not self._separator):
            return text
        return text + end

    def _is_short(self, row: Row) -> bool:
        """Return whether a row may be read together with others."""
        text = row.text
        return (
            text is not None
            and row.fault is None
            and row.prompt is None
            and len(text) < _SHORT
            and not (self._separator and self._separator[:1] in text)
            and not self._scores_alone
        )

    def _alone(self, row: Row) -> TextEntry:
        """Return a row to be scored on its own."""

        def cut(text: NamedText, progress: TextEntry) -> Iterator[Iterable[Piece]]:
            progress.prompt = self.prompt_of(row)
            return self._sequences(text, progress)

        return TextEntry(NamedText(self.parts(row), row.place), cut, NO_IDS, self.unknown_chars)

    def _packed(self, group: list[tuple[Row, bytes]]) -> Iterator[Entry]:
        """Return short rows, of which those that are plain text are scored together."""
        if not group:
            return
        texts = [text for _, text in group]
        if (encoded := self._tokenizer.encode_texts(texts)) is not None:
            self.unknown_chars.update(encoded.unknown_chars)
            sizes = np.fromiter(map(len, texts), np.int64, len(texts))
            yield PackedEntry(encoded, sizes, self.prompt, self._bos)
        elif len(group) == 1:
            yield self._alone(group[0][0])
        else:
            for _, run in itertools.groupby(group, lambda each: self._tokenizer.encode_texts([each[1]]) is None):
                part = list(run)
                yield from self._packed(part) if len(part) < len(group) else (self._alone(row) for row, _ in part)

    def parts(self, row: Row) -> Iterator[Chunks]:
        """Return the text of a row with its end, cut where records end. Raises the row's fault."""
        text, end = row.text, self._separator or b"\n"
        if row.fault is not None:
            raise row.fault
        if text is None:
            return
        if self._separator and (len(end) > 1 or end in text):
            records = list(split_records([text], end)) or [end]
            if not self._options.end:
                records[-1] = text[sum(map(len, records[:-1])) :]
            yield from ([record] for record in records)
        elif text.endswith(end) or not self._options.end:
            yield [text]
        else:
            yield [text + end] if len(text) < STEP else [text, end]  # a long one is not copied


def row_blocks(texts: Iterable[bytes]) -> Iterator[list[Row]]:
    """Return texts that are in no file as rows: at most `MAX_TEXTS` together, which are to be scored before more are
    fetched."""
    rows: list[Row] = []
    size = 0
    for index, text in enumerate(texts):
        rows.append(Row(text, b"", _Index("", index)))
        size += len(text)
        if len(rows) == MAX_TEXTS or (size >= _MAX_BYTES and len(rows) >= BATCH_SLOTS):
            yield rows
            rows, size = [], 0
    yield rows


class _Index(Place):
    """Which of a caller's texts a row is."""

    def __str__(self) -> str:
        return f"texts[{self.line}]"

"""The texts within a source: objects, rows, lines or records, those that cannot be used left out."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from charrnn.corpus import formats, json_lines, tables
from charrnn.corpus.faults import BYTE_ADVICE, LATIN1_ADVICE, LeftOut, shown_name
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.json_lines import Field
from charrnn.corpus.records import split_records
from charrnn.errors import InputError
from charrnn.tokenizers.utf8 import Errors


class TextRows:
    """Reads the texts within sources.

    Args:
        errors, is_utf8: as for `read_corpus`. left_out: takes what cannot be used.

    Attributes:
        field: of JSON objects, which counts them.
        weights: how often each text counts, where the format says so.
    """

    def __init__(self, text_format: TextFormat, errors: Errors, is_utf8: bool, left_out: LeftOut) -> None:
        self.field = Field(text_format.jsonl or "")
        self.weights = array("q")
        self._text_format, self._errors, self._is_utf8, self._left_out = text_format, errors, is_utf8, left_out

    def are_in(self, name: str) -> bool:
        """Return whether there are texts within a source, which otherwise is one text."""
        text_format = self._text_format
        return (
            text_format.is_structured
            or formats.is_fasta(name)
            or bool(text_format.separator and self._left_out.skips and self._is_utf8)
        )

    def read(self, name: str, chunks: Iterable[bytes]) -> Iterator[tables.Located]:
        """Yield the texts within a source, with the lines on which they begin."""
        quoted, separator, found = shown_name(name), self._text_format.separator, False
        try:
            for line, data, *count in self._located(name, chunks):
                place = f"{quoted}, line {line}"
                if (byte := self._invalid_byte(data)) is not None:
                    fault = InputError(f"{place}: invalid UTF-8 at byte {byte} of the text")
                    self._left_out.add("line", fault, LATIN1_ADVICE + BYTE_ADVICE)
                elif separator and separator in data:
                    message = f"{place}: the text holds the separator {separator!r}, which would end the record"
                    advice = "; choose another {separator}, or {errors} skip, which leaves the line out"
                    self._left_out.add("line", InputError(message, ("separator",)), advice)
                else:
                    found = True
                    self.weights.extend(count)
                    yield line, data
        except InputError as error:
            if not self._left_out.skips:
                raise
            self._left_out.add("rest of a file" if found else "file", error)

    def _located(self, name: str, chunks: Iterable[bytes]) -> Iterator[Any]:
        """Return the texts of a structured source with their lines, and counts where there are any."""
        text_format, quoted = self._text_format, shown_name(name)

        def fault(error: InputError) -> None:
            self._left_out.add("line", error, LATIN1_ADVICE if "invalid UTF-8" in error.text else None)

        if text_format.jsonl is not None:
            return json_lines.read_json_lines(chunks, self.field, quoted, self._errors, fault)
        if text_format.tsv is not None:
            return tables.table(chunks, text_format.tsv, quoted, fault)
        if text_format.csv is not None:
            return tables.table(chunks, text_format.csv, quoted, fault, is_csv=True)
        if text_format.weights:
            return formats.counted_lines(chunks, quoted, fault)
        if formats.is_fasta(name):
            return formats.fasta(chunks, quoted, fault)
        return _plain_records(chunks, text_format.separator)

    def _invalid_byte(self, data: bytes) -> int | None:
        """Return where the first invalid UTF-8 of a text is; None: there is none, or it does not matter."""
        if not self._is_utf8 or self._errors == "replace":
            return None
        try:
            data.decode()
        except UnicodeDecodeError as error:
            return error.start
        return None


def _plain_records(chunks: Iterable[bytes], separator: bytes) -> Iterator[tables.Located]:
    """Yield the records of a text, without their separators, and the lines on which they begin."""
    line = 1
    for record in split_records(chunks, separator):
        yield line, record[: -len(separator)]
        line += record.count(b"\n")

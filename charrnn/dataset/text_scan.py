"""What is odd in a text, counted and located: bytes that are not UTF-8, marks, ends of lines, control characters, words
of mixed scripts, decomposed characters, lines that are very long or come again.
"""

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpus.corpus import Counts
from charrnn.corpus.inputs import BOM
from charrnn.dataset.lines import Lines, Places
from charrnn.dataset.remedies import SCRIPTS, one_script
from charrnn.dataset.text_blocks import Block
from charrnn.tokenizers.char import CODE_POINTS
from charrnn.tokenizers.utf8 import count_newlines

CONTROLS = (*range(9), 11, *range(14, 32), *range(127, 160))
"""Control characters that are no white space of texts; a form feed is."""

LONG_LINE = 10_000
"""Bytes from which on a line is very long."""

MAX_PLACES = 100_000
"""Places of mixed scripts that are examined in a source."""

_MAX_SAMPLE = 1 << 16  # bytes of lines that are not UTF-8 by which their encoding is guessed

_NO_CONTROLS = bytes(sorted({*range(128)} - {*CONTROLS}))

_IS_CONTROL = np.isin(np.arange(max(CONTROLS) + 2), CONTROLS)  # the last entry stands for every larger one


@dataclass
class Tally:
    """How often something was found in a source, where first, and what it was there."""

    count: int = 0
    line: int | None = None
    byte: int | None = None
    example: str = ""

    def add(self, count: int, block: Block, at: int, example: str = "") -> None:
        """Count on; the first time the place counts, a byte of the block."""
        if not self.count:
            self.line, self.byte = block.place(at)
            self.example = example
        self.count += count


class Source:
    """What was found in one source.

    Attributes:
        found: by kind. newlines, pairs, returns: ends of lines: LF, CR LF, CR without LF.
        sample: lines with bytes that are not UTF-8. multibyte: how many characters beyond ASCII there are.
        controls: which control characters occur. scripts: which of `SCRIPTS` are mixed with Latin.
        examined: how many places of mixed scripts have been examined, of `MAX_PLACES`.
    """

    def __init__(self) -> None:
        self.found: dict[str, Tally] = {}
        self.newlines = self.pairs = self.returns = self.multibyte = self.examined = 0
        self.sample = bytearray()
        self.controls: set[int] = set()
        self.scripts: set[str] = set()

    def tally(self, kind: str) -> Tally:
        """Return the tally of a kind."""
        return self.found.setdefault(kind, Tally())


class TextScan:
    """Reads the blocks of a corpus, and keeps what was found.

    Attributes:
        sources: what was found, by the name of the source.
        counts: how often each code point occurs. composed: how many characters are composed, that could be decomposed.
        lines: of all sources. chars: how many characters were read.
    """

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self.counts: Counts = np.zeros(CODE_POINTS, np.int64)
        self.lines = Lines()
        self._occurs = np.zeros(CODE_POINTS, np.bool_)
        self._is_mark = np.zeros(CODE_POINTS, np.bool_)  # of those that occur

    def add(self, block: Block) -> None:
        """Read the next block."""
        source = self.sources.setdefault(block.name, Source())
        self._long_lines(source, block, *self.lines.add(block))
        self._line_ends(source, block)
        data = block.data
        if block.byte == 0 and data.startswith(BOM):
            source.tally("bom").add(1, block, 0)
            block = block._replace(data=data[len(BOM) :], byte=len(BOM))
        if block.data.isascii():
            self._count(np.frombuffer(block.data, np.uint8))
            if found := block.data.translate(None, _NO_CONTROLS):
                self._found_controls(source, block, found.decode(), block.data.find(found[:1]))
        else:
            self._beyond_ascii(source, block)

    @property
    def chars(self) -> int:
        """How many characters were read."""
        return int(self.counts.sum())

    @property
    def composed(self) -> int:
        """How many characters are composed ones, which NFD would take apart."""
        return sum(
            int(self.counts[point]) for point in np.flatnonzero(self.counts[128:]) + 128 if _decomposes(chr(point))
        )

    def _count(self, points: npt.NDArray[Any]) -> None:
        found = np.bincount(points)
        self.counts[: found.size] += found
        new = np.flatnonzero(found[128:]) + 128
        for point in new[~self._occurs[new]].tolist():
            self._occurs[point] = True
            self._is_mark[point] = _is_mark(chr(point))

    def _line_ends(self, source: Source, block: Block) -> None:
        data = block.data
        source.newlines += count_newlines(data)
        if b"\r" in data:
            pairs = data.count(b"\r\n")
            source.pairs += pairs
            source.returns += data.count(b"\r") - pairs
            source.tally("line-ends").add(data.count(b"\r"), block, data.find(b"\r"))

    def _long_lines(self, source: Source, block: Block, starts: Places, sizes: Places) -> None:
        long = np.flatnonzero(sizes > LONG_LINE)
        if len(long):
            source.tally("long-lines").add(len(long), block, int(starts[long[0]]), f"{int(sizes[long[0]]):,}")

    def _found_controls(self, source: Source, block: Block, found: str, at: int) -> None:
        source.controls.update(map(ord, found))
        source.tally("control").add(len(found), block, at, found[0])

    def _beyond_ascii(self, source: Source, block: Block) -> None:
        text = block.data.decode("utf-8", "surrogateescape")
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        invalid = np.flatnonzero((points >= 0xDC80) & (points <= 0xDCFF))

        def byte(at: int) -> int:
            return len(text[:at].encode("utf-8", "surrogateescape"))

        if len(invalid):
            source.tally("encoding").add(len(invalid), block, byte(int(invalid[0])))
            _sample_lines(source.sample, text, invalid)
        source.multibyte += int(np.count_nonzero(points > 127)) - len(invalid)
        self._count(np.delete(points, invalid) if len(invalid) else points)
        marks = np.flatnonzero(points == 0xFEFF)
        if len(marks):
            source.tally("bom").add(len(marks), block, byte(int(marks[0])))
        control = np.flatnonzero(_IS_CONTROL.take(points, mode="clip"))
        if len(control):
            found = "".join(map(chr, points[control]))
            self._found_controls(source, block, found, byte(int(control[0])))
        self._decomposed(source, block, points, byte)
        letters = (points < 128) & ((points | 32) >= 97) & ((points | 32) <= 122)
        for name, script in SCRIPTS.items():
            others = (points >= script.first) & (points <= script.last)
            if others.any():
                places = np.flatnonzero((letters[:-1] & others[1:]) | (others[:-1] & letters[1:]))
                self._mixed(source, block, text, places, name, byte)

    def _decomposed(self, source: Source, block: Block, points: Any, byte: Any) -> None:
        places = np.flatnonzero(self._is_mark.take(points[1:], mode="clip"))
        if not len(places):
            return
        pairs, inverse = np.unique(points[places].astype(np.int64) << 21 | points[places + 1], return_inverse=True)
        composes = np.array([_composes(chr(pair >> 21), chr(pair & 0x1FFFFF)) for pair in pairs.tolist()])
        places = places[composes[inverse]]
        if len(places):
            first = int(places[0])
            text = "".join(map(chr, points[first : first + 2]))
            source.tally("normal-forms").add(len(places), block, byte(first), text)

    def _mixed(self, source: Source, block: Block, text: str, places: Any, name: str, byte: Any) -> None:
        tally, end = source.tally("look-alikes"), 0
        places = places[: MAX_PLACES - source.examined]
        source.examined += len(places)
        for place in places.tolist():
            if place < end:
                continue  # in the word before
            begin, end = _word(text, place)
            word = text[begin:end]
            if len(word) > 2 and one_script(word, SCRIPTS[name]) not in (None, word):
                source.scripts.add(name)
                tally.add(1, block, 0 if tally.count else byte(begin), word)  # `byte` reads all that is before


def _is_mark(char: str) -> bool:
    """Return whether a character may be a further part of a decomposed one: a mark, or a vowel or final of Hangul."""
    return unicodedata.combining(char) > 0 or "\u1161" <= char <= "\u1175" or "\u11a8" <= char <= "\u11c2"


def _composes(base: str, mark: str) -> bool:
    return unicodedata.normalize("NFC", base + mark) != base + mark and unicodedata.is_normalized("NFC", base)


def _decomposes(char: str) -> bool:
    return not unicodedata.is_normalized("NFD", char) and unicodedata.is_normalized("NFC", char)


def _word(text: str, place: int) -> tuple[int, int]:
    """Return where the word begins and ends that has letters at a place and at the next one; at most some 50 each."""
    begin, end = place, place + 2
    while begin > max(0, place - 50) and _is_in_word(text[begin - 1]):
        begin -= 1
    while end < min(len(text), place + 50) and _is_in_word(text[end]):
        end += 1
    return begin, end


def _is_in_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _sample_lines(sample: bytearray, text: str, invalid: Any) -> None:
    """Add the lines with bytes that are not UTF-8 to a sample, as long as there is room."""
    end = 0
    for at in invalid.tolist():
        if len(sample) > _MAX_SAMPLE:
            return
        if at < end:
            continue
        begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at) + 1 or len(text)
        sample += text[begin:end][:_MAX_SAMPLE].encode("utf-8", "surrogateescape")

"""Records: short texts one after another, each ended by the same separator."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[Any]


class SeparatorScanner:
    """Finds where records end, in symbols (bytes, or ids) that arrive in pieces.

    Separators are found from left to right and do not overlap, as `bytes.split` finds them.

    Args:
        separator: its symbols; at least one.
    """

    def __init__(self, separator: Symbols) -> None:
        self.separator = np.asarray(separator)
        self.held = self.separator[:0]
        """The last symbols of the record that has not ended, as many as may begin a separator."""
        self.open = 0
        """How many symbols that record has."""

    def feed(self, symbols: Symbols) -> npt.NDArray[np.int64]:
        """The places of the piece, ascending, after the last symbol of each separator."""
        size = len(self.separator)
        if size == 1:
            ends = np.flatnonzero(symbols == self.separator[0]) + 1
        else:
            held = len(self.held)
            joined = np.concatenate([self.held, symbols]) if held else symbols
            starts = max(0, len(joined) - size + 1)
            match = np.ones(starts, bool)
            for place, symbol in enumerate(self.separator):
                match &= joined[place : place + starts] == symbol
            ends = _apart(np.flatnonzero(match), size) + size - held
            last = int(ends[-1]) + held if len(ends) else 0
            self.held = joined[max(last, len(joined) - size + 1) :].copy()
        self.open = len(symbols) - int(ends[-1]) if len(ends) else self.open + len(symbols)
        return ends.astype(np.int64, copy=False)


def _apart(places: Symbols, size: int) -> Symbols:
    """Of ascending places, those that are `size` or more after the one kept before."""
    if len(places) < 2 or np.diff(places).min() >= size:
        return places
    kept, after = [], -1
    for place in places.tolist():
        if place >= after:
            kept.append(place)
            after = place + size
    return np.array(kept, np.int64)


def with_final_separator(chunks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """A text of records whose last one ends too: what is missing of its separator is added."""
    ends = SeparatorScanner(np.frombuffer(separator, np.uint8))
    for chunk in chunks:
        ends.feed(np.frombuffer(chunk, np.uint8))
        yield chunk
    if ends.open:
        held = ends.held.tobytes()
        begun = next(n for n in range(len(separator) - 1, -1, -1) if held.endswith(separator[:n]))
        yield separator[begun:]


def split_records(chunks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Return each record of a text, with its separator; what is missing of the last one's is added."""
    scanner = SeparatorScanner(np.frombuffer(separator, np.uint8))
    held: list[bytes] = []
    for chunk in with_final_separator(chunks, separator):
        begin = 0
        for end in scanner.feed(np.frombuffer(chunk, np.uint8)).tolist():
            yield b"".join((*held, chunk[begin:end]))
            held, begin = [], end
        held.append(chunk[begin:])


def select_records(
    chunks: Iterable[bytes], separator: bytes, chosen: npt.NDArray[np.bool_], first: int = 0
) -> Iterator[bytes]:
    """The records of a text that are wanted, one after another.

    Args:
        pieces: of the text; all its records are ended.
        chosen: whether a record of a number is wanted.
        first: the number of the text's first record.
    """
    ends = SeparatorScanner(np.frombuffer(separator, np.uint8))
    for chunk in chunks:
        symbols = np.frombuffer(chunk, np.uint8)
        found = ends.feed(symbols)
        lengths = np.diff(found, prepend=0, append=len(symbols))
        wanted = np.repeat(_at(chosen, first, len(lengths)), lengths)
        first += len(found)
        if wanted.any():
            yield symbols[wanted].tobytes()


def _at(chosen: npt.NDArray[np.bool_], first: int, count: int) -> npt.NDArray[np.bool_]:
    """`count` entries from `first` on; False beyond the end, where a text's last piece has no record more."""
    part = chosen[first : first + count]
    return np.concatenate([part, np.zeros(count - len(part), bool)]) if len(part) < count else part


def insert_bos(ids: Symbols, places: Symbols, start: int) -> Symbols:
    """Ids with `<s>` put in before each place, as int64."""
    return np.insert(ids.astype(np.int64), places, start)

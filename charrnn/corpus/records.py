"""Records: short texts one after another, each ended by the same separator. They are found in bytes or in ids."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Items = npt.NDArray[Any]
"""Bytes or ids."""


class SeparatorScanner:
    """Finds where records end, in bytes or ids that arrive in chunks.

    Separators are found from left to right and do not overlap, as `bytes.split` finds them.

    Args:
        separator: its bytes or ids; at least one.
    """

    def __init__(self, separator: Items) -> None:
        self.separator = np.asarray(separator)
        self.held = self.separator[:0]
        """The last bytes or ids of the record that has not ended, as many as may begin a separator."""
        self.open = 0
        """How many bytes or ids that record has."""

    def feed(self, items: Items) -> npt.NDArray[np.int64]:
        """Return the places in the chunk, ascending, where records end: each after its separator."""
        size = len(self.separator)
        if size == 1:
            ends = np.flatnonzero(items == self.separator[0]) + 1
        else:
            held = len(self.held)
            joined = np.concatenate([self.held, items]) if held else items
            starts = max(0, len(joined) - size + 1)
            match = np.ones(starts, bool)
            for place, item in enumerate(self.separator):
                match &= joined[place : place + starts] == item
            ends = _apart(np.flatnonzero(match), size) + size - held
            last = int(ends[-1]) + held if len(ends) else 0
            self.held = joined[max(last, len(joined) - size + 1) :].copy()
        self.open = len(items) - int(ends[-1]) if len(ends) else self.open + len(items)
        return ends.astype(np.int64, copy=False)


def _apart(places: Items, size: int) -> Items:
    """Return those of ascending places that are `size` or more after the one kept before."""
    if len(places) < 2 or np.diff(places).min() >= size:
        return places
    chosen, after = [], -1
    for place in places.tolist():
        if place >= after:
            chosen.append(place)
            after = place + size
    return np.array(chosen, np.int64)


def missing_separator(scanner: SeparatorScanner) -> bytes:
    """Return what the last record of some bytes lacks of its separator; nothing where it has ended."""
    if not scanner.open:
        return b""
    separator, held = scanner.separator.tobytes(), scanner.held.tobytes()
    begun = next(n for n in range(len(separator) - 1, -1, -1) if held.endswith(separator[:n]))
    return separator[begun:]


def with_final_separator(chunks: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield a text of records again, its last record ended too: what is missing of its separator is added."""
    scanner = SeparatorScanner(np.frombuffer(separator, np.uint8))
    for chunk in chunks:
        scanner.feed(np.frombuffer(chunk, np.uint8))
        yield chunk
    if end := missing_separator(scanner):
        yield end


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


def insert_bos(ids: Items, places: Items, bos_id: int) -> Items:
    """Return ids with `<s>` put in before each place, as int64."""
    return np.insert(ids.astype(np.int64), places, bos_id)

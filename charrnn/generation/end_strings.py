"""Strings that end a text: found in bytes as they come, whether there is one or there are ten thousand."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from charrnn.corpus.inputs import begun_bytes

FEW = 32
"""Up to so many are searched for one by one."""


Found = tuple[int, int, bytes, str]
"""Where a string was found, its number, the string, and the `finish_reason` that it is."""


class EndStrings:
    """Finds the first of some strings.

    Args:
        ends: the strings, none of them empty, and the `finish_reason` that each is. Where two begin at one place the
            one that is named first is found.
    """

    def __init__(self, ends: Sequence[tuple[bytes, str]]) -> None:
        self._ends = [(number, text, reason) for number, (text, reason) in enumerate(ends)]
        self._by_text = {end[1]: end for end in reversed(self._ends)}
        self._sorted = sorted(self._by_text)
        self._sizes = sorted({len(text) for text in self._by_text})

    def find(self, data: bytes, start: int = 0) -> Found | None:
        """Return the first string in some bytes; None: there is none.

        Args:
            start: no string ends within as many first bytes.
        """
        if len(self._ends) <= FEW:
            found = [(place, *end) for end in self._ends if (place := data.find(end[1])) >= 0]
        else:
            found = list(self._at_ends(data, start))
        return min(found) if found else None

    def begun(self, data: bytes) -> int:
        """Return how many of the last bytes may be the beginning of a string that goes on after them, where `find`
        finds none."""
        if len(self._ends) <= FEW:
            return max((begun_bytes(data, text) for text in self._sorted), default=0)
        for place in range(max(0, len(data) - self._sizes[-1] + 1), len(data)):
            tail = data[place:]
            after = bisect_left(self._sorted, tail)  # of all that begin with it the first
            if after < len(self._sorted) and self._sorted[after].startswith(tail):
                return len(tail)
        return 0

    def _at_ends(self, data: bytes, start: int) -> Iterator[Found]:
        for end in range(start + 1, len(data) + 1):
            for size in self._sizes:
                if size > end:
                    break
                if (found := self._by_text.get(data[end - size : end])) is not None:
                    yield end - size, *found

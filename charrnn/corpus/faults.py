"""What is wrong with sources: what of them cannot be used, and lines that end as no line does here."""

from collections import Counter
from collections.abc import Mapping

from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.tokenizers.char import CharTokenizer, describe, known_otherwise
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import Errors, count_newlines

LATIN1_ADVICE = "; if it is Latin-1, iconv -f LATIN1 -t UTF-8 converts it; else {errors} replace or skip"
"""What to do about invalid UTF-8 in a text."""

BYTE_ADVICE = ", or {tokenizer} byte"

ADVICE_FIELDS = ("errors", "tokenizer")
"""The options that the advice names."""

_CONVERSIONS = {
    "CRLF": r"end with CR LF, and the CR is learnt as part of them: tr -d '\r' < FILE > NEW leaves it out",
    "CR": r"end with CR, which ends no line here: tr '\r' '\n' < FILE > NEW converts it",
}


class LeftOut:
    """Counts what cannot be used and is left out with `errors` "skip"; otherwise it is raised.

    Attributes:
        first: what is wrong with the first that was left out; None: none was.
    """

    def __init__(self, errors: Errors) -> None:
        self.skips = errors == "skip"
        self._counts: Counter[str] = Counter()
        self.first: InputError | None = None

    def add(self, unit: str, error: InputError, advice: str | None = None) -> None:
        """Leave a unit out, such as a line, or raise what is wrong with it, with advice; None: how it is left out."""
        if not self.skips:
            advice = f"; {{errors}} skip leaves the {unit} out" if advice is None else advice
            raise InputError(error.text + advice, (*error.fields, *ADVICE_FIELDS)) from None
        self._counts[unit] += 1
        self.first = self.first or error

    @property
    def warning(self) -> str:
        """A sentence for the user; empty: nothing was left out."""
        if self.first is None:
            return ""
        counts = " and ".join(f"{count:,} {unit}{'s' if count > 1 else ''}" for unit, count in self._counts.items())
        return f"left out: {counts}; the first: {self.first}"


_MAX_COUNTED = 16 << 20  # bytes of a source by which the ends of its lines are judged


class LineEnds:
    """Finds out how the lines of a source end, of which `add` takes the chunks."""

    def __init__(self) -> None:
        self._size = 0
        self._returns = self._pairs = self._newlines = 0
        self._held = False  # whether the last chunk ended with CR

    def add(self, chunk: bytes) -> None:
        """Count on."""
        if self._size > _MAX_COUNTED:
            return
        self._size += len(chunk)
        self._newlines += count_newlines(chunk)
        if b"\r" in chunk or self._held:
            self._returns += chunk.count(b"\r")
            self._pairs += chunk.count(b"\r\n") + (self._held and chunk.startswith(b"\n"))
            self._held = chunk.endswith(b"\r")

    @property
    def kind(self) -> str:
        """ "CRLF" or "CR", if most lines end so; empty: they end with a newline."""
        if 2 * self._pairs > self._newlines:
            return "CRLF"
        return "CR" if self._returns - self._pairs > 2 * self._newlines else ""


def line_end_warning(kind: str, names: list[str]) -> str:
    """Return a sentence about sources whose lines end in another way.

    Args:
        kind: as `LineEnds.kind`. names: of the sources, as messages have them.
    """
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"lines of {names[0]}{more} {_CONVERSIONS[kind]}"


_NAMED = 3  # unknown characters that a warning names


def unknown_chars_text(tokenizer: Tokenizer, unknown: Mapping[int, int]) -> str:
    """Return what ends a warning about unknown characters: which are commonest, and what would make the first known;
    empty: the tokenizer knows no characters.

    Args:
        unknown: how often each code point has come.
    """
    if not unknown or not isinstance(tokenizer, CharTokenizer):
        return ""
    commonest = sorted(unknown, key=lambda point: (-unknown[point], point))[:_NAMED]
    named = ", ".join(f"{describe(chr(point))} ({unknown[point]:,})" for point in commonest)
    advice = known_otherwise(tokenizer, commonest[0])
    return f"; the commonest: {named}" + (f"; {describe(chr(commonest[0]))} {advice}" if advice else "")


def shown_name(name: str) -> str:
    """Return what messages call a source that is read: a path, or "stdin"."""
    return name if name == "stdin" else quote(name)

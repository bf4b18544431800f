"""Text for a terminal: control characters in samples, file names and vocabularies are escaped.

A terminal would execute control sequences (CWE-150); characters that change the direction of writing can hide text
(Boucher & Anderson 2021). Both are shown as escapes. Newline, tab and CR LF pass.
"""

import codecs
import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"


_UNSAFE = re.compile(f"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")


def escape(text: str) -> str:
    """Return the text with unsafe characters written as `\\x1b` or `<U+202E>`."""
    return _UNSAFE.sub(_escape_match, text)


def escape_line(text: str) -> str:
    """Return the text escaped as by `escape`, and newlines too, so that it is one line."""
    return escape(text.replace("\n", "\\n"))


def escape_json(text: str) -> str:
    """Return equivalent JSON, with unsafe characters and lone surrogates written as `\\u009b`."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def colored(text: str, sgr: str) -> str:
    """Return the text escaped as by `escape`, in a colour: the parameters of an SGR sequence, "" for none."""
    return f"\x1b[{sgr}m{escape(text)}\x1b[0m" if sgr else escape(text)


def _escape_match(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, by Python's surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"<U+{code:04X}>"


class TerminalText:
    """Incremental escaper: takes bytes in pieces and returns valid UTF-8 with control characters escaped."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # a CR that may be the first half of CR LF

    def feed(self, data: bytes, final: bool = False) -> bytes:
        """Return what the next piece of bytes prints as; `final` also returns what was held back."""
        text = self._held + self._decoder.decode(data, final)
        self._held = "\r" if text.endswith("\r") and not final else ""
        return escape(text[: len(text) - len(self._held)]).encode("utf-8")

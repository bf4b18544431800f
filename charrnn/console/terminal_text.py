"""Text made harmless: what a model, a file name or a vocabulary holds must not steer a terminal.

Control characters and those that turn the direction of writing are shown instead of sent
(CWE-150; Boucher & Anderson 2021 for the latter). Newline, tab and CR LF pass.
"""

import codecs
import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"


_UNSAFE = re.compile(f"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI}\u2028\u2029\ud800-\udfff]")


def escape(text: str) -> str:
    """The text with unsafe characters as `\\x1b` or `<U+202E>`."""
    return _UNSAFE.sub(_shown, text)


def escape_line(text: str) -> str:
    """As `escape`, on one line."""
    return escape(text.replace("\n", "\\n"))


def escape_json(text: str) -> str:
    """JSON that means the same, with unsafe characters, and those that no UTF-8 holds, as `\\u009b`."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as the system hands it over
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"<U+{code:04X}>"


class TerminalText:
    """Bytes in pieces to bytes that a terminal can be given: valid UTF-8, escaped."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""  # a CR that may be half of CR LF

    def feed(self, data: bytes, final: bool = False) -> bytes:
        """The next piece; `final` lets go of what was held back."""
        text = self._held + self._decoder.decode(data, final)
        self._held = "\r" if text.endswith("\r") and not final else ""
        return escape(text[: len(text) - len(self._held)]).encode("utf-8")

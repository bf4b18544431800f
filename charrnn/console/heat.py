"""A text coloured by surprise: the bits of each token as one of six steps, the same for every text.

A step is a background with a foreground of its own, so that white space shows it and a dark and a light terminal alike
can be read; what surprises little has the terminal's own colours. The backgrounds go from blue over red to yellow, and
their CIELAB lightness L* rises with surprise, an order that colour blindness of whatever kind leaves as it is:

- true colours: L* = 36, 48.5, 61, 73.5, 86, at LCh hues of 292, 335, 20, 58, 92 degrees and chromas of 40 to 66 (sRGB);
- 256 colours: those of the fixed 6 x 6 x 6 cube that are near these and at least 8 of L* apart; the foreground is from
  the cube too, as the first 16 differ from terminal to terminal;
- 16 colours: an underline, then backgrounds in the order of their luminance in the usual palettes; the last, whose
  luminance is nearest to that before it, is bold and underlined besides.
"""

import codecs
import os
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from charrnn.console.streams import Console
from charrnn.console.terminal_text import colored

STEPS = (1, 2, 4, 6, 9)
"""Bits at which the steps after the first begin."""

TRUE_COLORS = 1 << 24

_BLACK, _WHITE = "0;0;0", "255;255;255"

SGR = {
    16: ("", "4", "97;44", "30;46", "30;106", "1;4;30;103"),
    256: ("", *(f"38;5;{ink};48;5;{cube}" for ink, cube in ((231, 60), (16, 133), (16, 203), (16, 215), (16, 221)))),
    TRUE_COLORS: (
        "",
        f"38;2;{_WHITE};48;2;69;80;144",
        f"38;2;{_WHITE};48;2;172;83;152",
        f"38;2;{_BLACK};48;2;240;102;115",
        f"38;2;{_BLACK};48;2;250;159;86",
        f"38;2;{_BLACK};48;2;247;213;84",
    ),
}
"""Parameters of the escape sequence (SGR, ECMA-48) of each step, by the number of colours."""

_LONGEST_RUN = 4096
"""Characters of one colour after which its escape sequence is repeated, so that memory is bounded."""

_JOINER = "\u200d"


def heat_depth(environ: Mapping[str, str]) -> int:
    """Return how many colours a terminal has, by COLORTERM and TERM: 16, 256 or TRUE_COLORS."""
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return TRUE_COLORS
    return 256 if "256color" in environ.get("TERM", "") else 16


class HeatWriter:
    """Writes texts to stdout with colours, in a pipe too (`less -R`), and a legend to stderr.

    Control characters but newline, CR LF and tab are shown as `\\x1b`, whatever stdout is. A colour ends where its run
    of characters ends, and before a newline, so that a line can be taken out or cut. A newline that surprises has a
    space of its colour before it.
    """

    def __init__(self, console: Console) -> None:
        self._console, self._sgr = console, SGR[heat_depth(os.environ)]
        self._has_text = self._line_open = self._has_legend = False

    def write(self, pieces: Iterable[tuple[bytes, float]]) -> None:
        """Write one text; a newline is added where it does not end with one.

        Args:
            pieces: the bytes of each token, which may be a part of a character, or none (the end of a text, which
                counts to the newline), and its bits.

        Raises:
            OutputError, BrokenPipeError: as `Console.write`.
        """
        self._has_text = True
        run, step = "", 0
        for char, bits in _characters(pieces):
            last, step = step, bisect_right(STEPS, bits)
            newline = char in ("\n", "\r\n")
            if newline or step != last or len(run) >= _LONGEST_RUN:
                self._write_run(run, last)
                run = ""
            if newline:
                self._write_run(" " if step else "", step)
                self._console.write(char.encode())
                self._line_open = False
            else:
                run += char

    def finish(self) -> None:
        """End what an error has cut off, and print the legend if there was a text. Raise as `write`."""
        if self._line_open:
            self._console.write(b"\n")
            self._line_open = False
        self._console.flush()
        if self._has_text and not self._has_legend:
            self.print_legend()

    def print_legend(self) -> None:
        """Print the legend to stderr now, as a person needs it who types the texts; `finish` does not repeat it."""
        self._has_legend = True
        ranges = [f"<{STEPS[0]}", *(f"{low}-{high}" for low, high in pairwise(STEPS)), f"{STEPS[-1]}+"]
        spans = [(f" {bits} ", sgr) for bits, sgr in zip(ranges, self._sgr, strict=True)]
        self._console.info_colored([("surprise in bits per token: ", ""), *spans])

    def _write_run(self, run: str, step: int) -> None:
        if run:
            self._line_open = True
            self._console.write(colored(run, self._sgr[step]).encode("utf-8"))


def _characters(pieces: Iterable[tuple[bytes, float]]) -> Iterator[tuple[str, float]]:
    """Yield the characters of a text, a newline at its end, and the bits of all tokens that have a part of each.

    What a terminal shows as one is one: a letter and its combining marks, emoji that are joined, CR LF.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    held, held_bits = "", 0.0  # a character that the next one may join
    pending = 0.0  # bits of tokens of which no character is complete
    for data, bits in pieces:
        text = decoder.decode(data)
        for number, char in enumerate(text):
            if _joins(held, char):
                held += char
                held_bits += pending + bits if number == 0 else 0.0  # those of a token count once
            else:
                if held:
                    yield held, held_bits
                held, held_bits = char, pending + bits
            pending = 0.0
        if not text:
            pending += bits
        elif decoder.getstate()[0]:
            pending = bits  # the token has the first bytes of the next character too
    if cut := decoder.decode(b"", final=True):
        if held:
            yield held, held_bits
        held, held_bits, pending = cut, pending, 0.0
    if held in ("\n", "\r\n"):
        yield held, held_bits + pending
        return
    if held:
        yield held, held_bits
    yield "\n", pending


def _joins(held: str, char: str) -> bool:
    """Return whether a terminal shows a character as a part of the one before it."""
    if char == "\n":
        return held == "\r"
    if char < "\u0300" or held in ("", "\n", "\r\n"):
        return False
    return char == _JOINER or held[-1] == _JOINER or unicodedata.category(char)[0] == "M"

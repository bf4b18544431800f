"""A text coloured by surprise: which characters get which step, and that the steps can be told apart."""

import io
import math
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.console.heat import SGR, STEPS, TRUE_COLORS, HeatWriter, heat_depth
from charrnn.console.streams import Console
from charrnn.console.terminal_text import escape
from charrnn.errors import InputError

Capture = pytest.CaptureFixture[bytes]
Pieces = list[tuple[bytes, float]]
Colors = npt.NDArray[np.float64]

CODES = SGR[256]
BITS = (0.5, 1.5, 3.0, 5.0, 7.0, 12.0)
"""Bits of each step."""


class Screen:
    """A console whose stdout and stderr are kept, and a writer that has 256 colours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, terminal: bool = False, quiet: bool = False) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        for name, buffer in (("stdout", self.out), ("stderr", self.err)):
            stream = SimpleNamespace(buffer=buffer, closed=False, isatty=lambda: terminal)
            monkeypatch.setattr(sys, name, stream)
        for name, value in (("COLORTERM", ""), ("TERM", "xterm-256color"), ("NO_COLOR", "")):
            monkeypatch.setenv(name, value)
        self.writer = HeatWriter(Console(quiet=quiet))

    def steps(self) -> list[tuple[str, int]]:
        """Return the runs of what stdout got since the last call, and the step of each."""
        data = self.out.getvalue().decode()
        self.out.seek(0)
        self.out.truncate()
        return list(runs(data))


RUN = re.compile(r"\x1b\[([0-9;]+)m([^\x1b\n]+)\x1b\[0m|([^\x1b]+)")
"""A run in a colour, which is reset within its line, or without one."""


def runs(text: str) -> Iterator[tuple[str, int]]:
    """Yield runs of text and their steps, by the sequences of 256 colours; there are no others."""
    at = 0
    while at < len(text):
        match = RUN.match(text, at)
        assert match is not None, text[at:]
        yield (match[3], 0) if match[1] is None else (match[2], CODES.index(match[1]))
        at = match.end()


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({}, 16),
        ({"TERM": "xterm"}, 16),
        ({"TERM": "linux", "COLORTERM": ""}, 16),
        ({"TERM": "xterm-256color"}, 256),
        ({"TERM": "screen-256color-bce", "COLORTERM": "yes"}, 256),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, TRUE_COLORS),
        ({"COLORTERM": "24bit"}, TRUE_COLORS),
    ],
)
def test_how_many_colours(environ: dict[str, str], depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert heat_depth(environ) == depth
    screen = Screen(monkeypatch)
    for name in ("TERM", "COLORTERM"):
        monkeypatch.setenv(name, environ.get(name, ""))
    HeatWriter(Console()).write([(b"x", 5.0)])
    assert screen.out.getvalue().decode() == f"\x1b[{SGR[depth][3]}mx\x1b[0m\n"


@pytest.mark.parametrize(
    ("bits", "step"),
    [(-1e-9, 0), (0, 0), (0.99, 0), (1, 1), (2, 2), (3.9, 2), (4, 3), (6, 4), (8.9, 4), (9, 5), (math.inf, 5)],
)
def test_steps(bits: float, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.writer.write([(b"x", bits), (b"\n", 0.0)])
    assert screen.steps() == ([("x", step), ("\n", 0)] if step else [("x\n", 0)])


E_ACUTE, EURO, SMILE = "é".encode(), "€".encode(), "😀".encode()
FAMILY = "👩\u200d👧"

TEXTS: list[tuple[Pieces, list[tuple[str, int]]]] = [
    # runs of one colour share a sequence, white space too
    ([(b"a", 3.0), (b" b", 2.0), (b"\t", 3.9), (b"c", 5.0), (b"d", 0.0)], [("a b\t", 2), ("c", 3), ("d\n", 0)]),
    # a character of several tokens has the sum of their bits
    ([(E_ACUTE[:1], 0.6), (E_ACUTE[1:], 0.6), (b"x", 0.6)], [("é", 1), ("x\n", 0)]),
    ([(SMILE[:1], 2.5), (SMILE[1:2], 2.5), (SMILE[2:3], 2.5), (SMILE[3:], 2.5)], [("😀", 5), ("\n", 0)]),
    # a token that has parts of two counts to both, and to what lies between
    (
        [(b"a" + EURO[:1], 1.5), (EURO[1:] + b"b" + E_ACUTE[:1], 3.0), (E_ACUTE[1:], 3.5)],
        [("a", 1), ("€", 3), ("b", 2), ("é", 4), ("\n", 0)],
    ),
    # of one token, all characters have its bits
    ([("été ".encode(), 7.0), (b"x", 0.0)], [("été ", 4), ("x\n", 0)]),
    # what is shown as one character
    ([(b"e", 1.0), ("\u0301".encode(), 1.5), (b"x", 0.0)], [("e\u0301", 2), ("x\n", 0)]),
    ([("e\u0301".encode(), 3.0), (b"x", 0.0)], [("e\u0301", 2), ("x\n", 0)]),
    ([(char.encode(), 1.5) for char in FAMILY], [(FAMILY, 3), ("\n", 0)]),
    ([("\u0301".encode(), 1.5), (b"x", 0.0)], [("\u0301", 1), ("x\n", 0)]),
    # newlines: no colour reaches over them
    ([(b"a", 3.0), (b"\n", 0.5), (b"b", 3.0)], [("a", 2), ("\n", 0), ("b", 2), ("\n", 0)]),
    ([(b"a\nb\n", 3.0)], [("a", 2), (" ", 2), ("\n", 0), ("b", 2), (" ", 2), ("\n", 0)]),
    ([(b"a", 0.0), (b"\r", 1.0), (b"\n", 1.5)], [("a", 0), (" ", 2), ("\r\n", 0)]),
    ([(b"a\r\n", 0.5), (b"\r\n", 0.5)], [("a\r\n\r\n", 0)]),
    ([(b"\n", 0.0), ("\u0301".encode(), 1.5)], [("\n", 0), ("\u0301", 1), ("\n", 0)]),
    # the end of a text counts to its last newline
    ([(b"a", 0.0), (b"", 5.0)], [("a", 0), (" ", 3), ("\n", 0)]),
    ([(b"a\n", 0.5), (b"", 5.0)], [("a", 0), (" ", 3), ("\n", 0)]),
    ([(b"", 5.0), (b"a", 0.0)], [("a", 3), ("\n", 0)]),
    ([], [("\n", 0)]),
    # shown, not sent
    ([(b"\x1b[31m", 3.0), (b"\x07", 0.0)], [(r"\x1b[31m", 2), ("\\x07\n", 0)]),
    ([(b"\r", 3.0), (b"a", 0.0), (b"\x08", 0.0)], [(r"\x0d", 2), ("a\\x08\n", 0)]),
    ([("\u202e\x9b".encode(), 0.0)], [("<U+202E>\\x9b\n", 0)]),
    # invalid UTF-8
    ([(b"a\xff", 3.0), (b"b", 0.0)], [("a\ufffd", 2), ("b\n", 0)]),
    ([(b"a", 0.0), (EURO[:1], 0.7), (EURO[1:2], 0.7)], [("a", 0), ("\ufffd", 1), ("\n", 0)]),
]


@pytest.mark.parametrize(("pieces", "shown"), TEXTS, ids=lambda each: ascii(each)[:40])
@pytest.mark.parametrize("terminal", [False, True])
def test_texts(pieces: Pieces, shown: list[tuple[str, int]], terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-01: the same in a pipe, for `less -R`."""
    screen = Screen(monkeypatch, terminal=terminal)
    screen.writer.write(iter(pieces))
    assert screen.steps() == shown


def test_a_sequence_begins_and_ends_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.writer.write([(b"ab", 0.0), (b"cd", 9.0), (b"\n", 1.0)])
    last, first = CODES[5], CODES[1]
    assert screen.out.getvalue().decode() == f"ab\x1b[{last}mcd\x1b[0m\x1b[{first}m \x1b[0m\n"


def test_a_long_run_is_written_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)

    def pieces() -> Iterator[tuple[bytes, float]]:
        yield from [(b"x", 3.0)] * 10_000
        assert len(screen.out.getvalue()) > 8_000
        yield b"\n", 0.0

    screen.writer.write(pieces())
    assert "".join(text for text, _ in screen.steps()) == "x" * 10_000 + "\n"


PARTS = (b"a", b" ", b"\n", b"\r", b"\t", b"\x1b[0m", E_ACUTE, *(bytes([byte]) for byte in EURO), b"\xcc\x81", b"\xff")


@given(st.lists(st.tuples(st.lists(st.sampled_from(PARTS), max_size=3).map(b"".join), st.sampled_from(BITS))))
def test_nothing_but_colours_is_added(pieces: Pieces) -> None:
    """SE-01: whatever the tokens, whole characters and a space before newlines that surprise."""
    with pytest.MonkeyPatch.context() as patch:
        screen = Screen(patch)
        screen.writer.write(pieces)
        shown = screen.steps()
    text = escape(b"".join(data for data, _ in pieces).decode("utf-8", "replace"))
    text += "" if text.endswith("\n") else "\n"
    lines = re.split(r"(\r?\n)", text)
    pattern = "".join(re.escape(part) if number % 2 == 0 else " ?" + part for number, part in enumerate(lines))
    assert re.fullmatch(pattern, "".join(run for run, _ in shown))


# the legend


LEGEND = "surprise in bits per token:  <1  1-2  2-4  4-6  6-9  9+ "


def test_the_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-03: in colours on a terminal, else without; once, if there was a text."""
    for terminal in (True, False):
        screen = Screen(monkeypatch, terminal=terminal)
        screen.writer.finish()
        assert screen.err.getvalue() == b""
        screen.writer.write([(b"x", 0.0)])
        screen.writer.finish()
        screen.writer.finish()
        found = list(runs(screen.err.getvalue().decode()))
        assert "".join(text for text, _ in found) == LEGEND + "\n"
        assert [step for _, step in found] == ([0, 1, 2, 3, 4, 5, 0] if terminal else [0])
    assert len(LEGEND) <= 80
    screen = Screen(monkeypatch, quiet=True)
    screen.writer.write([(b"x", 0.0)])
    screen.writer.finish()
    assert screen.err.getvalue() == b""


def test_the_legend_before_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)
    screen.writer.print_legend()
    assert screen.err.getvalue().decode() == LEGEND + "\n"
    screen.writer.write([(b"x", 0.0)])
    screen.writer.finish()
    assert screen.err.getvalue().decode() == LEGEND + "\n"


def test_an_error_amid_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch)

    def pieces() -> Iterator[tuple[bytes, float]]:
        yield b"ab", 3.0
        yield b"c", 0.0
        yield b"d", 0.0
        raise InputError("no more")

    with pytest.raises(InputError):
        screen.writer.write(pieces())
    screen.writer.finish()
    assert screen.steps() == [("ab", 2), ("\n", 0)]
    assert screen.err.getvalue().decode() == LEGEND + "\n"


# the scale


PALETTES = {  # black, blue, cyan, bright cyan, bright yellow, bright white
    "VGA": ("000000", "0000aa", "00aaaa", "55ffff", "ffff55", "ffffff"),
    "xterm": ("000000", "0000ee", "00cdcd", "00ffff", "ffff00", "ffffff"),
    "Windows": ("0c0c0c", "0037da", "3a96dd", "61d6d6", "f9f1a5", "f2f2f2"),
}
"""Colours of terminals that have 16, by SGR_16."""

SGR_16 = ("30", "44", "46", "106", "103", "97")

CUBE = (0, 95, 135, 175, 215, 255)
"""Values of the 6 x 6 x 6 cube of the palette of 256."""

MACHADO = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "none": np.eye(3).tolist(),
}
"""What each kind of colour blindness makes of linear sRGB (Machado et al. 2009, severity 1)."""

TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: tuple[int, ...]) -> Colors:
    """Return linear sRGB of values to 255."""
    value = np.array(color) / 255
    return np.asarray(np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4))


def luminance(color: tuple[int, ...]) -> float:
    return float(TO_XYZ[1] @ linear(color))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: Colors) -> Colors:
    """Return CIELAB of linear sRGB, D65."""
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def hex_color(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text))


def pair(sgr: str, palette: str = "") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return foreground and background of a step that has both."""
    numbers = [int(number) for number in sgr.split(";")]
    match numbers:
        case [38, 2, r, g, b, 48, 2, *background]:
            return (r, g, b), tuple(background)
        case [38, 5, ink, 48, 5, ground]:
            assert 16 <= min(ink, ground) <= max(ink, ground) < 232
            one, other = (tuple(CUBE[(index - 16) // size % 6] for size in (36, 6, 1)) for index in (ink, ground))
            return one, other
        case [*_, ink, ground]:
            colors = dict(zip(SGR_16, map(hex_color, PALETTES[palette]), strict=True))
            return colors[str(ink)], colors[str(ground)]
    raise AssertionError(sgr)


SCALES = [
    pytest.param([pair(sgr) for sgr in SGR[TRUE_COLORS][1:]], id="true colours"),
    pytest.param([pair(sgr) for sgr in SGR[256][1:]], id="256"),
    *(pytest.param([pair(sgr, palette) for sgr in SGR[16][2:]], id=f"16 of {palette}") for palette in PALETTES),
]
Scale = list[tuple[tuple[int, ...], tuple[int, ...]]]


@pytest.mark.parametrize("scale", SCALES)
def test_text_can_be_read_on_every_step(scale: Scale) -> None:
    """At WCAG's level AA."""
    assert min(contrast(*each) for each in scale) >= 4.5


@pytest.mark.parametrize("scale", SCALES)
def test_lightness_rises_with_surprise(scale: Scale) -> None:
    """So that the order can be seen without any colour; the last step of 16 has an attribute besides."""
    lightness = [lab(linear(ground))[0] for _, ground in scale]
    assert all(high - low >= 5 for low, high in pairwise(lightness))


@pytest.mark.parametrize("vision", MACHADO)
@pytest.mark.parametrize("scale", SCALES)
def test_neighbouring_steps_differ_for_the_colour_blind(scale: Scale, vision: str) -> None:
    """By a CIELAB distance of 10: four to five times what can just be noticed."""
    seen = [lab(np.array(MACHADO[vision]) @ linear(ground)) for _, ground in scale]
    assert min(float(np.linalg.norm(one - other)) for one, other in pairwise(seen)) >= 10


def test_what_16_colours_have_besides() -> None:
    """An underline where there is no background, and where two backgrounds are about as light."""
    assert SGR[16][1] == "4"
    assert [sgr.split(";")[:-2] for sgr in SGR[16][2:]] == [[], [], [], ["1", "4"]]


@pytest.mark.parametrize("depth", SGR)
def test_each_step_has_its_colour(depth: int) -> None:
    assert len(set(SGR[depth])) == len(SGR[depth]) == len(STEPS) + 1
    assert SGR[depth][0] == ""


def test_steps_of_true_colours_are_even() -> None:
    lightness = [lab(linear(pair(sgr)[1]))[0] for sgr in SGR[TRUE_COLORS][1:]]
    assert lightness == pytest.approx([36, 48.5, 61, 73.5, 86], abs=0.5)

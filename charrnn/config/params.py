"""Types of parameters: what values an option takes, read from text or from TOML, and how help names them."""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

Value = Any


class ParamType:
    """What values an option takes. `parse` reads text, `check` a value of the right type."""

    metavar: str = "TEXT"

    def parse(self, text: str) -> Value:
        """The value that `text` means. Raises ValueError where it means none."""
        return self.check(text)

    def check(self, value: Value) -> Value:
        """The value as the program wants it. Raises ValueError on a wrong type or range."""
        if not isinstance(value, str):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "text"


@dataclass(frozen=True)
class Text(ParamType):
    """Any text."""

    metavar: str = "TEXT"


@dataclass(frozen=True)
class PathName(Text):
    """The path of a file or a folder. An empty one, as an unset shell variable gives, is none."""

    def check(self, value: Value) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError
        return value

    def __str__(self) -> str:
        return "a path"


@dataclass(frozen=True)
class Escaped(Text):
    r"""Text in which \n, \t, \r, \0 and \\ stand for what they do in most languages; not empty."""

    escapes: ClassVar[Mapping[str, str]] = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}

    def parse(self, text: str) -> str:
        return self.check(re.sub(r"\\([ntr0\\])", lambda found: self.escapes[found[1]], text))

    def check(self, value: Value) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError
        return value

    def write(self, value: str) -> str:
        """What `parse` reads as `value`."""
        escapes = {meant: "\\" + letter for letter, meant in self.escapes.items()}
        return "".join(escapes.get(char, char) for char in value)

    def __str__(self) -> str:
        return "text that is not empty"


@dataclass(frozen=True)
class Flag(ParamType):
    """Yes or no."""

    metavar = ""

    def parse(self, text: str) -> bool:
        named = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
        if text.lower() not in named:
            raise ValueError
        return named[text.lower()]

    def check(self, value: Value) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "true or false"


def similarity(one: str, other: str) -> float:
    """1 of equal words, 0 of those that have nothing in common."""
    return difflib.SequenceMatcher(None, one, other).ratio()


@dataclass(frozen=True)
class Choice(ParamType):
    """One of some words; many are better told by the help than by a sign for them all."""

    choices: tuple[str, ...]
    metavar_name: str = ""

    @property
    def metavar(self) -> str:  # type: ignore[override]
        return self.metavar_name or "|".join(self.choices)

    def check(self, value: Value) -> str:
        if value not in self.choices:
            near = max(self.choices, key=lambda word: similarity(str(value), word))  # of equals the first
            raise ValueError(f"did you mean {near!r}?" if similarity(str(value), near) >= 0.6 else "")
        return str(value)

    def __str__(self) -> str:
        return "one of " + ", ".join(self.choices)


@dataclass(frozen=True)
class Int(ParamType):
    """An integer in a range, both ends included."""

    minimum: int = 0
    maximum: int = 2**63 - 1
    metavar = "N"

    def parse(self, text: str) -> int:
        return self.check(int(text))

    def check(self, value: Value) -> int:
        if type(value) is not int or not self.minimum <= value <= self.maximum:
            raise ValueError
        return value

    def __str__(self) -> str:
        if self.maximum >= 2**63 - 1:
            return f"a whole number, {self.minimum} or more"
        return f"a whole number from {self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class Float(ParamType):
    """A finite number in a range; `open_low` and `open_high` exclude the ends."""

    minimum: float = 0.0
    maximum: float = math.inf
    open_low: bool = False
    open_high: bool = False
    metavar = "X"

    def parse(self, text: str) -> float:
        return self.check(float(text))

    def check(self, value: Value) -> float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError
        low = value > self.minimum if self.open_low else value >= self.minimum
        high = value < self.maximum if self.open_high else value <= self.maximum
        if not (low and high):
            raise ValueError
        return float(value)

    def __str__(self) -> str:
        low = f"above {self.minimum:g}" if self.open_low else f"{self.minimum:g} or more"
        high = f"below {self.maximum:g}" if self.open_high else f"at most {self.maximum:g}"
        return f"a finite number, {low}" + ("" if math.isinf(self.maximum) else f" and {high}")


@dataclass(frozen=True)
class IntList(ParamType):
    """One or more whole numbers: `512`, or `64,32`."""

    maximum: int = 1 << 16
    metavar = "N[,N...]"

    def parse(self, text: str) -> tuple[int, ...]:
        return self.check([int(part) for part in text.split(",")])

    def check(self, value: Value) -> tuple[int, ...]:
        sizes = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not sizes or not all(type(size) is int and 1 <= size <= self.maximum for size in sizes):
            raise ValueError
        return sizes

    def __str__(self) -> str:
        return f"whole numbers from 1 to {self.maximum}, separated by commas"


@dataclass(frozen=True)
class StrList(ParamType):
    """Any number of names."""

    metavar: str = "NAME"

    def check(self, value: Value) -> tuple[str, ...]:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError
        return tuple(names)

    def __str__(self) -> str:
        return "a list of names"


@dataclass(frozen=True)
class Duration(ParamType):
    """A length of time in seconds: `90`, `90s`, `5m`, `1h30m`."""

    metavar = "TIME"
    units: ClassVar[Mapping[str, float]] = {"h": 3600.0, "m": 60.0, "s": 1.0}

    def parse(self, text: str) -> float:
        if re.fullmatch(r"[0-9.]+", text):
            return self.check(float(text))
        if not re.fullmatch(r"([0-9.]+h)?([0-9.]+m)?([0-9.]+s)?", text) or not text:
            raise ValueError
        return self.check(sum(float(n) * self.units[u] for n, u in re.findall(r"([0-9.]+)([hms])", text)))

    def check(self, value: Value) -> float:
        if isinstance(value, str):
            return self.parse(value)
        if type(value) not in (int, float) or not 0 < value <= 10 * 365 * 86400:
            raise ValueError
        return float(value)

    def __str__(self) -> str:
        return "a time above 0 such as 90s, 5m or 1h30m"


class Device(ParamType):
    """`auto`, `cpu`, `cuda` or `cuda:N`."""

    metavar = "auto|cpu|cuda[:N]"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "auto, cpu, cuda or cuda:N"


def seconds(value: float) -> str:
    """A time as people write it: `45s`, `2m`, `1h30m`; `Duration` reads it back."""
    whole = math.ceil(value)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"

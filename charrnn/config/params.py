"""Types of parameters: the values an option takes, read from text or from TOML, and how help names them."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from charrnn.errors import did_you_mean

Value = Any


def typed_bytes(text: str) -> bytes:
    """Return the bytes of an argument as they were typed, whatever the locale; of text from elsewhere UTF-8."""
    try:
        return os.fsencode(text)
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


class ParamType:
    """The values an option takes. `parse` reads text, `check` takes a value of the right type.

    Attributes:
        metavar: what stands for the value in help.
    """

    metavar: str = "TEXT"

    def parse(self, text: str) -> Value:
        """Return the value that `text` means. Raises ValueError where it means none."""
        return self.check(text)

    def check(self, value: Value) -> Value:
        """Return the value as the program stores it. Raises ValueError on a wrong type or range."""
        if not isinstance(value, str):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "text"


class Text(ParamType):
    """Any text."""


class PathName(ParamType):
    """The path of a file or a folder. An empty one, as an unset shell variable gives, is refused."""

    metavar = "FILE"

    def check(self, value: Value) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError
        return value

    def __str__(self) -> str:
        return "a path"


@dataclass(frozen=True)
class FileOrShare(PathName):
    """A file, or a share of a text: a number from 0 to `maximum`. A file of that name wins over a number."""

    maximum: float = 0.9
    metavar = "FILE|X"

    def parse(self, text: str) -> Any:
        if os.path.exists(text):
            return super().check(text)
        try:
            number = float(text)
        except ValueError:
            return super().check(text)
        return self.check(number)

    def check(self, value: Value) -> Any:
        return super().check(value) if isinstance(value, str) else Float(0, self.maximum).check(value)

    def __str__(self) -> str:
        return f"a file, or a share from 0 to {self.maximum:g}"


@dataclass(frozen=True)
class Escaped(ParamType):
    r"""Text in which \n, \t, \r, \0 and \\ stand for what they do in most languages."""

    may_be_empty: bool = False
    metavar = "TEXT"
    escapes: ClassVar[Mapping[str, str]] = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}

    def parse(self, text: str) -> str:
        return self.check(re.sub(r"\\([ntr0\\])", lambda found: self.escapes[found[1]], text))

    def check(self, value: Value) -> str:
        if not isinstance(value, str) or not (value or self.may_be_empty):
            raise ValueError
        return value

    def write(self, value: str) -> str:
        """Return the text that `parse` reads as `value`."""
        escapes = {meant: "\\" + letter for letter, meant in self.escapes.items()}
        return "".join(escapes.get(char, char) for char in value)

    def __str__(self) -> str:
        return "text" if self.may_be_empty else "text that is not empty"


class Flag(ParamType):
    """On or off."""

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


def stored_value(values: Any, key: Any, kind: ParamType, *, optional: bool = False) -> Any:
    """Return a value of an object in a file of the program's own, which may have been changed since.

    Args:
        optional: whether None is allowed besides.

    Raises:
        ValueError: there is none, or it is of the wrong type or range.
    """
    if not isinstance(values, Mapping) or key not in values:
        raise ValueError(f"it has no {key!r}")
    value = values[key]
    try:
        return None if optional and value is None else kind.check(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{key!r} must be {kind}, not {str(value)[:80]!r}") from None


@dataclass(frozen=True)
class Choice(ParamType):
    """One of some words."""

    choices: tuple[str, ...]
    metavar = "NAME"

    def check(self, value: Value) -> str:
        if value not in self.choices:
            raise ValueError(did_you_mean(str(value), self.choices))
        return str(value)

    def __str__(self) -> str:
        return ("one of " if len(self.choices) > 1 else "") + ", ".join(self.choices)


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

    metavar = "NAME"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "auto, cpu, cuda or cuda:N"


def seconds(value: float) -> str:
    """Return a time as people write it: `45s`, `2m`, `1h30m`; `Duration` reads it back."""
    whole = math.ceil(value)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"

"""Options: declared once, read from four places, refused in one voice.

A configuration is a frozen dataclass whose fields are made by `option`. The same declaration
gives the command line its flags and help, `CHARRNN_*` their names, a TOML file its keys, and
every value its check. `merge` reads them in that order of precedence.
"""

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from charrnn.errors import UsageError

T = TypeVar("T")
Value = Any


class Kind:
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
class Text(Kind):
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
        signs = {meant: "\\" + letter for letter, meant in self.escapes.items()}
        return "".join(signs.get(char, char) for char in value)

    def __str__(self) -> str:
        return "text that is not empty"


@dataclass(frozen=True)
class Flag(Kind):
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


def likeness(one: str, other: str) -> float:
    """1 of equal words, 0 of those that have nothing in common."""
    return difflib.SequenceMatcher(None, one, other).ratio()


@dataclass(frozen=True)
class Choice(Kind):
    """One of some words; many are better told by the help than by a sign for them all."""

    choices: tuple[str, ...]
    called: str = ""

    @property
    def metavar(self) -> str:  # type: ignore[override]
        return self.called or "|".join(self.choices)

    def check(self, value: Value) -> str:
        if value not in self.choices:
            near = max(self.choices, key=lambda word: likeness(str(value), word))  # of equals the first
            raise ValueError(f"did you mean {near!r}?" if likeness(str(value), near) >= 0.6 else "")
        return str(value)

    def __str__(self) -> str:
        return "one of " + ", ".join(self.choices)


@dataclass(frozen=True)
class Whole(Kind):
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
class Real(Kind):
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
class Sizes(Kind):
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
class Names(Kind):
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
class Duration(Kind):
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


def option(
    kind: Kind,
    help: str,  # noqa: A002
    *,
    default: Value = None,
    short: str = "",
    shown: str = "",
    group: str = "Options",
) -> Any:
    """A dataclass field that is an option.

    Args:
        kind: the values it takes; None is allowed besides, where it is the default.
        help: one sentence for `--help`.
        default: what holds where no source names it.
        short: a one-letter flag.
        shown: what `--help` says of the default, where the default is worked out later.
        group: the heading in `--help`.
    """
    metadata = {"kind": kind, "help": help, "short": short, "shown": shown, "group": group}
    return field(default=default, metadata=metadata)


def flag(name: str) -> str:
    """The command-line spelling of a field's name."""
    return "--" + name.replace("_", "-")


def check_fields(config: Any) -> None:
    """For `__post_init__`: check and normalise every option of a frozen dataclass.

    Raises:
        UsageError: a value is of the wrong type or out of range.
    """
    for each in fields(config):
        value = getattr(config, each.name)
        if "kind" not in each.metadata or (value is None and each.default is None):
            continue
        kind: Kind = each.metadata["kind"]
        object.__setattr__(config, each.name, _taken(kind.check, value, flag(each.name), kind))


def kinds(config: type) -> dict[str, Kind]:
    """The options of a configuration, by name."""
    return {each.name: each.metadata["kind"] for each in fields(config) if "kind" in each.metadata}


def merge(
    config: type[T],
    flags: Mapping[str, str | bool | tuple[str, ...] | None],
    environ: Mapping[str, str],
    file: Path | None = None,
    **rest: Any,
) -> tuple[T, frozenset[str]]:
    """Build a configuration: flag, else `CHARRNN_NAME`, else the TOML file's key, else the default.

    Args:
        config: a dataclass of `option` fields.
        flags: field name to text, or to a value of the right type; None where the flag was not given.
        environ: the environment; an empty variable counts as not set.
        file: a TOML file of top-level keys named as the fields.
        rest: fields that are no options.

    Returns:
        The configuration, and the names of the options that some source gave.

    Raises:
        UsageError: a value cannot be used; the message names the source, the value and the range.
    """
    values = read_toml(file, kinds(config)) if file is not None else {}
    for name, kind in kinds(config).items():
        variable = "CHARRNN_" + name.upper()
        text = flags.get(name)
        label = flag(name)
        if text is None and environ.get(variable):
            text, label = environ[variable], variable
        if text is not None:
            values[name] = parse(kind, text, label) if isinstance(text, str) else text
    return config(**values, **rest), frozenset(values)


def parse(kind: Kind, text: str, label: str) -> Value:
    """`kind.parse`, with a refusal that names where the text came from."""
    return _taken(kind.parse, text, label, kind)


def read_toml(path: Path, declared: Mapping[str, Kind]) -> dict[str, Value]:
    """The options a TOML file sets.

    Raises:
        UsageError: no such file, no TOML, an unknown key (the nearest right name is told) or a
            value of the wrong type or range.
    """
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"'{path}' is no TOML: {error}") from None
    values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in declared:
            near = difflib.get_close_matches(name, declared, 1, cutoff=0.5)
            raise UsageError(f"'{path}': unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        values[name] = _taken(declared[name].check, value, f"'{path}': {key}", declared[name])
    return values


def _taken(take: Callable[[Any], Value], value: Any, label: str, kind: Kind) -> Value:
    try:
        return take(value)
    except (ValueError, OverflowError) as error:
        hint = f"; {error}" if isinstance(kind, Choice) and str(error) else ""
        raise UsageError(f"{label} must be {kind}, not {str(value)!r}{hint}") from None

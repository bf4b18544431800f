"""Types of parameters whose values are lists: hidden sizes, names, fields of a row."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from charrnn.config.params import Escaped, ParamType, Value
from charrnn.errors import did_you_mean


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


class StrList(ParamType):
    """Any number of names."""

    metavar = "NAME"

    def check(self, value: Value) -> tuple[str, ...]:
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError
        return tuple(names)

    def __str__(self) -> str:
        return "a list of names"


class EscapedList(StrList):
    """Any number of texts, with the escapes of `Escaped`."""

    metavar = "TEXT"

    def parse(self, text: str) -> tuple[str, ...]:
        return (Escaped(may_be_empty=True).parse(text),)

    def __str__(self) -> str:
        return "a list of texts"


@dataclass(frozen=True)
class FieldList(ParamType):
    """Fields of a row, in order: `perplexity,oov`; `perplexity=gru` names the column otherwise.

    Values are tuples of (field, name of the column).
    """

    choices: tuple[str, ...]
    metavar = "NAME,..."

    def parse(self, text: str) -> tuple[tuple[str, str], ...]:
        return self.check(text.split(","))

    def check(self, value: Value) -> tuple[tuple[str, str], ...]:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not items:
            raise ValueError
        pairs = tuple(self._pair(item) for item in items)
        if len({name for _, name in pairs}) < len(pairs):
            raise ValueError("; a name occurs twice")
        return pairs

    def _pair(self, item: Value) -> tuple[str, str]:
        if isinstance(item, str):
            field, equals, name = item.partition("=")
            pair = (field, name if equals else field)
        elif isinstance(item, list | tuple) and len(item) == 2 and all(isinstance(each, str) for each in item):
            pair = (item[0], item[1])
        else:
            raise ValueError
        if pair[0] not in self.choices:
            raise ValueError(f"; there is no {pair[0]!r}{did_you_mean(pair[0], self.choices)}")
        if not pair[1] or re.search(r"[\t\n\r]", pair[1]):
            raise ValueError("; the name after = is empty or not one line")
        return pair

    def __str__(self) -> str:
        return "fields separated by commas, of " + ", ".join(self.choices)


MAX_REPLANS = 300
"""Changes under way that a run's files hold; one that has had more cannot be repeated."""


@dataclass(frozen=True)
class ReplanList(ParamType):
    """What was changed under way in a run, in order: tables of a `step` and of what was changed then.

    `steps` is the last step from then on; `realign`: the rows of a text jumped, so that they end where it does. With
    `resumed` options were changed on resuming, whose names are keys too (with `steps` the schedule began anew);
    `evaluated`: after the evaluation at that step.

    Attributes:
        options: those that can be changed on resuming.
    """

    options: tuple[str, ...]
    _flags: ClassVar[tuple[str, ...]] = ("realign", "resumed", "evaluated")

    def parse(self, text: str) -> Value:
        raise ValueError

    def check(self, value: Value) -> tuple[dict[str, Any], ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
            raise ValueError
        if len(value) > MAX_REPLANS:
            raise ValueError
        before = 0
        for each in value:
            step, steps = each.get("step"), each.get("steps")
            if type(step) is not int or step < before or (steps is not None and not self._is_after(steps, step)):
                raise ValueError
            options = self.options if each.get("resumed") else ()
            if not each.keys() <= {"step", "steps", *self._flags, *options}:
                raise ValueError
            if not all(each.get(name, True) is True for name in self._flags):
                raise ValueError
            before = step
        names = dict.fromkeys(("step", *self._flags, "steps", *self.options))
        return tuple({name: each[name] for name in names if name in each} for each in value)

    @staticmethod
    def _is_after(steps: Value, step: int) -> bool:
        return type(steps) is int and steps >= max(1, step)

    def __str__(self) -> str:
        return "tables as a run's own config.toml has them, in the order of their step"

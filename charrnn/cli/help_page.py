"""Help as it is printed: pages made from the declarations of `charrnn.config`."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import Field
from typing import NamedTuple

from charrnn.config.lists import StrList
from charrnn.config.options import flag, in_order
from charrnn.config.params import Flag
from charrnn.errors import counted

WIDEST = 100
"""Columns that help takes at most."""


_INDENT = 26  # of explanations

_TIED = "\0"  # a space at which no line is broken


class Group(NamedTuple):
    """A heading, and what stands below it: (name, explanation)."""

    name: str
    rows: list[tuple[str, str]]


class Page(NamedTuple):
    """The help of a command.

    Attributes:
        usage: its forms, a line each.
        description: its lines.
        groups: arguments and options, in order.
        examples: a line each.
        closing: a last line.
        command: as help names it.
    """

    usage: tuple[str, ...]
    description: tuple[str, ...]
    groups: tuple[Group, ...]
    examples: tuple[str, ...] = ()
    closing: str = ""
    command: str = ""

    def render(self, *, short: bool = False) -> str:
        """Return the page, as wide as the terminal up to `WIDEST` columns.

        Args:
            short: without the options beyond the groups Options and Common, which are counted instead.
        """
        width = terminal_width()
        lines = [("Usage: " if number == 0 else "       ") + line for number, line in enumerate(self.usage)]
        for line in self.description:
            lines += wrap(line, width, "  ")
        left_out = 0
        for group in self.groups:
            if short and group.name not in ("Arguments", "Options", "Common", "Commands"):
                left_out += len(group.rows)
                continue
            lines += ["", f"{group.name}:"]
            for name, explanation in group.rows:
                lines += row(name, explanation, width)
        if self.examples:
            lines += ["", "Examples:", *(f"  {line}" for line in self.examples)]
        if self.closing:
            lines += ["", self.closing]
        if left_out:
            lines += ["", f"{counted(left_out, 'more option')}: {self.command} --help"]
        return "\n".join(lines) + "\n"


Topic = list[str | tuple[str, str]]
"""A page about a topic: paragraphs, names with their explanations, and empty lines."""


def render_topic(topic: Topic) -> str:
    """Return a page about a topic, as wide as the terminal up to `WIDEST` columns."""
    width, lines = terminal_width(), list[str]()
    for item in topic:
        lines += wrap(item, width, "") or [""] if isinstance(item, str) else row(*item, width)
    return "\n".join(lines) + "\n"


def terminal_width() -> int:
    """Return how many columns help takes."""
    return min(WIDEST, max(40, shutil.get_terminal_size().columns))


def row(name: str, explanation: str, width: int) -> list[str]:
    """Return an option and what it does, the explanation in a column of its own."""
    first = f"  {name}"
    rest = wrap(explanation, width, " " * _INDENT) or [""]
    if len(first) > _INDENT - 2:
        return [*wrap(name, width, "  "), *rest]
    return [(first.ljust(_INDENT) + rest[0][_INDENT:]).rstrip(), *rest[1:]]


def wrap(text: str, width: int, indent: str) -> list[str]:
    """Return the lines of a text; a default in brackets at its end stays in one piece where a line has room for it."""
    text = re.sub(r"\b0: (?=\w)", f"0:{_TIED}", text)
    head, bracket, default = text.rpartition(" [")
    if bracket and default.endswith("]") and len(default) + 1 + len(indent) <= width:
        text = f"{head} [{default.replace(' ', _TIED)}"
    lines = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_TIED, " ") for line in lines]


def command_page(
    name: str, configs: Sequence[type], description: str, examples: Iterable[str], usage: Iterable[str] = ()
) -> Page:
    """Return the help of a command.

    Args:
        configs: dataclasses that declare its options.
        description: lines, the first of which is the command's summary.
        usage: its forms, where it is more than options and arguments.
    """
    groups = {"Arguments": Group("Arguments", [])}
    arguments = []
    for each in (option for config in configs for option in in_order(config)):
        declared = each.metadata
        if not declared["has_flag"]:
            continue
        if declared["argument"]:
            arguments.append(argument_usage(each))
            if not declared["help"]:
                continue
        group = groups.setdefault(declared["group"], Group(declared["group"], []))
        group.rows.append((_names(each), _explanation(each)))
    groups["Common"].rows.append(("-h, --help", "-h: short help; --help: all options."))
    command = f"charrnn {name}"
    forms = tuple(usage) or (" ".join([command, "[OPTIONS]", *arguments]),)
    return Page(
        forms,
        tuple(description.split("\n")),
        tuple(each for each in groups.values() if each.rows),
        tuple(examples),
        command=command,
    )


def argument_usage(each: "Field[object]") -> str:
    """Return an argument as a usage line has it."""
    return f"[{each.metadata['metavar']}]" + ("..." if isinstance(each.metadata["kind"], StrList) else "")


def _names(each: "Field[object]") -> str:
    declared = each.metadata
    if declared["argument"]:
        return argument_usage(each)
    if isinstance(declared["kind"], Flag):
        metavar, name = "", flag(f"no_{each.name}" if each.default is True else each.name)
    else:
        metavar, name = f" {declared['metavar']}", flag(each.name)
    return (f"-{declared['short']}, " if declared["short"] else "") + name + metavar


def _explanation(each: "Field[object]") -> str:
    declared, default = each.metadata, each.default
    unsaid = default is None or default == () or isinstance(declared["kind"], Flag)
    number = f"{default:g}" if isinstance(default, float) else f"{default}"
    shown = declared["shown"] or ("" if unsaid else number)
    return f"{declared['help']} [{shown}]" if shown else str(declared["help"])

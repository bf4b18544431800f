"""Options as Typer takes them, made from the declarations of `charrnn.config`; and words that it does not know."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any, ClassVar, TypeVar

import typer
import typer.core
from typer.exceptions import TyperException

from charrnn.cli.help_page import Page
from charrnn.config.lists import FieldList, StrList
from charrnn.config.options import flag
from charrnn.config.params import Choice, Flag
from charrnn.config.renamed import COMMANDS, renamed, tried
from charrnn.console.streams import Console
from charrnn.errors import UsageError, did_you_mean

Parameter = inspect.Parameter


def _as_typed(parameter: Any, context: Any, value: Any) -> Any:
    """Values as the parser gives them: text, flags and lists of text are all that `merge` wants.

    In place of the pydantic validators that Typer would make: importing pydantic takes 0.1 seconds.
    """
    return value if parameter.callback is None else parameter.callback(context, parameter, value)


def _keep_as_typed(parameters: list[Any]) -> None:
    for parameter in parameters:
        parameter.process_value = functools.partial(_as_typed, parameter)


class _Paged:
    """An instant start, and a page for help."""

    page: ClassVar[Callable[[], Page]]

    def parse_args(self: Any, ctx: Any, args: list[str]) -> list[str]:
        _keep_as_typed(self.get_params(ctx))
        rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        return rest

    def get_help(self, ctx: Any) -> str:
        return type(self).page().render().rstrip("\n")


class Group(_Paged, typer.core.TyperGroup):
    """The program."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that the first word names.

        Raises:
            UsageError: there is none; the message says what was probably meant.
        """
        word = args[0]
        if word not in self.commands and not word.startswith("-") and not ctx.resilient_parsing:
            hint = f"; use {COMMANDS[word]}" if word in COMMANDS else did_you_mean(word, self.commands)
            raise UsageError(f"No such command {word!r}{hint or '; see `charrnn --help`'}")
        return super().resolve_command(ctx, args)


class Command(_Paged, typer.core.TyperCommand):
    """A command."""


T = TypeVar("T", Group, Command)


def with_page(command: type[T], page: Callable[[], Page]) -> type[T]:
    """Return a class of commands with its page of help, which is made when it is wanted."""
    return type(command.__name__, (command,), {"page": staticmethod(page)})


def _keyword(name: str, annotation: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def complete_run(incomplete: str) -> list[str]:
    """Return what completes a model's name. Where no run fits, shells offer files."""
    from charrnn.runs.locate import run_names

    return run_names()  # Typer takes those that begin as typed


def _completion(each: "Field[object]") -> Callable[[str], list[str]] | None:
    kind = each.metadata["kind"]
    if each.name in ("model", "run"):
        return complete_run
    if isinstance(kind, Choice):
        return lambda incomplete: list(kind.choices)
    if isinstance(kind, FieldList):
        return lambda incomplete: [incomplete[: incomplete.rfind(",") + 1] + choice for choice in kind.choices]
    return None


def parameter(each: "Field[object]") -> Parameter:
    """Return the Typer parameter of an option or argument. Its value stays text: `options.merge` reads it."""
    kind, several = each.metadata["kind"], isinstance(each.metadata["kind"], StrList)
    settings: Any = {"metavar": each.metadata["metavar"], "show_default": False, "autocompletion": _completion(each)}
    annotation: Any = list[str] | None if several else str | None
    if each.metadata["argument"]:
        return _keyword(each.name, Annotated[annotation, typer.Argument(**settings)])
    names = [f"-{each.metadata['short']}"] if each.metadata["short"] else []
    if isinstance(kind, Flag):
        return _keyword(
            each.name,
            Annotated[
                bool | None,
                typer.Option(f"{flag(each.name)}/{flag(f'no_{each.name}')}", *names, show_default=False),
            ],
        )
    return _keyword(each.name, Annotated[annotation, typer.Option(flag(each.name), *names, **settings)])


def parameters(*configs: type) -> list[Parameter]:
    """Return the Typer parameters of all options and arguments of dataclasses, and `-h`."""
    declared = [each for config in configs for each in fields(config) if each.metadata["has_flag"]]
    return [*map(parameter, declared), _short_help()]


def _short_help() -> Parameter:
    def show(context: typer.Context, value: bool) -> None:
        if value and not context.resilient_parsing:
            command: Any = context.command
            Console().write(type(command).page().render(short=True).encode(), flush=True)
            raise typer.Exit

    option = typer.Option("-h", is_eager=True, expose_value=False, callback=show, show_default=False)
    return _keyword("short_help", Annotated[bool, option], False)


def sentence(error: TyperException) -> str:
    """Return what is wrong with the arguments, and what was probably meant."""
    context = getattr(error, "ctx", None)
    command = context.info_name if context is not None and context.parent is not None else ""
    word = getattr(error, "option_name", "")
    name = word.lstrip("-").replace("-", "_")
    if word.startswith("--"):
        if now := renamed(command, name):
            return f"{word} {now.render(flag)}"
        if instead := tried(command, name):
            return f"No such option: {word}; {instead.render(flag)}"
    is_unknown = hasattr(error, "possibilities")
    message = error.message if is_unknown else error.format_message()
    if context is not None and is_unknown and word.startswith("--"):
        there = [each for parameter in context.command.params for each in (*parameter.opts, *parameter.secondary_opts)]
        if near := did_you_mean(word, (each for each in there if each.startswith("--")), str):
            return message + near
    return message if context is None else f"{message.rstrip('.')}; see `{context.command_path} --help`"

"""Options as Typer takes them, made from the declarations of `charrnn.config`, and how help prints them."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer
import typer.core

from charrnn.config.options import flag
from charrnn.config.params import Choice, Flag, StrList

Parameter = inspect.Parameter


_DEFAULT = "[$CHARRNN_MODEL, else the run saved last]"


WHICH = f"A file, a run's folder or a run's name. {_DEFAULT}"


_SEVERAL = "A file, a run's folder or a run's name; given several times, the mean of the models' odds."


class _AsTyped:
    """Values as the parser gives them: text, flags and lists of text are all that `merge` wants.

    In place of the pydantic validators that Typer would make: importing pydantic takes 0.1 seconds.
    """

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


class Group(typer.core.TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for parameter in self.get_params(ctx):
            parameter._runtime_param = _AsTyped()  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)


class Command(typer.core.TyperCommand):
    """An instant start, and help without frames: examples (the epilog, a line each) first, then the
    options under the headings that `option` gave them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for parameter in self.get_params(ctx):
            parameter._runtime_param = _AsTyped()  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        super().format_help_text(ctx, formatter)
        with formatter.section("Examples"):
            for line in (self.epilog or "").split("\n"):
                formatter.write(f"  {line}\n")

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        pass

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if parameter.param_type_name == "argument":
                usage = " ".join(parameter.get_usage_pieces(ctx))
                groups.setdefault("Arguments", []).append((usage, getattr(parameter, "help", "")))
            elif (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Other", []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


def _keyword(name: str, kind: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def argument_parameter(name: str, metavar: str, help_text: str, kind: Any, **more: Any) -> Parameter:
    return _keyword(name, Annotated[kind, typer.Argument(metavar=metavar, help=help_text, show_default=False, **more)])


def flag_parameter(name: str, help_text: str, *names: str, group: str | None = None) -> Parameter:
    return _keyword(name, Annotated[bool, typer.Option(*names, help=help_text, rich_help_panel=group)], False)


def complete_run(incomplete: str) -> list[str]:
    """What completes a model's name. Where no run fits, shells offer files."""
    from charrnn.runs.locate import run_names

    return run_names()  # Typer takes those that begin as typed


def _choices(kind: object) -> Callable[[str], list[str]] | None:
    """What completes an option's value."""

    def complete(incomplete: str) -> list[str]:
        return list(kind.choices) if isinstance(kind, Choice) else []

    return complete if isinstance(kind, Choice) else None


def config_parameters(config: type) -> list[Parameter]:
    """A parameter for each option of a configuration. Their values stay text: `options.merge` reads it."""
    made = []
    for each in fields(config):
        kind, help_text = each.metadata["kind"], each.metadata["help"]
        if isinstance(kind, StrList):
            made.append(argument_parameter(each.name, kind.metavar, help_text, list[str] | None))
            continue
        unsaid = each.default is None or isinstance(kind, Flag)
        number = f"{each.default:g}" if isinstance(each.default, float) else f"{each.default}"
        default = each.metadata["shown"] or ("" if unsaid else number)
        names = [flag(each.name)] + ([f"-{each.metadata['short']}"] if each.metadata["short"] else [])
        declared = typer.Option(
            *names,
            help=f"{help_text} [{default}]" if default else help_text,
            metavar=kind.metavar or None,
            show_default=False,
            rich_help_panel=each.metadata["group"],
            autocompletion=_choices(kind),
        )
        made.append(_keyword(each.name, Annotated[bool | None if isinstance(kind, Flag) else str | None, declared]))
    return made


MODEL = _keyword(
    "model",
    Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help=f"{_SEVERAL} {_DEFAULT}", show_default=False,
            rich_help_panel="Options", autocompletion=complete_run,
        ),
    ],
)  # fmt: skip


CONFIG = _keyword(
    "config",
    Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", show_default=False, rich_help_panel="RunDir",
            help="Options from a TOML file; flags and CHARRNN_* variables go before it.",
        ),
    ],
)  # fmt: skip


COMMON = [
    flag_parameter("quiet", "Tell errors alone.", "--quiet", "-q"),
    flag_parameter("verbose", "Tell more.", "--verbose", "-v"),
    flag_parameter("no_color", "No colour. [as NO_COLOR]", "--no-color"),
]

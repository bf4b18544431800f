"""The command line: which commands there are and which options they take.

The options come from the dataclasses of `charrnn.config`. A command's own module is imported when
it runs, so that help comes at once.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Annotated, Any

import typer
import typer.core

from charrnn import __version__
from charrnn.config import EvalConfig, SampleConfig, TrainConfig
from charrnn.console import Console
from charrnn.machine import share_processors
from charrnn.options import Flag, Names, flag

Parameter = inspect.Parameter


class _AsTyped:
    """Values as the parser gives them: text, flags and lists of text are all that `merge` wants.

    In place of the pydantic validators that Typer would make: importing pydantic takes 0.1 seconds.
    """

    def coerce(self, value: Any, **_: Any) -> Any:
        return value


class _Group(typer.core.TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for parameter in self.get_params(ctx):
            parameter._runtime_param = _AsTyped()  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)


class _Command(typer.core.TyperCommand):
    """Help without frames, options under the headings that `option` gave them; an instant start."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for parameter in self.get_params(ctx):
            parameter._runtime_param = _AsTyped()  # type: ignore[attr-defined]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                group = getattr(parameter, "rich_help_panel", None) or "Other"
                if parameter.param_type_name == "argument":
                    group = "Arguments"
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


app = typer.Typer(
    name="charrnn",
    cls=_Group,
    help="Small recurrent language models over characters: train them on any text, sample from them, score text.",
    epilog="Start with: charrnn train FILE, then charrnn sample, then charrnn eval FILE.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        Console().write(f"charrnn {__version__}\n".encode(), flush=True)
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def parse(arguments: Sequence[str] | None) -> Callable[..., int] | int:
    """The command that arguments name, to be called with `started`; or an exit code, where help or
    the version was all that was wanted.

    Raises:
        TyperException: the arguments name no command, or options it does not have.
    """
    words = None if arguments is None else list(arguments)
    parsed: Callable[..., int] | int | None = app(args=words, prog_name="charrnn", standalone_mode=False)
    return 0 if parsed is None else parsed


def _keyword(name: str, kind: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _options(config: type) -> list[Parameter]:
    """A parameter for each option of a configuration. Their values stay text: `options.merge` reads it."""
    made = []
    for each in fields(config):
        kind, told = each.metadata["kind"], each.metadata["help"]
        if isinstance(kind, Names):
            argument = typer.Argument(metavar=f"[{kind.metavar}]...", help=told, show_default=False)
            made.append(_keyword(each.name, Annotated[list[str] | None, argument]))
            continue
        default = each.metadata["shown"] or ("" if each.default in (None, False) else f"{each.default}")
        names = [flag(each.name)] + ([f"-{each.metadata['short']}"] if each.metadata["short"] else [])
        declared = typer.Option(
            *names,
            help=f"{told} [{default}]" if default else told,
            metavar=kind.metavar or None,
            show_default=False,
            rich_help_panel=each.metadata["group"],
        )
        made.append(_keyword(each.name, Annotated[bool | None if isinstance(kind, Flag) else str | None, declared]))
    return made


_MODEL = _keyword(
    "model",
    Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", show_default=False, rich_help_panel="Options",
            help="A file, a run's folder or a run's name. [$CHARRNN_MODEL, else the run saved last]",
        ),
    ],
)  # fmt: skip
_CONFIG = _keyword(
    "config",
    Annotated[
        str | None,
        typer.Option(
            "--config", metavar="FILE", show_default=False, rich_help_panel="Run",
            help="Options from a TOML file; flags and CHARRNN_* variables go before it.",
        ),
    ],
)  # fmt: skip
_COMMON = [
    _keyword("quiet", Annotated[bool, typer.Option("--quiet", "-q", help="Tell errors alone.")], False),
    _keyword("verbose", Annotated[bool, typer.Option("--verbose", "-v", help="Tell more.")], False),
    _keyword("no_color", Annotated[bool, typer.Option("--no-color", help="No colour. [as NO_COLOR]")], False),
]


def _command(name: str, summary: str, parameters: list[Parameter]) -> None:
    """Register a command whose work is `charrnn.cli.<name>.run(console, flags, started) -> exit code`."""

    def call(**flags: Any) -> Callable[..., int]:
        color = False if flags.pop("no_color") else None
        console = Console(quiet=flags.pop("quiet"), verbose=flags.pop("verbose"), color=color)
        share_processors()
        run: Callable[..., int] = importlib.import_module(f"charrnn.cli.{name}").run
        return functools.partial(run, console, flags)

    parameters = [*parameters, *_COMMON]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, cls=_Command, help=summary)(call)


def _argument(name: str, metavar: str, told: str, kind: Any) -> Parameter:
    return _keyword(name, Annotated[kind, typer.Argument(metavar=metavar, help=told, show_default=False)])


_command(
    "train",
    "Train a model on text. Prints the model's path; everything else is on stderr.",
    [*_options(TrainConfig), _CONFIG],
)
_command("sample", "Write text with a model.", [_MODEL, *_options(SampleConfig)])
_command(
    "eval",
    "Score text with a model: perplexity, bits per character, bits per byte, symbols, unknown ones, file.",
    [
        _argument("text", "[TEXT]...", "Files; none or - is stdin.", list[str] | None),
        _MODEL,
        *_options(EvalConfig),
    ],
)
_command(
    "corpora",
    "List the corpora that `train` knows by name.",
    [
        _keyword(
            "json",
            Annotated[bool, typer.Option("--json", help="One JSON object a corpus.", rich_help_panel="Options")],
            False,
        )
    ],
)
_command(
    "show",
    "Tell what a model is, what it was trained on and how well it does.",
    [
        _argument("model", "[MODEL]", "A file, a run's folder or a run's name.", str | None),
        _keyword("json", Annotated[bool, typer.Option("--json", help="As JSON.", rich_help_panel="Options")], False),
    ],
)

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
from typer.exceptions import TyperException

from charrnn.config.eval import EvalConfig
from charrnn.config.options import flag
from charrnn.config.params import Choice, Flag, Names
from charrnn.config.sample import SampleConfig
from charrnn.config.train import TrainConfig
from charrnn.console.streams import Console
from charrnn.errors import OutputError
from charrnn.machine import share_processors
from charrnn.version import __version__

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


def _machine() -> str:
    """What runs models here."""
    from charrnn.engines.native import lib as core
    from charrnn.engines.select import choose_engine
    from charrnn.machine import processors

    training, engine = choose_engine("auto", "cpu", training=True), choose_engine("auto", "cpu")
    parts = [f"engine {engine}" if engine == training else f"engines {training} to train, {engine} to score"]
    if core.library() is not None:
        parts.append(f"instructions {core.instruction_set()} of {', '.join(core.instruction_sets())}")
    else:
        parts.append("no compiled core")
    return ", ".join([*parts, f"threads {processors()}"])


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end; with -v, what runs models here too.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", hidden=True)] = False,
) -> None:
    if version:
        told = f"charrnn {__version__}\n" + (f"{_machine()}\n" if verbose else "")
        Console().write(told.encode(), flush=True)
        raise typer.Exit
    if verbose and context.invoked_subcommand is not None:
        raise typer.BadParameter("belongs behind the command", param_hint="-v")
    if context.invoked_subcommand is None:
        for line in context.get_help().split("\n"):
            Console().tell(line)
        raise typer.Exit(2)


def parse(arguments: Sequence[str] | None) -> Callable[..., int] | int:
    """The command that arguments name, to be called with `started`; or an exit code, where help or
    the version was all that was wanted.

    Raises:
        TyperException: the arguments name no command, or options it does not have; see `sentence`.
        OutputError: help cannot be written. BrokenPipeError: the reader has gone.
    """
    words = None if arguments is None else list(arguments)
    try:
        parsed: Callable[..., int] | int | None = app(args=words, prog_name="charrnn", standalone_mode=False)
    except BrokenPipeError:
        raise
    except typer.Abort:
        raise KeyboardInterrupt from None
    except OSError as error:
        raise OutputError(f"cannot write to stdout: {error.strerror}") from None
    if not parsed:  # help, which Typer drops without a word where stdout is closed
        Console().write(b"", flush=True)
        return 0
    return parsed


def sentence(error: TyperException) -> str:
    """What is wrong with the arguments, and what may have been meant."""
    near = getattr(error, "possibilities", None)
    if near:
        return f"{error.message}; did you mean {near[0]}?"
    message, context = error.format_message(), getattr(error, "ctx", None)
    if context is None or message.endswith("?"):
        return message
    return f"{message.rstrip('.')}; `{context.command_path} --help` tells more"


def _keyword(name: str, kind: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _argument(name: str, metavar: str, told: str, kind: Any, **more: Any) -> Parameter:
    return _keyword(name, Annotated[kind, typer.Argument(metavar=metavar, help=told, show_default=False, **more)])


def _flag(name: str, told: str, *names: str, group: str | None = None) -> Parameter:
    return _keyword(name, Annotated[bool, typer.Option(*names, help=told, rich_help_panel=group)], False)


def _runs(incomplete: str) -> list[str]:
    """What completes a model's name. Where no run fits, shells offer files."""
    from charrnn.runs.locate import run_names

    return run_names()  # Typer takes those that begin as typed


def _choices(kind: object) -> Callable[[str], list[str]] | None:
    """What completes an option's value."""

    def complete(incomplete: str) -> list[str]:
        return list(kind.choices) if isinstance(kind, Choice) else []

    return complete if isinstance(kind, Choice) else None


def _options(config: type) -> list[Parameter]:
    """A parameter for each option of a configuration. Their values stay text: `options.merge` reads it."""
    made = []
    for each in fields(config):
        kind, told = each.metadata["kind"], each.metadata["help"]
        if isinstance(kind, Names):
            made.append(_argument(each.name, kind.metavar, told, list[str] | None))
            continue
        unsaid = each.default is None or isinstance(kind, Flag)
        number = f"{each.default:g}" if isinstance(each.default, float) else f"{each.default}"
        default = each.metadata["shown"] or ("" if unsaid else number)
        names = [flag(each.name)] + ([f"-{each.metadata['short']}"] if each.metadata["short"] else [])
        declared = typer.Option(
            *names,
            help=f"{told} [{default}]" if default else told,
            metavar=kind.metavar or None,
            show_default=False,
            rich_help_panel=each.metadata["group"],
            autocompletion=_choices(kind),
        )
        made.append(_keyword(each.name, Annotated[bool | None if isinstance(kind, Flag) else str | None, declared]))
    return made


_DEFAULT = "[$CHARRNN_MODEL, else the run saved last]"
_WHICH = f"A file, a run's folder or a run's name. {_DEFAULT}"
_SEVERAL = "A file, a run's folder or a run's name; given several times, the mean of the models' odds."
_MODEL = _keyword(
    "model",
    Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", metavar="MODEL", help=f"{_SEVERAL} {_DEFAULT}", show_default=False,
            rich_help_panel="Options", autocompletion=_runs,
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
    _flag("quiet", "Tell errors alone.", "--quiet", "-q"),
    _flag("verbose", "Tell more.", "--verbose", "-v"),
    _flag("no_color", "No colour. [as NO_COLOR]", "--no-color"),
]


def _run(name: str, console: Console, flags: dict[str, Any], *, started: float) -> int:
    share_processors()
    code: int = importlib.import_module(f"charrnn.cli.{name}").run(console, flags, started=started)
    return code


def _command(name: str, summary: str, details: str, parameters: list[Parameter], examples: list[str]) -> None:
    """Register a command whose work is `charrnn.cli.<name>.run(console, flags, started) -> exit code`."""

    def call(**flags: Any) -> Callable[..., int]:
        color = False if flags.pop("no_color") else None
        console = Console(quiet=flags.pop("quiet"), verbose=flags.pop("verbose"), color=color)
        return functools.partial(_run, name, console, flags)

    parameters = [*parameters, *_COMMON]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, cls=_Command, help=f"{summary} {details}", short_help=summary, epilog="\n".join(examples))(call)


_command(
    "train",
    "Train a model on text.",
    "Prints the model's path; everything else is on stderr.",
    [*_options(TrainConfig), _CONFIG],
    [
        "charrnn train                    # a text that every Python carries, 5 minutes",
        "charrnn train poems.txt --time 2m",
        "charrnn train src/ --cell lstm --hidden 256 --out checkpoints/code",
        "charrnn train --resume --out checkpoints/code",
    ],
)
_command(
    "sample",
    "Write text with a model.",
    "The text, and nothing else, is on stdout.",
    [_MODEL, *_options(SampleConfig)],
    [
        "charrnn sample --temp 0.8",
        "charrnn sample -m checkpoints/code --prompt 'def ' --length 2000 --seed 1",
    ],
)
_command(
    "eval",
    "Score text with a model.",
    "A row a file: perplexity, bits per character, bits per byte, symbols, unknown ones, file.",
    [_argument("text", "TEXT", "Files; none or - is stdin.", list[str] | None), _MODEL, *_options(EvalConfig)],
    [
        "charrnn eval test.txt",
        "charrnn eval --lines < lines.txt | sort -g    # the likeliest lines first",
        "charrnn eval --metric bits_per_char test.txt",
    ],
)
_command(
    "corpora",
    "List the corpora that `train` knows by name.",
    "`corpora get NAME` fetches one, `corpora show NAME` tells more of it.",
    [
        _argument("action", "get|show", "What to do; nothing lists them.", str | None),
        _argument("name", "NAME", "Of a corpus.", str | None),
        _flag("json", "One JSON object a corpus.", "--json", group="Options"),
    ],
    ["charrnn corpora", "charrnn corpora show names", "charrnn corpora get shakespeare", "charrnn train python-stdlib"],
)
_command(
    "show",
    "Tell what a model is, how it was trained and how well it does.",
    "",
    [
        _argument("model", "MODEL", _WHICH, str | None, autocompletion=_runs),
        _flag("json", "As JSON.", "--json", group="Options"),
    ],
    ["charrnn show", "charrnn show checkpoints/code"],
)

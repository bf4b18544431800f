"""The command line: which commands there are, with their examples.

A command's own module is imported when it runs, so that help comes at once.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
import typer.core
from typer.exceptions import TyperException

from charrnn.cli.options import (
    COMMON,
    CONFIG,
    MODEL,
    WHICH,
    Command,
    Group,
    Parameter,
    argument_parameter,
    complete_run,
    config_parameters,
    flag_parameter,
)
from charrnn.config.eval import EvalConfig
from charrnn.config.sample import SampleConfig
from charrnn.config.train import TrainConfig
from charrnn.console.streams import Console
from charrnn.errors import OutputError
from charrnn.machine import configure_threading
from charrnn.version import __version__

app = typer.Typer(
    name="charrnn",
    cls=Group,
    help="Small recurrent language models over characters: train them on any text, sample from them, score text.",
    epilog="Start with: charrnn train FILE, then charrnn sample, then charrnn eval FILE.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end; with -v, what runs models here too.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", hidden=True)] = False,
) -> None:
    if version:
        told = f"charrnn {__version__}\n"
        if verbose:
            from charrnn.engines.select import describe

            told += f"{describe()}\n"
        Console().write(told.encode(), flush=True)
        raise typer.Exit
    if verbose and context.invoked_subcommand is not None:
        raise typer.BadParameter("belongs behind the command", param_hint="-v")
    if context.invoked_subcommand is None:
        for line in context.get_help().split("\n"):
            Console().info(line)
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


def _run(name: str, console: Console, flags: dict[str, Any], *, started: float) -> int:
    configure_threading()
    code: int = importlib.import_module(f"charrnn.cli.{name}").run(console, flags, started=started)
    return code


def _command(name: str, summary: str, details: str, parameters: list[Parameter], examples: list[str]) -> None:
    """Register a command whose work is `charrnn.cli.<name>.run(console, flags, started) -> exit code`."""

    def call(**flags: Any) -> Callable[..., int]:
        color = False if flags.pop("no_color") else None
        console = Console(quiet=flags.pop("quiet"), verbose=flags.pop("verbose"), color=color)
        return functools.partial(_run, name, console, flags)

    parameters = [*parameters, *COMMON]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    app.command(name, cls=Command, help=f"{summary} {details}", short_help=summary, epilog="\n".join(examples))(call)


_command(
    "train",
    "Train a model on text.",
    "Prints the model's path; everything else is on stderr.",
    [*config_parameters(TrainConfig), CONFIG],
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
    [MODEL, *config_parameters(SampleConfig)],
    [
        "charrnn sample --temp 0.8",
        "charrnn sample -m checkpoints/code --prompt 'def ' --length 2000 --seed 1",
    ],
)


_command(
    "eval",
    "Score text with a model.",
    "A row a file: perplexity, bits per character, bits per byte, symbols, unknown ones, file.",
    [
        argument_parameter("text", "TEXT", "Files; none or - is stdin.", list[str] | None),
        MODEL,
        *config_parameters(EvalConfig),
    ],
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
        argument_parameter("action", "get|show", "What to do; nothing lists them.", str | None),
        argument_parameter("name", "NAME", "Of a corpus.", str | None),
        flag_parameter("json", "One JSON object a corpus.", "--json", group="Options"),
    ],
    ["charrnn corpora", "charrnn corpora show names", "charrnn corpora get shakespeare", "charrnn train python-stdlib"],
)


_command(
    "show",
    "Tell what a model is, how it was trained and how well it does.",
    "",
    [
        argument_parameter("model", "MODEL", WHICH, str | None, autocompletion=complete_run),
        flag_parameter("json", "As JSON.", "--json", group="Options"),
    ],
    ["charrnn show", "charrnn show checkpoints/code"],
)

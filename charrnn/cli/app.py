"""The command line: which commands there are, with their examples.

Options are declared, and a command's own module imported, only of the commands that the words name: so help and the
first character come at once.
"""

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import typer

from charrnn.cli import help_page
from charrnn.cli.help_page import Page, command_page
from charrnn.cli.options import Command, Group, parameters, with_page
from charrnn.config.groups import CommonOptions
from charrnn.config.options import merge, unknown_variables
from charrnn.console.streams import Console
from charrnn.errors import OutputError
from charrnn.files import quote
from charrnn.machine import configure_threading
from charrnn.version import __version__


class _Entry(NamedTuple):
    """A command.

    Attributes:
        summary: a line for the list of commands.
        description: lines for its own help.
        configs: the dataclasses in `charrnn.config` that declare its options, besides `CommonOptions`.
        examples: a line each.
        usage: its forms, where it is more than options and arguments.
        module: in `charrnn.cli`; empty: called as the command.
    """

    summary: str
    description: str
    configs: tuple[str, ...]
    examples: tuple[str, ...]
    usage: tuple[str, ...] = ()
    module: str = ""


COMMANDS = {
    "train": _Entry(
        "Train a model on text; fine-tune or resume one.",
        "Train a model on text and print its path.",
        ("train.TrainConfig", "train.ConfigFile"),
        (
            "charrnn train corpus.txt --cell gru",
            "charrnn train names.txt --records --time 1m",
            "charrnn train new.txt --init-from shakespeare-lstm --mix shakespeare.txt",
            "charrnn train --resume --steps 20000 --out checkpoints/corpus-gru",
            "zcat old.log.gz | charrnn train - --out checkpoints/log",
        ),
    ),
    "sample": _Entry(
        "Generate text with a model.",
        "Generate text with a model.",
        ("sample.SampleConfig",),
        (
            "charrnn sample --temp 0.8",
            "charrnn sample -m names -n 500 --match 'S[a-z]{4,8}' --unique --novel --rank | head -50",
            r"charrnn sample -m code -p 'def ' -l 2000 --stop '\n\n\n' --seed 7",
            "charrnn sample -m molecules -n 0 | validate | head -n 1000",
        ),
    ),
    "eval": _Entry(
        "Score text with a model: perplexity; rank, filter, classify, compare.",
        "Score text with a model, exactly: a row per text, in the order of the input.",
        ("eval.EvalConfig",),
        (
            "charrnn eval held-out.txt",
            "p=$(charrnn eval -f perplexity held-out.txt)",
            "charrnn eval --lines lines.txt | sort -g | head",
            "charrnn eval --lines --keep 'bits_per_byte < 2.5 and chars > 20' < crawl.txt > clean.txt",
            "charrnn eval -m french -m german --lines --classify < towns.txt",
        ),
    ),
    "check": _Entry(
        "Find what is wrong with a text before training on it.",
        "Find what is wrong with a text before training on it, and suggest a command to train with.",
        ("manage.CheckConfig",),
        ("charrnn check corpus.txt", "charrnn check names.txt --records"),
    ),
    "show": _Entry(
        "Show a model's card and learning curve.",
        "Show a model's card: shape, corpus, training, figures beside the baselines, learning curve.\n"
        "MODEL is a file, a run's folder or a run's name. [$CHARRNN_MODEL, else the run saved last]",
        ("manage.ShowConfig",),
        ("charrnn show lstm", "charrnn show checkpoints/code --json"),
    ),
    "runs": _Entry(
        "List runs; free their disk space.",
        "List runs, newest first. prune deletes the resume state of finished runs, and charrnn's leftover temporary"
        " files.\nRUN is a run's name or folder, or a folder that holds runs. [checkpoints/]",
        ("manage.RunsConfig",),
        (
            "charrnn runs --sort bits_per_char",
            "mv checkpoints/a checkpoints/b; rm -r checkpoints/c    # a run is a folder",
        ),
        ("charrnn runs [OPTIONS] [RUN]...", "charrnn runs prune [OPTIONS] [RUN]..."),
    ),
    "corpora": _Entry(
        "List the corpora known by name; fetch one.",
        "List the corpora known by name; with NAME, show its card. get fetches one and prints its path.",
        ("manage.CorporaConfig",),
        ("charrnn corpora names", 'charrnn eval "$(charrnn corpora get shakespeare)"'),
        ("charrnn corpora [OPTIONS] [NAME]...", "charrnn corpora get NAME"),
    ),
    "doctor": _Entry(
        "Check this installation and machine.",
        "Check core, instruction sets, threads and their speed, PyTorch, GPU, cache folder and its size, "
        "terminal, and what to do about each. Exit 1 if it cannot train.",
        ("manage.DoctorConfig",),
        (),
        ("charrnn doctor [--json]",),
    ),
    "help": _Entry(
        "Help on a command or a topic: texts, fields, config, cells, exit-codes.",
        "Help on a command, as COMMAND --help; or on texts, fields, config, cells or exit-codes.",
        ("manage.HelpConfig",),
        ("charrnn help eval", "charrnn help cells"),
        ("charrnn help [COMMAND|TOPIC]",),
        "help_topics",
    ),
}
"""The commands, in the order of help."""


def configs(command: str) -> tuple[type, ...]:
    """Return the dataclasses that declare the options of a command."""
    places = (name.split(".") for name in COMMANDS[command].configs)
    modules = ((importlib.import_module(f"charrnn.config.{module}"), name) for module, name in places)
    return (*(getattr(module, name) for module, name in modules), CommonOptions)


@functools.cache
def page(command: str) -> Page:
    """Return the help of a command; of the program where `command` is empty."""
    if not command:
        return TOP
    entry = COMMANDS[command]
    return command_page(command, configs(command), entry.description, entry.examples, entry.usage)


TOP = Page(
    ("charrnn COMMAND [OPTIONS] [ARGS]...",),
    ("Small character-level recurrent language models: train on any text, sample from it, score text.",),
    (
        help_page.Group("Commands", [(name, entry.summary) for name, entry in COMMANDS.items()]),
        help_page.Group(
            "Options",
            [
                ("-V, --version", "Print the version and exit."),
                ("--install-completion, --show-completion", "Install shell completion, or print its script."),
            ],
        ),
    ),
    closing="Start with: charrnn train FILE, then charrnn sample, then charrnn eval FILE.",
)
"""The help of the program."""


def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", hidden=True)] = False,
) -> None:
    if version:
        Console().write(f"charrnn {__version__}\n".encode(), flush=True)
        raise typer.Exit
    if verbose and context.invoked_subcommand is not None:
        raise typer.BadParameter("belongs behind the command", param_hint="-v")
    if context.invoked_subcommand is None:
        for line in TOP.render().rstrip("\n").split("\n"):
            Console().info(line)
        raise typer.Exit(2)


def parse(arguments: Sequence[str] | None) -> Callable[..., int] | int:
    """Return the command that arguments name, to be called with `started`; or an exit code, where help or
    the version was all that was wanted.

    Raises:
        TyperException: the arguments name no command, or options it does not have; see `sentence`.
        OutputError: help cannot be written. BrokenPipeError: the reader has gone.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed: Callable[..., int] | int | None = program(words)(args=words, prog_name="charrnn", standalone_mode=False)
    except BrokenPipeError:
        raise
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # Typer ends with 1 then
            raise BrokenPipeError from None
        raise
    except typer.Abort:
        raise KeyboardInterrupt from None
    except (OSError, RuntimeError, UnicodeError) as error:
        if "--install-completion" in words:
            reason = f"{quote(error.filename)}: {error.strerror}" if isinstance(error, OSError) else str(error)
            raise OutputError(
                f"cannot install completion: {reason}; charrnn --show-completion prints the script"
            ) from None
        if not isinstance(error, OSError):
            raise
        raise OutputError(f"cannot write to stdout: {error.strerror}") from None
    if not parsed:  # help, which Typer drops without a word where stdout is closed
        Console().write(b"", flush=True)
        return 0
    return parsed


def program(words: Sequence[str]) -> typer.Typer:
    """Return the program that words are for: of the commands that they do not name, only the names are known."""
    app = typer.Typer(
        name="charrnn",
        cls=with_page(Group, functools.partial(page, "")),
        invoke_without_command=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    completing = any(name.endswith("_COMPLETE") for name in os.environ)  # the words are then in a variable
    for command in COMMANDS:
        _register(app, command, with_options=completing or command in words)
    return app


def _register(app: typer.Typer, command: str, *, with_options: bool) -> None:
    """Register a command, whose work is `charrnn.cli.<module>.run(console, flags, started) -> exit code`."""

    def call(**flags: Any) -> Callable[..., int]:
        common = {each: flags.pop(each) for each in ("quiet", "verbose", "color")}
        return functools.partial(_run, COMMANDS[command].module or command, common, flags)

    declared = parameters(*configs(command)) if with_options else []
    call.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in declared}
    made = with_page(Command, functools.partial(page, command))
    names = {"help_option_names": ["--help"]}
    app.command(command, cls=made, short_help=COMMANDS[command].summary, context_settings=names)(call)


def _run(module: str, common: dict[str, Any], flags: dict[str, Any], *, started: float) -> int:
    options, _ = merge(CommonOptions, common, os.environ)
    console = Console(quiet=options.quiet, verbose=options.verbose, color=None if options.color else False)
    if any(name.startswith("CHARRNN_") for name in os.environ):
        for warning in unknown_variables(os.environ, {each for command in COMMANDS for each in configs(command)}):
            console.warn(warning)
    configure_threading()
    code: int = importlib.import_module(f"charrnn.cli.{module}").run(console, flags, started=started)
    return code

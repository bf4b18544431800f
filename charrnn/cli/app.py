"""The command line: which commands there are, with their examples.

A command's own module is imported when it runs, so that help comes at once.
"""

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from charrnn.cli import help_page
from charrnn.cli.help_page import Page, command_page
from charrnn.cli.options import Command, Group, parameters, with_page
from charrnn.config.eval import EvalConfig
from charrnn.config.groups import CommonOptions
from charrnn.config.manage import CorporaConfig, HelpConfig, ShowConfig
from charrnn.config.options import merge, unknown_variables
from charrnn.config.sample import SampleConfig
from charrnn.config.train import ConfigFile, TrainConfig
from charrnn.console.streams import Console
from charrnn.errors import OutputError
from charrnn.machine import configure_threading
from charrnn.version import __version__

_TRAIN = """\
Train a model on text and print its path."""


_SAMPLE = """\
Generate text with a model."""


_EVAL = """\
Score text with a model, exactly: a row per text, in the order of the input."""


_SHOW = """\
Show a model's card: shape, corpus, training, figures beside the baselines, learning curve.
MODEL is a file, a run's folder or a run's name. [$CHARRNN_MODEL, else the run saved last]"""


_CORPORA = """\
List the corpora known by name; with NAME, show its card. get fetches one and prints its path."""


_HELP = """\
Help on a command, as COMMAND --help; or on texts, fields, config, cells or exit-codes."""


CONFIGS: dict[str, tuple[type, ...]] = {
    "train": (TrainConfig, ConfigFile, CommonOptions),
    "sample": (SampleConfig, CommonOptions),
    "eval": (EvalConfig, CommonOptions),
    "show": (ShowConfig, CommonOptions),
    "corpora": (CorporaConfig, CommonOptions),
    "help": (HelpConfig, CommonOptions),
}
"""The dataclasses that declare the options of each command."""


PAGES = {
    "train": command_page(
        "train",
        CONFIGS["train"],
        _TRAIN,
        [
            "charrnn train corpus.txt --cell gru",
            "charrnn train names.txt --records --time 1m",
            "charrnn train --resume --steps 20000 --out checkpoints/corpus-gru",
            "zcat old.log.gz | charrnn train - --out checkpoints/log",
        ],
    ),
    "sample": command_page(
        "sample",
        CONFIGS["sample"],
        _SAMPLE,
        [
            "charrnn sample --temp 0.8",
            r"charrnn sample -m code -p 'def ' -l 2000 --stop $'\n\n\n' --seed 7",
            "charrnn sample -m names -n 10000 | sort -u | head -50",
        ],
    ),
    "eval": command_page(
        "eval",
        CONFIGS["eval"],
        _EVAL,
        [
            "charrnn eval held-out.txt",
            "p=$(charrnn eval -f perplexity held-out.txt)",
            "charrnn eval --lines lines.txt | sort -g | head",
        ],
    ),
    "show": command_page("show", CONFIGS["show"], _SHOW, ["charrnn show lstm", "charrnn show checkpoints/code --json"]),
    "corpora": command_page(
        "corpora",
        CONFIGS["corpora"],
        _CORPORA,
        ["charrnn corpora names", 'charrnn eval "$(charrnn corpora get shakespeare)"'],
        ["charrnn corpora [OPTIONS] [NAME]...", "charrnn corpora get NAME"],
    ),
    "help": command_page(
        "help", CONFIGS["help"], _HELP, ["charrnn help eval", "charrnn help cells"], ["charrnn help [COMMAND|TOPIC]"]
    ),
}
"""The help of each command."""


_SUMMARIES = {
    "train": "Train a model on text; resume one.",
    "sample": "Generate text with a model.",
    "eval": "Score text with a model: perplexity, bits per character.",
    "show": "Show a model's card and learning curve.",
    "corpora": "List the corpora known by name; fetch one.",
    "help": "Help on a command or a topic: texts, fields, config, cells, exit-codes.",
}


TOP = Page(
    ("charrnn COMMAND [OPTIONS] [ARGS]...",),
    ("Small character-level recurrent language models: train on any text, sample from it, score text.",),
    (
        help_page.Group("Commands", list(_SUMMARIES.items())),
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


app = typer.Typer(
    name="charrnn",
    cls=with_page(Group, TOP),
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", hidden=True)] = False,
) -> None:
    if version:
        text = f"charrnn {__version__}\n"
        if verbose:
            from charrnn.engines.select import describe

            text += f"{describe()}\n"
        Console().write(text.encode(), flush=True)
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


def _run(name: str, common: dict[str, Any], flags: dict[str, Any], *, started: float) -> int:
    options, _ = merge(CommonOptions, common, os.environ)
    console = Console(quiet=options.quiet, verbose=options.verbose, color=None if options.color else False)
    for warning in unknown_variables(os.environ, {config for configs in CONFIGS.values() for config in configs}):
        console.warn(warning)
    configure_threading()
    code: int = importlib.import_module(f"charrnn.cli.{name}").run(console, flags, started=started)
    return code


def _command(name: str, module: str, **more: Any) -> None:
    """Register a command whose work is `charrnn.cli.<module>.run(console, flags, started) -> exit code`."""

    def call(**flags: Any) -> Callable[..., int]:
        common = {each: flags.pop(each) for each in ("quiet", "verbose", "color")}
        return functools.partial(_run, module, common, {**flags, **more})

    declared = parameters(*CONFIGS[name])
    call.__signature__ = inspect.Signature(declared)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in declared}
    options: Any = {"cls": with_page(Command, PAGES[name]), "context_settings": {"help_option_names": ["--help"]}}
    app.command(name, short_help=_SUMMARIES[name], **options)(call)


for _name in ("train", "sample", "eval", "show", "corpora"):
    _command(_name, _name)
_command("help", "help_topics", pages={**PAGES, "": TOP})

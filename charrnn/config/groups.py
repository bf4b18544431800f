"""Options that several commands share: how they are declared is written here once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from charrnn.config.lists import StrList
from charrnn.config.options import option
from charrnn.config.params import Choice, Device, Escaped, FileOrShare, Flag, PathName, Text

MAX_SEED = 2**63 - 1


PRECISIONS = ("auto", "float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True)
class CommonOptions:
    """The options that every command takes: which messages are printed, and how."""

    quiet: bool = option(Flag(), "Print errors only.", default=False, short="q", group="Common")
    verbose: bool = option(Flag(), "Print more detail.", default=False, short="v", group="Common")
    color: bool = option(Flag(), "No colour, as with NO_COLOR.", default=True, group="Common")


@dataclass(frozen=True)
class ModelOptions:
    """The models that a command reads text or generates it with."""

    model: tuple[str, ...] = option(
        StrList(),
        "File, run's folder or run's name; several: mean of their probabilities.",
        metavar="MODEL",
        default=(),
        short="m",
        shown="$CHARRNN_MODEL, else the run saved last",
    )


def choices_text(choices: Sequence[str]) -> str:
    """Return the choices as help lists them: `auto, native or torch`."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}"


def _named(choices: tuple[str, ...], group: str) -> Any:
    return option(Choice(choices), f"{choices_text(choices)}.", default=choices[0], group=group)


def device_option(default: str) -> Any:
    """Where a model computes."""
    return option(Device(), "auto, cpu, cuda or cuda:N.", default=default, group="Machine")


def engine_option(*engines: str) -> Any:
    """What runs the model."""
    return _named(("auto", *engines), "Machine")


def precision_option(choices: tuple[str, ...] = PRECISIONS, group: str = "Machine") -> Any:
    """The precision of matrix multiplications."""
    return _named(choices, group)


def jsonl_option(more: str = "") -> Any:
    """The field of JSON Lines that is text."""
    return option(Text(), f"Each JSON line's FIELD is a text{more}.", metavar="FIELD")


def tsv_option(group: str = "Text") -> Any:
    """The column of a table that is text."""
    return option(
        Text(), "Texts are this column of tab-separated lines, a name or a number.", metavar="COLUMN", group=group
    )


def csv_option(group: str = "Text") -> Any:
    """The column of a table in CSV that is text."""
    return option(Text(), "The same of CSV (RFC 4180).", metavar="COLUMN", group=group)


RECORDS = "Records: each line is learnt from its start to its end, such as names."


def records_option(sentence: str, group: str = "Options", shown: str = "") -> Any:
    """Whether a text has records."""
    return option(Flag(), sentence, default=False, group=group, shown=shown)


def separator_option(sentence: str, shown: str = r"\n", group: str = "Text") -> Any:
    """What ends a record, so that a text has records."""
    return option(Escaped(), f"{sentence} Implies --records.", shown=shown, group=group)


def val_option(text: str = "CORPUS") -> Any:
    """What a model is validated on while it is trained."""
    return option(FileOrShare(), f"Validate on FILE, or hold out this share of {text}; 0: nothing.", default=0.1)


def counts_option(group: str = "Text") -> Any:
    """Whether each line is a count and a record."""
    sentence = "Lines of COUNT<TAB>RECORD, as uniq -c writes. Implies --records."
    return option(Flag(), sentence, default=False, group=group)


def errors_option() -> Any:
    """What happens to bytes that are not UTF-8."""
    return option(
        Choice(("strict", "replace", "skip")),
        "Bad UTF-8 or JSON: strict (exit 4), replace (U+FFFD) or skip.",
        metavar="HOW",
        default="strict",
        group="Text",
    )


def prompt_file_option(group: str, after: str = "") -> Any:
    """A file that holds the prompt."""
    return option(PathName(), "The prompt from a file; - is stdin.", group=group, after=after)

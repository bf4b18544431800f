"""The options of the small commands: `check`, `show`, `runs`, `corpora`, `doctor` and `help`."""

from dataclasses import dataclass

from charrnn.config.groups import (
    RECORDS,
    counts_option,
    csv_option,
    jsonl_option,
    records_option,
    separator_option,
    tsv_option,
    val_option,
)
from charrnn.config.lists import FieldList, StrList
from charrnn.config.options import argument, check_fields, check_together, is_given, option
from charrnn.config.params import Choice, Flag, Text
from charrnn.errors import UsageError

RUN_COLUMNS = ("name", "state", "date", "cell", "hidden", "corpus", "bits_per_char", "baseline", "seconds", "bytes")
"""What is known of a run: the columns of its row, in order."""

RUN_KEYS = (*RUN_COLUMNS, "path", "baselines")
"""The same with what its JSON object has besides."""


@dataclass(frozen=True)
class CheckConfig:
    """The options of `charrnn check`."""

    text: tuple[str, ...] = argument(
        StrList(), "Files, folders, quoted globs, - or a known corpus.", metavar="TEXT", shown="stdin"
    )

    records: bool = records_option(RECORDS, shown="guessed")
    separator: str | None = separator_option(r"What ends a record, '\n\n': a blank line.", group="Options")
    jsonl: str | None = jsonl_option()
    tsv: str | None = tsv_option("Options")
    csv: str | None = csv_option("Options")
    counts: bool = counts_option("Options")
    val: float | str = val_option("TEXT")
    json: bool = option(Flag(), "One JSON object per finding.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)
        check_together(self, "jsonl", "tsv", "csv", "counts")


@dataclass(frozen=True)
class ShowConfig:
    """The options of `charrnn show`."""

    model: str | None = argument(Text(), "", metavar="MODEL")

    json: bool = option(Flag(), "One JSON object per model.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class RunsConfig:
    """The options of `charrnn runs`; `prune RUN` comes as two names.

    Raises:
        UsageError: an option cannot be used, or not with another.
    """

    run: tuple[str, ...] = argument(StrList(), "", metavar="RUN")

    sort: str | None = option(
        Choice(RUN_COLUMNS), "Sort by a column, smallest first.", metavar="FIELD", shown="date, newest first"
    )
    fields: tuple[tuple[str, str], ...] | None = option(FieldList(RUN_KEYS), "Columns: charrnn help fields.", short="f")
    header: bool | None = option(Flag(), "Print column names.", shown="on a terminal")
    dry_run: bool = option(Flag(), "With prune: print what would be deleted.", default=False)
    json: bool = option(Flag(), "One JSON object per run.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.dry_run and not self.prunes:
            raise UsageError("{dry_run} needs prune: charrnn runs prune", ("dry_run",))
        for name in ("sort", "fields", "header") if self.prunes else ():
            if is_given(self, name):
                raise UsageError(f"{{{name}}} cannot be used with prune, which prints paths", (name,))

    @property
    def prunes(self) -> bool:
        """Whether files of the runs are to be deleted."""
        return self.run[:1] == ("prune",)

    @property
    def names(self) -> tuple[str, ...]:
        """The runs that are named."""
        return self.run[1:] if self.prunes else self.run


@dataclass(frozen=True)
class CorporaConfig:
    """The options of `charrnn corpora`; `get NAME` comes as two names."""

    name: tuple[str, ...] = argument(StrList(), "", metavar="NAME")

    json: bool = option(Flag(), "One JSON object per corpus.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class DoctorConfig:
    """The options of `charrnn doctor`."""

    json: bool = option(Flag(), "One JSON object per check.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class HelpConfig:
    """The argument of `charrnn help`."""

    topic: str | None = argument(Text(), "", metavar="COMMAND|TOPIC")

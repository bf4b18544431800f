"""`charrnn runs`: list the runs there are, or `prune` what they need no longer."""

import json
import os
from dataclasses import dataclass
from typing import Any

from charrnn.cli.eval_writers import JsonWriter, TsvWriter, named
from charrnn.config.manage import RUN_COLUMNS, RUN_KEYS, RunsConfig
from charrnn.config.options import merge
from charrnn.config.params import seconds
from charrnn.console.format import count
from charrnn.console.streams import Console
from charrnn.console.tables import print_table
from charrnn.errors import counted
from charrnn.files import quote
from charrnn.runs.manage import RunSummary, find_runs, prunable, prune, summarize

_WIDE, _NARROW = 120, ("name", "state", "date", "model", "bits/char", "size")
"""Columns of a terminal that has room for all of a run, and what one has that is narrower."""


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Run the command; return the exit code: 1 where something should be deleted and cannot be.

    Raises:
        UsageError: an option cannot be used. CheckpointError: there is no such run.
    """
    config, _ = merge(RunsConfig, flags, os.environ)
    if config.prunes:
        return _prune(console, config)
    found = [summarize(folder) for folder in find_runs(config.names)]
    key = config.sort or "date"
    present, absent = ([each for each in found if (_key(each, key) is None) == gone] for gone in (False, True))
    _list(console, config, sorted(present, key=lambda each: _key(each, key), reverse=not config.sort) + absent)
    return 0


def _key(summary: RunSummary, column: str) -> Any:
    return getattr(summary, column)


@dataclass(frozen=True)
class _Row:
    """A run as a row: see `eval_writers.Values`."""

    summary: RunSummary
    is_json: bool

    @property
    def place(self) -> str:
        """Where it stands."""
        return quote(self.summary.path)

    def value(self, field: str) -> Any:
        """Return a field of `charrnn help fields`."""
        value = getattr(self.summary, field)
        if value is None:
            return None
        if self.is_json:
            return os.fsencode(value) if isinstance(value, str) else value
        if field == "hidden":
            return ",".join(map(str, value))
        return json.dumps(value) if field == "baselines" else value


def _list(console: Console, config: RunsConfig, runs: list[RunSummary]) -> None:
    if not runs and console.stdout_is_tty and not config.json:
        console.info("no runs here; charrnn train FILE makes one")
    elif console.stdout_is_tty and not config.json and not config.fields and config.header is None:
        rows = [_cells(each, is_wide=console.size.columns >= _WIDE) for each in runs]
        print_table(console, list(rows[0]), [list(row.values()) for row in rows])
    else:
        columns = config.fields or named(RUN_KEYS if config.json else RUN_COLUMNS)
        header = console.stdout_is_tty if config.header is None else config.header
        writer: JsonWriter | TsvWriter = (
            JsonWriter(console, columns) if config.json else TsvWriter(console, columns, header=header, verbatim=False)
        )
        for each in runs:
            writer.row(_Row(each, config.json))


def _cells(run: RunSummary, *, is_wide: bool) -> dict[str, str]:
    """Return a run as a person reads it, by heading."""
    cells = {
        "name": run.name,
        "state": run.state,
        "date": (run.date or "-").replace("T", " ").removesuffix("Z"),
        "model": f"{run.cell} {'+'.join(map(str, run.hidden or ()))}" if run.cell else "-",
        "corpus": run.corpus or "-",
        "bits/char": "-" if run.bits_per_char is None else f"{run.bits_per_char:.3f}",
        "baseline": "-" if run.baseline is None else f"{run.baseline:.3f}",
        "time": "-" if run.seconds is None else seconds(run.seconds),
        "size": f"{count(run.bytes)}B",
    }
    if not is_wide:
        cells = {name: cells[name] for name in _NARROW} | {"date": cells["date"][:10]}
    return cells


def _prune(console: Console, config: RunsConfig) -> int:
    """Delete files, or name those that would be, a line each."""
    faults: list[str] = []
    total = number = 0

    def warn(message: str) -> None:
        faults.append(message)
        console.warn(message)

    for folder in find_runs(config.names, links=False):
        for path, size in prunable(folder, warn) if config.dry_run else prune(folder, warn):
            if config.json:
                console.write_json({"path": os.fsencode(path).decode("utf-8", "replace"), "bytes": size}, flush=True)
            else:
                console.write_text(f"{path}\n")
            total, number = total + size, number + 1
    verb = "would be deleted" if config.dry_run else "deleted"
    console.info(f"{counted(number, 'file')} {verb}, {count(total)}B" if number else "nothing to delete")
    return 1 if faults else 0

"""`charrnn check`: what is wrong with a text, what mends it, and how to train on it."""

import os
import shlex
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from charrnn.config.manage import CheckConfig
from charrnn.config.options import flag, merge
from charrnn.config.params import Escaped
from charrnn.console.streams import Console
from charrnn.errors import CharRNNError, UsageError, counted

if TYPE_CHECKING:
    from charrnn.config.train import TrainConfig
    from charrnn.corpus.corpus import Corpus
    from charrnn.dataset.findings import Finding
    from charrnn.dataset.text_scan import TextScan

COLUMNS = ("severity", "kind", "file", "line", "count", "message")

_MENDING_ORDER = ("encoding", "bom", "line-ends", "long-lines", "control", "normal-forms", "look-alikes", "duplicates")

_ONE_CELL = str.maketrans({"\n": r"\n", "\r": r"\r", "\t": r"\t"})  # backslashes stay: a command is run as it is

_NAMED = 3  # findings of one kind, and commands for all of a file, that a report has in full


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Print what is found in texts and return the exit code: 4 if training on them would fail.

    Raises:
        InputError: there is no text, or it cannot be read. UsageError: an option cannot be used.
    """
    config, _ = merge(CheckConfig, flags, os.environ)
    if not config.text and console.stdin_is_tty:
        raise UsageError("no text: name a file, or pipe one in: cat FILE | charrnn check")
    from charrnn.config.train import TrainConfig
    from charrnn.console.progress import progress_bar
    from charrnn.dataset.check import check_corpus
    from charrnn.dataset.prepare import PrepareOptions
    from charrnn.training.text_check import read_with_faults

    options = {name: getattr(config, name) for name in ("records", "separator", "jsonl", "tsv", "csv", "counts", "val")}
    training = TrainConfig(corpus=config.text or ("-",), **options)
    progress = partial(progress_bar, console)
    corpus = read_with_faults(training, training.corpus, progress)
    val = None if training.val_file is None else read_with_faults(training, [training.val_file], progress)
    found, scan = check_corpus(corpus, val, PrepareOptions(val_fraction=training.val_fraction), progress)
    if scan is not None and not any(each.severity == "error" for each in found):
        found += _advice(training, corpus, val, scan)
    if config.json:
        for each in found:
            console.write_json({name: getattr(each, name) for name in (*COLUMNS, "byte", "option")})
    elif console.stdout_is_tty:
        console.write_text("".join(f"{line}\n" for line in _report(corpus, scan, found)))
    else:
        for each in found:
            console.write(_row(each))
    return 4 if any(each.severity == "error" for each in found) else 0


def _advice(config: "TrainConfig", corpus: "Corpus", val: "Corpus | None", scan: "TextScan") -> list["Finding"]:
    """Return how to train on a text: as what, with which tokens, and what the plan would be."""
    from dataclasses import replace

    from charrnn.config.train import TrainConfig
    from charrnn.dataset.advice import guess_fields, guess_records, suggest_tokenizer
    from charrnn.dataset.findings import Finding
    from charrnn.training.sketch import sketch_plan

    fields = [found] if (found := guess_fields(corpus, config.corpus)) else []
    records, why = guess_records(corpus, scan)
    tokenizer, tokens = suggest_tokenizer(scan)
    config = replace(config, records=records or config.records, tokenizer=tokenizer)
    words = ["charrnn", "train", *config.corpus]
    for name in ("records", "separator", "jsonl", "tsv", "csv", "counts", "val", "tokenizer"):
        value = getattr(config, name)
        if name == "records" and (config.separator is not None or config.counts):
            continue
        if value != getattr(TrainConfig, name):
            text = Escaped().write(value) if name == "separator" else str(value)
            words += [flag(name)] if value is True else [flag(name), text]
    command = Finding("info", "command", "to train on it", shlex.join(words))
    try:
        plan = Finding("info", "plan", sketch_plan(config, corpus, val))
    except CharRNNError as error:
        return [*fields, why, tokens, Finding("error", "plan", error.render(flag))]
    return [*fields, why, tokens, plan, command]


def _row(finding: "Finding") -> bytes:
    """Return the line of a finding in a pipe."""
    from charrnn.cli.eval_writers import escape_cell

    text = f"{finding.message}: {finding.option}" if finding.option else finding.message
    cells = [finding.severity, finding.kind, finding.file, finding.line, finding.count]
    shown = (b"" if cell is None else escape_cell(os.fsencode(str(cell))) for cell in cells)
    return b"\t".join([*shown, os.fsencode(text.translate(_ONE_CELL))]) + b"\n"


def _report(corpus: "Corpus", scan: "TextScan | None", found: Iterable["Finding"]) -> Iterable[str]:
    """Yield the lines of a report: each finding, what mends it, and what mends all."""
    from charrnn.dataset.remedies import filter_command

    if scan is not None:
        sizes = ((scan.chars, "character"), (corpus.size, "byte"), (len(scan.lines.sizes), "line"))
        yield ", ".join(counted(size, noun) for size, noun in sizes)
    counts: dict[str, int] = {}
    for each in found:
        counts[each.kind] = counts.get(each.kind, 0) + 1
        if counts[each.kind] > _NAMED:
            continue
        place = f"{each.place}: " if each.place else ""
        yield f"{each.severity:<8} {each.kind:<13} {place}{each.message}"
        if each.option:
            yield f"{'':<23}{each.option}"
    for kind, count in counts.items():
        if count > _NAMED:
            yield f"{'':<9}{kind:<13} and in {count - _NAMED:,} more places: charrnn check --json has all"
    filters: dict[str, dict[str, str]] = {}
    only = next(iter(scan.sources)) if scan is not None and len(scan.sources) == 1 else ""
    for each in found:
        if each.filter and (name := each.file or only):
            filters.setdefault(name, {})[each.kind if each.kind in _MENDING_ORDER else "duplicates"] = each.filter
    several = [(name, mends) for name, mends in filters.items() if len(mends) > 1]
    for name, mends in several[:_NAMED]:
        ordered = [mends[kind] for kind in _MENDING_ORDER if kind in mends]
        yield f"all of it: {filter_command(ordered, [name])}"
    if several[_NAMED:]:
        yield f"and {len(several) - _NAMED:,} more files: charrnn check --json has what mends each of their faults"

"""The runs there are, as rows of a list; and what of them can be deleted.

Folders are read as they are found: a run may be damaged, half written, or running at this moment, and what lies beside
it may be anything. Nothing is deleted but what was written for a run, under its lock, and only once its model has been
read whole.
"""

import contextlib
import datetime
import math
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.header import read_metadata
from charrnn.config.options import PLAN_COMMENT, param_types, read_toml
from charrnn.config.train import TrainConfig
from charrnn.errors import CharRNNError, CheckpointError, OutputError, UsageError, did_you_mean
from charrnn.files import Lock, error_reason, is_locked, quote
from charrnn.network.architecture import Architecture
from charrnn.runs.locate import ROOT
from charrnn.runs.run_dir import FILES, RunDir

BASELINES = ("uniform", "unigram", "ngram", "xz")
"""Of a run's baselines, those that are bits per character."""

_TEMPORARY = re.compile(rf"\.({'|'.join(map(re.escape, FILES))})\.tmp-[0-9a-f]{{16}}")
"""Names of files that a killed writer of a run has left."""

_BEGINNINGS = {"metrics.jsonl": b'{"event": "', "config.toml": PLAN_COMMENT.encode()}

Warn = Callable[[str], None]


@dataclass(frozen=True)
class RunSummary:
    """A run, as far as its files say; None: they do not.

    Attributes:
        name: of its folder. path: the folder.
        state: "running": a process has its lock. "finished". "stopped": it can be resumed. "damaged": it cannot be, and
            is not finished, or its log cannot be read.
        date: when a file of it was last written: UTC, as RFC 3339 has it.
        cell, hidden: of its model. corpus: the names of what it was trained on.
        bits_per_char: of its best model, on the validation text. baselines: of simpler models on the same.
        seconds: of training. bytes: of its files.
    """

    name: str
    path: str
    state: str
    date: str | None
    cell: str | None
    hidden: tuple[int, ...] | None
    corpus: str | None
    bits_per_char: float | None
    baselines: Mapping[str, float] | None
    seconds: float | None
    bytes: int

    @property
    def baseline(self) -> float | None:
        """The fewest bits per character that a simpler model reaches."""
        return min((self.baselines or {}).values(), default=None)


def find_runs(names: Sequence[str], *, links: bool = True, root: Path = ROOT) -> list[Path]:
    """Return the folders of runs that arguments name, each once.

    Args:
        names: each a run's folder or its name under `root`, or a folder that holds runs; none: `root`.
        links: whether a folder that holds runs may hold them by symbolic links.

    Raises:
        CheckpointError: one is none of these.
    """
    found: dict[Path, None] = {}
    for name in names or (str(root),):
        folders = [folder for folder in (Path(name), root / name) if name and "\0" not in name and folder.is_dir()]
        runs = next((runs for folder in folders if (runs := _runs_of(folder, links=links))), [])
        if names and not folders:
            there = did_you_mean(name, [path.name for path in _runs_of(root)])
            raise CheckpointError(
                f"no run {quote(name[:200])}: there is no such folder, and no run of that name in {quote(root)}{there}"
            )
        found |= dict.fromkeys(runs)
    return list(found)


def _runs_of(folder: Path, *, links: bool = True) -> list[Path]:
    """Return a folder if it is a run's, else those in it that are, sorted."""
    if is_run(folder):
        return [folder]
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return []
    return [path for path in inside if path.is_dir() and (links or not path.is_symlink()) and is_run(path)]


def is_run(folder: Path) -> bool:
    """Return whether a run has written into a folder. One that holds files of the same names by another program is no
    run; nor is what a failed start has left, unless it is a part of a file."""
    run = RunDir(folder)
    if _is_running(folder) or any(_metadata(path) for path in (run.model, run.last, run.previous)):
        return True
    if any(_TEMPORARY.fullmatch(name) for name in _own_files(folder)):
        return True
    return run.exists and any(_head(folder / name).startswith(begin) for name, begin in _BEGINNINGS.items())


def summarize(folder: Path) -> RunSummary:
    """Return what the files of a run say."""
    run, own = RunDir(folder), _own_files(folder)
    metadata = [_metadata(path) for path in (run.model, run.last, run.previous)]
    model, *resumable = (found[0] if found and found[1] else None for found in metadata)
    described = next((found[0] for found in metadata if found), {})
    info, events = _part(described, "info"), _events(run)
    try:
        architecture = Architecture.from_json(described.get("config"))
    except ValueError:
        architecture = None
    return RunSummary(
        name=folder.name or str(folder),
        path=str(folder),
        state="running" if _is_running(folder) else _state(run, events, model is not None, any(resumable)),
        date=_date(max((each.st_mtime for each in own.values()), default=None)),
        cell=None if architecture is None else architecture.cell_name,
        hidden=None if architecture is None else architecture.hidden,
        corpus=_corpus(run),
        bits_per_char=_number(_part(info, "metrics").get("bits_per_char")),
        baselines=_baselines(_part(_part(info, "plan"), "baselines")),
        seconds=max((float(each["seconds"]) for each in events or () if "seconds" in each), default=None),
        bytes=sum({(each.st_dev, each.st_ino): each.st_size for each in own.values()}.values()),  # some are links
    )


def _state(run: RunDir, events: list[dict[str, Any]] | None, has_model: bool, is_resumable: bool) -> str:
    if events is None:
        return "damaged"
    is_bare = not run.metrics.exists() and not is_resumable  # a model that was copied, say
    if has_model and (is_bare or any(each.get("event") == "done" for each in events)):
        return "finished"
    return "stopped" if is_resumable else "damaged"


def prunable(folder: Path, warn: Warn) -> list[tuple[Path, int]]:
    """Return the files of a run that can be deleted, and the bytes of each: leftover temporary files, and what a
    finished run could be resumed from. Of a run that is running, none.

    Args:
        warn: takes a sentence where a run is left alone because it is damaged.
    """
    return [] if _is_running(folder) else _prunable(folder, warn)


def prune(folder: Path, warn: Warn) -> list[tuple[Path, int]]:
    """Delete what `prunable` returns, under the run's lock; return what is gone.

    Args:
        warn: as for `prunable`, and where something cannot be deleted.
    """
    if not prunable(folder, warn):
        return []
    gone = []
    try:
        with Lock(_lock(folder)):
            for path, size in _prunable(folder, lambda message: None):  # it may have changed until the lock was had
                try:
                    path.unlink()
                except OSError as error:
                    warn(f"cannot delete {quote(path)}: {error_reason(error)}")
                else:
                    gone.append((path, size))
    except OutputError as error:
        warn(f"{error}; nothing is deleted there")
    except CharRNNError:
        pass  # it has begun to run
    return gone


def _prunable(folder: Path, warn: Warn) -> list[tuple[Path, int]]:
    run, own = RunDir(folder), _own_files(folder)
    found = [name for name in own if _TEMPORARY.fullmatch(name)]
    resume = [path.name for path in (run.last, run.previous) if path.name in own and _metadata(path)]
    events = _events(run) if resume else None
    if events and any(each.get("event") == "done" for each in events):
        try:
            checkpoint.read(run.model)  # it is whole: nothing else is needed any more
            found += resume
        except CheckpointError as error:
            warn(f"{error}; what its run could be resumed from stays")
    return [(folder / name, own[name].st_size) for name in found]


def _lock(folder: Path) -> Path:
    """Return the lock of a run. Raises OutputError: a file of that name is another program's."""
    lock = folder / ".lock"
    if not re.fullmatch(rb"[0-9]{0,20}\n?", _head(lock)):
        raise OutputError(f"{quote(lock)} is not the lock of a run")
    return lock


def _is_running(folder: Path) -> bool:
    """Return whether a process trains in a folder."""
    try:
        return is_locked(_lock(folder))
    except OutputError:
        return False


def _own_files(folder: Path) -> dict[str, os.stat_result]:
    """Return the files in a folder that are named as those of a run, in order; symbolic links are none of them."""
    found = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):
            if name in FILES or _TEMPORARY.fullmatch(name):
                with contextlib.suppress(OSError):
                    status = os.lstat(folder / name)
                    if stat.S_ISREG(status.st_mode):
                        found[name] = status
    return found


def _metadata(path: Path) -> tuple[dict[str, Any], bool] | None:
    """Return what a checkpoint says of itself, and whether it is as long as it should be; None: it is no checkpoint."""
    try:
        return read_metadata(path)
    except CheckpointError:
        return None


def _events(run: RunDir) -> list[dict[str, Any]] | None:
    """Return the events of a run's log; None where it cannot be read."""
    try:
        return run.events()
    except CheckpointError:
        return None


def _head(path: Path) -> bytes:
    """Return how a regular file begins; of anything else, nothing."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(100)
    except OSError:
        pass
    return b""


def _corpus(run: RunDir) -> str | None:
    """Return the names of what a run was trained on, without folders."""
    if not _head(run.config).startswith(PLAN_COMMENT.encode()):
        return None
    declared = param_types(TrainConfig)
    try:
        paths = read_toml(run.config, declared, stored=True).get("corpus") or ()
    except UsageError:
        return None
    names = [os.path.basename(path.rstrip(os.sep)) or path for path in paths]
    return ",".join(names) or TrainConfig.__dataclass_fields__["corpus"].metadata["shown"]


def _baselines(values: Mapping[str, Any]) -> dict[str, float] | None:
    found = {name: number for name in BASELINES if (number := _number(values.get(name))) is not None}
    return found or None


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within another one; nothing where there is none: what a file says of itself may be anything."""
    part = values.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < 1e15 and math.isfinite(value) else None


def _date(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None

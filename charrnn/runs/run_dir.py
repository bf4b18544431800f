"""The folder of a run: its files, and how they stay valid.

model.safetensors     the best model so far
last.safetensors      the newest checkpoint to resume from
previous.safetensors  the checkpoint before it, until the run is finished
metrics.jsonl         all events, as JSON Lines
config.toml           the plan: all options, and the paths of the corpus
"""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.checkpoint.header import parse_object
from charrnn.config.options import PLAN_COMMENT
from charrnn.config.params import Float, Int, Text, stored_value
from charrnn.config.train import TrainConfig
from charrnn.errors import CharRNNError, CheckpointError, OutputError, UsageError
from charrnn.files import Lock, atomic_write, duplicate, error_reason, prune_temporaries, quote
from charrnn.runs.events import DoneEvent, from_json

CONFIG = "config.toml"


FILES = ("model.safetensors", "last.safetensors", "previous.safetensors", "metrics.jsonl", CONFIG)


_NOT_STORED = {"out", "resume", "auto_resume", "overwrite", "dry_run", "json"}  # of one call only


_NOT_STORED |= {"time", "epochs"}  # `steps`, which follows from them, is stored


_CHECKED_KEYS = (
    ("event", Text(), False),
    ("step", Int(), False),
    ("seconds", Float(), False),
    ("nats", Float(), True),
    ("tokens", Int(), True),
)
"""Keys of events that are computed with, and whether they may be null."""


class RunDir:
    """The folder of one run.

    Args:
        folder: its path. Constructing a RunDir touches no file.
        warn: called with a sentence about a failure that did not stop the run.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda message: None) -> None:
        self.folder, self.warn = folder, warn
        self.model, self.last, self.previous, self.metrics, self.config = (folder / name for name in FILES)
        self._keep_previous = (
            False  # `previous` is newer than `last`, or `last` is corrupt: the next save replaces `last`
        )

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run or part of one. A `config.toml` alone, left by a failed start, is none."""
        return any(path.exists() for path in (self.model, self.last, self.previous, self.metrics))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the folder, which is created if need be, and remove the temporary files of killed writers.

        A folder that was created here and is empty in the end is removed.

        Raises:
            CharRNNError: another process has the lock.
            OutputError: the folder cannot be created or written.
        """
        created = not self.folder.exists()
        lock = self.folder / ".lock"
        try:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot create the folder '{self.folder}': {error.strerror}") from None
            with Lock(lock):
                prune_temporaries(self.folder)
                yield
        finally:
            if created:
                with contextlib.suppress(OSError, CharRNNError), Lock(lock):
                    if os.listdir(self.folder) == [lock.name]:  # nothing was written
                        lock.unlink()
                        self.folder.rmdir()

    def check_overwrite(self, config: TrainConfig) -> None:
        """Raise UsageError if the folder holds a run and `config` neither resumes nor overwrites it."""
        if self.exists and not (config.resume or config.auto_resume or config.overwrite):
            raise UsageError(
                f"{quote(self.folder)} holds a run already: {{resume}} continues it, {{overwrite}} replaces it,"
                " {out} names another folder",
                ("resume", "overwrite", "out"),
            )

    def clear(self) -> None:
        """Remove the files of a run. Raise OutputError if one cannot be removed."""
        for name in FILES:
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {quote(self.folder / name)}: {error.strerror}") from None

    def newest(self, check: Callable[[Checkpoint], None] = lambda state: None) -> Checkpoint | None:
        """Return the valid checkpoint with the highest step, `last` or `previous`; None if there is neither.

        Args:
            check: raises ValueError where a run cannot be resumed from a checkpoint.

        Raises:
            CheckpointError: there are checkpoints, and none can be resumed from.
        """
        checkpoints: dict[Path, Checkpoint] = {}
        faults: list[CheckpointError] = []
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                state = checkpoint.read(path, training=True)
                try:
                    check(state)
                except ValueError as error:
                    raise CheckpointError(f"{quote(path)} cannot be resumed from: {error}") from None
                checkpoints[path] = state
            except CheckpointError as error:
                faults.append(error)
        if faults and not checkpoints:
            raise CheckpointError("; ".join(map(str, faults)))
        for fault in faults:
            self.warn(f"{fault}; looking for an older one")
        newest = max(checkpoints, key=lambda path: int(checkpoints[path].info["step"]), default=None)
        self._keep_previous = newest == self.previous
        return checkpoints[newest] if newest is not None else None

    def save_last(self, state: Checkpoint) -> None:
        """Write a checkpoint to resume from as `last`, which is never absent; the former `last` becomes `previous`.

        `previous` is replaced only after the new file has been written and read back, and never by an older or corrupt
        file.

        Raises:
            OutputError: the file cannot be written.
            NonFiniteError: a tensor holds NaN or infinity.
        """

        def keep_previous() -> None:
            try:
                if not self._keep_previous:
                    duplicate(self.last, self.previous)
            except FileNotFoundError:
                pass
            except (OSError, OutputError) as error:
                self.warn(f"cannot keep {quote(self.last)} as the previous checkpoint: {error_reason(error)}")

        checkpoint.write(self.last, state, before_replace=keep_previous)
        self._keep_previous = False

    def save_model(self, model: Checkpoint) -> None:
        """Write the best model so far. Raise as `save_last`."""
        checkpoint.write(self.model, model)

    def read_model(self) -> Checkpoint:
        """Return the best model so far. Raise CheckpointError if its file is none."""
        return checkpoint.read(self.model)

    @property
    def resume_bytes(self) -> int:
        """Bytes of the newest checkpoint to resume from."""
        return self.last.stat().st_size

    def save_config(self, config: TrainConfig) -> None:
        """Write the plan, and what was changed under way, as TOML, for `--config` and `--resume`.

        Raises:
            OutputError: it cannot be written.
        """
        lines = [f"{PLAN_COMMENT}: what `charrnn train --config` needs to repeat it."]
        for each in fields(config):
            value = getattr(config, each.name)
            if value is not None and each.name not in _NOT_STORED:
                try:
                    lines.append(f"{each.name} = {_toml(value)}")
                except UnicodeEncodeError:
                    self.warn(f"{quote(self.config)} cannot hold a name that is not UTF-8; to resume, name it again")
        atomic_write(self.config, "\n".join([*lines, ""]).encode("utf-8"))

    def log(self, event: Mapping[str, Any]) -> None:
        """Append an event to `metrics.jsonl`, whole or not at all; if that fails, warn."""
        line = json.dumps(event, allow_nan=False).encode("utf-8") + b"\n"
        try:
            with self.metrics.open("ab", buffering=0) as stream:
                size = stream.tell()
                try:
                    if stream.write(line) < len(line):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                except OSError:
                    stream.truncate(size)
                    raise
        except OSError as error:
            self.warn(f"cannot write {quote(self.metrics)}: {error.strerror}")

    def events(self) -> list[dict[str, Any]]:
        """Return the events of `metrics.jsonl`, without a last line that a killed writer did not end.

        Raises:
            CheckpointError: it cannot be read, or a line is not an event; the message has its number.
        """
        if self.metrics.is_fifo():  # reading one that nobody writes to would never end
            raise CheckpointError(f"cannot read {quote(self.metrics)}: it is a pipe")
        try:
            *lines, unended = self.metrics.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"cannot read {quote(self.metrics)}: {error.strerror}") from None
        events = []
        for number, line in enumerate(lines, 1):
            try:
                events.append(_event(line))
            except (ValueError, RecursionError) as error:
                raise CheckpointError(
                    f"{quote(self.metrics)}: line {number} is not an event of a training, and may be removed: {error}"
                ) from None
        with contextlib.suppress(ValueError, RecursionError):
            events.append(_event(unended))
        return events

    def truncate_metrics(self, step: int) -> None:
        """Remove the events after a step, which training will log again.

        Raises:
            CheckpointError: as `events`. OutputError: the file cannot be written.
        """
        lines = [json.dumps(event, allow_nan=False).encode("utf-8") + b"\n" for event in self._until(step)]
        atomic_write(self.metrics, b"".join(lines))

    def seconds(self, step: int) -> float:
        """Return the seconds of training until a step, without what came after the last one."""
        return max((float(event.get("seconds", 0.0)) for event in self._until(step)), default=0.0)

    def _until(self, step: int) -> list[dict[str, Any]]:
        return [event for event in self.events() if event.get("step", 0) <= step and event.get("event") != "done"]

    def done(self) -> DoneEvent | None:
        """Return how the run has ended; None: it has not, or its log cannot say."""
        for event in reversed(self.events()):
            if event.get("event") == "done" and self.model.exists():
                with contextlib.suppress(ValueError):
                    return replace(cast(DoneEvent, from_json(event)), model=str(self.model))
        return None

    def remove_previous(self) -> None:
        """Remove the checkpoint before the last one, which a finished run has no use for; if that fails, warn."""
        try:
            self.previous.unlink(missing_ok=True)
        except OSError as error:
            self.warn(f"cannot remove {quote(self.previous)}: {error.strerror}")


def _event(line: bytes) -> dict[str, Any]:
    """Return the event of a line. Raise ValueError for anything else."""
    event = parse_object(line)
    for name, kind, optional in _CHECKED_KEYS:
        if name in event:
            stored_value(event, name, kind, optional=optional)
    return event


def _toml(value: Any) -> str:
    """Return a number, a string, or a list or table of them as TOML: as JSON, without the escapes that TOML lacks.

    Raises:
        UnicodeEncodeError: a string holds lone surrogates.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    text.encode("utf-8")
    return text

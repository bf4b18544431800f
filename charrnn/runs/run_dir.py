"""A run's folder: what is in it, and how it stays whole.

model.safetensors     the best model so far
last.safetensors      all that resuming needs, from the last save
previous.safetensors  the same, from the save before
metrics.jsonl         every event
config.toml           the plan, and where the corpus lies
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.train import TrainConfig
from charrnn.errors import CharRNNError, CheckpointError, OutputError, UsageError
from charrnn.files import Lock, atomic_write, prune_temporaries, quote

CONFIG = "config.toml"


_FILES = ("model.safetensors", "last.safetensors", "previous.safetensors", "metrics.jsonl", CONFIG)


_NOT_STORED = {"out", "resume", "auto_resume", "overwrite", "dry_run", "json"}  # of the moment


_NOT_STORED |= {"time", "epochs"}  # the steps that they came to are


class RunDir:
    """One run on disk.

    Args:
        folder: where. Nothing is touched before `begin` or `resume`.
        warn: told, in a sentence, what went wrong and was got over.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda message: None) -> None:
        self.folder, self.warn = folder, warn
        self.model, self.last, self.previous, self.metrics, self.config = (folder / name for name in _FILES)
        self._keep_previous = False  # it is better than `last`, which the next save replaces

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run, or part of one; a plan alone is what is left of a start that failed."""
        return any(path.exists() for path in (self.model, self.last, self.previous, self.metrics))

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """The right to write here, for one program at a time; what killed writers have left is removed.

        Raises:
            CharRNNError: another program has it. OutputError: the folder cannot be made or written.
        """
        made = not self.folder.exists()
        lock = self.folder / ".lock"
        try:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot make the folder '{self.folder}': {error.strerror}") from None
            with Lock(lock):
                prune_temporaries(self.folder)
                yield
        finally:
            if made:
                with contextlib.suppress(OSError, CharRNNError), Lock(lock):
                    if os.listdir(self.folder) == [lock.name]:  # nothing has come of it
                        lock.unlink()
                        self.folder.rmdir()

    def check_overwrite(self, config: TrainConfig) -> None:
        """Raises UsageError if there is a run and `config` does not say what is to become of it."""
        if self.exists and not (config.resume or config.auto_resume or config.overwrite):
            raise UsageError(
                f"'{self.folder}' holds a run already: --resume goes on with it, --overwrite replaces it,"
                " --out names another folder"
            )

    def clear(self) -> None:
        """Remove an earlier run's files."""
        for name in _FILES:
            with contextlib.suppress(FileNotFoundError):
                (self.folder / name).unlink()

    def newest(self) -> Checkpoint | None:
        """The resumable checkpoint with the highest step that is whole; None where there is none."""
        found: dict[Path, Checkpoint] = {}
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                state = checkpoint.read(path, training=True)
                if "progress" not in state.info:
                    raise CheckpointError(f"{quote(path)} cannot be resumed from: it holds a model alone")
                found[path] = state
            except CheckpointError as error:
                self.warn(f"{error}; looking for an older one")
        newest = max(found, key=lambda path: int(found[path].info["step"]), default=None)
        self._keep_previous = newest == self.previous
        return found[newest] if newest is not None else None

    def save_last(self, state: Checkpoint) -> None:
        """Write what resuming needs; the file before it stays as `previous`.

        That one is replaced only when the new file has been written and read again, and never by a
        file that is worse.

        Raises:
            OutputError: it cannot be written. NonFiniteError: a number in it is not finite.
        """

        def keep_previous() -> None:
            try:
                if not self._keep_previous:
                    os.replace(self.last, self.previous)
            except FileNotFoundError:
                pass
            except OSError as error:
                self.warn(f"cannot keep '{self.last}' as the previous checkpoint: {error.strerror}")

        checkpoint.write(self.last, state, before_replace=keep_previous)
        self._keep_previous = False

    def save_model(self, model: Checkpoint) -> None:
        """Write the best model so far. Raises as `save_last`."""
        checkpoint.write(self.model, model)

    def save_config(self, config: TrainConfig) -> None:
        """Write the plan as TOML that `--config` and `--resume` read. Raises OutputError."""
        lines = ["# The plan of this run: what `charrnn train --config` needs to repeat it."]
        for each in fields(config):
            value = getattr(config, each.name)
            if value is not None and each.name not in _NOT_STORED:
                try:
                    lines.append(f"{each.name} = {_toml(value)}")
                except UnicodeEncodeError:
                    self.warn(f"{quote(self.config)} cannot hold a name that is no UTF-8; --resume will need it again")
        atomic_write(self.config, "\n".join([*lines, ""]).encode("utf-8"))

    def log(self, event: Mapping[str, Any]) -> None:
        """Append an event to `metrics.jsonl`; a full disk is told, not fatal."""
        try:
            with self.metrics.open("ab") as stream:
                stream.write(json.dumps(event, allow_nan=False).encode("utf-8") + b"\n")
        except OSError as error:
            self.warn(f"cannot write '{self.metrics}': {error.strerror}")

    def events(self) -> list[dict[str, Any]]:
        """What `metrics.jsonl` holds; a last line that is not whole is left out."""
        found = []
        with contextlib.suppress(FileNotFoundError):
            for line in self.metrics.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict):
                        found.append(event)
        return found

    def truncate_metrics(self, step: int) -> float:
        """Drop what was logged after a step, which will come again; returns the seconds spent till then."""
        kept = [event for event in self.events() if event.get("step", 0) <= step and event.get("event") != "done"]
        lines = [json.dumps(event, allow_nan=False).encode("utf-8") + b"\n" for event in kept]
        atomic_write(self.metrics, b"".join(lines))
        return max((float(event.get("seconds", 0.0)) for event in kept), default=0.0)


def _toml(value: Any) -> str:
    """A number, a string or a list of them as TOML: JSON, where characters beyond the BMP and DEL
    are written otherwise. Raises UnicodeEncodeError for what is no Unicode."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    text.encode("utf-8")
    return text

"""The folder of a run of several processes: process 0 alone reads and writes it, and tells the others."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.train import TrainConfig
from charrnn.errors import CharRNNError, OutputError
from charrnn.runs.events import DoneEvent
from charrnn.runs.run_dir import RunDir
from charrnn.training.distributed import World

LOCK_SECONDS = 15.0
"""Seconds to wait for the lock of processes that are about to end, as their launcher has."""


def open_run(folder: Path, warn: Callable[[str], None], world: World) -> RunDir:
    """Return the folder of a run. No file is touched."""
    return RunDir(folder, warn) if world.size == 1 else SharedRunDir(folder, warn, world)


class SharedRunDir(RunDir):
    """See `RunDir`: every method does the same here, in process 0, and gives or raises it in all."""

    def __init__(self, folder: Path, warn: Callable[[str], None], world: World) -> None:
        super().__init__(folder, warn)
        self.world = world

    @property
    def exists(self) -> bool:
        """See `RunDir`."""
        return self.world.first(lambda: RunDir.exists.fget(self))  # type: ignore[attr-defined,no-any-return]

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """See `RunDir`."""
        with contextlib.ExitStack() as stack:
            self.world.first(lambda: self._enter(stack))
            yield

    def _enter(self, stack: contextlib.ExitStack) -> None:
        end = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                return stack.enter_context(super().lock())
            except OutputError:
                raise
            except CharRNNError:  # another process has it
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def check_overwrite(self, config: TrainConfig) -> None:
        """See `RunDir`."""
        self.world.first(lambda: super(SharedRunDir, self).check_overwrite(config))

    def clear(self) -> None:
        """See `RunDir`."""
        self.world.first(super().clear)

    def newest(self, check: Callable[[Checkpoint], None] = lambda state: None) -> Checkpoint | None:
        """See `RunDir`."""
        return self.world.first(lambda: super(SharedRunDir, self).newest(check))

    def save_last(self, state: Checkpoint) -> None:
        """See `RunDir`."""
        self.world.first(lambda: super(SharedRunDir, self).save_last(state))

    def save_model(self, model: Checkpoint) -> None:
        """See `RunDir`."""
        self.world.first(lambda: super(SharedRunDir, self).save_model(model))

    def read_model(self) -> Checkpoint:
        """See `RunDir`."""
        return self.world.first(super().read_model)

    @property
    def resume_bytes(self) -> int:
        """See `RunDir`."""
        return self.world.first(lambda: self.last.stat().st_size)

    def save_config(self, config: TrainConfig) -> None:
        """See `RunDir`."""
        self.world.first(lambda: super(SharedRunDir, self).save_config(config))

    def log(self, event: Mapping[str, Any]) -> None:
        """See `RunDir`; the others are told nothing."""
        if self.world.rank == 0:
            super().log(event)

    def truncate_metrics(self, step: int) -> None:
        """See `RunDir`."""
        self.world.first(lambda: super(SharedRunDir, self).truncate_metrics(step))

    def seconds(self, step: int) -> float:
        """See `RunDir`."""
        return self.world.first(lambda: super(SharedRunDir, self).seconds(step))

    def done(self) -> DoneEvent | None:
        """See `RunDir`."""
        return self.world.first(super().done)

    def remove_previous(self) -> None:
        """See `RunDir`."""
        self.world.first(super().remove_previous)

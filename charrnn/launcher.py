"""What torchrun tells each process that it starts, by environment variables, and what it is told in the end."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a process needs in order to meet the others: set by torchrun, and by other launchers for PyTorch."""

_ERROR_FILE, _RUN = "TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_RUN_ID"

WATCH_SECONDS = 0.5
"""Seconds between two looks at torchrun's process."""


def is_launched() -> bool:
    """Return whether this process was started as one of several that train together."""
    return all(os.environ.get(name) for name in VARIABLES)


def launched_rank() -> int:
    """Return which of the processes this is; 0 where it is not one of several."""
    rank = os.environ.get("RANK", "")
    return int(rank) if is_launched() and rank.isdecimal() else 0


def own_openmp_threads() -> bool:
    """Return whether $OMP_NUM_THREADS may be the user's: to several processes torchrun gives 1 of its own accord."""
    several = os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" and _RUN in os.environ
    return not (several and os.environ.get("OMP_NUM_THREADS") == "1")


def uses_launcher_store() -> bool:
    """Return whether torchrun has the store by which processes meet, and keeps it when it restarts them."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def record_failure(message: str) -> None:
    """Leave the sentence that torchrun's summary shows for this process, where it wants one; as the decorator `record`
    of `torch.distributed.elastic` does, whose file this is, but without a traceback."""
    if not (path := os.environ.get(_ERROR_FILE)):
        return
    more = {"py_callstack": message, "timestamp": str(int(time.time()))}
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"message": {"message": message, "extraInfo": more}}, file)
    except OSError:
        return  # the summary is without it


@contextlib.contextmanager
def calm_end() -> Iterator[None]:
    """Once this block is over the process ends by itself: torchrun, which ends all where one has failed, does not hurry
    it, so that its exit code is its own."""
    signals = [signal.SIGTERM, signal.SIGINT] if is_launched() else []
    for each in signals:
        signal.signal(each, lambda number, frame: None)
    try:
        yield
    finally:
        for each in signals:
            signal.signal(each, signal.SIG_IGN)


def follow_launcher() -> None:
    """From now on end this process soon after torchrun's, so that a new start finds the run's folder free: what is
    killed cannot end what it has started."""
    if _RUN not in os.environ or not hasattr(os, "getppid"):
        return
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="launcher watch", daemon=True).start()

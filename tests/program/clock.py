"""A clock for the program that counts how often it is asked, so that a plan by time is the same on every machine."""

from pathlib import Path

from tests.program.program import environment

SITE = """
import time

asked, now = 0, 0.0


def monotonic():
    global asked, now
    asked += 1
    now += {second} if asked < {slower_after} else {slower} * {second}
    return now


time.monotonic = monotonic
"""


def counting_clock(folder: Path, *, second: float, slower_after: int = 1 << 60, slower: float = 1.0) -> dict[str, str]:
    """Return the variables of a process whose clock advances each time that it is asked.

    Args:
        folder: to write in.
        second: by how many seconds. slower_after: how often it is asked before it advances `slower` times as much, as
            if the machine had become slow.
    """
    folder.mkdir()
    site = SITE.format(second=second, slower_after=slower_after, slower=slower)
    (folder / "sitecustomize.py").write_text(site)
    return {"PYTHONPATH": f"{folder}:{environment()['PYTHONPATH']}"}

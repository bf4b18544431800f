"""A separator's length costs no more than its length."""

import resource
from pathlib import Path

import pytest

from tests.program.conftest import TINY
from tests.program.program import charrnn


def cpu_seconds(*arguments: str | Path) -> float:
    """The CPU time of a run of the program, which must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert charrnn(*arguments).code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.serial
def test_a_long_separator(record_run: Path, tmp_path: Path) -> None:
    """2.6: the automaton that finds it took the cube of its length to make: 2 seconds of each `sample` for 256."""
    separator = "".join(map(chr, range(0x100, 0x200)))
    (tmp_path / "text.txt").write_text(separator.join(["one", "two", "three", "four"] * 40), encoding="utf-8")
    words: list[str | Path] = ["train", tmp_path / "text.txt", "--separator", separator, "-o", tmp_path / "run", *TINY]
    assert charrnn(*words).code == 0
    with_newlines, with_long = (
        min(cpu_seconds("sample", "-m", run, "--length", "9", "--seed", "1") for _ in range(2))
        for run in (record_run, tmp_path / "run")
    )
    assert with_long < with_newlines + 0.5

"""Run the program of this checkout, or of the one that CHARRNN_TREE names, as a process."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.tiny import Ran

TREE = os.environ.get("CHARRNN_TREE")
"""The checkout whose program is run; None: this one. Read before the tests take CHARRNN_* out of the environment."""

OLD_NAMES: dict[str, list[str]] = {
    "--fields": ["--metric"],
    "-f": ["--metric"],
    "-m": ["--model"],
    "--counts": ["--weights"],
    "--val": ["--val-fraction"],
    "-o": ["--out"],
    "--adapt=weights": ["--dynamic"],
}
"""Options of 66ff440 that have another name now."""


def charrnn(
    *arguments: str | Path,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    python: tuple[str, ...] = (),
    timeout: float = 120.0,
) -> Ran:
    """Run `charrnn` to its end.

    Args:
        arguments: the words of the command line, with today's names.
        env: variables besides those of this process. python: options of the interpreter, such as -O.
    """
    done = subprocess.run(
        command(*arguments, python=python),
        input=stdin, capture_output=True, cwd=cwd, env=environment(env), timeout=timeout, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


_HERE = """
import sys
sys.meta_path[:] = [each for each in sys.meta_path if not getattr(each, "__module__", "").startswith("_editable")]
"""
"""Begins each process: PYTHONPATH says what is run, which an editable installation would overrule."""

_START = (
    _HERE
    + """
import runpy
runpy.run_module("charrnn", run_name="__main__", alter_sys=True)
"""
)

_EACH_LINE = (
    _HERE
    + """
import json, os
from charrnn.__main__ import main
for line in json.loads(sys.argv[1]):
    sys.stdin = open(os.devnull)
    code = main(line)
    for stream in (sys.stdout, sys.stderr):
        stream.buffer.write(b"\\n\\0%d\\n" % code)
        stream.flush()
"""
)


def charrnn_each(*lines: Sequence[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None) -> list[Ran]:
    """Run command lines one after another in one process, which takes less time than a process for each; without
    stdin."""
    words = [command(*line)[3:] for line in lines]
    done = subprocess.run(
        [sys.executable, "-c", _EACH_LINE, json.dumps(words)],
        capture_output=True, cwd=cwd, env=environment(env), timeout=120, check=True,
    )  # fmt: skip
    out, err = (re.split(rb"\n\0(\d+)\n", data) for data in (done.stdout, done.stderr))
    assert len(out) == len(err) == 2 * len(lines) + 1
    return [Ran(int(code), *data) for code, *data in zip(out[1::2], out[:-1:2], err[:-1:2], strict=True)]


def command(*arguments: str | Path, python: tuple[str, ...] = ()) -> list[str]:
    """Return the words that start the program, for tests that need the process itself."""
    words = [str(argument) for argument in arguments]
    if TREE is not None:
        words = [old for word in words for old in OLD_NAMES.get(word, [word])]
    return [sys.executable, *python, "-c", _START, *words]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variables that the process gets: those of this one, without the user's settings of charrnn."""
    tree = Path(__file__).parents[2] if TREE is None else Path(TREE).absolute()
    own = {name: value for name, value in os.environ.items() if not name.startswith("CHARRNN_")}
    return {**own, "PYTHONPATH": str(tree), "OPENBLAS_NUM_THREADS": "1", **(more or {})}

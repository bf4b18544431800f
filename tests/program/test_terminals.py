"""Terminals of odd sizes: of no columns, as a serial line or a container gives, and of ten."""

import contextlib
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program.conftest import TINY
from tests.program.program import command, environment

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

import fcntl
import termios

pytestmark = pytest.mark.serial


def on_terminal(columns: int, *words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What the program draws on a terminal of so many columns, without escape sequences and the ends of lines."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60 if columns else 0, columns, 0, 0))
    environ = {"TERM": "xterm-256color", **environment(env)}
    environ = {
        name: value for name, value in environ.items() if name not in ("COLUMNS", "LINES") or name in (env or {})
    }
    with subprocess.Popen(command(*words), stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environ) as process:
        os.close(slave)
        screen = b""
        with contextlib.suppress(OSError):  # Linux's way of telling that the other end is closed
            while data := os.read(master, 1 << 16):
                screen += data
    os.close(master)
    assert process.returncode == 0, screen
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r\n|│ ?| ?│", "", screen.decode())


@pytest.mark.parametrize(("columns", "variables"), [(0, {}), (10, {}), (100, {"COLUMNS": "0"})], ids=str)
def test_figures_are_shown(columns: int, variables: dict[str, str], stream_run: Path, tmp_path: Path) -> None:
    """CL-05: bars, frames and curves go where there is no room; figures stay."""
    text = stream_run.parent / "text.txt"
    table = on_terminal(columns, "eval", "--model", stream_run, text, cwd=tmp_path, env=variables)
    assert re.search(r"perplexity.*\d+\.\d{4}", table)
    assert re.search(r"tokens.*\d\d,\d{3}", table)
    training = on_terminal(columns, "train", text, "--out", "run", *TINY, cwd=tmp_path, env=variables)
    assert "…" not in training
    assert re.search(r"step \d+ of", training)
    assert re.search(r"(best|validation) +(perplexity +)?\d+\.\d{3}", training)
    assert re.search(r"bits per ?char *\d+\.\d{4}", training)

"""`charrnn sample` where its reader goes, its disk is full, its terminal could be steered, or its input is huge."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.program.conftest import TINY
from tests.program.program import charrnn, command, environment


@pytest.mark.parametrize("volume", [("-n", "0"), ("-n", "30000"), ("-n", "20000", "--rank")], ids=" ".join)
def test_a_reader_that_has_enough(volume: tuple[str, ...], record_run: Path) -> None:
    """CL-06: both processes end at once. (What is written is more than a pipe holds.)"""
    words = command("sample", "-m", record_run, "--seed", "1", *volume)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline()
        run.stdout.close()
        begin = time.monotonic()
        assert (run.stderr.read(), run.wait(timeout=60)) == (b"", 141)
        assert time.monotonic() - begin < 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("volume", [("-n", "0"), ("-n", "20", "--rank"), ("-f", "nats,text")], ids=" ".join)
def test_a_full_disk(volume: tuple[str, ...], record_run: Path) -> None:
    """CL-07."""
    words = command("sample", "-m", record_run, "--seed", "1", *volume)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, b"Error: cannot write to stdout: No space left on device\n")


@pytest.fixture(scope="module")
def byte_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows every byte, control characters among them."""
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "text").write_bytes(np.random.default_rng(1).bytes(5000))
    assert charrnn("train", "text", "--tokenizer", "byte", "--out", "run", *TINY, cwd=folder).code == 0
    return folder / "run"


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
@pytest.mark.parametrize(
    "form",
    [("-n", "2", "--rank"), ("-f", "text,prompt"), ("--echo",), ("--echo", "--json")],
    ids=" ".join,
)
def test_no_form_of_output_steers_a_terminal(form: tuple[str, ...], byte_run: Path) -> None:
    """SE-01: not by what the model writes, and not by the prompt."""
    import pty
    import tty

    master, slave = pty.openpty()
    tty.setraw(slave)  # what is read is what was written
    hostile = b"\x1b]0;pwn\x07\x9b31m\r\x08\x7f" + "\x9bm\u202e".encode()
    words = command("sample", "-m", byte_run, "--temp", "9", "--seed", "1", "-p", os.fsdecode(hostile), *form)
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment()) as run:
        os.close(slave)
        screen = bytearray()
        with contextlib.suppress(OSError):  # Linux's way of telling that the other end is closed
            while data := os.read(master, 1 << 16):
                screen += data
    os.close(master)
    assert run.returncode == 0
    text = screen.decode()
    assert len(text) > 500
    assert not re.findall("\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert re.search(r"\\x0|\\u000", text)


def test_ten_thousand_stop_strings(stream_run: Path) -> None:
    """As many as a command line holds: in the time of a few."""
    words = [f"#{number:04}#" for number in range(10_000)]
    line = ("sample", "-m", stream_run, "--seed", "1", "--temp", "0.5")
    plain = charrnn(*line).out.decode()
    stop = plain[100:110]
    many = [each for word in (*words, stop) for each in ("--stop", word)]
    begin = time.monotonic()
    assert charrnn(*line, *many).out.decode() == plain[: plain.index(stop)]
    assert time.monotonic() - begin < 20


@pytest.mark.slow
def test_ten_megabytes_of_prompt(stream_run: Path, tmp_path: Path) -> None:
    """IN-14: every token waits for the one before: a minute at most with a small model; one that cannot be used is a
    sentence."""
    (tmp_path / "prompt").write_bytes((stream_run.parent / "text.txt").read_bytes() * 850)
    (tmp_path / "unknown").write_bytes("日本".encode() * 1_700_000)
    line = ("sample", "-m", stream_run, "--seed", "1", "-l", "20", "--prompt-file")
    done = charrnn(*line, tmp_path / "prompt", "--unknown", "skip")
    assert (done.code, len(done.out.decode()), done.err) == (0, 20, b"")
    refused = charrnn(*line, tmp_path / "unknown")
    assert (refused.code, refused.error.count("U+")) == (4, 2)

"""Models made in a moment, that tests can reason about, and the program run on them."""

import contextlib
import functools
import hashlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.engines.base import InferenceEngine
from charrnn.engines.select import ensemble_engine
from charrnn.network.architecture import Architecture
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.sentencepiece import SentencePieceTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer

COMMAND = (sys.executable, "-m", "charrnn")

TEXT = "\n\r\t abcdefghijklmnopqrstuvwxyz.,é\u2028日😀"


def char(text: str = TEXT) -> CharTokenizer:
    """The tokenizer that knows the characters of `text`."""
    return CharTokenizer(np.unique(np.array([ord(each) for each in text], np.uint32)))


@functools.cache
def pieces() -> SentencePieceTokenizer:
    """A sentencepiece model of a few words."""
    text = "the cat sat on the mat and the dog ran at the cat that sat there then\n" * 3
    return SentencePieceTokenizer.train([text], None, "unigram")


def drawn(
    tokenizer: Tokenizer,
    cell: str = "gru",
    hidden: tuple[int, ...] = (12,),
    seed: int = 1,
    *,
    separator: bytes = b"",
    clusters: bytes = b"",
) -> Checkpoint:
    """Weights at random: every token depends on those before it. Small enough that rounding errors decay."""
    architecture = Architecture(cell, tokenizer.size, hidden, 6, clusters=clusters)
    rng = np.random.default_rng(seed)
    weights = {name: 0.4 * rng.standard_normal(shape, np.float32) for name, shape in architecture.shapes().items()}
    return Checkpoint(architecture, tokenizer, weights, {"step": 3}, separator=separator)


def unigram(tokenizer: Tokenizer, logits: Mapping[bytes, float] | None = None) -> Checkpoint:
    """Every token has the same probability everywhere: a logit of 0, or what `logits` gives it."""
    architecture = Architecture("rnn", tokenizer.size, (1,), 1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
    for char, logit in (logits or {}).items():
        weights["head.bias"][tokenizer.encode(char)] = logit
    return Checkpoint(architecture, tokenizer, weights, {"step": 3})


def reciting(tokenizer: Tokenizer, text: bytes, strength: float = 60.0) -> Checkpoint:
    """Writes `text` over and over, whatever it reads: its state is a shift register."""
    ids = tokenizer.encode(text)
    H = len(ids)
    architecture = Architecture("rnn", tokenizer.size, (H,), 1, "relu")
    weights = {name: np.zeros(shape, np.float32) for name, shape in architecture.shapes().items()}
    weights["embedding"][architecture.bos_id] = 1
    weights["layers.0.weight_ih"][0] = 1
    weights["layers.0.weight_hh"] = np.roll(np.eye(H, dtype=np.float32), 1, axis=0)
    weights["head.weight"][ids, np.arange(H)] = strength
    return Checkpoint(architecture, tokenizer, weights, {"step": 3})


def engine_of(model: Checkpoint, engine: str = "auto", precision: str = "auto") -> InferenceEngine:
    """What runs the model here."""
    return ensemble_engine([(model.architecture, model.weights)], engine=engine, precision=precision)


def saved(path: Path, model: Checkpoint) -> str:
    """The path of the model, written there."""
    path.write_bytes(checkpoint.to_bytes(model))
    return str(path)


def poisoned(path: Path, model: Checkpoint, value: float) -> str:
    """As `saved`, with one weight of the head, which writers would refuse, and a digest that holds."""
    mark = np.float32(1.2345678e-5)
    model.weights["head.weight"][0, 0] = mark
    data = checkpoint.to_bytes(model).replace(mark.tobytes(), np.float32(value).tobytes())
    digest = checkpoint_digest(data)
    data = data.replace(digest, b"0" * 64)
    path.write_bytes(data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode()))
    return str(path)


def checkpoint_digest(data: bytes) -> bytes:
    """The hexadecimal digits of the SHA-256 that a checkpoint's header gives."""
    return data.split(b'\\"sha256\\":\\"')[1][:64]


@dataclass(frozen=True)
class Ran:
    """What came of a command."""

    code: int
    out: bytes
    err: bytes

    @property
    def error(self) -> str:
        """The one line on stderr that an error is, with nothing on stdout."""
        assert self.out == b""
        return self.complaint

    @property
    def complaint(self) -> str:
        """As `error`, where stdout may have what came before."""
        lines = self.err.decode().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("Error: ")
        return lines[0]


class Program:
    """The program, run in this process. Without `stdin` it is at its end."""

    def __init__(self, capture: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capture, self.monkeypatch = capture, monkeypatch

    def __call__(self, *arguments: str | Path, stdin: bytes | io.TextIOWrapper = b"") -> Ran:
        stream = io.TextIOWrapper(io.BytesIO(stdin)) if isinstance(stdin, bytes) else stdin
        self.monkeypatch.setattr(sys, "stdin", stream)
        code = main([str(argument) for argument in arguments])
        return Ran(code, *self.capture.readouterr())


def start(*arguments: str, **more: Any) -> "subprocess.Popen[bytes]":
    """The program, started in a process of its own, its streams unbuffered pipes by default."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([*COMMAND, *arguments], bufsize=0, **{**pipes, **more})


def shell(script: str, *arguments: str) -> Ran:
    """A bash script in which `charrnn` is the program and "$1", "$2", ... the arguments."""
    function = f'charrnn() {{ {" ".join(COMMAND)} "$@"; }}\n'
    done = subprocess.run(["bash", "-c", function + script, "bash", *arguments], capture_output=True, check=False)  # noqa: S607
    return Ran(done.returncode, done.stdout, done.stderr)


def on_terminal(*arguments: str, stdin: bytes = b"") -> Ran:
    """What the program sends to a terminal that is its stdout, to the byte."""
    import pty
    import tty

    master, slave = pty.openpty()
    tty.setraw(slave)
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with tempfile.TemporaryFile() as text:
        text.write(stdin)
        text.seek(0)
        process = start(*arguments, stdin=text, stdout=slave, env=environment)
    os.close(slave)
    with process:
        screen = bytearray()
        with contextlib.suppress(OSError):  # Linux's way of telling that the other end is closed
            while data := os.read(master, 1 << 16):
                screen += data
        os.close(master)
        assert process.stderr is not None
        stderr = process.stderr.read()
    return Ran(process.returncode, bytes(screen), stderr)


def interrupted(process: "subprocess.Popen[bytes]", seconds: float) -> Ran:
    """What is left of a program that gets SIGINT once it has begun to write, after some time."""
    assert process.stdout is not None
    begun = process.stdout.read(1)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return Ran(process.returncode, begun + out, err)

"""Corpora from everything they may come from, read as often as need be, and never held in memory if they are large."""

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint import format as checkpoint
from charrnn.corpus import documents as texts
from charrnn.corpus import reader as reading
from charrnn.corpus.documents import Document, FileDocument
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset import encode as encoding
from charrnn.dataset.prepare import prepare
from tests.tiny import COMMAND, Program, shell, start
from tests.trainings import arguments, corpus_of

TEXT = "Größe und Maß,\nnaïve 日本語 😀😀.\n".encode() * 12


def data_of(text: Document) -> bytes:
    return b"".join(text.chunks())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What is read at a time, and what is held in memory, is next to nothing; returns the cache folder."""
    monkeypatch.setattr(reading, "MAX_IN_MEMORY", 100)
    for module in (texts, reading):
        monkeypatch.setattr(module, "CHUNK_BYTES", 7)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "charrnn" / "ids"


# --- everything it may come from -----------------------------------------------------------------------


def test_the_same_corpus_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-18: plain, packed, from a pipe, from stdin; in memory or not."""
    Path("a.txt").write_bytes(TEXT)
    for ending, packer in (("gz", gzip), ("bz2", bz2), ("xz", lzma)):
        Path(f"a.txt.{ending}").write_bytes(packer.compress(TEXT))
    os.mkfifo("fifo")
    expected = corpus_of(TEXT)
    for limit in (0, 100, 10**6):
        for name in ("a.txt", "a.txt.gz", "a.txt.bz2", "a.txt.xz", "fifo", "-"):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT)))
            if name == "fifo":
                threading.Thread(target=Path("fifo").write_bytes, args=(TEXT,), daemon=True).start()
            corpus = read_corpus([name], limit=limit)
            assert corpus.sha256 == expected.sha256
            assert [data_of(text) for text in corpus.documents] == [TEXT]
            assert corpus.size == len(TEXT)
            assert corpus.stats.chars.tolist() == [len(TEXT.decode())]
            assert isinstance(next(corpus.documents), FileDocument) == (limit < len(TEXT) and name == "a.txt")


def test_structured_sources_larger_than_memory() -> None:
    """The same documents, whether they are held or not."""
    Path("d.jsonl").write_bytes(b"".join(json.dumps({"t": f"text {n}" * 9}).encode() + b"\n" for n in range(50)))
    found = [read_corpus(["d.jsonl"], TextFormat(jsonl="t"), limit=limit) for limit in (0, 100, 10**6)]
    assert len({corpus.sha256 for corpus in found}) == 1
    for corpus in found:
        assert [data_of(text).decode() for text in corpus.documents] == [f"text {n}" * 9 for n in range(50)]
        assert [text.name for text in corpus.documents][9] == "d.jsonl, line 10"
    whole = read_corpus(["d.jsonl"], TextFormat(jsonl="t", separator=b"\n"), limit=0)
    assert [data_of(text) for text in whole.documents] == ["".join(f"text {n}" * 9 + "\n" for n in range(50)).encode()]
    assert whole.stats.records.tolist() == [50]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("zcat a.gz | charrnn train - $more", 0),
        ("charrnn train - $more < a.txt", 0),
        ("charrnn train <(cat a.txt) $more", 0),
        ("charrnn train /dev/stdin $more < a.txt", 0),
        ("cat a.txt | charrnn train /dev/stdin $more", 0),
        ("charrnn train - $more <&-", 4),
    ],
)
def test_cl_18_pipes(script: str, code: int) -> None:
    """CL-18, IN-16: and nothing is left beside the run."""
    Path("a.txt").write_bytes(TEXT)
    Path("a.gz").write_bytes(gzip.compress(TEXT))
    more = " ".join(arguments("", "run", steps=2)[2:])
    done = shell(f"more='{more}'\n{script}")
    assert done.code == code, done.err
    if code:
        assert done.error == "Error: cannot read stdin: it is closed"
        assert not Path("run").exists()
    else:
        assert done.out == b"run/model.safetensors\n"
        left = {
            ".lock",
            "config.toml",
            "last.safetensors",
            "metrics.jsonl",
            "model.safetensors",
        }
        assert {path.name for path in Path("run").iterdir()} == left


LARGE = reading.MAX_IN_MEMORY + 1


@pytest.mark.parametrize(
    ("number", "size"),
    [(signal.SIGTERM, 1000), (signal.SIGINT, LARGE), (signal.SIGTERM, LARGE), (signal.SIGKILL, LARGE)],
    ids=["held in memory", "interrupted", "ended", "killed"],
)
def test_in_16_nothing_is_left_of_a_reading_that_ends(number: signal.Signals, size: int, tmp_path: Path) -> None:
    """IN-16: removed on any exit; the file has no name even while it is written to."""
    process = start("train", "-", "--out", "run", "--steps", "2")
    assert process.stdin is not None
    stdin = process.stdin
    data = memoryview(bytes(size + (1 << 21)) if size > 1000 else bytes(size))  # more than the pipe and a chunk hold
    while data:
        data = data[stdin.write(data) :]
    while not Path("run/.lock").exists():
        assert process.poll() is None
    if size > 1000 and sys.platform == "linux":
        opened = [os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()]
        assert [name for name in opened if name.startswith(str(tmp_path / "run")) and name.endswith("(deleted)")]
    assert os.listdir("run") == [".lock"]
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert not Path("run").exists() or os.listdir("run") == [".lock"]
    assert Path("run").exists() == (number == signal.SIGKILL)


# --- through the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (TEXT + b"\xff" + TEXT, f"byte {len(TEXT)} (line 25)"),
        (TEXT * 3 + b"\xe6\x97", f"byte {3 * len(TEXT)} (line 73)"),
        (b"a\n\xed\xa0\x80" + TEXT, "byte 2 (line 2)"),
        (TEXT + b"\xc0\x80", f"byte {len(TEXT)} (line 25)"),
    ],
)
@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_in_03_the_place_is_that_in_the_file(
    data: bytes, place: str, separator: bytes, small: Path, run: Program
) -> None:
    """IN-03: whatever part of the text it is in, however it is read; exit 4."""
    Path("a.txt").write_bytes(data)
    more = ["--records"] if separator else []
    done = run(*arguments("a.txt", "run", *more, steps=2))
    assert done.code == 4
    assert done.error.startswith(f"Error: 'a.txt': invalid UTF-8 at {place}; if it is Latin-1, iconv -f LATIN1 ")
    assert not Path("run").exists()
    done = run(*arguments("a.txt", "run", *more, "--errors", "replace", steps=2))
    assert done.code == 0
    assert b"invalid pieces of UTF-8 are read as U+FFFD" in done.err


def model_bytes(folder: str) -> bytes:
    return Path(folder, "model.safetensors").read_bytes()


@pytest.mark.parametrize("more", [[], ["--records"], ["--tokenizer", "byte"], ["--tokenizer", "sentencepiece"]])
def test_a_large_corpus_trains_the_same_model(
    more: list[str], run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IN-19: and the second run encodes nothing; a resumed one neither, nor does it need the files."""
    Path("a.txt").write_bytes(TEXT * 3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run(*arguments("a.txt", "one", *more, steps=6)).code == 0
    assert not Path("cache").exists()
    monkeypatch.setattr(reading, "MAX_IN_MEMORY", 100)
    assert run(*arguments("a.txt", "two", *more, steps=6)).code == 0
    assert len(list(Path("cache/charrnn/ids").iterdir())) == 1
    assert model_bytes("one") == model_bytes("two")
    calls: list[str] = []
    real = encoding.encode

    def encode(*args: Any, **more: Any) -> Any:
        calls.append("")
        return real(*args, **more)

    monkeypatch.setattr("charrnn.dataset.prepare.encode", encode)
    assert run(*arguments("a.txt", "three", *more, steps=6)).code == 0
    assert run("train", "--resume", "--out", "three", "--steps", "8").code == 0
    assert calls == []
    for path in sorted(Path("cache").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert run("train", "--resume", "--out", "two", "--steps", "8").code == 0
    assert calls == [""]
    assert model_bytes("two") == model_bytes("three")


def test_a_cache_that_cannot_be_written(small: Path, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """RS-04: a warning; the run goes on without, with ids in a file that has no name."""
    Path("a.txt").write_bytes(TEXT * 3)
    assert run(*arguments("a.txt", "one", steps=6)).code == 0
    Path("file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("file").absolute()))
    done = run(*arguments("a.txt", "two", steps=6))
    assert done.code == 0
    assert done.err.count(b"Warning: ") == 1
    place = Path("file/charrnn/ids").absolute()
    assert f"cannot keep the ids of the text in '{place}': Not a directory; $XDG_CACHE_HOME names" in done.err.decode()
    assert model_bytes("one") == model_bytes("two")
    assert sorted(os.listdir("one")) == sorted(os.listdir("two"))

    def fail(*args: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    done = run(*arguments("a.txt", "three", steps=6))
    assert done.code == 1
    assert done.err.endswith(b"Error: cannot keep the ids of the text in 'three': No space left on device\n")
    assert not Path("three").exists()


@pytest.mark.parametrize("limit", [reading.MAX_IN_MEMORY, 100], ids=["in memory", "in files"])
@pytest.mark.parametrize("change", ["cut", "longer", "replaced", "gone"])
def test_in_17_a_corpus_that_changes_while_training(
    change: str, limit: int, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IN-17: one warning; the run ends as it would have; resuming with the changed text is refused (CK-16)."""
    from charrnn.training.trainer import Trainer

    monkeypatch.setattr(reading, "MAX_IN_MEMORY", limit)
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
    path = Path("a.txt")
    path.write_bytes(TEXT)
    assert run(*arguments("a.txt", "straight", steps=9)).code == 0
    real = Trainer.run

    def run_after_change(self: Trainer) -> Any:
        match change:
            case "cut":
                path.write_bytes(TEXT[:40])
            case "longer":
                path.write_bytes(TEXT * 2)
            case "replaced":
                Path("b.txt").write_bytes(bytes(len(TEXT)))
                os.replace("b.txt", path)
            case "gone":
                path.unlink()
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", run_after_change)
        done = run(*arguments("a.txt", "run", steps=9))
    assert done.code == 0
    assert done.err.count(b"Warning: ") == 1
    assert b"'a.txt' has changed since it was read" in done.err
    assert model_bytes("run") == model_bytes("straight")
    again = run("train", "--resume", "--out", "run", "--steps", "12")
    assert again.code == (4 if change == "gone" else 2)


@pytest.mark.parametrize("change", ["cut", "longer", "replaced", "gone"])
def test_in_17_a_corpus_that_changes_between_two_readings(
    change: str, small: Path, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IN-17: before there is anything to go on with: exit 4, and neither a run is left nor ids."""
    path = Path("a.txt")
    path.write_bytes(TEXT)

    def prepare_after_change(*args: Any, **more: Any) -> Any:
        match change:
            case "cut":
                os.truncate(path, 200)
            case "longer":
                with path.open("ab") as file:
                    file.write(b"more")
            case "replaced":
                Path("b.txt").write_bytes(TEXT[::-1])
                os.replace("b.txt", path)
            case "gone":
                path.unlink()
        return prepare(*args, **more)

    monkeypatch.setattr("charrnn.training.ingest.prepare", prepare_after_change)
    done = run(*arguments("a.txt", "run", steps=2))
    assert done.code == 4
    if change == "gone":
        assert done.error == "Error: cannot read 'a.txt': No such file or directory"
    else:
        assert done.error == "Error: 'a.txt' has changed while it was being read; train on a copy of it"
    assert not Path("run").exists()
    assert not small.exists() or os.listdir(small) == []


def test_a_failed_start_leaves_nothing(run: Program) -> None:
    """What a start has made, it removes; what was there stays; and it can be tried again."""
    Path("short.txt").write_bytes(b"ab")
    Path("mine").mkdir()
    Path("mine/notes.txt").write_bytes(b"mine")
    for out in ("new", "mine"):
        assert run(*arguments("short.txt", out, steps=2)).code == 4
    assert not Path("new").exists()
    assert Path("mine/notes.txt").read_bytes() == b"mine"
    Path("short.txt").write_bytes(TEXT)
    assert run(*arguments("short.txt", "mine", steps=2)).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["byte", "char"])
def test_in_19_four_gigabytes(tokenizer: str, tmp_path: Path) -> None:
    """IN-19: a sparse file of 4 GB trains with less than 1 GB of memory."""
    free = os.statvfs(tmp_path)
    if free.f_bavail * free.f_frsize < 10e9:
        pytest.skip("no room for 10 GB")
    with Path("sparse").open("wb") as stream:
        stream.write(TEXT)
        stream.truncate(4 << 30)
    command = [*COMMAND, *arguments("sparse", "run", "--tokenizer", tokenizer, steps=3)]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "CHARRNN_EVAL_TOKENS": "2000"}
    process = subprocess.Popen([*command, "--val", "0.0001"], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # or it would be taken for running
    assert process.returncode == 0
    assert usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) < 1e9
    assert checkpoint.read("run/model.safetensors").info["step"] == 3

"""`--init-from`: the program goes on with a model on new text."""

import json
import shutil
from pathlib import Path

import pytest

from tests.program.conftest import TEXT
from tests.program.program import charrnn

TINY = ("--batch", "4", "--seq-len", "16", "--lr", "0.01", "--threads", "1", "--steps", "20", "--patience", "0")

NEW = "Über allen Gipfeln ist Ruh,\nin allen Wipfeln spürest du kaum einen Hauch.\n".encode() * 40


@pytest.fixture
def folder(stream_run: Path, tmp_path: Path) -> Path:
    """A folder with the run `old` among its runs, its text, and a new one."""
    shutil.copytree(stream_run, tmp_path / "checkpoints/old")
    (tmp_path / "old.txt").write_bytes(TEXT)
    (tmp_path / "new.txt").write_bytes(NEW)
    return tmp_path


def test_from_a_name_to_the_same_again(folder: Path) -> None:
    """The run's name is enough; what is printed says what was before; the run repeats itself, and its card names the
    model that it came from."""
    words = ("train", "new.txt", "--init-from", "old", "--mix", "old.txt", *TINY)
    planned = charrnn(*words, "--dry-run", cwd=folder)
    assert "from: old (SHA-256 " in planned.out.decode()
    assert not (folder / "checkpoints/new-lstm").exists()
    done = charrnn(*words, cwd=folder)
    assert (done.code, done.out) == (0, b"checkpoints/new-lstm/model.safetensors\n")
    lines = done.err.decode()
    assert "characters new to it, 20% of each batch from another text\nbefore: " in lines
    assert "\nstep 0  epoch 0.00  validation perplexity " in lines
    shown = {line[:16].rstrip(): line[16:].split()[0] for line in lines.splitlines() if "bits per char" in line}
    scored = charrnn("eval", "-m", "old", "-f", "bits_per_char", "-", stdin=_held_out(NEW), cwd=folder)
    assert float(shown["before"]) == pytest.approx(float(scored.out), abs=1e-4)
    scored = charrnn("eval", "-m", "new-lstm", "-f", "bits_per_char", "-", stdin=_held_out(TEXT), cwd=folder)
    assert float(shown["text mixed in"]) == pytest.approx(float(scored.out), abs=1e-4)
    command = planned.out.decode().splitlines()[-1].split()[1:]
    for again in (command, ["train", "--config", "checkpoints/new-lstm/config.toml"]):
        assert charrnn(*again, "--out", "again", "--overwrite", cwd=folder).code == 0
        assert (folder / "again/model.safetensors").read_bytes() == (
            folder / "checkpoints/new-lstm/model.safetensors"
        ).read_bytes()
    card = charrnn("show", "new-lstm", cwd=folder).out.decode()
    assert "\nfrom            old (SHA-256 " in card
    origin = json.loads(charrnn("show", "new-lstm", "--json", cwd=folder).out)["info"]["plan"]["origin"]
    assert (origin["name"], origin["mix_share"]) == ("old", 0.2)


def _held_out(text: bytes) -> bytes:
    """The last tenth of a text's characters."""
    chars = text.decode()
    return chars[int(len(chars) * 0.9) :].encode()


def test_a_text_that_has_grown(folder: Path) -> None:
    """It is refused under --resume; the message names what goes on with it."""
    done = charrnn("train", "new.txt", "--init-from", "old", "--out", "run", *TINY, cwd=folder)
    assert done.code == 0
    (folder / "new.txt").write_bytes(NEW + NEW)
    refused = charrnn("train", "--resume", "--steps", "30", "--out", "run", cwd=folder)
    assert refused.code == 2
    assert "the corpus is not the one this run began with" in refused.error
    assert "--init-from starts a new run from this one's model" in refused.error
    assert charrnn("train", "new.txt", "--init-from", "run", "--out", "next", *TINY, cwd=folder).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cell", "gru"], "--cell is lstm in the model of --init-from and gru in the command"),
        (["--hidden", "99"], "--hidden is 12 in the model of --init-from and 99 in the command"),
        (
            ["--out", "checkpoints/old", "--overwrite"],
            "would be lost before the new model is whole; --out names another",
        ),
        (["--resume", "--out", "checkpoints/old"], "--resume and --init-from cannot be used together"),
        (["--mix-share", "0.5"], "--mix-share needs --mix"),
        (["--mix", "gone.txt"], "no file, folder or known corpus is called 'gone.txt'"),
    ],
)
def test_what_is_refused(words: list[str], message: str, folder: Path) -> None:
    """In one line, before anything is written."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    refused = charrnn("train", "new.txt", "--init-from", "old", *words, cwd=folder)
    assert refused.code in (2, 4)
    assert message in refused.error
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_list_and_a_pipe(record_run: Path, tmp_path: Path) -> None:
    """A model of records goes on with records, from a pipe too."""
    shutil.copytree(record_run, tmp_path / "run")
    names = b"".join(b"name%d\n" % number for number in range(60))
    done = charrnn("train", "-", "--init-from", "run", "--out", "next", *TINY, stdin=names, cwd=tmp_path)
    assert done.code == 0
    sampled = charrnn("sample", "-m", "next", "-n", "3", "--seed", "1", cwd=tmp_path)
    assert sampled.out.count(b"\n") == 3

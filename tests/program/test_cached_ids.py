"""The ids of large corpora, kept in the user's cache folder, are never trusted; nor must they be kept."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.conftest import TEXT, TINY
from tests.program.program import charrnn, command, environment
from tests.tiny import Ran


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A text too large to be held in memory."""
    path = tmp_path_factory.mktemp("large") / "large.txt"
    path.write_bytes(TEXT * (1 + (64 << 20) // len(TEXT)))
    yield path
    path.unlink()


def words(text: Path, out: Path) -> list[str | Path]:
    return ["train", text, *TINY, "--tokenizer", "byte", "--val", "0.0001", "-o", out]


def train(text: Path, out: Path, cache: Path) -> Ran:
    return charrnn(*words(text, out), env={"XDG_CACHE_HOME": str(cache)})


def test_altered_ids(large: Path, tmp_path: Path) -> None:
    """2.5: cached ids were trusted: a model of another text, and not a word."""
    assert train(large, tmp_path / "one", tmp_path / "cache").code == 0
    [ids] = (tmp_path / "cache").glob("charrnn/ids/*/train")
    with ids.open("r+b") as file:
        file.write(b"e" * (32 << 20))
        file.seek(-(32 << 20), os.SEEK_END)
        file.write(b"e" * (32 << 20))
    ran = train(large, tmp_path / "two", tmp_path / "cache")
    assert ran.code == 0
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()
    assert ran.err.count(b"Warning: ") == 1
    assert f"the ids kept in '{ids.parent}' cannot be used and are made again: train is damaged" in ran.err.decode()
    assert ids.read_bytes()[:100] == TEXT[:100]
    shutil.rmtree(tmp_path / "cache")


@pytest.mark.slow  # tests/corpus/test_reader.py has it of a small text
def test_a_cache_that_cannot_be_written(large: Path, tmp_path: Path) -> None:
    """2.5: it was exit 1 where only the next run would have profited from it."""
    ran = train(large, tmp_path / "run", Path("/dev/null"))
    assert ran.code == 0
    assert b"Warning: cannot keep the ids of the text in '/dev/null/charrnn/ids': Not a directory" in ran.err


@pytest.mark.slow
def test_two_trainings_at_once_and_no_cache_any_more(large: Path, tmp_path: Path) -> None:
    """Both make the same model of the same text and keep its ids once; they read on when the cache is removed."""
    cache = tmp_path / "cache"
    more = environment({"XDG_CACHE_HOME": str(cache)})
    for removed in (False, True):
        outs = [tmp_path / f"{removed}-{number}" for number in range(2)]
        running = [
            subprocess.Popen(command(*words(large, out)), env=more, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for out in outs
        ]
        while removed and not all((out / "last.safetensors").exists() for out in outs):  # of step 0
            assert all(process.poll() is None for process in running)
            time.sleep(0.01)
        if removed:
            shutil.rmtree(cache)
        for process in running:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0
            assert b"Warning: " not in err
        assert len({(out / "model.safetensors").read_bytes() for out in outs}) == 1
        assert len(os.listdir(cache / "charrnn/ids")) == 1 if not removed else not cache.exists()

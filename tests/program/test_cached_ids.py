"""The ids of large corpora, kept in the user's cache folder, are never trusted; nor must they be kept."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program.conftest import TEXT, TINY
from tests.program.program import charrnn
from tests.tiny import Ran


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A text too large to be held in memory."""
    path = tmp_path_factory.mktemp("large") / "large.txt"
    path.write_bytes(TEXT * (1 + (64 << 20) // len(TEXT)))
    yield path
    path.unlink()


def train(text: Path, out: Path, cache: Path) -> Ran:
    options = ("--tokenizer", "byte", "--val", "0.0001", "-o", out)
    return charrnn("train", text, *TINY, *options, env={"XDG_CACHE_HOME": str(cache)})


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


def test_a_cache_that_cannot_be_written(large: Path, tmp_path: Path) -> None:
    """2.5: it was exit 1 where only the next run would have profited from it."""
    ran = train(large, tmp_path / "run", Path("/dev/null"))
    assert ran.code == 0
    assert b"Warning: cannot keep the ids of the text in '/dev/null/charrnn/ids': Not a directory" in ran.err

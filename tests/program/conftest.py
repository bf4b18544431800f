"""Models that the program trained itself, so that every version reads them. Tests that change one copy it first."""

from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tests.program.program import charrnn

TEXT = "\n".join(topics[topic] for topic in sorted(topics)[:12]).encode()[:12_000]
TINY = ("--hidden", "12", "--batch", "4", "--seq-len", "16", "--lr", "0.01", "--threads", "1", "--steps", "30")
"""Options of a training that takes a moment."""

RECORDS = b"\n".join(sorted(set(TEXT.split()))) + b"\n"


@pytest.fixture(scope="session")
def stream_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on a text; `text.txt` beside it. Not to be written to."""
    return _trained(tmp_path_factory.mktemp("stream"), TEXT)


@pytest.fixture(scope="session")
def record_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of records, one a line."""
    return _trained(tmp_path_factory.mktemp("records"), RECORDS, "--records")


def _trained(folder: Path, text: bytes, *options: str) -> Path:
    (folder / "text.txt").write_bytes(text)
    words: list[str | Path] = ["train", folder / "text.txt", "--out", folder / "run", *TINY, *options]
    assert charrnn(*words, cwd=folder).code == 0
    return folder / "run"

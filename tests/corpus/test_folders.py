"""The files of folders and patterns, each once."""

import glob
import os
from pathlib import Path

import pytest

from charrnn.corpus.folders import matching_files, visible_files


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("t/a.txt", "t/b/a.txt", "t/b/c/d.txt", "t/[x]/a.txt", "t/.h/a.txt", "t/.a.txt", "t/b/.i.txt", "u/a.txt")
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


PATTERNS = (
    "t/*.txt", "t/**/*.txt", "t/**", "**", "**/a.txt", "t/**/b/*", "*/**/c/**", "**/b/**/*.txt", "t/**/**/a.txt",
    "t/*/a.txt", "t/[[]x]/*", "./t/**/*.txt", "t//**//*.txt", "t/.h/**", "**/.*", "t/x**y", "none/**/*", "t/**.txt",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_as_python_has_them(pattern: str, tmp_path: Path) -> None:
    for each in (pattern, str(tmp_path / pattern)):
        expected = {os.path.normpath(path) for path in glob.glob(each, recursive=True) if os.path.isfile(path)}
        found = matching_files(each)
        assert sorted(map(os.path.normpath, found)) == sorted(expected)
        assert found == sorted(found)


def test_links() -> None:
    """A file that is no link is preferred; what is behind a link comes under its name."""
    os.symlink("b", "t/a-link")
    os.symlink("../../u", "t/b/out")
    os.symlink("b/c/d.txt", "t/first.txt")
    os.symlink("../u/none", "t/dangling")
    os.symlink("..", "u/up")
    files = ["t/[x]/a.txt", "t/a.txt", "t/b/a.txt", "t/b/c/d.txt", "t/b/out/a.txt"]
    assert visible_files("t") == (sorted([*files, "t/dangling"]), 2, 1)
    assert matching_files("t/**/*.txt") == sorted(files)
    assert matching_files("t/*/a.txt") == ["t/[x]/a.txt", "t/b/a.txt"]
    assert matching_files("u/**/*.txt")[:2] == ["u/a.txt", "u/up/t/[x]/a.txt"]

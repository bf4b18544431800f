"""Which file `--model NAME` means."""

import os
from pathlib import Path

import pytest

from charrnn.errors import CheckpointError
from charrnn.runs.locate import find_model


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs; `old` has been touched last but `new`'s model was saved last."""
    monkeypatch.delenv("CHARRNN_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    root = Path("checkpoints")
    for age, file in enumerate(
        ["started/last", "new/model", "shakespeare-lstm/model", "old/model", "old/last", "empty/metrics"]
    ):
        path = root / f"{file}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1e9 - age, 1e9 - age))
    (root / "README.md").touch()
    return root


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (None, "checkpoints/new/model"),
        ("old", "checkpoints/old/model"),
        ("started", "checkpoints/started/last"),
        ("checkpoints/old", "checkpoints/old/model"),
        ("checkpoints/old/", "checkpoints/old/model"),
        ("checkpoints/old/last.safetensors", "checkpoints/old/last"),
    ],
)
def test_names(name: str | None, expected: str, root: Path) -> None:
    assert find_model(name) == Path(f"{expected}.safetensors")
    assert find_model(name, root=root) == Path(f"{expected}.safetensors")


def test_a_folder_without_a_model_hides_no_run(root: Path) -> None:
    Path("old").mkdir()
    assert find_model("old") == root / "old/model.safetensors"


def test_any_other_file_is_returned_as_it_is(root: Path) -> None:
    assert find_model("/dev/zero") == Path("/dev/zero")
    Path("old").touch()
    assert find_model("old") == Path("old")


def test_the_environment_comes_before_the_newest(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_MODEL", "old")
    assert find_model(None) == root / "old/model.safetensors"
    assert find_model("new") == root / "new/model.safetensors"
    monkeypatch.setenv("CHARRNN_MODEL", "")
    assert find_model(None) == root / "new/model.safetensors"


def test_a_run_without_a_finished_model_is_better_than_none(root: Path) -> None:
    for path in root.glob("*/model.safetensors"):
        path.unlink()
    assert find_model(None) == root / "started/last.safetensors"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("shakespear-lstm", "; did you mean 'shakespeare-lstm'?"),
        ("zzzzz", "; there are 'new', 'old', 'shakespeare-lstm'"),
        ("empty", "; there are"),
        ("", "; there are"),
        ("x" * 5000, "; there are"),
        ("nul\0", "; there are"),
    ],
)
def test_an_unknown_name_gets_suggestions(name: str, advice: str, root: Path) -> None:
    with pytest.raises(CheckpointError, match=advice) as caught:
        find_model(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_no_runs_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHARRNN_MODEL", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="no model found; train one with `charrnn train`, or name one"):
        find_model(None)
    with pytest.raises(CheckpointError, match="train one with"):
        find_model("x")

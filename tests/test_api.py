"""`import charrnn`: models from Python."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.errors import CheckpointError, InputError, NonFiniteError, UsageError
from charrnn.scoring.score import Score
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> tiny.Program:
    """The program, in this process."""
    return tiny.Program(capfdbinary, monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run with a model."""
    path = tmp_path / "checkpoints" / "char" / "model.safetensors"
    path.parent.mkdir(parents=True)
    tiny.saved(path, tiny.drawn(tiny.char()))
    return path


@pytest.fixture
def model(path: Path) -> charrnn.Model:
    return charrnn.load(path)


def test_importing_the_package_imports_nothing() -> None:
    script = "import sys; old = {*sys.modules}; import charrnn; print(*({*sys.modules} - old))"
    found = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=True, text=True)
    assert not {"charrnn.api", "charrnn.model", "charrnn.config.train", "numpy", "torch", "typing"} & set(
        found.stdout.split()
    )


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'charrnn' has no attribute 'lode'"):
        _ = charrnn.lode
    with pytest.raises(ImportError):
        exec("from charrnn import lode")  # noqa: S102 (an import that type checkers refuse)


def test_what_a_model_is_called(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (path, str(path), path.parent, "char", None):
        model = charrnn.load(name)
        assert model.architecture == tiny.drawn(tiny.char()).architecture
        assert model.info == {"step": 3}
        assert model.tokenizer.name == "char"
    monkeypatch.setenv("CHARRNN_MODEL", "gone")
    with pytest.raises(CheckpointError, match="no model 'gone'"):
        charrnn.load()


@pytest.mark.parametrize(
    "controls",
    [
        {},
        {"temp": 0.5, "length": 30},
        {"temp": 0, "top_k": 3, "prompt": "né 日"},
        {"top_p": 0.5, "min_p": 0.1, "prompt": "the "},
        {"stop": "a", "prompt": "THÖ", "unknown": "nearest"},
        {"prompt": "the ÜÜ", "unknown": "skip"},
    ],
    ids=str,
)
def test_a_text_is_what_the_command_writes(controls: dict[str, Any], model: charrnn.Model, run: tiny.Program) -> None:
    """CL-26: also as one of several, and piece by piece."""
    flags = [word for name, value in controls.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    expected = run("sample", "-m", "char", "--seed", "4", *flags).out.decode()
    assert model.sample(**controls, seed=4) == expected
    assert model.samples(3, **controls, seed=4)[0] == expected
    pieces = list(model.stream(**controls, seed=4))
    assert "".join(pieces) == expected
    assert all(pieces)


def test_texts_are_new_each_time_without_a_seed(model: charrnn.Model) -> None:
    assert model.sample() != model.sample()
    assert len(set(model.samples(70, length=40))) == 70


def test_no_character_is_cut(tmp_path: Path) -> None:
    """CL-27, IN-15."""
    text = "日é😀".encode() + b"\xff" + "日".encode()
    path = tiny.saved(tmp_path / "m", tiny.reciting(ByteTokenizer(), text))
    model = charrnn.load(path)
    for length in range(1, 2 * len(text)):
        expected = (text * 2)[:length].decode("utf-8", "replace")
        assert model.sample(length=length, temp=0) == expected
        assert "".join(model.stream(length=length, temp=0)) == expected
    assert model.sample(b"\xff", length=3, temp=0) != ""
    assert model.sample(length=20, temp=0, stop="é") == "日"


def test_scores_are_those_of_the_command(model: charrnn.Model, run: tiny.Program) -> None:
    text = "the cat sat.\nné 日 Ü\n"
    found = model.score(text)
    assert model.score(text.encode()) == found
    printed = float(run("eval", "-m", "char", "--metric", "nats", stdin=text.encode()).out)
    assert found.nats == pytest.approx(printed, abs=1e-6)
    assert (found.tokens, found.oov, found.words) == (len(text), 1, 6)
    assert model.score("") == Score()
    assert model.score(b"a\xff", errors="replace").replaced == 1


def test_lines(model: charrnn.Model) -> None:
    """EV-08: a line is scored with its newline, whether it is given or not."""
    lines = ["the cat", "", "sat\n", "né"]
    found = model.score_many(lines)
    assert [each.tokens for each in found] == [8, 1, 4, 3]
    for line, each in zip(lines, found, strict=True):
        assert each.nats == pytest.approx(model.score(line.removesuffix("\n") + "\n").nats, rel=1e-6)
    assert model.score_many(iter([b"the cat"]))[0].nats == pytest.approx(found[0].nats, rel=1e-6)
    assert model.score_many([]) == []


def test_faults(model: charrnn.Model) -> None:
    """IN-13, NU-05: told at the call, also by `stream`."""
    calls: list[Callable[..., Any]] = [model.sample, model.stream, functools.partial(model.samples, 2)]
    for call in calls:
        with pytest.raises(UsageError, match="--temp must be"):
            call(temp=-1)
        with pytest.raises(UsageError, match="--length must be"):
            call(length=1.5)
        with pytest.raises(InputError, match="never seen U"):
            call("Ü")
        with pytest.raises(InputError, match="invalid UTF-8 at byte 1"):
            call("a\ud800")
    with pytest.raises(UsageError, match="--num must be"):
        model.samples(0)
    with pytest.raises(InputError, match="invalid UTF-8 at byte 1"):
        model.score(b"a\xff")
    with pytest.raises(UsageError, match="--errors must be"):
        model.score("a", errors="ignore")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    """NU-06."""
    broken = charrnn.load(tiny.poisoned(tmp_path / "m", tiny.drawn(tiny.char()), float("nan")))
    with pytest.raises(NonFiniteError):
        broken.sample()
    with pytest.raises(NonFiniteError):
        broken.score("abc")

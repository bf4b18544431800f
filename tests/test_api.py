"""`import charrnn`: models from Python."""

import functools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import charrnn
from charrnn.config.sample import SamplingParams, SelectionOptions
from charrnn.errors import CheckpointError, InputError, NonFiniteError, UsageError
from charrnn.generation.generate import joined
from charrnn.runs.events import DoneEvent, Event, PlanEvent, StepEvent
from charrnn.scoring.score import Score
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny


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
    assert next(model.samples(3, **controls, seed=4)) == expected
    pieces = list(model.stream(**controls, seed=4))
    assert "".join(pieces) == expected
    assert all(pieces)


def test_texts_are_new_each_time_without_a_seed(model: charrnn.Model) -> None:
    assert model.sample() != model.sample()
    assert len(set(model.samples(70, length=40))) == 70


def test_texts_come_as_they_are_wanted(model: charrnn.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be no end of them; of those that are to differ there may be fewer."""
    endless = model.samples(0, length=3, seed=1)
    assert [next(endless) for _ in range(5)] == list(model.samples(5, length=3, seed=1))
    unique = list(model.samples(9, length=1, seed=1, unique=True))
    assert unique == list(dict.fromkeys(model.samples(1000, length=1, seed=1)))[:9]
    monkeypatch.setattr("charrnn.generation.novelty.MAX_DRAWS", 20)
    assert 9 < len(list(model.samples(1000, length=1, seed=1, unique=True))) < 40


def test_keywords_are_those_of_the_command(model: charrnn.Model) -> None:
    """The typed keywords are the sampling parameters, each with its type; no method takes what it would not do."""
    declared, typed = get_type_hints(SamplingParams), get_type_hints(SelectionOptions)
    text, texts = declared.pop("stop"), typed.pop("stop")
    assert (text | str, declared.pop("exclude") | str) == (texts, typed.pop("exclude"))
    assert declared.pop("num") is int
    assert typed == declared
    unknown: dict[str, Any] = {"temperature": 1}
    calls: list[Callable[..., Any]] = [model.sample, model.stream, functools.partial(model.samples, 2)]
    for call, more in zip(calls, ("unique", "num", "prompt_file"), strict=True):
        for word in (more, *unknown):
            with pytest.raises(TypeError, match=rf"\(\) got an unexpected keyword argument '{word}'"):
                call(**{word: 1})


def test_which_texts_are_wanted(run: tiny.Program, tmp_path: Path) -> None:
    """As the command has them: the prompt in front, none of a list, the likeliest first."""
    path = tiny.saved(tmp_path / "records", tiny.drawn(tiny.char(), separator=b"\n"))
    model = charrnn.load(path)
    known = tmp_path / "known.txt"
    known.write_text("".join(f"{text}\n" for text in model.samples(20, "th", seed=3)))
    found = list(model.samples(20, "th", seed=3, exclude=str(known), unique=True, rank=True))
    assert len(set(found)) == 20
    assert all(text.startswith("th") for text in found)
    assert not set(found) & set(known.read_text().splitlines())
    nats = [score.nats for score in model.score_many((text[2:] for text in found), prompt="th")]
    assert nats == sorted(nats)
    words = ["-m", path, "-p", "th", "-n", "20", "--seed", "3", "--unique", "--rank"]
    assert run("sample", *words, "--exclude", known).out.decode() == "".join(f"{text}\n" for text in found)
    assert not any(text.startswith("th") for text in model.samples(5, "th", seed=3, echo=False))
    assert model.sample("th", seed=3, echo=True) == model.sample("th", seed=3)
    several = list(joined(model.generate(["th", b"ca"], SamplingParams(num=2, seed=3))))
    assert [(text.prompt, text.index, text.data[:2]) for text in several] == [
        (0, 0, b"th"), (0, 1, b"th"), (1, 0, b"ca"), (1, 1, b"ca"),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"^second: the model has never seen"):
        model.generate(["th", "Ü"], SamplingParams(), names=["first", "second"])
    assert list(model.generate([], SamplingParams())) == []


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
    printed = float(run("eval", "-m", "char", "-f", "nats", stdin=text.encode()).out)
    assert found.nats == pytest.approx(printed, abs=1e-6)
    assert (found.tokens, found.oov, found.words) == (len(text), 1, 6)
    assert model.score("") == Score()
    assert model.score(b"a\xff", errors="replace").replaced == 1


def test_lines(model: charrnn.Model) -> None:
    """EV-08: a line is scored with its newline, whether it is given or not."""
    lines = ["the cat", "", "sat\n", "né"]
    found = list(model.score_many(lines))
    assert [each.tokens for each in found] == [8, 1, 4, 3]
    for line, each in zip(lines, found, strict=True):
        assert each.nats == pytest.approx(model.score(line.removesuffix("\n") + "\n").nats, rel=1e-6)
    assert [each.nats for each in model.score_many(iter([b"the cat"]))] == pytest.approx([found[0].nats], rel=1e-6)
    assert list(model.score_many([])) == []


def test_faults(model: charrnn.Model) -> None:
    """IN-13, NU-05: raised by the call, also of `stream`."""
    calls: list[Callable[..., Any]] = [model.sample, model.stream, functools.partial(model.samples, 2)]
    for call in calls:
        with pytest.raises(UsageError, match=r"^temp must be"):
            call(temp=-1)
        with pytest.raises(UsageError, match=r"^length must be"):
            call(length=1.5)
        with pytest.raises(InputError, match="never seen U"):
            call("Ü")
        with pytest.raises(InputError, match="invalid UTF-8 at byte 1"):
            call("a\ud800")
    with pytest.raises(UsageError, match=r"^num must be"):
        model.samples(-1)
    with pytest.raises(UsageError, match=r"^novel needs a model that was trained on records; exclude FILE"):
        model.samples(1, novel=True)
    with pytest.raises(UsageError, match=r"^length 0 needs stop with this model"):
        model.samples(1, length=0)
    with pytest.raises(InputError, match="invalid UTF-8 at byte 1"):
        model.score(b"a\xff")
    with pytest.raises(UsageError, match=r"^errors must be one of strict, replace, not 'skip'"):
        model.score("a", errors="skip")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    """NU-06."""
    broken = charrnn.load(tiny.poisoned(tmp_path / "m", tiny.drawn(tiny.char()), float("nan")))
    with pytest.raises(NonFiniteError):
        broken.sample()
    with pytest.raises(NonFiniteError):
        broken.score("abc")


# Training

POEM = "The quick brown fox jumps over the lazy dog.\n" * 20
SMALL: dict[str, Any] = {"hidden": 8, "batch": 4, "seq_len": 8, "lr": 0.01, "steps": 6, "threads": 1}


@pytest.fixture
def poem() -> Path:
    """A text to train on."""
    path = Path("poem.txt")
    path.write_text(POEM)
    return path


def test_training(poem: Path, run: tiny.Program) -> None:
    """The model is what the command makes of the same options; callbacks see every step."""
    events: list[Event] = []
    model = charrnn.train(poem, out=Path("here"), callbacks=[events.append], **SMALL)
    assert [event.step for event in events if isinstance(event, StepEvent)] == [1, 2, 3, 4, 5, 6]
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].model == "here/model.safetensors"
    assert any(isinstance(event, PlanEvent) for event in events)
    assert len(model.sample(length=20)) == 20
    assert charrnn.load("here").score(POEM) == model.score(POEM)
    flags = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert run("train", str(poem), "--out", "there", *flags).code == 0
    assert Path("here/model.safetensors").read_bytes() == Path("there/model.safetensors").read_bytes()


def test_training_goes_on(poem: Path) -> None:
    charrnn.train([poem], out="run", **SMALL)
    model = charrnn.train(out="run", resume=True, steps=9)
    assert model.info["step"] == 9
    with pytest.raises(UsageError, match="holds a run already"):
        charrnn.train(poem, out="run", **SMALL)


def test_training_prints_nothing(poem: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a user should know is a warning of Python's."""

    def change(event: Event) -> None:
        if isinstance(event, PlanEvent):
            poem.write_text("other")

    with pytest.warns(UserWarning, match="'poem.txt' has changed since it was read"):
        charrnn.train(poem, out="run", callbacks=[change], **SMALL)
    assert capfd.readouterr() == ("", "")


def test_training_is_interrupted(poem: Path) -> None:
    """CL-08, in Python: the run is saved, and handlers are put back."""

    def interrupt(event: Event) -> None:
        if isinstance(event, StepEvent) and event.step == 4:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    again = r"stopped after step 4; go on with: charrnn\.train\(resume=True, out='run'\)"
    with pytest.raises(charrnn.Interrupted, match=again):
        charrnn.train(poem, out="run", callbacks=[interrupt], **SMALL)
    assert signal.getsignal(signal.SIGINT) is before
    assert charrnn.train(resume=True, out="run").info["step"] <= 6


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hiden", "; did you mean 'hidden'?"),
        ("vocabsize", "; did you mean 'vocab_size'?"),
        ("dry_run", ""),
        ("val_fraction", ": it is now val"),
    ],
)
def test_an_option_that_is_not_there(name: str, hint: str) -> None:
    with pytest.raises(TypeError) as raised:
        charrnn.train("poem.txt", **{name: 5})  # type: ignore[arg-type]
    assert str(raised.value) == f"train() got an unexpected keyword argument '{name}'{hint}"


def test_options_are_checked_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="lr must be a finite number, above 0"):
        charrnn.train("gone.txt", lr=-1)
    with pytest.raises(InputError, match=r"gone\.txt"):
        charrnn.train("gone.txt")


def test_public_names() -> None:
    assert dir(charrnn) == sorted(charrnn.__all__)
    for name in charrnn.__all__:
        assert getattr(charrnn, name) is not None
    assert issubclass(charrnn.Interrupted, charrnn.CharRNNError)
    assert (Path(charrnn.__file__).parent / "py.typed").exists()

"""Fine-tuning: what a run takes over from a model, what it adds, and what it says of it."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint import format as checkpoint
from charrnn.config.train import TrainConfig
from charrnn.corpus import reader
from charrnn.dataset.id_cache import IdCache
from charrnn.errors import CheckpointError, Interrupted, UsageError
from charrnn.model import Model
from charrnn.network.architecture import Architecture
from charrnn.runs.events import DoneEvent, EvalEvent, Event, PlanEvent, StepEvent
from charrnn.runs.run_dir import RunDir
from charrnn.tokenizers.char import CharTokenizer
from charrnn.training.autoconfig import complete_dropout, complete_fine_tuning
from charrnn.training.finetune import Origin, Parent
from charrnn.training.session import TrainingSession
from tests.trainings import SMALL, change, tensors

OLD = b"The quick brown fox jumps over the lazy dog.\n" * 20
NEW = "Zwölf Boxkämpfer jagen Viktor quer über den Sylter Deich.\n".encode() * 12
NAMES = b"".join(b"%s%s\n" % (a, b) for a in (b"an", b"bo", b"cy", b"du", b"ed") for b in (b"na", b"b", b"rus", b"ke"))

Train = Callable[..., DoneEvent]


@pytest.fixture(autouse=True)
def files(trained: Path) -> None:
    """Texts in the working directory, and the run `old`."""
    for name, text in (("old.txt", OLD), ("new.txt", NEW), ("names.txt", NAMES)):
        Path(name).write_bytes(text)
    shutil.copytree(trained, "old")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the old text."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "old.txt").write_bytes(OLD)
    train(str(folder / "old"), str(folder / "old.txt"), steps=40)
    return folder / "old"


def train(out: str, corpus: str = "new.txt", *, events: list[Event] | None = None, **options: Any) -> DoneEvent:
    """Train for some steps; what is passed counts as given."""
    given = {"out": out, "device": "cpu", "threads": 1, **({"corpus": (corpus,)} if corpus else {}), **options}
    if not {"resume", "init_from"} & options.keys():
        given = {"hidden": (8,), **given}
    if "resume" not in options:
        given = {**{name: SMALL[name] for name in ("batch", "seq_len", "lr")}, "steps": 12, **given}
    callbacks = [] if events is None else [events.append]
    return TrainingSession(TrainConfig(**given), given=frozenset(given), callbacks=callbacks).run()


# --- options -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": "gru"}, "cell is lstm in the model of init_from and gru in the command"),
        ({"hidden": (9,)}, "hidden is 8 in the model of init_from and 9 in the command"),
        ({"hidden": (8, 8)}, "hidden is 8 in the model of init_from and 8,8 in the command"),
        ({"layers": 2}, "layers is 1 in the model of init_from and 2 in the command"),
        ({"embedding": 5}, "embedding is 16 in the model of init_from and 5 in the command"),
        ({"tokenizer": "byte"}, "tokenizer is char in the model of init_from and byte in the command"),
        ({"vocab_size": 20}, "vocab_size is 30 in the model of init_from and 20 in the command"),
        ({"records": True}, "records is false in the model of init_from and true in the command"),
        ({"separator": "\n\n"}, r"separator is none in the model of init_from and \n\n in the command"),
        ({"counts": True}, "counts is of records, and the model of init_from has none"),
    ],
)
def test_options_that_contradict_the_model(options: dict[str, Any], message: str) -> None:
    """They are refused with both values, before the text is read."""
    with pytest.raises(UsageError) as caught:
        train("run", "nothing.txt", init_from="old", **options)
    assert message in str(caught.value)
    assert not Path("run").exists()


def test_options_that_agree_with_the_model() -> None:
    """A model of records makes a run of records, ended alike; the same again may be said."""
    train("names", "names.txt", separator="\n", hidden=(8, 8), cell="gru")
    said: dict[str, Any] = {
        "cell": "gru",
        "hidden": (8,),
        "layers": 2,
        "embedding": 16,
        "tokenizer": "char",
        "records": True,
    }
    choices: dict[str, dict[str, Any]] = {"a": {}, "b": said, "c": {"separator": "\n", "hidden": (8, 8)}}
    for out, options in choices.items():
        train(out, "names.txt", init_from="names", val=0.2, **options)
    models = [RunDir(Path(name)).model.read_bytes() for name in "abc"]
    assert models[0] == models[1] == models[2]
    assert checkpoint.read("a/model.safetensors").separator == b"\n"
    with pytest.raises(UsageError, match="records is true in the model of init_from and false in the command"):
        train("d", "names.txt", init_from="names", records=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": "old.txt"}, "mix needs init_from"),
        ({"mix_share": 0.3}, "mix_share needs mix"),
        ({"init_from": "old", "mix_share": 0.3}, "mix_share needs mix"),
        ({"init_from": "old", "mix": "old.txt", "mix_share": 1.0}, "mix_share must be a finite number, above 0"),
        ({"init_from": "old", "resume": True}, "resume and init_from cannot be used together"),
        ({"init_from": "old", "mix": "old.txt", "batch": 1}, "mix needs a batch of 2 or more, not 1"),
    ],
)
def test_options_that_need_others(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        train("run", **options)
    assert message in str(caught.value)


def test_models_that_cannot_be_used() -> None:
    Path("bad.safetensors").write_bytes(b"no model")
    for name, message in (("bad.safetensors", "bad.safetensors"), ("none", "no model 'none'")):
        with pytest.raises(CheckpointError, match=message):
            train("run", init_from=name)
    assert not Path("run").exists()


@pytest.mark.parametrize("name", ["old", "old/model.safetensors", "old/last.safetensors", "link/model.safetensors"])
def test_the_model_is_not_written_over(name: str) -> None:
    """Its run could be replaced only by losing it first."""
    Path("link").symlink_to("old")
    before = Path("old/model.safetensors").read_bytes()
    for more in ("", "overwrite", "auto_resume"):
        options: dict[str, Any] = {more: True} if more else {}
        with pytest.raises(UsageError, match="would be lost before the new model is whole; out names another folder"):
            train("old", init_from=name, **options)
    assert Path("old/model.safetensors").read_bytes() == before


# --- the plan ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "ngram", "asked", "lr", "dropout"),
    [
        (2.4, 2.9, {}, 0.001, 0.0),  # it knows more than a 5-gram that has learnt the text
        (2.4, 2.9, {"lr": 0.5, "dropout": 0.3}, 0.5, 0.3),
        (2.4, None, {}, 0.001, 0.0),
        (None, 2.9, {}, 0.001, 0.0),
        (3.1, 2.9, {}, 0.01, None),  # all is new to it
        (3.1, 2.9, {"lr": 0.5}, 0.5, None),
    ],
)
def test_learning_rate_and_dropout(
    before: float | None, ngram: float | None, asked: dict[str, Any], lr: float, dropout: float | None
) -> None:
    options, reasons = TrainConfig(**asked), list[str]()
    baselines = None if ngram is None else {"ngram": ngram}
    made = complete_fine_tuning(replace(options, lr=options.lr or 0.01), options, before, baselines, reasons)
    assert (made.lr, made.dropout) == (lr, dropout)
    assert made.weight_drop == (None if dropout is None else 0)
    shape = Architecture("lstm", 60, (64,), 32)
    assert complete_dropout(made, 30.0, shape, []).dropout == (0.5 if dropout is None else dropout)
    assert bool(reasons) == ("lr" not in asked)
    complete_fine_tuning(replace(made, separator="||"), options, before, baselines, reasons)
    assert any("each part that '||' ends on its own" in reason for reason in reasons)


def test_what_a_model_knows_decides_the_plan() -> None:
    """Of the text that it has learnt, which new text says little of; and of that new text."""
    plans: list[Event] = []
    for val in ("old.txt", 0.1):
        train("run", init_from="old", lr=None, val=val, events=plans, steps=1, overwrite=True)
    near, far = (event for event in plans if isinstance(event, PlanEvent))
    assert near.learning_rate == pytest.approx(0.1 * far.learning_rate)
    assert any("knows more than a 5-gram" in reason for reason in near.reasons)
    assert any("learns as a new model does" in reason for reason in far.reasons)


# --- runs --------------------------------------------------------------------------------------------------


def test_a_text_with_new_characters() -> None:
    """They are those of what is trained on; figures before and after are those of `charrnn eval`."""
    Path("val.txt").write_bytes("Über den Deich. Ωmega\n".encode())
    events: list[Event] = []
    done = train("run", init_from="old", val="val.txt", mix="old.txt", steps=40, events=events)
    plan = next(event for event in events if isinstance(event, PlanEvent))
    model, old = Model.load("run"), Model.load("old")
    new = set(NEW.decode()) - set(OLD.decode())
    assert plan.origin is not None
    assert plan.origin == done.origin == model.info["plan"]["origin"]
    assert plan.origin["new_characters"] == len(new) == 8
    assert isinstance(model.tokenizer, CharTokenizer)
    assert set(map(chr, model.tokenizer.table)) == set(OLD.decode()) | set(NEW.decode())
    assert (plan.origin["name"], plan.origin["mix_share"]) == ("old", 0.2)
    val, held_out = Path("val.txt").read_text(), OLD[len(OLD) * 9 // 10 :].decode()
    assert plan.origin["bits_per_char"] == pytest.approx(old.score(val).bits_per_char, abs=1e-9)
    assert plan.origin["mix_bits_per_char"] == pytest.approx(old.score(held_out).bits_per_char, abs=1e-9)
    assert done.bits_per_char == pytest.approx(model.score(val).bits_per_char, abs=1e-9)
    assert done.mix_bits_per_char == pytest.approx(model.score(held_out).bits_per_char, abs=1e-9)
    assert done.bits_per_char is not None
    assert done.bits_per_char < plan.origin["bits_per_char"]  # type: ignore[operator]


def test_the_digest_is_of_the_file() -> None:
    import hashlib

    train("run", init_from="old/last.safetensors", steps=1)
    origin = checkpoint.read("run/model.safetensors").info["plan"]["origin"]
    digest = hashlib.sha256(Path("old/last.safetensors").read_bytes()).hexdigest()
    assert (origin["name"], origin["sha256"]) == ("old", digest)
    shutil.copy("old/model.safetensors", "mine.safetensors")
    assert Parent.read("mine.safetensors").origin.name == "mine.safetensors"
    for file in ("run/model.safetensors", "run/last.safetensors"):
        assert str(Path.cwd()).encode() not in Path(file).read_bytes()  # no path is in it


def test_a_model_that_only_gets_worse_stays_what_it_was() -> None:
    """It is evaluated before the first step."""
    events: list[Event] = []
    done = train("run", "old.txt", init_from="old", lr=30.0, clip=0.0, steps=10, eval_every=5, events=events)
    assert [event.step for event in events if isinstance(event, EvalEvent)] == [0, 5, 10]
    assert done.best_step == 0
    before, after = (checkpoint.read(f"{name}/model.safetensors").weights for name in ("old", "run"))
    assert all((before[name] == after[name]).all() for name in before if name.startswith("layers."))


@pytest.mark.parametrize("tokenizer", ["byte", "sentencepiece", "sentencepiece-bpe"])
def test_tokens_that_need_no_growth(tokenizer: str) -> None:
    """The tokenizer is the model's, to the byte."""
    text = " ".join(f"{a}{b}" for a in ("wind", "sun", "rain", "snow") for b in ("fall", "y", "ing", "s")).encode()
    Path("old.txt").write_bytes(text * 8)
    train("tokens", "old.txt", tokenizer=tokenizer, seq_len=4)
    done = train("run", init_from="tokens", seq_len=4)
    old, new = (checkpoint.read(f"{name}/model.safetensors") for name in ("tokens", "run"))
    assert old.tokenizer.table.tobytes() == new.tokenizer.table.tobytes()
    assert new.info["plan"]["config"]["tokenizer"] == tokenizer
    assert done.origin is not None
    assert done.origin["new_characters"] == 0


def test_no_validation_text() -> None:
    done = train("run", init_from="old", mix="old.txt", val=0.0)
    assert done.origin is not None
    assert (done.origin["bits_per_char"], done.origin["mix_bits_per_char"]) == (None, None)
    assert (done.bits_per_char, done.mix_bits_per_char) == (None, None)


@pytest.mark.parametrize("records", [False, True])
def test_ck_01_a_fine_tuning_run_is_resumed_exactly(records: bool) -> None:
    """With a text mixed in; the model that it began with may be gone by then."""
    old = "names.txt" if records else "old.txt"
    if records:
        train("parent", old, records=True, val=0.2)
    else:
        shutil.copytree("old", "parent")
    options: dict[str, Any] = {
        "init_from": "parent",
        "mix": old,
        "mix_share": 0.4,
        "dropout": 0.3,
        "steps": 30,
        "save_every": 7,
    }
    if records:
        Path("new.txt").write_bytes(b"".join(name.upper() for name in NAMES.splitlines(keepends=True)))
    losses: dict[bool, dict[int, float]] = {}
    for stops in (False, True):
        found = losses.setdefault(stops, {})

        def callback(event: Event, stops: bool = stops, found: dict[int, float] = found) -> None:
            if isinstance(event, StepEvent):
                found[event.step] = event.loss
                if stops and event.step == 11:
                    signal.raise_signal(signal.SIGINT)

        config = TrainConfig(
            corpus=("new.txt",), out=f"run-{stops}", batch=4, seq_len=8, threads=1, device="cpu", val=0.2, **options
        )
        session = TrainingSession(config, given=frozenset(options), callbacks=[callback])
        if not stops:
            session.run()
            continue
        with pytest.raises(Interrupted):
            session.run()
        shutil.rmtree("parent")
        config = TrainConfig(out="run-True", resume=True, device="cpu")
        TrainingSession(config, given=frozenset({"out", "resume"}), callbacks=[callback]).run()
    assert losses[True] == losses[False]
    assert tensors(Path("run-True/last.safetensors")) == tensors(Path("run-False/last.safetensors"))
    for name in ("model.safetensors", "config.toml"):
        assert Path("run-True", name).read_bytes() == Path("run-False", name).read_bytes()


def test_a_resumed_run_knows_its_texts() -> None:
    """A changed mix is refused as a changed corpus is; both messages name what goes on with another text."""
    train("run", init_from="old", mix="old.txt")
    assert train("run", "", resume=True, steps=15).step == 15
    Path("moved.txt").write_bytes(OLD)
    assert train("run", "", resume=True, steps=17, mix="moved.txt").step == 17
    with pytest.raises(UsageError, match=r"mix_share is 0.2 in the run and 0.5 in the command"):
        train("run", "", resume=True, steps=20, mix="old.txt", mix_share=0.5)
    Path("moved.txt").write_bytes(OLD + b"more")
    with pytest.raises(
        UsageError, match=r"the text to mix in is not the one this run began with.*init_from starts a new"
    ):
        train("run", "", resume=True, steps=20)
    Path("new.txt").write_bytes(NEW + b"more")
    with pytest.raises(UsageError, match=r"the corpus is not the one this run began with.*init_from starts a new run"):
        train("run", "", resume=True, steps=20)


def test_a_text_that_was_not_mixed_in() -> None:
    with pytest.raises(UsageError, match="the run began without mix, which cannot change when resuming"):
        train("old", "", resume=True, steps=20, mix="old.txt")
    train("run", init_from="old", mix="old.txt")
    config = Path("run/config.toml")
    config.write_text("".join(line for line in config.read_text().splitlines(True) if not line.startswith("mix")))
    with pytest.raises(UsageError, match=r"the run began with mix: a text that its config.toml no longer names"):
        train("run", "", resume=True, steps=20)


def test_auto_resume_goes_on_with_the_same_model_alone() -> None:
    train("other", "old.txt", seed=1)
    options: dict[str, Any] = {"mix": "old.txt", "auto_resume": True}
    assert train("run", init_from="old", **options).step == 12
    assert train("run", init_from="old", **{**options, "steps": 14}).step == 14
    with pytest.raises(UsageError, match=r"the run began with 'old', SHA-256 .*, not with 'other' of init_from"):
        train("run", init_from="other", **{**options, "steps": 16})
    with pytest.raises(UsageError, match="the run began with no model, not with 'old'"):
        train("other", "old.txt", init_from="old", auto_resume=True, steps=14)


def test_ids_that_are_kept_are_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both texts, by a resumed run and by the same run again; another mix has an entry of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))
    made: list[str] = []
    create = IdCache.create
    monkeypatch.setattr(reader, "MAX_IN_MEMORY", 0)
    monkeypatch.setattr(IdCache, "create", lambda self, key: made.append(key) or create(self, key))  # type: ignore[func-returns-value]
    train("first", "old.txt")
    assert len(set(made)) == 1
    train("run", init_from="old", mix="old.txt")
    assert len(set(made)) == 3  # old.txt has other ids in the larger vocabulary
    train("run", "", resume=True, steps=14)
    train("again", init_from="old", mix="old.txt")
    assert len(made) == 3


def test_what_a_file_says_of_its_origin_is_checked() -> None:
    """A changed checkpoint is refused, not believed."""
    train("run", init_from="old", mix="old.txt")
    good = checkpoint.read("run/last.safetensors").info["plan"]["origin"]
    assert Origin.from_json(good).to_json() == good
    for key, value in (("name", 3), ("tokens", -1), ("mix_share", 2.0), ("bits_per_char", "x"), ("sha256", None)):

        def spoil(weights: Any, training: Any, info: dict[str, Any], key: str = key, value: Any = value) -> None:
            info["plan"]["origin"] = {**good, key: value}

        change(Path("run/last.safetensors"), spoil)
        with pytest.raises(CheckpointError, match=f"cannot be resumed from: '{key}' must be"):
            train("run", "", resume=True, steps=20)

"""The plan: made once, repeated by a command, within the time budget."""

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from charrnn.__main__ import main
from charrnn.cli.app import parse
from charrnn.config.options import merge
from charrnn.config.train import DEFAULT_TIME, TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.errors import InputError, UsageError
from charrnn.network.architecture import Architecture
from charrnn.training.autoconfig import (
    MAX_EPOCHS,
    Facts,
    architecture_of,
    choose_threads,
    complete_batch,
    complete_hidden,
    complete_model,
    complete_time,
    tokens_per_step,
)
from charrnn.training.learner import Learner, training_spec
from charrnn.training.memory import training_memory
from charrnn.training.plan import UNPLANNED, Plan, make_plan, plan_fields, repeat_command
from charrnn.training.throughput import ScoringSpeed, SpeedMeter
from charrnn.training.trainer import Trainer
from tests.trainings import TEXT, arguments, dataset_of, snapshot, tensors

Capture = pytest.CaptureFixture[bytes]

DATASET, LONG = dataset_of(TEXT * 40), dataset_of(TEXT * 30_000)


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Tokens a second of a machine that is measured in no time; for a layer of any size."""
    speeds = [100_000.0]
    monkeypatch.setattr(SpeedMeter, "training", lambda self, *args: dict.fromkeys(args[2], speeds[0]))
    monkeypatch.setattr(SpeedMeter, "scoring", lambda self, architecture: ScoringSpeed(50_000.0, 200_000.0))
    return speeds


def plan_of(dataset: Dataset = DATASET, elapsed: float = 1.0, **options: Any) -> Plan:
    config = TrainConfig(**options)
    return make_plan(config, dataset, spec=training_spec(config, device="cpu"), elapsed=lambda: elapsed)


def read_back(line: str) -> TrainConfig:
    """What a command line means to `charrnn train`, without the environment but for its own variables."""
    words = shlex.split(line)
    begin = words.index("charrnn")
    environ = dict(word.split("=", 1) for word in words[:begin])
    parsed: Any = parse(words[begin + 1 :])
    flags = dict(parsed.args[-1])
    assert flags.pop("config") is None
    return merge(TrainConfig, flags, environ)[0]


ASKED: list[dict[str, Any]] = [
    {"steps": 7},
    {"epochs": 2.5},
    {"time": 30.0},
    {},
    {"time": 30.0, "hidden": (64, 32), "cell": "lstm", "seed": 2**63 - 1},
    {"steps": 9, "hidden": (24,), "layers": 3, "optimizer": "sgd", "tokenizer": "byte", "batch": 2},
    {"steps": 9, "cell": "rnn-relu", "lr": 0.0123456789, "dropout": 0.1 + 0.2, "weight_decay": 1e-12},
    {"steps": 9, "eval_every": 0, "save_every": 0, "sample_every": 0, "patience": 0, "clip": 0.0, "eval_tokens": 77},
    {"steps": 9, "corpus": ("a b.txt", "c'd\"e.txt", "$HOME/*.txt"), "val": "tür.txt", "errors": "replace"},
    {"steps": 9, "threads": 2, "schedule": "cosine", "val": 1 / 3, "device": "cpu", "engine": "torch"},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_command_repeats_the_plan(asked: dict[str, Any], speed: list[float]) -> None:
    """Nothing in it is left to a second plan; read back, it means the same to the last digit."""
    plan = plan_of(**asked)
    again = read_back(repeat_command(plan.config))
    shaping = {each.name for each in fields(TrainConfig)} - UNPLANNED - {"time", "epochs"}
    assert {name: getattr(again, name) for name in shaping} == {name: getattr(plan.config, name) for name in shaping}
    assert again.time is None
    assert again.epochs is None
    assert (again.corpus, again.val) == (plan.config.corpus, plan.config.val)
    speed[0] = 1.0  # on a slow machine too
    second = make_plan(again, DATASET, spec=training_spec(again, device="cpu"), elapsed=lambda: 99.0)
    assert second.architecture == plan.architecture
    assert {name: getattr(second.config, name) for name in shaping} == {
        name: getattr(plan.config, name) for name in shaping
    }
    assert second.reasons == ()


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_nothing_is_left_open(asked: dict[str, Any], speed: list[float]) -> None:
    config = plan_of(**asked).config
    open_still = {each.name for each in fields(config) if getattr(config, each.name) is None}
    asked_for = {"init_from", "mix", "mix_share", "jsonl", "tsv", "csv", "separator", "replans"}
    assert open_still <= {"time", "epochs", "val", "out", "vocab_size", *asked_for}
    for name, value in asked.items():
        assert getattr(config, name) == ((24, 24, 24) if asked.get("layers") and name == "hidden" else value)


def test_a_plan_survives_being_stored(speed: list[float]) -> None:
    plan = plan_of(time=30.0, out="a folder", corpus=("a file",))
    stored = json.dumps(plan.to_json(), allow_nan=False)
    assert "a folder" not in stored
    assert "a file" not in stored
    values = json.loads(stored)
    config = TrainConfig(**values["config"])
    again = Plan.from_json(values, plan.architecture, config)
    assert again == replace(plan, config=replace(plan.config, out=None, corpus=()), chars_per_second=0.0, reasons=())


@pytest.mark.parametrize("elapsed", [0.0, 7.0])
@pytest.mark.parametrize("pace", [1e3, 1e5, 1e7])
def test_the_steps_fit_the_time(pace: float, elapsed: float, speed: list[float]) -> None:
    """Training, evaluations and the end take the time budget, and little less."""
    speed[0] = pace
    plan = plan_of(LONG, elapsed, time=20.0, hidden=(16,))
    assert plan.config.steps is not None
    took = plan.config.steps * tokens_per_step(plan.config) / pace
    assert elapsed + took + plan.eval_seconds + plan.final_eval_seconds <= 20.0
    assert (
        elapsed + took + plan.eval_seconds + plan.final_eval_seconds > 0.95 * 20.0 - tokens_per_step(plan.config) / pace
    )
    assert not plan.has_step_limit
    assert plan.chars_per_second == pace


def test_no_time_at_all_is_one_step(speed: list[float]) -> None:
    assert plan_of(elapsed=100.0, time=1.0).config.steps == 1


def test_of_time_and_steps_the_lesser_holds(speed: list[float]) -> None:
    dataset = dataset_of(TEXT * 1000)
    alone = plan_of(dataset, time=10.0, hidden=(16,)).config.steps
    assert alone is not None
    assert plan_of(time=10.0, hidden=(16,), steps=3).config.steps == 3
    assert plan_of(dataset, time=10.0, hidden=(16,), steps=10**9).config.steps == pytest.approx(alone, rel=0.05)
    assert plan_of(time=10.0, hidden=(16,), steps=3).has_step_limit
    short = plan_of(time=10.0, hidden=(16,), epochs=1.0)
    assert short.config.steps == len(DATASET.train) // tokens_per_step(short.config)


def test_many_epochs_have_dropout(speed: list[float]) -> None:
    def dropout(**options: Any) -> float | None:
        return plan_of(hidden=(16,), **options).config.dropout

    def weight_drop(**options: Any) -> float | None:
        return plan_of(hidden=(16,), **options).config.weight_drop

    assert dropout(epochs=2.0) == dropout(epochs=0.1) == 0
    assert dropout(epochs=4.0) == 0.1
    assert dropout(epochs=8.0) == 0.25
    amounts = [dropout(epochs=each) for each in (4.0, 10.0, 30.0, 100.0, 1e6)]
    assert amounts == sorted(amounts)  # type: ignore[type-var]
    assert amounts[-1] == 0.5
    assert dropout(epochs=100.0, dropout=0.0) == 0
    assert weight_drop(epochs=100.0, dropout=0.0) == 0.5
    assert [weight_drop(epochs=each) for each in (7.0, 10.0, 20.0, 40.0)] == [0, 0.1, 0.3, 0.5]
    assert weight_drop(epochs=100.0, weight_drop=0.2) == 0.2
    assert weight_drop(epochs=100.0, cell="minlstm") == 0
    assert dropout(time=300.0) == dropout(steps=plan_of(hidden=(16,), time=300.0).config.steps)


def test_the_reason_of_a_dropout_names_the_epochs_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where drawing its masks makes training slower than was measured at first."""

    def training(self: SpeedMeter, config: TrainConfig, architecture: Architecture, threads: Any) -> dict[int, float]:
        return dict.fromkeys(threads, 30_000.0 if config.dropout else 60_000.0)

    monkeypatch.setattr(SpeedMeter, "training", training)
    monkeypatch.setattr(SpeedMeter, "scoring", lambda self, architecture: ScoringSpeed(1e6, 1e6))
    plan = plan_of(time=12.0, hidden=(16,))
    epochs = plan_fields(plan, DATASET, training_spec(plan.config, device="cpu"))["epochs"]
    assert plan.config.dropout
    assert f"dropout {plan.config.dropout:g}: for {epochs:.1f} epochs" in plan.reasons
    repeated = plan_of(steps=plan.config.steps, hidden=(16,))
    assert repeated.config.dropout == plan.config.dropout


def test_threads_have_a_reason(monkeypatch: pytest.MonkeyPatch, speed: list[float]) -> None:
    monkeypatch.setattr("charrnn.training.plan.thread_counts", lambda config, facts: [1, 4])
    monkeypatch.setattr(SpeedMeter, "training", lambda self, *args: {count: 1e5 * count**0.5 for count in args[2]})
    plan = plan_of(time=10.0, hidden=(16,))
    assert plan.config.threads == 4
    assert "threads 4: 4 are 2.00 times as fast as 1" in plan.reasons


def test_a_large_vocabulary_has_more_dropout() -> None:
    """Most of such a model's weights are theirs, and weight drop leaves those alone."""
    many = dataset_of("".join(chr(0x4E00 + n * n % 1999) for n in range(10_000)).encode())
    few, more = (plan_of(dataset, hidden=(16,), epochs=8.0).config for dataset in (DATASET, many))
    assert few.dropout == 0.25
    assert more.dropout == 0.35
    assert more.weight_drop == few.weight_drop


def test_a_short_text_is_not_read_for_ever(speed: list[float]) -> None:
    """More time would make nothing better; whoever asks for more epochs gets them."""
    speed[0] = 1e7
    plan, asked = plan_of(time=300.0, hidden=(16,)), plan_of(time=300.0, hidden=(16,), epochs=1000.0)
    epoch = len(DATASET.train) // tokens_per_step(plan.config)
    assert plan.config.steps == MAX_EPOCHS * epoch
    assert plan.has_step_limit
    assert any(reason.startswith(f"steps {MAX_EPOCHS * epoch}: ") for reason in plan.reasons)
    assert asked.config.steps == 1000 * epoch


def test_a_large_layer_is_made_two(speed: list[float]) -> None:
    """Where neither is asked for; they are smaller than it would be, and have about as many weights."""
    dataset = dataset_of(TEXT * 5000)
    one, two = plan_of(dataset, time=600.0, layers=1), plan_of(dataset, time=600.0)
    assert (one.architecture.num_layers, two.architecture.num_layers) == (1, 2)
    assert two.architecture.hidden[0] < one.architecture.hidden[0]
    assert 0.5 < two.architecture.num_parameters / one.architecture.num_parameters < 1.5
    assert any(reason.startswith("layers 2: ") for reason in two.reasons)
    assert plan_of(dataset, time=600.0, hidden=(512,)).architecture.num_layers == 1
    assert plan_of(dataset, time=10.0).architecture.num_layers == 1
    assert plan_of(dataset_of(TEXT * 20), time=600.0).architecture.num_layers == 1


def test_the_default_is_a_time(speed: list[float]) -> None:
    """What the user says goes before it."""
    dataset = dataset_of(TEXT * 1000)
    plan = plan_of(dataset)
    assert plan.config.time == DEFAULT_TIME == 300
    assert any(reason.startswith("time 5m: ") for reason in plan.reasons)
    assert plan_of(dataset, time=7.0).config.time == 7.0
    assert plan_of(dataset, steps=9).config.time is None


def test_more_text_and_more_time_never_make_a_smaller_model(speed: list[float]) -> None:
    def hidden(copies: int, **options: Any) -> int:
        return plan_of(dataset_of(TEXT * copies), **options).architecture.hidden[0]

    by_time = [hidden(1000, time=each) for each in (5.0, 60.0, 3600.0)]
    assert by_time == sorted(by_time)
    assert by_time[0] < by_time[-1]
    by_text = [hidden(copies, steps=5) for copies in (1, 40, 400)]
    assert by_text == sorted(by_text)
    assert by_text[0] < by_text[-1]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 17, 100, 1000])
def test_in_10_a_short_text_is_planned_for(size: int) -> None:
    """IN-10: whatever is left open never asks for more text than there is."""
    plan = plan_of(dataset_of(b"x" * size, fraction=0.0), steps=1)
    assert tokens_per_step(plan.config) <= size
    for asked in ({"batch": 1}, {"seq_len": 1}):
        assert tokens_per_step(plan_of(dataset_of(b"x" * size, fraction=0.0), steps=1, **asked).config) <= size


@pytest.mark.parametrize(
    ("asked", "needed"),
    [({"batch": 10, "seq_len": 28}, "280"), ({"batch": 271}, "271"), ({"seq_len": 300}, "300")],
)
def test_in_10_a_text_too_short_is_refused(asked: dict[str, int], needed: str) -> None:
    """IN-10: what there is, what is needed, and what to lower."""
    with pytest.raises(InputError, match=f"has 270 tokens, and batch .* times seq_len .* needs {needed}; lower either"):
        plan_of(dataset_of(TEXT), steps=1, **asked)


def test_all_of_the_validation_text_is_scored_at_the_end() -> None:
    """eval_tokens is of evaluations while training; the finished model is scored exactly."""
    plan = plan_of(steps=5, eval_tokens=10)
    values = plan_fields(plan, DATASET, training_spec(plan.config, device="cpu"))
    assert (values["eval_tokens"], values["exact_tokens"]) == (10, len(DATASET.val))


def test_baselines_are_of_what_is_scored_at_the_end(speed: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of characters, tokens or records, and where there are more than can be scored."""
    records = dataset_of(TEXT * 1500, separator=b"\n")
    for dataset in (dataset_of(TEXT * 2000), dataset_of(TEXT * 300, tokenizer="sentencepiece"), records):
        for options in ({"time": 2.0}, {"time": 60.0}, {"steps": 1}):
            plan = plan_of(dataset, hidden=(16,), **options)
            part = b"".join(dataset.val_head(plan.exact_tokens))
            assert plan.baselines is not None
            assert plan.baselines["val_bytes"] == len(part)
            reasons = [
                reason for reason in plan.reasons if reason.startswith("exact score, and baselines, on the first ")
            ]
            assert bool(reasons) == (plan.exact_tokens < len(dataset.val))
            assert (len(part) < dataset.val_counts.bytes) == bool(reasons)
    monkeypatch.setattr("charrnn.dataset.dataset.MAX_EXACT_CHARS", 500)
    plan = plan_of(steps=1, hidden=(16,))
    assert plan.exact_tokens == 500
    assert plan.baselines is not None
    assert plan.baselines["val_bytes"] == 500
    assert "exact score, and baselines, on the first 500 validation tokens: more than 500 take too long" in plan.reasons


def test_memory_grows_with_the_model() -> None:
    small, large = (plan_of(steps=1, hidden=(size,)) for size in (16, 512))
    memory = [training_memory(plan.architecture, plan.config) for plan in (small, large)]
    assert memory[0] > 16 * small.architecture.num_parameters  # weights, gradients, two moments
    assert memory[1] > 10 * memory[0]


@pytest.mark.serial
def test_speed_is_measured_and_that_can_be_ended() -> None:
    config = plan_of(steps=1, hidden=(8,)).config
    architecture = Architecture("gru", DATASET.tokenizer.size, (8,), 16)
    spec = training_spec(config, device="cpu")
    meter = SpeedMeter(DATASET, spec)
    speeds = meter.training(config, architecture, [1, 2])
    assert set(speeds) == {1, 2}
    assert all(100 < speed < 1e9 for speed in speeds.values())
    scoring = meter.scoring(architecture)
    assert 100 < scoring.alone < 1e9
    assert 100 < scoring.streams < 1e9

    def enough() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SpeedMeter(DATASET, spec, enough).training(config, architecture, [1])


@pytest.mark.serial
@pytest.mark.parametrize("options", [{}, {"hidden": (16,)}, {"hidden": (16,), "dropout": 0.1}], ids=str)
def test_a_plan_measures_two_models_at_most(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Architecture] = []

    class Counted(Learner):
        def __init__(self, architecture: Architecture, *args: Any) -> None:
            made.append(architecture)
            super().__init__(architecture, *args)

    monkeypatch.setattr("charrnn.training.throughput.Learner", Counted)
    plan = plan_of(time=5.0, **options)
    assert 1 <= len(made) <= (1 if options else 2)
    assert made[-1] == plan.architecture
    assert plan.config.dropout


def test_nothing_is_measured_without_a_time_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("training", "scoring"):
        monkeypatch.setattr(SpeedMeter, name, None)
    assert plan_of(epochs=2.0).chars_per_second == 0


def test_the_facts_of_a_text_and_a_machine_are_all_that_options_are_completed_from() -> None:
    """`autoconfig` reads no text and runs no model."""
    facts = Facts(1_000_000, 1_000_000, 256, 65, "native", "cpu", threads=4)
    reasons: list[str] = []
    config = complete_time(TrainConfig(), 1.0, reasons)
    config = complete_batch(config, facts, reasons)
    measured: list[tuple[Architecture, list[int]]] = []

    def measure(config: TrainConfig, architecture: Architecture, threads: Sequence[int]) -> dict[int, float]:
        measured.append((architecture, list(threads)))
        return dict.fromkeys(threads, 1e5)

    config = complete_hidden(config, facts, measure, lambda: 1.0, reasons)
    config = complete_model(config, facts, reasons)
    assert [threads for _, threads in measured] == [[4]]
    assert measured[0][0].vocabulary == 256
    assert architecture_of(config, 256).hidden == config.hidden
    assert [reason.partition(" ")[0] for reason in reasons] == ["time", "layers", "hidden", "lr"]


@pytest.mark.parametrize(
    ("speeds", "engine", "count"),
    [
        ({1: 100.0, 4: 101.0}, "native", 4),
        ({1: 100.0, 4: 101.0}, "torch", 1),
        ({1: 100.0, 4: 120.0}, "torch", 4),
        ({1: 100.0, 4: 90.0}, "native", 1),
        ({3: 5.0}, "torch", 3),
    ],
)
def test_threads_are_chosen_by_speed(speeds: dict[int, float], engine: str, count: int) -> None:
    reasons: list[str] = []
    assert choose_threads(speeds, engine, reasons) == count
    assert [reason.partition(":")[0] for reason in reasons] == ([f"threads {count}"] if len(speeds) > 1 else [])


# --- from the command line -------------------------------------------------------------------------


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("corpus.txt")
    path.write_bytes(TEXT)
    return path


@pytest.mark.parametrize("options", [[], ["--json"], ["--overwrite"], ["--resume"], ["--auto-resume"]])
def test_a_dry_run_touches_nothing(options: list[str], corpus: Path, capfdbinary: Capture) -> None:
    """Not even a folder for the run; a run that is there may be training. The plan goes to stdout."""
    if "--resume" not in options:
        assert main(arguments(corpus, "new", "--dry-run", *options)) == 0
        assert [path.name for path in Path().iterdir()] == ["corpus.txt"]
    assert main(arguments(corpus, "run", steps=2)) == 0
    before = snapshot(Path())
    capfdbinary.readouterr()
    assert main(arguments(corpus, "run", "--dry-run", *options, steps=3)) == 0
    assert snapshot(Path()) == before
    out, err = capfdbinary.readouterr()
    if "--json" in options:
        event = json.loads(out)
        assert event["event"] == "plan"
        assert event["steps"] == 3
    else:
        resumed = {"--resume", "--auto-resume"} & {*options}
        assert err == (b"changed: steps 2 -> 3\n" if resumed else b"")
        assert out.startswith(b"model: lstm 8, ")
        assert out.splitlines()[-1].startswith(b"charrnn train ")


def test_the_printed_command_gives_the_same_model(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """End to end: planned by time, repeated by steps, the same weights."""
    monkeypatch.setattr(Trainer, "_replan", lambda self: None)  # a plan that is changed under way is another
    assert main(["train", str(corpus), "--time", "2s", "--out", "first", "--patience", "0", "--cell", "lstm"]) == 0
    lines = [line for line in capfdbinary.readouterr().err.decode().splitlines() if "charrnn train" in line]
    words = shlex.split(lines[0].partition(": ")[2])
    while words[0] != "charrnn":
        monkeypatch.setenv(*words.pop(0).split("=", 1))
    assert main([*words[1:], "--out", "again"]) == 0
    assert tensors(Path("first/last.safetensors")) == tensors(Path("again/last.safetensors"))


@pytest.mark.serial
def test_the_time_given_is_kept(corpus: Path, capfdbinary: Capture) -> None:
    """--time is from the start of the command to the saved model."""
    began = time.monotonic()
    assert main(["train", str(corpus), "--time", "4s", "--epochs", "1e6", "--patience", "0", "--out", "run", "-q"]) == 0
    assert 2 < time.monotonic() - began < 8
    done = json.loads(Path("run/metrics.jsonl").read_bytes().splitlines()[-1])
    assert done["event"] == "done"
    assert done["seconds"] <= time.monotonic() - began


def test_a_model_that_could_not_be_saved_is_refused() -> None:
    """Before any of it is trained: with its optimizer's state it has more tensors than the format allows."""
    assert plan_of(steps=10, hidden=(4,), layers=57).architecture.num_layers == 57
    assert plan_of(steps=10, hidden=(4,), layers=64, optimizer="sgd").architecture.num_layers == 64
    with pytest.raises(UsageError, match="could not be saved: 1106 tensors; at most 1000"):
        plan_of(steps=10, hidden=(4,), layers=64)

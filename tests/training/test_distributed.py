"""Several processes that train one model, as a process group of two: the model is the one that one process trains."""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.checkpoint import format as checkpoint
from charrnn.dataset.batches import batch_loader
from charrnn.engines.base import Array
from charrnn.engines.native import lib
from charrnn.errors import CharRNNError, InputError, LostProcessError, NonFiniteError, UsageError
from charrnn.runs.events import DoneEvent, EvalEvent, StepEvent
from charrnn.training.distributed import SingleProcess, World, difference, join, rows_of
from charrnn.training.learner import Learner
from tests.ranks import in_group
from tests.trainings import PROSE, Outcome, dataset_of, tensors, train

pytestmark = pytest.mark.skipif(lib.library() is None, reason="the compiled core was not built here")

STEPS = 50


def shared(folder: str, **options: Any) -> Outcome:
    """Train in this process's group."""
    with join() as world:
        return train(Path(folder), world=world, **options)


def losses(outcome: Outcome) -> list[float]:
    return [event.loss for event in outcome.of(StepEvent)]


def weights(folder: Path | str, name: str = "model.safetensors") -> dict[str, Array]:
    return checkpoint.read(Path(folder, name), training="last" in name).weights


def distance(first: dict[str, Array], second: dict[str, Array]) -> float:
    """How far weights are from others, as a part of the norm of each."""
    return max(float(np.linalg.norm(second[key] - first[key]) / np.linalg.norm(first[key])) for key in first)


def watched_training(folder: str) -> tuple[Outcome, list[str]]:
    """Train; return what came of it, and the digests of the weights after each step."""
    digests, step = [], Learner.step

    def watched(self: Learner, *arguments: Any) -> Any:
        result = step(self, *arguments)
        data = b"".join(weight.tobytes() for weight in self.weights().values())
        digests.append(hashlib.sha256(data).hexdigest())
        return result

    pytest.MonkeyPatch().setattr(Learner, "step", watched)
    return shared(folder, steps=STEPS, eval_every=10, hidden=(8, 6)), digests


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome, list[tuple[Outcome, list[str]]]]:
    """The folder of a run by one process, `1`, and of one by two, `2`; what came of each."""
    folder = tmp_path_factory.mktemp("both")
    alone = train(folder / "1", steps=STEPS, eval_every=10, hidden=(8, 6))
    return folder, alone, in_group(watched_training, str(folder / "2"))


def test_di_01_two_processes_train_the_model_of_one(both: Any) -> None:
    folder, alone, ((together, _), (other, _)) = both
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)
    assert len(losses(alone)) == STEPS
    assert not other.events  # the first alone has them
    assert distance(weights(folder / "1"), weights(folder / "2")) < 1e-4


def test_di_02_all_hold_the_same_weights_after_every_step(both: Any) -> None:
    _, _, ((_, digests), (_, others)) = both
    assert digests == others
    assert len(set(digests)) == STEPS


def test_di_11_validation_is_shared_out(both: Any) -> None:
    """While training and after it: every token once, and the sums of one process."""
    _, alone, ((together, _), _) = both
    for kind in (EvalEvent, DoneEvent):
        for ours, theirs in zip(together.of(kind), alone.of(kind), strict=True):
            assert ours.tokens == theirs.tokens
            for name in ("nats", "bits_per_char", "bits_per_byte"):
                assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-5)
    ours, theirs = together.of(DoneEvent)[0], alone.of(DoneEvent)[0]
    assert (ours.carried, ours.window_256) == pytest.approx((theirs.carried, theirs.window_256), rel=1e-5)


def scores(folder: str, path: str) -> tuple[Any, ...]:
    """Score the validation text with a trained model as all processes share it out, by streams and by texts."""
    from charrnn.training.evaluation import evaluate_exact, evaluate_streams

    model = charrnn.load(path)
    texts = [PROSE[:400], PROSE[400:500], PROSE[500:]]
    dataset = dataset_of(*texts, fraction=0.5)
    dataset = type(dataset)(**{**vars(dataset), "tokenizer": model.tokenizer})
    ids = [model.tokenizer.encode(text) for text in texts]
    stream = type(dataset.val).join(ids)
    dataset = type(dataset)(**{**vars(dataset), "val": stream, "val_texts": tuple(texts)})
    with join() as world:
        check = lambda tokens: None  # noqa: E731
        streams = evaluate_streams(model.engine, dataset, 10**6, check, world)
        return streams, evaluate_exact(model.engine, dataset, 10**6, "strict", check, world)


def test_di_11_to_the_last_place(both: Any) -> None:
    """Of one model the scores of two processes are those of one; several texts are shared out too."""
    folder = both[0]
    path = str(folder / "1" / "model.safetensors")
    first, second = in_group(scores, str(folder), path)
    assert first == second
    streams, exact = scores(str(folder), path)
    assert first[0].tokens == streams.tokens == len(PROSE)
    assert first[0].nats == pytest.approx(streams.nats, rel=1e-12)
    assert first[1] == pytest.approx(exact, rel=1e-12)


def stopped_and_resumed(folder: str, **options: Any) -> None:
    with join() as world:
        train(Path(folder, "whole"), world=world, **options)
        stopped = train(Path(folder, "parts"), world=world, stop_at=(StepEvent, 19), **options)
        assert stopped.interrupted
        train(Path(folder, "parts"), world=world, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_di_03_resumed_by_as_many_it_is_exact(dropout: float, tmp_path: Path) -> None:
    options = {"dropout": dropout, "weight_drop": dropout / 2, "eval_every": 7, "hidden": (8, 8)}
    assert in_group(_resumed, str(tmp_path), options) == [None, None]
    for name in ("model.safetensors", "last.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def _resumed(folder: str, options: dict[str, Any]) -> None:
    stopped_and_resumed(folder, **options)


@pytest.mark.slow
def test_di_03_resumed_by_fewer_and_by_more(tmp_path: Path) -> None:
    """By two, then one, then two; states of all rows are in the file, whoever wrote it."""
    options: dict[str, Any] = {"dropout": 0.5, "hidden": (8, 8), "patience": 0}
    alone = train(tmp_path / "alone", **options)
    first = in_group(_part, str(tmp_path / "run"), {**options, "stop_at": (StepEvent, 11)})[0]
    second = train(tmp_path / "run", resume=True, stop_at=(StepEvent, 27))
    third = in_group(_part, str(tmp_path / "run"), {"resume": True})[0]
    assert [outcome.interrupted for outcome in (first, second, third)] == [True, True, False]
    assert losses(first) + losses(second) + losses(third) == pytest.approx(losses(alone), rel=1e-5)
    assert distance(weights(tmp_path / "alone"), weights(tmp_path / "run")) < 1e-4
    states = [tensors(tmp_path / name / "last.safetensors")["train.state.0"] for name in ("alone", "run")]
    assert states[0][1] == states[1][1] == (2, 4, 8)


def _part(folder: str, options: dict[str, Any]) -> Outcome:
    return shared(folder, **options)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 4])
def test_any_number_of_processes(size: int, tmp_path: Path) -> None:
    """Of a stream and of records, which are shuffled; one process of a group is as one without."""
    for separator in (b"", b"\n"):
        options: dict[str, Any] = {"batch": 12, "steps": 12, "seq_len": 4, "records": bool(separator)}
        options["dataset"] = dataset_of(PROSE, separator=separator)
        alone = train(tmp_path / "alone" / str(len(separator)), **options)
        outcome = in_group(_part, str(tmp_path / "run" / str(len(separator))), options, size=size)[0]
        assert losses(outcome) == pytest.approx(losses(alone), rel=1e-6 if size == 1 else 1e-5)


def test_di_06_a_corpus_that_does_not_divide(tmp_path: Path) -> None:
    """No token is left out for good, and all take the same steps: the rows of an epoch begin elsewhere each time."""
    options = {"dataset": dataset_of(PROSE[:1001], fraction=0.137), "steps": 60, "seq_len": 7}
    outcome, other = in_group(_counted, str(tmp_path / "run"), options)
    assert outcome == other == 60


def _counted(folder: str, options: dict[str, Any]) -> int:
    calls, step = [], Learner.step

    def counted(self: Learner, *arguments: Any) -> Any:
        calls.append(arguments[1])
        return step(self, *arguments)

    pytest.MonkeyPatch().setattr(Learner, "step", counted)
    shared(folder, **options)
    return len(calls)


def poisoned(folder: str) -> Outcome:
    """Train; at the fourth step the second process's gradients are not numbers."""
    from charrnn.engines.native.training import NativeTraining

    compute, calls = NativeTraining.forward_backward, []

    def forward_backward(self: NativeTraining, *arguments: Any) -> Any:
        result = compute(self, *arguments)
        calls.append(1)
        with join() as world:
            if world.rank == 1 and len(calls) == 4:
                self.gradients[3] = np.nan
        return result

    pytest.MonkeyPatch().setattr(NativeTraining, "forward_backward", forward_backward)
    return shared(folder)


def test_di_09_not_a_number_in_one(tmp_path: Path) -> None:
    begin = time.monotonic()
    found = in_group(poisoned, str(tmp_path / "run"))
    assert [type(error) for error in found] == [NonFiniteError] * 2
    assert found[0].text == found[1].text
    assert found[0].text.startswith("step 4: ")
    assert found[0].exit_code == 5
    assert time.monotonic() - begin < 30


def stalled(folder: str) -> Outcome:
    """Train; at the fourth step the second process sleeps."""
    step = Learner.step

    def slow(self: Learner, *arguments: Any) -> Any:
        if self.world.rank == 1 and arguments[1] == 3:
            time.sleep(60)
        return step(self, *arguments)

    pytest.MonkeyPatch().setattr(Learner, "step", slow)
    return shared(folder)


@pytest.mark.slow
def test_di_10_a_process_that_stalls(tmp_path: Path) -> None:
    error, nothing = in_group(stalled, str(tmp_path / "run"), patience=5)
    assert isinstance(error, LostProcessError)
    assert error.exit_code == 1
    assert error.text.startswith("process 0 of 2 has lost another while averaging the gradients: ")
    assert "\n" not in error.text
    assert nothing is None


def different_text(folder: str) -> Outcome:
    with join() as world:
        return train(Path(folder), world=world, dataset=dataset_of(PROSE[world.rank :]))


def test_different_texts_are_refused(tmp_path: Path) -> None:
    found = in_group(different_text, str(tmp_path / "run"))
    assert [type(error) for error in found] == [InputError] * 2
    assert "different texts" in found[0].text
    assert not (tmp_path / "run").exists()


def different_weights(folder: str) -> Outcome:
    """Train; the second process's memory has a fault."""
    step = Learner.step

    def faulty(self: Learner, *arguments: Any) -> Any:
        result = step(self, *arguments)
        if self.world.rank == 1 and arguments[1] == 3:
            values = self.model.weights()
            values["head.bias"][0] += np.float32(1e-6)
            self.model.load_weights(values)
        return result

    pytest.MonkeyPatch().setattr(Learner, "step", faulty)
    return shared(folder, save_every=5)


@pytest.mark.slow
def test_different_weights_are_not_saved(tmp_path: Path) -> None:
    found = in_group(different_weights, str(tmp_path / "run"))
    assert [type(error) for error in found] == [CharRNNError] * 2
    assert "no longer the same everywhere" in found[0].text
    assert checkpoint.read(tmp_path / "run" / "last.safetensors", training=True).info["step"] == 0


def timed(folder: str) -> tuple[Any, ...]:
    options = {"batch": None, "seq_len": None, "steps": None, "hidden": None, "lr": None, "threads": None}
    outcome = shared(folder, dataset=dataset_of(PROSE * 40), time=8.0, **options)
    return outcome, multiprocessing.current_process().exitcode


@pytest.mark.slow
def test_a_time_budget(tmp_path: Path) -> None:
    """Speed is measured by all together, and the plan of the first is everybody's."""
    begin = time.monotonic()
    (outcome, _), _ = in_group(timed, str(tmp_path / "run"))
    done = outcome.of(DoneEvent)[0]
    assert done.seconds < 9.5
    assert done.step > 10
    assert time.monotonic() - begin < 60


def from_python(folder: str, text: str) -> tuple[str, int, float]:
    events: list[Any] = []
    options: dict[str, Any] = {"hidden": (8,), "batch": 4, "seq_len": 8, "lr": 0.01, "steps": 20, "threads": 1}
    model = charrnn.train(text, out=folder, callbacks=[events.append], device="cpu", **options)
    return model.sample(seed=1, length=20), len(events), model.score("The fox").nats


def test_the_python_face_takes_part(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(PROSE)
    first, second = in_group(from_python, str(tmp_path / "run"), str(tmp_path / "text.txt"))
    assert first[0] == second[0]
    assert first[2] == second[2]
    assert first[1] > 20
    assert second[1] == 0


def test_di_12_one_process_is_alone(tmp_path: Path) -> None:
    """No process group, no socket, no PyTorch."""
    (tmp_path / "text").write_bytes(PROSE)
    script = (
        "import sys\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, _: opened.append(event) if event.startswith('socket.') else None)\n"
        "from charrnn.__main__ import main\n"
        "assert main(['train', 'text', '--steps', '9', '--batch', '4', '--device', 'cpu', '-q']) == 0\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'charrnn.training.process_group' not in sys.modules\n"
        "assert not opened, opened\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_without_pytorch(tmp_path: Path) -> None:
    """In a sentence, of the first process alone."""
    script = "import sys; sys.modules['torch'] = None; from charrnn.__main__ import main; sys.exit(main(sys.argv[1:]))"
    for rank, said in (("0", b"Error: several processes train together by PyTorch"), ("1", b"")):
        launched = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
        words = [sys.executable, "-c", script, "train", "--device", "cpu"]
        done = subprocess.run(words, capture_output=True, cwd=tmp_path, env=os.environ | launched, timeout=60)
        assert done.returncode == 1
        assert done.stderr.startswith(said)
        assert done.stderr.count(b"\n") == bool(said)


class OneOfSeveral(SingleProcess):
    """One of several processes, which the others are not asked for."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def test_rows_are_shared_out_in_order() -> None:
    dataset = dataset_of(PROSE)
    whole = batch_loader(dataset, batch=6, seq_len=5, seed=1).batch(3, 9)
    parts = []
    for rank in range(3):
        rows = rows_of(OneOfSeveral(rank, 3), 6)
        parts.append(batch_loader(dataset, batch=6, seq_len=5, seed=1, rows=rows).batch(3, 9))
    assert np.array_equal(np.concatenate([part.inputs for part in parts]), whole.inputs)
    assert np.array_equal(np.concatenate([part.targets for part in parts]), whole.targets)
    with pytest.raises(UsageError, match="batch 5 cannot be shared out to 2 processes"):
        rows_of(OneOfSeveral(0, 2), 5)


def test_difference() -> None:
    assert difference(["a", "a"]) == ""
    assert difference(["a", "b", "a"]) == "a in process 0, 2; b in process 1"


def test_a_restart_meets_no_process_of_before() -> None:
    """In a store that keeps what earlier starts have left; whoever comes first."""
    from torch.distributed import HashStore  # type: ignore[attr-defined]

    from charrnn.training.process_group import meet

    store = HashStore()
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        with ThreadPoolExecutor(3) as pool:
            found = {}
            for rank in order:
                found[rank] = pool.submit(meet, store, rank, 3)
                time.sleep(0.1)
            parts = [found[rank].result(20) for rank in range(3)]
        assert not parts[0].check(["address"])
        parts[0].set("address", "x")
        assert all(part.get("address") == b"x" for part in parts)


def errors_of_one() -> list[str]:
    """What all raise, where one does, and that they go on after it."""
    said = []
    with join() as world:

        def fail(rank: int) -> Any:
            if world.rank == rank:
                raise UsageError(f"{{batch}} of {rank}", ("batch",))

        calls: list[Callable[[], Any]] = [
            lambda: world.first(lambda: fail(0)),
            lambda: world.first(lambda: fail(1)),
            lambda: world.each(lambda: fail(0)),
            lambda: world.each(lambda: fail(1)),
            lambda: world.each(lambda: fail(1), in_turn=True),
        ]
        for call in calls:
            try:
                call()
                said.append("nothing")
            except UsageError as error:
                said.append(error.render(lambda name: f"--{name}"))
        said += [str(world.gather(world.rank)), str(world.broadcast(world.rank)), _nested(world)]
    return said


def _nested(world: World) -> str:
    """What the others assist in, and what concerns no other."""
    helped = []

    def assist(number: int) -> list[int]:
        helped.append(number)
        return world.gather(number + world.rank)

    def make() -> str:
        assert world.first(lambda: world.each(lambda: 7)) == 7
        with world.ask(5):
            return str(assist(5))

    return world.first(make, assist) + str(helped)


def test_errors_are_everybody_s() -> None:
    found = in_group(errors_of_one)
    assert found[0] == found[1]
    assert found[0] == [
        "--batch of 0",
        "nothing",
        "--batch of 0",
        "in process 1: --batch of 1",
        "in process 1: --batch of 1",
        "[0, 1]",
        "0",
        "[5, 6][5]",
    ]


def signalled(folder: str) -> tuple[str, int]:
    """Train; a signal comes to the second process alone, in a step."""
    step = Learner.step

    def interrupted(self: Learner, *arguments: Any) -> Any:
        if self.world.rank == 1 and arguments[1] == 5:
            signal.raise_signal(signal.SIGTERM)
        return step(self, *arguments)

    pytest.MonkeyPatch().setattr(Learner, "step", interrupted)
    from charrnn.training import session

    found = []
    ending = session.TrainingSession.run

    def watched(self: Any) -> Any:
        try:
            return ending(self)
        except charrnn.errors.Interrupted as error:
            found.append((error.text, error.signal_number))
            raise

    pytest.MonkeyPatch().setattr(session.TrainingSession, "run", watched)
    shared(folder, eval_every=40, save_every=40, sample_every=40)
    return found[0]


def test_a_signal_to_one_stops_all(tmp_path: Path) -> None:
    found = in_group(signalled, str(tmp_path / "run"))
    assert found == [("stopped after step 7", signal.SIGTERM)] * 2
    assert checkpoint.read(tmp_path / "run" / "last.safetensors", training=True).info["step"] == 7

"""Signals: the first lets the work in hand be saved, a second ends the program at once."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.console.display import PlainDisplay
from charrnn.corpus import reader
from charrnn.runs.run_dir import RunDir
from charrnn.scoring.scorer import Scorer
from charrnn.training import evaluation, ingest, samples, shared_plan
from charrnn.training.learner import Learner
from charrnn.training.signals import SIGNALS, Cancelled, SignalHandler
from tests.trainings import TEXT, Child, arguments, children, snapshot

pytestmark = pytest.mark.serial

Capture = pytest.CaptureFixture[bytes]
Start = Callable[..., Child]

MORE = ["--eval-every", "10", "--save-every", "10", "--sample-every", "20", "--patience", "0"]


@pytest.fixture(autouse=True)
def _as_shells_leave_them() -> Iterator[None]:
    """Signals as a program in the foreground finds them, whoever runs the tests."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("corpus.txt")
    path.write_bytes(TEXT)
    return path


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("straight")
    (folder / "corpus.txt").write_bytes(TEXT)
    assert main(arguments(folder / "corpus.txt", folder / "run", *MORE)) == 0
    return folder / "run"


@pytest.fixture
def start() -> Iterator[Start]:
    yield from children()


def same(run: Path, other: Path) -> bool:
    """Whether two runs ended with the same files."""
    names = ("last.safetensors", "model.safetensors")
    return all((run / name).read_bytes() == (other / name).read_bytes() for name in names)


def signalling(owner: Any, name: str, call: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have a signal arrive when something is called for the n-th time; returns the calls made."""
    function, calls = getattr(owner, name), [0]

    def signalled(*args: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            signal.raise_signal(number)
        return function(*args, **more)

    monkeypatch.setattr(owner, name, signalled)
    return calls


PHASES = {
    "step": (Learner, "step", 18, 18),
    "evaluation": (evaluation, "score_ids", 2, 20),
    "sampling": (samples, "generate", 1, 20),
    "save": (os, "fsync", 11, 20),  # a save syncs the file and the folder
    "first save": (os, "fsync", 3, 0),  # before it config.toml was written
    "exact figures": (Scorer, "texts", 1, 40),
}


@pytest.mark.parametrize("phase", PHASES)
def test_cl_08_an_interrupted_run_is_saved_and_goes_on(
    phase: str, corpus: Path, straight: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """CL-08: announced at once, saved after the last finished step, exit 130; resumed, it is the uninterrupted run."""
    owner, name, call, step = PHASES[phase]
    run = Path("run")
    with monkeypatch.context() as patched:
        calls = signalling(owner, name, call, signal.SIGINT, patched)
        assert main(arguments(corpus, run, *MORE)) == 130
        assert calls[0] >= call
    out, err = capfdbinary.readouterr()
    assert out == b""
    assert err.count(b"stopping, saving...\n") == 1
    again = "charrnn train --resume --out run"
    assert err.endswith(f"Error: stopped after step {step}; go on with: {again}\n".encode())
    assert checkpoint.read(run / "last.safetensors").info["step"] == step
    assert not same(run, straight)
    assert main(again.split()[1:]) == 0
    assert same(run, straight)


STARTS = {"read": (reader, "read_corpus"), "encode": (ingest, "prepare"), "plan": (shared_plan, "make_plan")}


@pytest.mark.parametrize("start", STARTS)
def test_cl_08_at_the_start_there_is_nothing_to_save(
    start: str, corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """CL-08 in start-up: exit 130, one line, no run is left, and an earlier one is not touched."""
    with monkeypatch.context() as patched:
        signalling(*STARTS[start], 1, signal.SIGINT, patched)
        assert main(arguments(corpus, "run")) == 130
    assert capfdbinary.readouterr() == (b"", b"Error: stopped before the first step; nothing to save\n")
    assert not Path("run").exists() or snapshot(Path("run")) == {}
    assert main(arguments(corpus, "run", steps=2)) == 0
    before = snapshot(Path("run"))
    signalling(*STARTS[start], 1, signal.SIGINT, monkeypatch)
    assert main(arguments(corpus, "run", "--overwrite")) == 130
    assert snapshot(Path("run")) == before


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_cl_10_each_signal_has_its_code(
    name: str, code: int, corpus: Path, straight: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """CL-10: SIGTERM and SIGHUP work as SIGINT does."""
    with monkeypatch.context() as patched:
        signalling(Learner, "step", 18, signal.Signals[name], patched)
        assert main(arguments(corpus, "run", *MORE)) == code
    assert b"stopping, saving...\n" in capfdbinary.readouterr().err
    assert main(["train", "--resume", "--out", "run"]) == 0
    assert same(Path("run"), straight)


def test_a_signal_that_is_ignored_stays_ignored(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture
) -> None:
    """`nohup charrnn train` outlives its terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signalling(Learner, "step", 5, signal.SIGHUP, monkeypatch)
    assert main(arguments(corpus, "run")) == 0
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_handlers_are_put_back() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with contextlib.suppress(ValueError), SignalHandler().listen():
        assert all(signal.getsignal(number) != handler for number, handler in before.items())
        raise ValueError
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_a_first_signal_is_raised_or_deferred() -> None:
    announced: list[str] = []
    for deferred in (False, True):
        handler = SignalHandler()
        handler.announce, handler.deferred = lambda: announced.append("stopping"), deferred
        with handler.listen():
            handler.check()
            with contextlib.nullcontext() if deferred else pytest.raises(Cancelled):
                signal.raise_signal(signal.SIGTERM)
            assert (handler.signal, announced) == (signal.SIGTERM, ["stopping"] if deferred else [])
            with pytest.raises(Cancelled):
                handler.check()


def test_a_second_signal_ends_the_program(corpus: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: Capture) -> None:
    """CL-09: at once, with the second one's code, after the terminal has been put in order."""
    exits: list[object] = []

    def leave(code: int) -> None:
        exits.append(code)
        raise SystemExit

    step = Learner.step

    def signalled(*args: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return step(*args, **more)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(PlainDisplay, "abandon", lambda self: exits.append("abandoned"))
    monkeypatch.setattr(Learner, "step", signalled)
    with pytest.raises(SystemExit):
        main(arguments(corpus, "run"))
    assert exits == ["abandoned", 143]


def test_in_python_a_second_signal_is_an_interrupt() -> None:
    handler = SignalHandler()
    handler.deferred = True
    with handler.listen():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_other_threads_receive_no_signals() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    during: list[object] = []

    def listen() -> None:
        with SignalHandler().listen():
            during.append({number: signal.getsignal(number) for number in SIGNALS})

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert during == [before]


# --- in a process of its own ---------------------------------------------------------------------


def saves_for_ever() -> None:
    """For a child: a save from step 20 on does not come to its end, and says that it has begun."""
    save, fsync = RunDir.save_last, os.fsync
    patch = pytest.MonkeyPatch()
    late = [False]

    def noted(self: RunDir, state: Any) -> None:
        late[0] = int(state.info["step"]) >= 20
        save(self, state)

    def slow(descriptor: int) -> None:
        fsync(descriptor)
        if late[0]:
            Path("saving").touch()
            time.sleep(60)

    patch.setattr(RunDir, "save_last", noted)
    patch.setattr(os, "fsync", slow)


def test_cl_09_a_second_interrupt_while_saving(corpus: Path, straight: Path, start: Start) -> None:
    """CL-09: exit 130 at once, and the checkpoint before is intact."""
    run = Path("run")
    child = start(arguments(corpus, run, *MORE), Path("child"), prepare=saves_for_ever)
    child.wait_until(Path("saving").exists)
    os.kill(child.pid, signal.SIGINT)
    child.wait_until(lambda: b"stopping, saving...\n" in child.stderr.read_bytes(), seconds=2)
    began = time.monotonic()
    os.kill(child.pid, signal.SIGINT)
    assert child.wait() == 130
    assert time.monotonic() - began < 2
    assert child.stdout.read_bytes() == b""
    assert b"Traceback" not in child.stderr.read_bytes()
    assert checkpoint.read(run / "last.safetensors").info["step"] == 10
    assert main(["train", "--resume", "--out", "run"]) == 0
    assert same(run, straight)


def takes_long_steps() -> None:
    """For a child: steps of a tenth of a second."""
    step = Learner.step

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(0.1)
        return step(*args, **more)

    pytest.MonkeyPatch().setattr(Learner, "step", slow)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_cl_10_from_outside(number: int, code: int, corpus: Path, start: Start) -> None:
    """CL-10 and CL-08's second: a real signal to a real process, in whatever it is doing."""
    run = Path("run")
    child = start(arguments(corpus, run, steps=10**6), Path("child"), prepare=takes_long_steps)
    child.wait_until((run / "last.safetensors").exists)
    began = time.monotonic()
    os.kill(child.pid, number)
    child.wait_until(lambda: b"stopping, saving...\n" in child.stderr.read_bytes() or not child.alive, seconds=2)
    assert time.monotonic() - began < 2
    assert child.wait() == code
    assert child.stderr.read_bytes().endswith(b"go on with: charrnn train --resume --out run\n")
    assert child.stdout.read_bytes() == b""

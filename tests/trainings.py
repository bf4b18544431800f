"""Small trainings: in this process, with all their events, and in others, which a test can kill."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, TypeVar

import numpy as np

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.train import TrainConfig
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.formats import TextFormat
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.errors import Interrupted
from charrnn.runs.events import Event, Note, StepEvent
from charrnn.training.distributed import ALONE, World
from charrnn.training.session import TrainingSession

TEXT = (b"The quick brown fox jumps over the lazy dog.\n" * 7)[:300]
"""270 characters to train on: 8 steps an epoch with the sizes of `SMALL`; and 30 to validate on."""

PROSE = "\n".join(topics[topic] for topic in sorted(topics)[:3]).encode()[:1200]
"""Of many different words, for tokenizers that would take those of `TEXT` whole."""

Kind = TypeVar("Kind", bound=Event)

SMALL: Mapping[str, Any] = {"hidden": (8,), "batch": 4, "seq_len": 8, "lr": 0.01, "steps": 40, "threads": 1}


def corpus_of(*texts: bytes, separator: bytes = b"", weights: list[int] | None = None) -> Corpus:
    """Return a corpus of texts in memory."""
    named = [(f"text {number}", text) for number, text in enumerate(texts)]
    counts = None if weights is None else np.array(weights, np.int64)
    return Corpus.from_texts(named, TextFormat(separator), counts)


def dataset_of(*texts: bytes, fraction: float = 0.1, separator: bytes = b"", **options: Any) -> Dataset:
    """Return a dataset of texts."""
    return prepare(corpus_of(*texts, separator=separator), None, PrepareOptions(val_fraction=fraction, **options))


@dataclass
class Outcome:
    """What came of a training: the loss of each step as `repr` prints it, its events, and the warnings among them."""

    losses: dict[int, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    interrupted: bool = False

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return the events of a class."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def warnings(self) -> list[str]:
        """Return the messages of the notes that are warnings."""
        return [note.message for note in self.of(Note) if note.level == "warning"]


def train(
    folder: Path,
    *,
    dataset: Dataset | None = None,
    stop_at: tuple[type[Event], int] | None = None,
    resume: bool = False,
    given: Mapping[str, Any] | None = None,
    world: World = ALONE,
    **options: Any,
) -> Outcome:
    """Train in this process.

    Args:
        folder: of the run; created if need be.
        dataset: what to train on; None: `TEXT`.
        stop_at: the class and the step of an event at which a signal comes.
        resume: continue the run in `folder`, its plan changed as `given` says.
        world: the processes that train together.
        options: of the plan, instead of those of `SMALL`.
    """
    config = TrainConfig(**{**SMALL, **options, **(given or {}), "out": str(folder), "device": "cpu", "resume": resume})
    if dataset is None:
        text = PROSE if config.tokenizer == "sentencepiece" else TEXT
        separator = config.record_separator
        names = {"tokenizer": config.tokenizer, "vocab_size": config.vocab_size, "split_seed": config.split_seed}
        dataset = dataset_of(text, fraction=config.val_fraction, separator=separator, **names)
    outcome = Outcome()

    def callback(event: Event) -> None:
        outcome.events.append(event)
        if isinstance(event, StepEvent):
            outcome.losses[event.step] = repr((event.loss, event.gradient_norm, event.learning_rate))
        if stop_at == (type(event), event.step):
            signal.raise_signal(signal.SIGINT)

    session = TrainingSession(config, given=frozenset(given or {}), text=dataset, callbacks=[callback], world=world)
    try:
        session.run()
    except Interrupted:
        outcome.interrupted = True
    return outcome


def change(path: Path, change: Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], None]) -> None:
    """Rewrite a checkpoint with its weights, training tensors and info changed in place."""
    old = checkpoint.read(path, training=True)
    weights, training = dict(old.weights), {name: np.array(value) for name, value in old.training.items()}
    change(weights, training, old.info)
    checkpoint.write(path, Checkpoint(old.architecture, old.tokenizer, weights, old.info, training))


def tensors(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return every tensor of a checkpoint to resume from: dtype, shape and bytes."""
    read = checkpoint.read(path, training=True)
    arrays = {**read.weights, **{f"train.{name}": value for name, value in read.training.items()}}
    return {name: (str(value.dtype), value.shape, value.tobytes()) for name, value in arrays.items()}


def arguments(corpus: Path | str, out: Path | str, *more: str, steps: int = 40) -> list[str]:
    """Return the command line that trains with the options of `SMALL`."""
    sizes = ["--hidden", "8", "--batch", "4", "--seq-len", "8", "--lr", "0.01", "--threads", "1", "--patience", "0"]
    return ["train", str(corpus), *sizes, "--steps", str(steps), "--out", str(out), *more]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a folder, by its path, but for the lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


PRELOADED = ["pytest", "charrnn.cli.app", "charrnn.cli.train", "charrnn.training.session"]
"""What a `Child` has imported when it starts."""


class Child:
    """A command in a process of its own, which has most of the program imported already.

    Args:
        command: arguments of `charrnn`.
        folder: where `stdout` and `stderr` of the process go.
        prepare: a function of a module, called in the process before the command.
    """

    def __init__(self, command: list[str], folder: Path, prepare: Callable[[], None] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stdout, self.stderr = folder / "stdout", folder / "stderr"
        for path in (self.stdout, self.stderr):
            path.write_bytes(b"")
        process = _servers().Process(target=_run, args=(command, str(folder), prepare), daemon=True)
        process.start()
        assert isinstance(process, ForkServerProcess)
        self.process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self.process.exitcode is None

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end; return the exit code, or minus the signal that ended it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still running: {self.stderr.read_bytes()!r}"
        return self.process.exitcode

    def wait_until(self, holds: Callable[[], bool], seconds: float = 60) -> None:
        """Return once `holds` does; the process must not end before."""
        end = time.monotonic() + seconds
        while not holds():
            assert self.alive or holds(), f"ended too soon: {self.stderr.read_bytes()!r}"
            assert time.monotonic() < end, f"waited in vain: {self.stderr.read_bytes()!r}"
            time.sleep(0.002)

    def kill(self) -> None:
        """Send SIGKILL, and wait."""
        self.process.kill()
        self.wait()


def children() -> Iterator[Callable[..., Child]]:
    """For a fixture: yield a function that starts a `Child`; in the end kill those that are alive."""
    made: list[Child] = []

    def start(*args: Any, **more: Any) -> Child:
        made.append(Child(*args, **more))
        return made[-1]

    yield start
    for child in made:
        if child.alive:
            child.kill()
        child.process.close()


def _servers() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _run(command: list[str], folder: str, prepare: Callable[[], None] | None) -> None:
    for number, name in ((1, "stdout"), (2, "stderr")):
        descriptor = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    if prepare is not None:
        prepare()
    sys.exit(main(command))

"""Files that are wrong, read by all that reads them: in each a sentence, or a model that works; never anything else.

`python -m tests.campaign.mutants --count 50000 --seed 1 [--jobs 2] [--only NUMBER]`
"""

import contextlib
import functools
import io
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from charrnn.__main__ import main as charrnn_main
from charrnn.config.train import TrainConfig
from charrnn.errors import CharRNNError
from charrnn.model import Model
from charrnn.runs.events import Event, Note, StepEvent
from charrnn.training.session import TrainingSession
from tests.campaign.mutations import mutate, mutate_text
from tests.campaign.workers import run_campaign
from tests.program.program import command, environment
from tests.trainings import PROSE, SMALL, TEXT

MAX_SECONDS = 20.0
"""Of one mutant, on a busy machine; most take a hundredth of a second."""

MAX_MEMORY = 64 << 30
"""Bytes of addresses of a process that reads mutants; a file may ask for a thousand threads."""

MAX_RESIDENT = 1.5e9
"""Bytes of memory that such a process may have used, PyTorch included."""

PROGRAM_EVERY = 400
"""One mutant in so many is read by the program too, as a process."""

EXIT_CODES = {0, 2, 3, 4, 5}
"""How a command may end whose file is wrong."""

RUNS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm", "dropout": 0.3, "weight_drop": 0.2},
    "gru bytes": {"cell": "gru", "tokenizer": "byte", "hidden": (8, 6)},
    "rnn records": {"cell": "rnn-relu", "records": True},
    "pieces": {"cell": "lstm", "tokenizer": "sentencepiece", "vocab_size": 264},
    "minlstm": {"cell": "minlstm", "hidden": (6, 6), "optimizer": "adam"},
    "sgd": {"cell": "gru", "optimizer": "sgd"},
    "rmsprop": {"cell": "lstm", "optimizer": "rmsprop", "engine": "torch"},
    "finished": {"cell": "gru", "records": True, "steps": 12},
    "float16": {"cell": "rnn", "engine": "torch", "precision": "float16"},
}
"""The runs whose files are made wrong: options besides those of `SMALL`. They are stopped at step 13."""

FILES = ("model.safetensors", *["last.safetensors"] * 3, "metrics.jsonl", "config.toml")
"""Which file of a run; resuming reads most."""


class TooLong(BaseException):
    """A mutant has taken longer than MAX_SECONDS."""


@functools.cache
def make_run(name: str) -> dict[str, bytes]:
    """Return the files of a run that was stopped at step 13, by name; its text is `NAME.txt`, where the process is."""
    text = Path(f"{name}.txt")
    text.write_bytes(PROSE if name == "pieces" else TEXT)
    options = {**SMALL, "eval_every": 5, "save_every": 4, "sample_every": 10, "patience": 0, **RUNS[name]}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        session(TrainConfig(corpus=(str(text),), out=folder, **options), steps=13)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.suffix != ".lock"}
    files["config.toml"] = files["config.toml"].replace(str(text.absolute()).encode(), str(text).encode())
    return files


def session(config: TrainConfig, *, steps: int) -> tuple[str, list[str]]:
    """Train for so many steps at most; return what came of it, and the warnings."""
    warnings: list[str] = []
    taken = 0

    def callback(event: Event) -> None:
        nonlocal taken
        if isinstance(event, Note) and event.level == "warning":
            warnings.append(event.message)
        if isinstance(event, StepEvent):
            taken += 1
            if taken == steps:
                signal.raise_signal(signal.SIGINT)

    def go_on() -> str:
        TrainingSession(config, callbacks=[callback]).run()
        return "works"

    return outcome_of(go_on), warnings


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TooLong in the block once it has taken so long."""

    def stop(number: int, frame: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome_of(action: Callable[[], str]) -> str:
    """Return what came of reading a mutant: "works", or the class of the error that says why not."""
    try:
        return action()
    except CharRNNError as error:
        message = str(error)
        assert message, "an error without a sentence"
        assert "\n" not in message, f"not one line: {message!r}"
        return type(error).__name__


def use(path: Path) -> str:
    """Score and sample with a model's file."""
    model = Model.load(path)
    score = model.score("the quick brown fox\n")
    assert score.tokens > 0
    model.sample(length=12, seed=1)
    return "works"


def show(path: Path, *options: str) -> str:
    """Show a model's card."""
    streams = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        code = charrnn_main(["show", str(path), *options])
    streams[1].flush()
    buffer = streams[1].buffer
    assert isinstance(buffer, io.BytesIO)
    return judge(code, buffer.getvalue())


def judge(code: int, err: bytes) -> str:
    """Return how a command ended; AssertionError: as none should."""
    text = err.decode("utf-8", "replace")
    assert code in EXIT_CODES, f"exit {code}: {text}"
    assert "Traceback" not in text, text
    assert "a bug" not in text, text
    if code:
        assert text.splitlines()[-1].startswith("Error: "), text
    return "works" if not code else f"exit {code}"


def read_by_program(folder: Path, file: str, rng: random.Random) -> str:
    """Let the program read a run's folder, or one file of it, as a process."""
    model = folder / file if file.endswith(".safetensors") else folder
    words: list[str | Path] = rng.choice(
        [
            ["sample", "-m", model, "--length", "9"],
            ["eval", "-m", model, "-f", "perplexity"],
            ["show", folder],
            ["train", "--resume", "--out", folder],
        ]
    )
    done = subprocess.run(
        command(*words), input=b"the quick\n", capture_output=True, env=environment(), timeout=120, check=False
    )
    assert words[0] == "train" or done.stderr.count(b"\n") <= 1, done.stderr
    return judge(done.returncode, done.stderr)


def read_mutant(seed: int, number: int, folder: Path) -> tuple[str, str]:
    """Make a mutant, and let everything read it.

    Args:
        folder: an empty one, for its run.

    Returns:
        What it is, and what came of it.

    Raises:
        AssertionError, or any other exception: a reader did what none should.
    """
    rng = random.Random(f"{seed} {number}")  # noqa: S311 (nothing secret)
    name, file = rng.choice(list(RUNS)), rng.choice(FILES)
    files = make_run(name)
    is_model = file.endswith(".safetensors")
    mutant = mutate(files[file], rng) if is_model else mutate_text(files[file], rng)
    with_previous = rng.random() < 0.3
    for each, data in files.items():
        if with_previous or each != "previous.safetensors":
            (folder / each).write_bytes(mutant.data if each == file else data)
    what = f"{name}, {file}: {mutant.what}"
    try:
        with time_limit(MAX_SECONDS):
            outcomes = []
            if is_model:
                outcomes.append(outcome_of(functools.partial(use, folder / file)))
                assert mutant.sealed or outcomes == ["CheckpointError"], "a damaged file was used"
            if not is_model or rng.random() < 0.15:
                outcomes.append(show(folder, *rng.choice([(), ("--json",)])))
            config = TrainConfig(out=str(folder), resume=True)
            outcome, warnings = session(config, steps=2 if rng.random() < 0.9 else 40)
            if file == "last.safetensors" and not mutant.sealed:
                if with_previous and "previous.safetensors" in files:
                    assert (outcome in ("works", "Interrupted"), bool(warnings)) == (True, True), (outcome, warnings)
                else:
                    assert (outcome, warnings) == ("CheckpointError", [])
        if number % PROGRAM_EVERY == 0:
            outcomes.append(read_by_program(folder, file, rng))
    except BaseException as error:
        error.add_note(f"seed {seed}, mutant {number}: {what}")
        raise
    return what, " ".join([*outcomes, outcome])


def trial(seed: int, number: int) -> str:
    """Read a mutant; return what came of it."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        outcome = read_mutant(seed, number, Path(folder))[1]
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    assert used < MAX_RESIDENT, f"{used / 1e9:.1f} GB of memory, until mutant {number}"
    return outcome


def main() -> None:
    """Run the campaign; exit 1 if anything failed."""
    sys.exit(run_campaign(trial, __doc__ or "", count=50_000, max_memory=MAX_MEMORY))


if __name__ == "__main__":
    main()

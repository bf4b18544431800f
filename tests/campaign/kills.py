"""Trainings killed at random moments: what they leave is readable, and goes on to the same end, to the last bit.

`python -m tests.campaign.kills --count 200 --seed 1 [--jobs 2] [--only NUMBER]`; each trial is one or two kills.
"""

import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint import format as checkpoint
from charrnn.files import TEMPORARY
from tests.campaign.workers import run_campaign
from tests.trainings import PRELOADED, PROSE, TEXT, Child

MAX_MEMORY = 8 << 30
"""Bytes of a process; a server of processes that have torch is one of them."""

LAST = "last.safetensors"


def options_of(rng: random.Random) -> list[str]:
    """Return options of a run that takes a moment, at random."""
    tokenizer = rng.choice(["char", "char", "byte", "sentencepiece --vocab-size 264"])
    return [
        *f"--cell {rng.choice(['lstm', 'gru', 'rnn', 'minlstm', 'lstm-peephole'])}".split(),
        *f"--hidden {rng.choice(['8', '6,6', '9,5'])} --batch 4 --seq-len 8 --threads 1 --lr 0.01".split(),
        *f"--tokenizer {tokenizer} --optimizer {rng.choice(['adamw', 'adamw', 'adam', 'sgd', 'rmsprop'])}".split(),
        *f"--steps {rng.choice([30, 60, 90])} --save-every {rng.choice([1, 1, 2, 3, 7, 0])}".split(),
        *f"--eval-every {rng.choice([0, 1, 4, 10])} --sample-every {rng.choice([0, 5])}".split(),
        *f"--dropout {rng.choice([0, 0.3])} --patience {rng.choice([0, 8])} --seed {rng.randrange(9)}".split(),
        *rng.choice([[], ["--records"]]),
    ]


def save_slowly() -> None:
    """For a child: every stage of a save takes 5 ms more, so that kills fall into it."""

    def slowed(name: str) -> Any:
        function = getattr(os, name)

        def slow(*args: Any, **more: Any) -> Any:
            time.sleep(0.005)
            result = function(*args, **more)
            time.sleep(0.005)
            return result

        return slow

    patch = pytest.MonkeyPatch()
    for name in ("fsync", "replace", "link"):
        patch.setattr(os, name, slowed(name))


class Watch(threading.Thread):
    """Looks, until it is stopped, whether a file that has been there is there and whole."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.reads = path, 0
        self.fault = ""
        self._stopped = threading.Event()

    def run(self) -> None:
        """See the class."""
        while not self._stopped.is_set():
            try:
                self.path.stat()
                checkpoint.read(self.path, training=True)
                self.reads += 1
            except FileNotFoundError:
                if self.reads:
                    self.fault = "absent"
            except Exception as error:
                self.fault = repr(error)
            time.sleep(0.001)

    def stop(self) -> None:
        """Stop; AssertionError: it was not there, or not whole."""
        self._stopped.set()
        self.join()
        assert not self.fault, self.fault


def trial(seed: int, number: int) -> str:
    """Kill a run once or twice, and let it end; return in what the last kill fell."""
    rng = random.Random(f"{seed} {number}")  # noqa: S311 (nothing secret)
    options = options_of(rng)
    slowly = save_slowly if rng.random() < 0.5 else None
    Path("text.txt").write_bytes(PROSE if "sentencepiece" in options else TEXT)
    PRELOADED[:] = {*PRELOADED, "charrnn.engines.torch.optimizer", "torch._dynamo"}  # seconds, of every child
    run, whole = Path("run"), Path("whole")
    try:
        child = Child(["train", "text.txt", *options, "--out", str(whole)], Path("child"), slowly)
        child.wait_until((whole / "config.toml").exists)  # the first one waits for the server
        began = time.monotonic()
        assert child.wait(120) == 0
        seconds = time.monotonic() - began + 0.2
        what = ""
        for _ in range(rng.choice((1, 1, 2))):
            while (what := _killed(options, run, slowly, rng.uniform(0, seconds))) == "killed too late":
                shutil.rmtree(run)
                seconds /= 2
        last = Child(["train", "text.txt", *options, "--out", str(run), "--auto-resume"], Path("child"))
        assert last.wait(120) == 0, last.stderr.read_bytes().decode()
        assert b"Warning" not in last.stderr.read_bytes()
        for name in ("model.safetensors", LAST):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), f"another {name}"
        assert not [path for path in run.iterdir() if TEMPORARY.fullmatch(path.name)]
    except BaseException as error:
        error.add_note(f"seed {seed}, trial {number}: {' '.join(options)}")
        raise
    finally:
        for folder in (run, whole, Path("child")):
            shutil.rmtree(folder, ignore_errors=True)
    return what


def _killed(options: list[str], run: Path, prepare: Any, seconds: float) -> str:
    """Begin or resume a run and kill it after so long; return what it was at."""
    watch = Watch(run / LAST)
    watch.start()
    child = Child(["train", "text.txt", *options, "--out", str(run), "--auto-resume"], Path("child"), prepare)
    end = time.monotonic() + seconds
    while child.alive and time.monotonic() < end:
        time.sleep(0.001)
    if not child.alive:
        assert child.wait() == 0, child.stderr.read_bytes().decode()
        watch.stop()
        return "killed too late"
    child.kill()
    watch.stop()
    if not (run / LAST).exists():
        return "killed before the first checkpoint"
    checkpoint.read(run / LAST, training=True)
    saving = any(TEMPORARY.fullmatch(path.name) for path in run.iterdir())
    return "killed while saving" if saving else "killed while training"


def main() -> None:
    """Run the campaign; exit 1 if anything failed."""
    sys.exit(run_campaign(trial, __doc__ or "", count=200, max_memory=MAX_MEMORY))


if __name__ == "__main__":
    main()

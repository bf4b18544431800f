"""The Python face: `charrnn.load`, `charrnn.train` and `charrnn.compare`."""

import contextlib
import itertools
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, Unpack

import numpy as np

from charrnn.config.arguments import PathName, TrainArguments
from charrnn.config.eval import EvalConfig
from charrnn.config.renamed import renamed
from charrnn.config.train import TrainConfig
from charrnn.console.display import notebook_display
from charrnn.corpus.documents import ProgressFactory, no_progress
from charrnn.errors import InputError, Interrupted, did_you_mean
from charrnn.model import Model
from charrnn.runs.events import Callback, Event, Note
from charrnn.scoring.compare import Difference, paired_difference
from charrnn.training.distributed import join
from charrnn.training.session import TrainingSession

_COMMAND_LINE_ONLY = {"corpus", "dry_run", "json"}
"""Fields of the configuration that are no arguments of `train`."""


def load(*paths: PathName | None) -> "Model":
    """Read a trained model, or several whose probabilities are averaged; they compute on the CPU, without PyTorch.

    Args:
        paths: each a file, a run's folder or the name of a run under `checkpoints/`; none, or None,
            takes what $CHARRNN_MODEL names, else the run saved last.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        UsageError: several have different vocabularies.
    """
    return Model.load(*paths)


def train(
    corpus: PathName | Iterable[PathName] = (),
    *,
    callbacks: Sequence[Callback] = (),
    progress: ProgressFactory = no_progress,
    **options: Unpack[TrainArguments],
) -> Model:
    """Train a model on text and return it; the run is saved in a folder, as by `charrnn train`.

    In a notebook the training is shown, and the kernel's stop button ends it as Ctrl-C does: a first SIGINT, SIGTERM or
    SIGHUP lets the step in hand finish, saves the run and raises Interrupted, whose message says how to go on and how
    to load the best model so far; a second one does not wait. In a process group of PyTorch's, or started by torchrun,
    all processes train the model together, and each gets it; `callbacks` are called in process 0.

    Args:
        corpus: a file, a folder, a quoted glob or the name of a known corpus, or several; nothing: the text of the run
            to resume, else a text that every Python has.
        callbacks: called with every event of the training: see docs/events.md.
        progress: shows the progress of reading a large text.
        options: those of `charrnn train`, with `_` for `-`: `hidden=(64, 32)`, `time="2m"`, `out="run"`.

    Raises:
        TypeError: there is no such option.
        UsageError: an option cannot be used. InputError: the text cannot be used.
        CheckpointError: the run cannot be resumed.
        Interrupted: a signal came. NonFiniteError: a loss or gradient is not finite. OutputError: a file cannot be
            written. What was done before is saved.
    """
    names = [each.name for each in fields(TrainConfig) if each.name not in _COMMAND_LINE_ONLY]
    for name in options:
        if name not in names:
            advice = renamed("train", name)
            hint = f": it {advice.render(str)}" if advice else did_you_mean(name, names)
            raise TypeError(f"train() got an unexpected keyword argument {name!r}{hint}")
    paths = [corpus] if isinstance(corpus, str | os.PathLike) else list(corpus)
    given: dict[str, Any] = {**options, **({"corpus": tuple(os.fspath(path) for path in paths)} if paths else {})}
    given = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in given.items()}
    config = TrainConfig(**given)
    with contextlib.ExitStack() as stack:
        world = stack.enter_context(join())
        displays = stack.enter_context(notebook_display())
        session = TrainingSession(
            config,
            given=frozenset(given),
            callbacks=[_warn, *displays, *callbacks],
            progress=progress,
            world=world,
        )
        try:
            done = session.run()
        except Interrupted as error:
            if session.run_dir is None:
                raise
            folder = str(session.run_dir.folder)
            raise Interrupted(
                f"{error}; go on with: charrnn.train(resume=True, out={folder!r}), or take the best model so far:"
                f" charrnn.load({folder!r})",
                error.signal_number,
            ) from None
        return world.first(lambda: Model.load(done.model))


def compare(
    a: Model | PathName, b: Model | PathName, texts: Iterable[str | bytes], *, errors: str = EvalConfig.errors
) -> Difference:
    """Return by how much two models differ on the same texts, in bits per byte, as `charrnn eval --lines --compare`:
    the first's minus the second's, and its 95 % interval by a paired bootstrap over the texts, with the same draws each
    time.

    Args:
        a, b: models, or what `load` takes.
        texts: each is scored on its own with its end, as `Model.score_many` does. They are read once; of each, four
            numbers stay in memory.
        errors: what becomes of invalid UTF-8: "strict" refuses it, "replace" reads U+FFFD.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        InputError: there are no texts, or one cannot be used.
        TypeError: `texts` is a single text. UsageError: `errors` is neither.
        NonFiniteError: a model's arithmetic overflows.
    """
    if isinstance(texts, str | bytes):
        raise TypeError("compare() takes an iterable of texts, not a single text")
    models = [each if isinstance(each, Model) else load(each) for each in (a, b)]
    scores = (model.score_many(copy, errors=errors) for model, copy in zip(models, itertools.tee(texts), strict=True))
    pairs = ((one.nats, one.bytes, other.nats, other.bytes) for one, other in zip(*scores, strict=True))
    found = np.fromiter(pairs, np.dtype((np.float64, 4)))  # (M, 4)
    if not len(found):
        raise InputError("no texts to compare the models on")
    nats, sizes, other_nats, other_sizes = found.T
    return paired_difference(nats / math.log(2), sizes, other_nats / math.log(2), other_sizes)


def _warn(event: Event) -> None:
    """Issue notes that are warnings in Python's way."""
    if isinstance(event, Note) and event.level == "warning":
        warnings.warn(event.message, stacklevel=1)

"""A training in this process whose learner is another: for what `charrnn train` has no option for."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar
from unittest import mock

from charrnn.config.train import TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.runs.events import Callback, DoneEvent
from charrnn.training import trainer
from charrnn.training.learner import Learner
from charrnn.training.session import TrainingSession

L = TypeVar("L", bound=Learner)


def experiment(
    config: TrainConfig, dataset: Dataset, learner_type: type[L], callbacks: Sequence[Callback] = (), **attributes: Any
) -> tuple[DoneEvent, L]:
    """Train on the CPU, with one evaluation, at the end; nothing is left on disk.

    Args:
        config: what is not left to the plan. dataset: what to train and validate on.
        learner_type: takes the steps. attributes: set on the learner before it is given its first weights.
        callbacks: called with every event.

    Returns:
        The figures of the finished model, and the learner after the last step.
    """
    made: list[L] = []

    def make_learner(*args: Any, **more: Any) -> L:
        learner = learner_type(*args, **more)
        vars(learner).update(attributes)
        made.append(learner)
        return learner

    with mock.patch.object(trainer, "Learner", make_learner), tempfile.TemporaryDirectory() as folder:
        config = replace(config, out=folder, device="cpu", eval_every=0, save_every=0, sample_every=0)
        done = TrainingSession(config, text=dataset, callbacks=callbacks).run()
    return done, made[0]

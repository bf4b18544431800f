"""The checkpoints of a run: the best model, and what resuming needs."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.checkpoint.header import unusable
from charrnn.config.params import Float, Int, stored_value
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import Array
from charrnn.errors import OutputError
from charrnn.runs.run_dir import RunDir
from charrnn.training.learner import Learner
from charrnn.training.plan import Plan
from charrnn.training.resume import TrainerState


class CheckpointWriter:
    """Writes the checkpoints of one run.

    Args:
        plan: of the run. dataset: its text. run_dir: its folder.
        corpus_sha256: the digest of the text. engine: what trains.
        steps_per_epoch: steps of one pass over the text.
        is_repeatable: whether the run's `config.toml` has all that repeats it, to the last bit.
    """

    def __init__(
        self,
        plan: Plan,
        dataset: Dataset,
        run_dir: RunDir,
        *,
        corpus_sha256: str,
        engine: str,
        steps_per_epoch: int,
        is_repeatable: bool,
    ) -> None:
        self.plan, self.dataset, self.run_dir = plan, dataset, run_dir
        self.corpus_sha256, self.engine, self.steps_per_epoch = corpus_sha256, engine, steps_per_epoch
        self.is_repeatable = is_repeatable

    def epoch(self, step: int) -> float:
        """Return the passes over the text until a step."""
        return round(step / self.steps_per_epoch, 4)

    def save_config(self, state: TrainerState) -> None:
        """Write the options that the run began with, and what was changed since. Raise OutputError if that fails."""
        replans = None if state.replans is None else tuple(state.replans)
        config = replace(self.plan.config, time=None, epochs=None, replans=None, **self.plan.initial)
        self.run_dir.save_config(replace(config, replans=replans))

    def repeat_command(self, state: TrainerState) -> str | None:
        """Return the command that repeats the run from its `config.toml`, to the last bit; None: it cannot be."""
        if not self.is_repeatable or state.replans is None:
            return None
        return shlex.join(["charrnn", "train", "--config", str(self.run_dir.config), "--out", "NEW"])

    def attempt(self, save: Callable[[], None], *, is_needed: bool) -> bool:
        """Save, and return whether that succeeded; only if it is needed does a failure end the run."""
        try:
            save()
        except OutputError as error:
            if is_needed:
                raise
            self.run_dir.warn(f"{error}; will try again at the next save")
            return False
        return True

    def save_model(self, weights: Mapping[str, Array], step: int, metrics: Mapping[str, Any], **info: Any) -> None:
        """Write the best model so far.

        Args:
            weights: the model's. step: at which it was trained.
            metrics: of its evaluation. info: what else its file says about its training; plain JSON.

        Raises:
            OutputError: the file cannot be written. NonFiniteError: a weight is not finite.
        """
        dataset, info = self.dataset, {**self._info(step), "metrics": dict(metrics), **info}
        model = Checkpoint(self.plan.architecture, dataset.tokenizer, dict(weights), info, separator=dataset.separator)
        self.run_dir.save_model(model)

    def read_model(self) -> Checkpoint:
        """Return the best model so far. Raise CheckpointError if its file is not that."""
        model = self.run_dir.read_model()
        try:
            if model.architecture != self.plan.architecture or "progress" in model.info:
                raise ValueError("it is not the best model of this run")
            stored_value(model.info, "step", Int())
            if "temperature" in model.info:
                stored_value(model.info, "temperature", Float(0, open_low=True))
        except ValueError as error:
            raise unusable(self.run_dir.model, str(error)) from None
        return model

    def save_state(self, learner: Learner, state: TrainerState) -> None:
        """Write what resuming needs. Raise as `save_model`, and CharRNNError where processes have different weights."""
        learner.check_alike()
        dataset, info = self.dataset, {**self._info(state.step), "progress": state.to_json()}
        self.run_dir.save_last(
            Checkpoint(
                self.plan.architecture,
                dataset.tokenizer,
                learner.weights(),
                info,
                learner.state_dict(),
                dataset.separator,
            )
        )

    def _info(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "epoch": self.epoch(step),
            "steps_per_epoch": self.steps_per_epoch,
            "corpus_sha256": self.corpus_sha256,
            "engine": self.engine,
            "plan": self.plan.to_json(),
        }

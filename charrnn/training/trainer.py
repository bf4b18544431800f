"""The loop: step, and now and then evaluate, sample and save; at the end score the best model exactly.

What is due at a step is done before the step is taken, and is noted in the checkpoint. So a run
that was stopped anywhere goes on as if it had not been.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.dataset.batches import batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import InferenceEngine
from charrnn.engines.select import inference_engine
from charrnn.errors import Interrupted, NonFiniteError, OutputError
from charrnn.generation.generate import generate
from charrnn.runs.events import (
    Callback,
    DoneEvent,
    EvalEvent,
    Event,
    PlanEvent,
    ReplanEvent,
    SampleEvent,
    SaveEvent,
    StepEvent,
    is_stored,
    to_json,
)
from charrnn.runs.run_dir import RunDir
from charrnn.training.evaluation import evaluate_exact, evaluate_streams, metrics, perplexity
from charrnn.training.learner import Learner
from charrnn.training.plan import Plan, describe
from charrnn.training.resume import TrainerState
from charrnn.training.schedule import ScheduleProgress, learning_rate
from charrnn.training.signals import Cancelled, SignalHandler
from charrnn.training.temperature import FIT_TOKENS, fit_temperature, scale_head
from charrnn.training.throughput import usable_seconds

Kind = TypeVar("Kind", bound=Event)

MAX_ANNEALING_GAIN = 0.15
"""Nats per symbol that a fall of the learning rate from its highest to zero may bring; Tiny Shakespeare gives 0.1."""


REALIGN_TOLERANCE, REALIGN_EPOCHS = 0.1, 0.5
"""Where the rows' end is so many epochs away from a run's last step, they go on from elsewhere, but once only: so many
epochs before the end. Going on from elsewhere costs the state, and what is skipped or read again (0.008 nats where
it happens eight times in two epochs of Tiny Shakespeare), and not ending at the end costs more (0.015)."""


_SAMPLE = SampleConfig(temp=0.8, length=240)


_RECORDS = 12  # in a sample


class Trainer:
    """One run, from its first or any later step to its end.

    Args:
        plan: what to do. split: the corpus. run: where to save.
        device: "cpu", "cuda" or "cuda:N".
        corpus_sha256: goes into every checkpoint.
        callback: is handed every event, after it was logged.
        elapsed: seconds since the run began, earlier sessions included.
        stop: whether to stop.
        resumed: the checkpoint to go on from; None starts.
    """

    def __init__(
        self,
        plan: Plan,
        split: Dataset,
        run: RunDir,
        *,
        device: str,
        corpus_sha256: str,
        callback: Callback,
        elapsed: Callable[[], float],
        stop: SignalHandler,
        resumed: Checkpoint | None = None,
    ) -> None:
        self.plan, self.split, self.run, self.device, self.stop = plan, split, run, device, stop
        self.corpus_sha256, self.callback, self.elapsed = corpus_sha256, callback, elapsed
        config = plan.config
        assert config.steps is not None
        self.learner = Learner(plan.architecture, config, device)
        self.rows = batch_loader(split, batch=config.batch, seq_len=config.seq_len, seed=config.seed)
        self.progress = TrainerState(ScheduleProgress(config.steps), config.steps)
        if resumed is None:
            self.learner.init_output_bias(split.train.ids)
        else:
            self.learner.load(resumed.weights, resumed.training)
            if (engine := resumed.info["engine"]) != self.learner.engine:
                run.warn(
                    f"the {engine} engine has trained this run until now, and it goes on with {self.learner.engine}:"
                    " the figures agree to rounding, no longer to the last bit"
                )
            self.progress = TrainerState.from_json(resumed.info["progress"])
            before = resumed.info["plan"]["config"]
            if before["steps"] != config.steps:
                self.progress = replace(self.progress, course=ScheduleProgress(config.steps), reason="")
                self._realign(config.steps)
            if before["patience"] != config.patience:
                self.progress.reason = ""
        self.symbols = self.rows.batch_size * self.rows.seq_len
        self.training_time = 0.0  # since the last evaluation
        self.trained_since = 0
        self.whole_time = 0.0  # until the last evaluation
        self.trained_before = 0

    def train(self) -> DoneEvent:
        """Train to the end.

        Returns:
            The finished model's path and exact figures.

        Raises:
            Interrupted: a signal came; what was done is saved.
            NonFiniteError: a loss or gradient is not finite; nothing was saved since.
            OutputError: the model cannot be written.
        """
        self.stop.deferred = True
        self._emit(PlanEvent, **describe(self.plan, self.split, self.device))
        try:
            while not self._ended():
                self._run_callbacks()
                if not self.progress.reason:
                    self._step()
            self._save_last()
            return self._finish()
        except Cancelled:
            self._save_last()
            assert self.stop.signal is not None
            raise Interrupted(f"stopped after step {self.progress.step:,}", self.stop.signal) from None
        except NonFiniteError as error:
            where = f"the last good checkpoint is in '{self.run.folder}'" if self.run.exists else "nothing is saved"
            raise NonFiniteError(f"{error}; {where}; a lower --lr or --clip may help") from None

    def _ended(self) -> bool:
        """Whether nothing is left but the exact figures."""
        progress = self.progress
        if not progress.reason and progress.step >= progress.course.steps and self._evaluated():
            progress.reason = "steps"
        return bool(progress.reason)

    def _evaluated(self) -> bool:
        return self.progress.evaluated == self.progress.step or not len(self.split.val)

    def _run_callbacks(self) -> None:
        config, progress = self.plan.config, self.progress
        last = progress.step >= progress.course.steps
        self.stop.check()
        if not self._evaluated() and (last or _due(config.eval_every, progress.step)):
            self._evaluate()
            self._replan()
        if progress.sampled != progress.step and _due(config.sample_every, progress.step) and not last:
            self._sample()
        if progress.step == 0 or _due(config.save_every, progress.step):
            self._try(self._save_last, needed=progress.step == 0)
        self.stop.check()
        if last:
            self._ended()

    def _step(self) -> None:
        config, progress = self.plan.config, self.progress
        assert config.lr is not None
        assert config.eval_every is not None
        begin = time.monotonic()
        rate = learning_rate(config.schedule, config.lr, self._done())
        found = self.learner.step(self.rows.batch(progress.step, progress.end), progress.step, rate)
        progress.step += 1
        logged = progress.step % max(1, (config.eval_every or progress.course.steps) // 10) == 0
        if logged or _due(config.eval_every, progress.step):
            found = self.learner.synchronize()
        self.training_time += time.monotonic() - begin
        self.trained_since += 1
        self._emit(
            StepEvent,
            loss=found.loss,
            perplexity=perplexity(found.loss),
            learning_rate=rate,
            gradient_norm=found.gradient_norm,
            chars_per_second=self._speed(),
            logged=logged,
        )
        if logged and progress.course.steps - progress.step < config.eval_every:
            self._replan()

    def _speed(self) -> float:
        return self.trained_since * self.symbols / max(1e-9, self.training_time)

    def _emit(self, kind: type[Kind], **values: Any) -> Kind:
        """Log an event and hand it on."""
        event = kind(
            step=self.progress.step,
            epoch=round(self.progress.step / self.rows.steps_per_epoch, 4),
            seconds=round(self.elapsed(), 3),
            **values,
        )
        if is_stored(event):
            self.run.log(to_json(event))
        self.callback(event)
        return event

    def _engine(self, weights: Mapping[str, Any]) -> InferenceEngine:
        return inference_engine(self.plan.architecture, weights, device=self.device, threads=self.plan.config.threads)

    def _check(self, tokens: int) -> None:
        self.stop.check()

    def _evaluate(self) -> None:
        """Score the validation text's pieces side by side, and keep the model if it is the best."""
        progress, split = self.progress, self.split
        weights = self.learner.weights()
        score = evaluate_streams(self._engine(weights), split, self.plan.config.val_limit, self._check)
        loss = score.nats / score.tokens
        before = math.inf if progress.best is None else progress.best
        best = loss < before
        progress.evaluated = progress.step
        found = {**metrics(score), "best": best}

        def save() -> None:
            self._save_model(weights, {"validation": found})

        if best:
            if self._try(save, needed=progress.step >= progress.course.steps):
                progress.best, progress.best_step, progress.evals_beyond_recovery = loss, progress.step, 0
        elif loss > before + self._expected_annealing_gain():
            progress.evals_beyond_recovery += 1
        self._emit(EvalEvent, **found)
        patience = self.plan.config.patience
        if patience and progress.evals_beyond_recovery >= patience:
            progress.reason = "patience"

    def _expected_annealing_gain(self) -> float:
        """How much better, in nats per symbol, a model may still become just because the rate falls."""
        schedule = self.plan.config.schedule
        now, last = (learning_rate(schedule, 1.0, done) for done in (self._done(), 1.0))
        return MAX_ANNEALING_GAIN * max(0.0, now - last)

    def _done(self) -> float:
        return self.progress.course.progress(self.progress.step)

    def _replan(self) -> None:
        """If the machine turned out slower or faster than planned, plan the rest anew.

        Late in a run the loss is falling fastest and a change matters most, so only what would miss
        the end by much is changed. A slow moment is not taken for a slow machine: what is expected is half
        what was seen since the last evaluation, half what was seen in all.
        """
        config, progress = self.plan.config, self.progress
        left = progress.course.steps - progress.step
        if config.time is None or not self.trained_since or left <= 0 or progress.reason:
            return
        kept = self.plan.end + self.plan.eval_seconds * left / progress.course.steps
        recent = self.training_time / self.trained_since  # seconds a step
        self.whole_time += self.training_time
        self.trained_before += self.trained_since
        self.training_time, self.trained_since = 0.0, 0
        usual = self.whole_time / self.trained_before
        affordable = max(
            1, int((usable_seconds(config.time, self.plan.end) - self.elapsed() - kept) / ((recent + usual) / 2))
        )
        tolerated = max(0.02 * progress.course.steps, 0.1 * left)
        if affordable < left - tolerated or (affordable > left + tolerated and not self.plan.has_step_limit):
            steps = progress.step + affordable
            progress.course = progress.course.revise(progress.step, steps)
            self._emit(ReplanEvent, steps=steps, reason="the machine's speed has changed")
        epoch, last = self.rows.steps_per_epoch, progress.course.steps
        if last - progress.step <= REALIGN_EPOCHS * epoch and abs(last - progress.end) > REALIGN_TOLERANCE * epoch:
            self._realign(last)

    def _realign(self, step: int) -> None:
        """Let the rows of a stream go on from where they will end at that step; records are read in any order."""
        if not self.split.train.records:
            self.progress.end = step
            self.learner.reset_state()

    def _sample(self) -> None:
        """Show what the model writes; its random numbers are its own."""
        split, seed = self.split, self.plan.config.seed
        how = replace(_SAMPLE, num=_RECORDS) if split.separator else _SAMPLE
        texts = [bytearray() for _ in range(how.num)]
        engine = self._engine(self.learner.weights())
        for part in generate(engine, split.tokenizer, split.train.ids[:0], how, seed=seed, separator=split.separator):
            self.stop.check()
            texts[part.index] += part.data
        self.progress.sampled = self.progress.step
        self._emit(SampleEvent, text=b"\n".join(texts).decode("utf-8", "replace"))

    def _info(self, **more: Any) -> dict[str, Any]:
        return {
            "step": self.progress.step,
            "epoch": round(self.progress.step / self.rows.steps_per_epoch, 4),
            "steps_per_epoch": self.rows.steps_per_epoch,
            "corpus_sha256": self.corpus_sha256,
            "engine": self.learner.engine,
            "plan": self.plan.to_json(),
            **more,
        }

    def _try(self, save: Callable[[], None], *, needed: bool) -> bool:
        """Save, and tell whether that went well. A save that is not needed to go on may fail."""
        try:
            save()
        except OutputError as error:
            if needed:
                raise
            self.run.warn(f"{error}; will try again at the next save")
            return False
        return True

    def _save_model(self, weights: Mapping[str, Any], metrics: Mapping[str, Any], **more: Any) -> None:
        self.run.save_model(
            Checkpoint(
                self.plan.architecture,
                self.split.tokenizer,
                dict(weights),
                {**self._info(), "metrics": dict(metrics), **more},
                separator=self.split.separator,
            )
        )

    def _save_last(self) -> None:
        """Write what resuming needs."""
        self.run.save_last(
            Checkpoint(
                self.plan.architecture,
                self.split.tokenizer,
                self.learner.weights(),
                self._info(progress=self.progress.to_json()),
                self.learner.tensors(),
                self.split.separator,
            )
        )
        self._emit(SaveEvent, path=str(self.run.last))

    def _finish(self) -> DoneEvent:
        """Fit the best model's temperature, score it as `charrnn eval` does, and write the figures into it."""
        split, progress, config = self.split, self.progress, self.plan.config
        metrics: dict[str, Any] = {}
        more: dict[str, Any] = {}
        if len(split.val):
            best = checkpoint.read(self.run.model)
            weights, step = best.weights, int(best.info["step"])
            if (temperature := best.info.get("temperature")) is None:  # else this run was finished once before
                limit = min(config.val_limit, FIT_TOKENS)
                temperature = fit_temperature(self._engine, weights, split, limit, self._check)
                weights = scale_head(weights, temperature)
            more["temperature"] = temperature
            metrics = evaluate_exact(self._engine(weights), split, self.plan.exact_tokens, config.errors, self._check)
        else:
            weights, step = self.learner.weights(), progress.step
        self._save_model(weights, metrics, step=step, epoch=round(step / self.rows.steps_per_epoch, 4), **more)
        return self._emit(
            DoneEvent,
            **metrics,
            **more,
            baselines=self.plan.baselines,
            best_step=progress.best_step,
            model=str(self.run.model),
            reason=progress.reason,
        )


def _due(every: int | None, step: int) -> bool:
    return bool(every) and step > 0 and step % (every or 1) == 0

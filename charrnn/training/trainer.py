"""The training loop: evaluate, sample and save when due; then take a step; at the end score the best model exactly.

What is due at a step is done before the step is taken, and is noted in the checkpoint: a run that is stopped anywhere
and resumed gives what it would have given without a stop, to the last bit.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from charrnn.checkpoint.format import Checkpoint
from charrnn.dataset.batches import batch_loader
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import InferenceEngine
from charrnn.engines.select import EngineSpec, inference_engine
from charrnn.errors import Interrupted, NonFiniteError
from charrnn.files import quote
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
)
from charrnn.runs.run_dir import RunDir
from charrnn.training.distributed import ALONE, SharedStop, World
from charrnn.training.evaluation import evaluate_streams, metrics, perplexity
from charrnn.training.finishing import finish_model
from charrnn.training.learner import Learner, training_spec
from charrnn.training.plan import Plan, plan_fields
from charrnn.training.replanning import StepTimer, expected_annealing_gain, replan
from charrnn.training.resume import TrainerState, options_of
from charrnn.training.samples import draw_sample
from charrnn.training.saving import CheckpointWriter
from charrnn.training.schedule import ScheduleProgress, learning_rate
from charrnn.training.signals import Cancelled, SignalHandler

Kind = TypeVar("Kind", bound=Event)

ANOTHER_ENGINE = (
    "this run was trained by the {} engine until now, and goes on with {}: the losses agree to rounding, no longer to"
    " the last bit"
)


class Trainer:
    """One run, from its first step, or the step at which it is resumed, to its end.

    Args:
        plan: a complete plan. dataset: what to train and validate on. run_dir: the folder to save in.
        spec: what trains. corpus_sha256: the digest of the text, for the checkpoints.
        emit: takes every event.
        elapsed: returns the seconds since the training began, earlier sessions included.
        signals: knows whether a signal has come. world: the processes that train together.
        resumed: the checkpoint to resume from; None: a new run. changes: options of the plan that it had otherwise.
        is_repeatable: whether the folder's `config.toml` names the text. initial: weights to begin with; None: random.
    """

    def __init__(
        self,
        plan: Plan,
        dataset: Dataset,
        run_dir: RunDir,
        *,
        spec: EngineSpec,
        corpus_sha256: str,
        emit: Callback,
        elapsed: Callable[[], float],
        signals: SignalHandler,
        resumed: Checkpoint | None = None,
        changes: Mapping[str, Any] | None = None,
        initial: Mapping[str, Any] | None = None,
        is_repeatable: bool = True,
        world: World = ALONE,
    ) -> None:
        self.plan, self.dataset, self.run_dir, self.spec, self.signals = plan, dataset, run_dir, spec, signals
        self.emit, self.elapsed, self.world = emit, elapsed, world
        self.stop = SharedStop(signals, world)
        config = plan.config
        assert config.steps is not None
        self.learner = Learner(plan.architecture, config, spec, world)
        self.loader = batch_loader(
            dataset, batch=config.batch, seq_len=config.seq_len, seed=config.seed, rows=self.learner.rows
        )
        self.writer = CheckpointWriter(
            plan,
            dataset,
            run_dir,
            corpus_sha256=corpus_sha256,
            engine=self.learner.engine,
            steps_per_epoch=self.loader.steps_per_epoch,
            is_repeatable=is_repeatable and spec.device == "cpu" and world.size == 1,
        )
        self.state = TrainerState(ScheduleProgress(config.steps), config.steps, replans=list(config.replans or ()))
        self.timer = StepTimer()
        if resumed is None:
            self.learner.begin(dataset.train.ids, initial)
        else:
            self._resume(resumed, dict(changes or {}))
        self.learner.share_weights()

    def _resume(self, resumed: Checkpoint, changes: dict[str, Any]) -> None:
        self.learner.load_state_dict(resumed.weights, resumed.training)
        if (engine := resumed.info["engine"]) != self.learner.engine:
            changes.setdefault("engine", self.learner.engine)
            self.plan = self.writer.plan = replace(self.plan, initial={"engine": engine, **self.plan.initial})
            self.run_dir.warn(ANOTHER_ENGINE.format(engine, self.learner.engine))
        self.state = state = TrainerState.from_json(resumed.info["progress"])
        if state.best is not None:
            self.writer.read_model()  # without it the run could not be finished
        if options := options_of(changes):
            entry = {"step": state.step, "resumed": True, **options}
            if self._is_evaluated():
                entry["evaluated"] = True
            state.record(entry)
            if state.follow(entry):
                self._realign()

    def run(self) -> DoneEvent:
        """Train to the end.

        Returns:
            The metrics of the finished model, and its path.

        Raises:
            Interrupted: a signal came; what was done is saved.
            NonFiniteError: a loss or gradient is not finite; nothing was saved since.
            OutputError: the model cannot be written.
        """
        state = self.state
        self.signals.deferred = True
        self.writer.save_config(state)
        plan = replace(self.plan, config=replace(self.plan.config, steps=state.schedule.steps))
        again = {} if state.replans == [] else {"command": self.writer.repeat_command(state) or ""}
        self._emit(PlanEvent, **(plan_fields(plan, self.dataset, self.spec) | again))
        try:
            self._follow()
            while not self._is_finished():
                self.stop.check(self.learner.must_stop)
                is_last = state.step >= state.schedule.steps
                if not self._is_evaluated() and (is_last or self._is_due("eval_every", self.plan.origin is not None)):
                    self._evaluate()
                    self._replan()
                self._follow(is_evaluated=True)
                if state.last_sample != state.step < state.schedule.steps and self._is_due("sample_every"):
                    self._sample()
                if state.step == 0 or self._is_due("save_every"):
                    self.writer.attempt(self._save_state, is_needed=state.step == 0)
                    self.stop.is_known = False
                self.stop.check(self.learner.must_stop)
                if not self._is_finished():
                    self._step()
                    self._follow()
            self._save_state()
            weights, check = self.learner.weights, self._check
            return self._emit(DoneEvent, **finish_model(self.writer, state, weights, self._engine, check, self.world))
        except Cancelled as error:
            self._save_state()
            raise Interrupted(f"stopped after step {state.step:,}", error.signal_number) from None
        except NonFiniteError as error:
            folder = quote(self.run_dir.folder)
            saved = f"the last good checkpoint is in {folder}" if self.run_dir.exists else "nothing is saved"
            text = f"{error.text}; {saved}; a lower {{lr}} or {{clip}} may help"
            raise NonFiniteError(text, ("lr", "clip")) from None

    def _is_finished(self) -> bool:
        """Return whether nothing is left but the exact evaluation."""
        state = self.state
        if not state.reason and state.step >= state.schedule.steps and self._is_evaluated():
            state.reason = "steps"
        return bool(state.reason)

    def _is_evaluated(self) -> bool:
        return self.state.last_eval == self.state.step or not len(self.dataset.val)

    def _is_due(self, interval: str, from_start: bool = False) -> bool:
        every = getattr(self.plan.config, interval)
        return bool(every) and (self.state.step > 0 or from_start) and self.state.step % every == 0

    def _step(self) -> None:
        """Take a step, and log its loss."""
        config, state = self.plan.config, self.state
        assert config.lr is not None
        assert config.eval_every is not None
        start = time.monotonic()
        lr = learning_rate(config.schedule, config.lr, state.schedule.progress(state.step))
        batch = self.loader.batch(state.step, state.end)
        self.learner.wants_stop = self.signals.signal is not None
        result = self.learner.step(batch, state.step, lr)
        state.step += 1
        is_logged = state.step % max(1, (config.eval_every or state.schedule.steps) // 10) == 0
        if is_logged or self._is_due("eval_every"):
            result = self.learner.synchronize()
        self.timer.add(time.monotonic() - start)
        self._emit(
            StepEvent,
            loss=result.loss,
            perplexity=perplexity(result.loss),
            learning_rate=lr,
            gradient_norm=result.gradient_norm,
            chars_per_second=self.timer.rate() * self.loader.batch_size * self.loader.seq_len,
            logged=is_logged,
        )
        if is_logged and state.schedule.steps - state.step < config.eval_every:
            self._replan()

    def _evaluate(self) -> None:
        """Score the validation text in pieces side by side, and save the model if it is the best."""
        config, state = self.plan.config, self.state
        weights = self.learner.weights()
        self.stop.is_known = False
        score = evaluate_streams(self._engine(weights), self.dataset, config.eval_tokens, self._check, self.world)
        loss = score.nats / score.tokens
        best = math.inf if state.best is None else state.best
        values = {**metrics(score), "best": loss < best}
        state.last_eval, is_last = state.step, state.step >= state.schedule.steps
        if loss < best:
            save = functools.partial(self.writer.save_model, weights, state.step, {"validation": values})
            if self.writer.attempt(save, is_needed=is_last):
                state.best, state.best_step, state.evals_beyond_recovery = loss, state.step, 0
        elif self.world.broadcast(
            loss > best + expected_annealing_gain(config.schedule, state.schedule.progress(state.step))
        ):
            state.evals_beyond_recovery += 1
        self._emit(EvalEvent, **values)
        if config.patience and state.evals_beyond_recovery >= config.patience:
            state.reason = "patience"

    def _replan(self) -> None:
        """Keep the time budget: plan the rest anew if the machine is slower or faster than it was."""
        state = self.state
        if self.plan.config.time is None or not self.timer.steps or state.reason or state.step >= state.schedule.steps:
            return
        steps_per_epoch = 0 if self.dataset.train.records else self.loader.steps_per_epoch
        entry = replan(self.plan, state, self.elapsed(), self.timer.mark(), steps_per_epoch)
        if entry := self.world.broadcast(entry):
            state.record(entry)
            self._apply(entry, "the machine's speed has changed")
            self.writer.save_config(state)

    def _follow(self, *, is_evaluated: bool = False) -> None:
        """Change what the run that is repeated changed at this step.

        Args:
            is_evaluated: whether all evaluations at this step are over.
        """
        while (entry := self.state.next_replan(is_evaluated=is_evaluated or self._is_evaluated())) is not None:
            self._apply(entry, "as in the run that is repeated")

    def _apply(self, entry: Mapping[str, Any], reason: str) -> None:
        """Change what an entry of `TrainerState.replans` says."""
        if "resumed" in entry:
            self.plan = self.writer.plan = self.plan.changed(options_of(entry))
            spec = training_spec(self.plan.config, device=self.spec.device)
            own_threads = self.plan.config.threads or spec.threads
            self.spec = replace(spec, threads=own_threads if self.world.size == 1 else self.spec.threads)
            self.learner = self.learner.with_options(self.plan.config, self.spec)
            self.writer.engine = self.learner.engine
        if self.state.follow(entry):
            self._realign()
        if "steps" in entry:
            self._emit(ReplanEvent, steps=entry["steps"], reason=reason)

    def _realign(self) -> None:
        """Let the rows of a stream jump so that they reach the end of the text at the last step."""
        if not self.dataset.train.records:
            self.state.end = self.state.schedule.steps
            self.learner.reset_state()

    def _sample(self) -> None:
        engine = self._engine(self.learner.weights())
        seed, check = self.plan.config.seed, self.signals.check
        text = self.world.first(lambda: draw_sample(engine, self.dataset, seed, check))
        self.stop.is_known = False
        self.state.last_sample = self.state.step
        self._emit(SampleEvent, text=text)

    def _save_state(self) -> None:
        """Write what resuming needs."""
        self.writer.save_state(self.learner, self.state)
        self._emit(SaveEvent, path=str(self.run_dir.last))

    def _emit(self, kind: type[Kind], **values: Any) -> Kind:
        step = self.state.step
        event = kind(step=step, epoch=self.writer.epoch(step), seconds=round(self.elapsed(), 3), **values)
        self.emit(event)
        return event

    def _engine(self, weights: Mapping[str, Any]) -> InferenceEngine:
        return inference_engine(self.spec.for_scoring(), self.plan.architecture, weights)

    def _check(self, tokens: int) -> None:
        self.signals.check()

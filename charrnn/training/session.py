"""One training, from its options to the finished run. The command line, `charrnn.train`, tests and benchmarks use it.

`TrainingSession.run` goes from Sources to Corpus, Dataset, Plan and run: each is made once, from the one before.
"""

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.train import TrainConfig
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory, no_progress
from charrnn.dataset.dataset import Dataset
from charrnn.engines.select import EngineSpec
from charrnn.errors import CheckpointError, UsageError
from charrnn.files import quote
from charrnn.runs.events import Callback, DoneEvent, EvalEvent, Event, Note, PlanEvent, is_stored, to_json
from charrnn.runs.locate import ROOT, latest_run
from charrnn.runs.run_dir import RunDir
from charrnn.training.changes import describe, resume_plan
from charrnn.training.distributed import ALONE, World
from charrnn.training.finetune import Parent, start_from
from charrnn.training.ingest import (
    Corpora,
    RunSources,
    SourceFiles,
    dataset_digest,
    is_found_again,
    make_dataset,
    read_corpora,
)
from charrnn.training.memory import memory_errors
from charrnn.training.plan import Plan, plan_fields
from charrnn.training.resume import (
    TrainerState,
    check_resumable,
    check_text,
    checkpoint_to_resume,
    finished_note,
    has_options,
    recall_text_options,
)
from charrnn.training.shared_plan import check_digest, check_options, shared_plan, shared_spec
from charrnn.training.shared_run import open_run
from charrnn.training.signals import SignalHandler
from charrnn.training.trainer import Trainer


@dataclass(frozen=True)
class _Prepared:
    """All that a trainer needs. `digest` is the text's, `resumed` the checkpoint to resume from; None: a new run.
    `changes`: options of the plan that the run had otherwise until now."""

    plan: Plan
    dataset: Dataset
    spec: EngineSpec
    digest: str
    resumed: Checkpoint | None
    changes: dict[str, Any]


class TrainingSession:
    """One training: a new run, or a run that is resumed.

    Args:
        config: the options.
        given: names of the options that were given rather than left at their default; matters when resuming.
        text: what to train on, in place of `config.corpus`: a corpus, or a dataset made of one.
        callbacks: called with every event, in order. Nothing is printed: what a user should know is a `Note`.
        progress: shows the progress of reading and encoding a large text.
        started: the `time.monotonic()` at which the time budget began; None: now.
        world: the processes that train together.
        signals: what receives SIGINT, SIGTERM and SIGHUP meanwhile; None: a first one saves the run and raises
            Interrupted, a second one raises KeyboardInterrupt.

    Attributes:
        run_dir: the run's folder; None before training has begun.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        given: frozenset[str] = frozenset(),
        text: Corpus | Dataset | None = None,
        callbacks: Sequence[Callback] = (),
        progress: ProgressFactory = no_progress,
        started: float | None = None,
        world: World = ALONE,
        signals: SignalHandler | None = None,
    ) -> None:
        self.config, self.given, self.text, self.callbacks, self.progress = config, given, text, callbacks, progress
        self.started = time.monotonic() if started is None else started
        self.world = world
        self.signals = SignalHandler() if signals is None else signals
        self.run_dir: RunDir | None = None
        self._earlier_seconds = 0.0  # of the sessions before this one
        self._step, self._epoch = 0, 0.0  # of the last event
        self._sources: RunSources | None = None
        self._parent: Parent | None = None  # what is fine-tuned
        self._files = SourceFiles()

    def plan(self) -> PlanEvent:
        """Return the plan. No file is written, and a run that is there may be training.

        Raises:
            CharRNNError: as `run`.
        """
        with self.signals.listen(), self.signals.ending():
            check_options(self.config, self.world)
            run_dir = self._locate()
            self._check_resumable(run_dir)
            ready = self._prepare(run_dir, spool=None)
            fields = plan_fields(ready.plan, ready.dataset, ready.spec)
            return PlanEvent(step=0, epoch=0.0, seconds=self._seconds(), **fields)

    def run(self) -> DoneEvent:
        """Train to the end; return the metrics of the finished model, and its path.

        Raises:
            UsageError: an option cannot be used. InputError: the text cannot be used.
            CheckpointError: the run cannot be resumed.
            Interrupted: a signal came. NonFiniteError: a loss or gradient is not finite. OutputError: a file cannot be
                written. What was done before is saved.
        """
        with self.signals.listen(), self.signals.ending():
            check_options(self.config, self.world)
            run_dir = self._locate()
            self._check_writable(run_dir)
            if (done := self.world.first(lambda: self._finished(run_dir))) is not None:
                return done
            with run_dir.lock():
                self._check_writable(run_dir)  # another process may have created it since
                ready = self._prepare(run_dir, spool=run_dir.folder)
                with memory_errors(ready.plan.architecture, ready.plan.config):
                    return self._train(run_dir, ready)

    def _train(self, run_dir: RunDir, ready: _Prepared) -> DoneEvent:
        trainer = Trainer(
            ready.plan,
            ready.dataset,
            run_dir,
            spec=ready.spec,
            corpus_sha256=ready.digest,
            emit=self._emit,
            elapsed=self._elapsed,
            signals=self.signals,
            resumed=ready.resumed,
            changes=ready.changes,
            initial=None if self._parent is None else self._parent.weights(ready.dataset, ready.plan.config.seed),
            is_repeatable=self.text is None and is_found_again(self.config),
            world=self.world,
        )
        self.signals.announce = lambda: self._note("stopping, saving...")
        if ready.resumed is None:
            run_dir.clear()
        else:
            run_dir.truncate_metrics(int(ready.resumed.info["step"]))
        self.run_dir = run_dir
        return trainer.run()

    def _finished(self, run_dir: RunDir) -> DoneEvent | None:
        """Return how the run has ended that is to be resumed, if nothing takes it further; no file is written.

        Raises:
            UsageError: as `resume_plan`; the text is another.
        """
        done = run_dir.done() if self.config.resume or self.config.auto_resume else None
        if done is None:
            return None
        found = RunDir(run_dir.folder).newest(check_resumable)
        if found is None:  # it was pruned
            if not has_options(stored := checkpoint.read(run_dir.model), self.config, self.given):
                return None
            done = replace(done, resume_bytes=0)
        elif not (stored := found).info["progress"]["reason"] or self._stored_plan(run_dir, found)[1]:
            return None
        if self.text is not None or {"corpus", "mix"} & self.given:
            check_text(stored, self._read_text(spool=None)[0])
        self._note(finished_note(run_dir, done, can_go_on=found is not None))
        for callback in self.callbacks:
            callback(done)
        return done

    def _locate(self) -> RunDir:
        """Resolve the sources of the text, which a resumed run knows, and read the model to start from; return the
        run's folder."""
        self.config, self._parent = self.world.first(lambda: start_from(self.config, self.given))
        config, warn, world = self.config, functools.partial(self._note, level="warning"), self.world
        resuming = config.resume or config.auto_resume
        folder = Path(config.out) if config.out is not None else None
        if folder is None and resuming and not config.corpus and self.text is None:
            folder = world.first(latest_run)
        if folder is not None:
            run_dir = open_run(folder, warn, world)
            self._check_resumable(run_dir)
            if resuming and self.text is None:
                options = config
                config = world.first(lambda: recall_text_options(run_dir, options, self.given))
        known = config
        self.config, self._sources = world.each(lambda: RunSources.resolve(known, self.text), in_turn=True)
        run_dir = open_run(folder or ROOT / f"{self._sources.name}-{config.cell}", warn, world)
        if self._parent is not None:
            self._parent.check_kept(run_dir)
        return run_dir

    def _check_resumable(self, run_dir: RunDir) -> None:
        if self.config.resume and not run_dir.exists:
            raise UsageError(f"{{resume}}: there is no run in {quote(run_dir.folder)}", ("resume",))

    def _check_writable(self, run_dir: RunDir) -> None:
        run_dir.check_overwrite(self.config)
        self._check_resumable(run_dir)

    def _prepare(self, run_dir: RunDir, spool: Path | None) -> _Prepared:
        """Read the text, make the dataset, and plan.

        Args:
            spool: the folder where a large text that can be read only once is kept meanwhile; None: the system's own.
        """
        world, spool = self.world, spool if self.world.rank == 0 else None
        digest, corpora = world.each(lambda: self._read_text(spool))
        check_digest(digest, world)
        resumed = world.first(lambda: checkpoint_to_resume(run_dir, self.config, self._note))
        if resumed is not None:
            check_text(resumed, digest)
        plan, changes = (None, {}) if resumed is None else self._stored_plan(run_dir, resumed)
        config = self.config if plan is None else replace(plan.config, **changes)
        spec = shared_spec(config, self.config.threads, world)
        self._note(f"device {spec.device}: {spec.reason}", "debug")
        if isinstance(self.text, Dataset):
            dataset = self.text
        else:
            assert corpora is not None
            begun = self._parent.model if resumed is None and self._parent is not None else resumed
            known, grows = None if begun is None else begun.tokenizer, resumed is None
            make = functools.partial(make_dataset, corpora, config, known, grows=grows, spool=spool)
            dataset = world.each(lambda: make(progress=self.progress, note=self._note), in_turn=True)
        if resumed is not None and resumed.separator != dataset.separator:
            raise CheckpointError(f"{quote(run_dir.folder)} cannot be resumed: its records are ended otherwise")
        check, before, stored = self.signals.check, plan, None
        if resumed is not None and before is not None:
            stored = before, changes, TrainerState.from_json(resumed.info["progress"])
        plan, changes = shared_plan(
            config, stored or self._parent, dataset, spec=spec, elapsed=self._elapsed, check=check, world=world
        )
        if stored is not None:
            for change in describe(changes, stored[0], stored[2]):
                self._note(f"changed: {change}")
        if world.size == 1:
            spec = replace(spec, threads=plan.config.threads or spec.threads, most_threads=spec.threads)  # as measured
        return _Prepared(plan, dataset, spec, digest, resumed, changes)

    def _read_text(self, spool: Path | None) -> tuple[str, Corpora | None]:
        """Return the digest of the text, and what was read; of a dataset, which has been read, None."""
        if isinstance(self.text, Dataset):
            return dataset_digest(self.text), None
        assert self._sources is not None
        corpora = read_corpora(self.config, self._sources, spool=spool, progress=self.progress, note=self._note)
        self._files = SourceFiles(corpora)
        return corpora.digest, corpora

    def _stored_plan(self, run_dir: RunDir, resumed: Checkpoint) -> tuple[Plan, dict[str, Any]]:
        """Return the plan of a run to resume, and what is to be changed of it. Raises as `resume_plan`."""
        self._earlier_seconds = run_dir.seconds(int(resumed.info["step"]))
        plan, changes = resume_plan(resumed, self.config, self.given, took=self._earlier_seconds)
        if self._parent is not None:
            self._parent.check_began(plan.origin)
            self._parent = None
        return plan, changes

    def _elapsed(self) -> float:
        """Return the seconds since the training began, earlier sessions included."""
        return self._earlier_seconds + time.monotonic() - self.started

    def _seconds(self) -> float:
        """Return `_elapsed` as events have it."""
        return round(self._elapsed(), 3)

    def _emit(self, event: Event) -> None:
        """Log an event and hand it to the callbacks."""
        self._step, self._epoch = event.step, event.epoch
        if self.world.rank:
            return  # process 0 says it
        if is_stored(event):
            assert self.run_dir is not None
            self.run_dir.log(to_json(event))
        for callback in self.callbacks:
            callback(event)
        if isinstance(event, EvalEvent | DoneEvent):
            self._files.note_changes(self._note)

    def _note(self, message: str, level: str = "info") -> None:
        self._emit(Note(step=self._step, epoch=self._epoch, seconds=self._seconds(), message=message, level=level))

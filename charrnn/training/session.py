"""A training from its sources to the finished model."""

import glob
import os
import shlex
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.options import param_types, read_toml
from charrnn.config.train import TrainConfig
from charrnn.console.display import open_display
from charrnn.console.format import plan_lines
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.corpus import reader as reading
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import fingerprint
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.corpus.sources import Sources, resolve_sources
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.engines.select import choose_device
from charrnn.errors import Interrupted, UsageError
from charrnn.files import cache_folder, quote
from charrnn.runs.events import DoneEvent, EvalEvent, Event, PlanEvent, to_json
from charrnn.runs.locate import ROOT, latest_run
from charrnn.runs.run_dir import RunDir
from charrnn.training.plan import Plan, describe, make_plan
from charrnn.training.resume import resume_plan
from charrnn.training.signals import SignalHandler
from charrnn.training.trainer import Trainer

_MANY_SYMBOLS = 5000
"""A vocabulary whose size is worth a warning."""


_TEXT = ("corpus", "val", "records", "separator", "weights", "jsonl", "tsv")
"""Options that say what the text of a run is."""


class TrainingSession:
    def __init__(
        self, console: Console, config: TrainConfig, given: frozenset[str], started: float, stop: SignalHandler
    ) -> None:
        self.console, self.config, self.given, self.started, self.stop = console, config, given, started, stop
        self.earlier = 0.0  # seconds that earlier sessions of this run took
        self.fingerprints: dict[str, Any] = {}  # of the files that were read

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.earlier + time.monotonic() - self.started

    def run(self) -> int:
        """From the options to the finished model."""
        config = self.config
        going_on = config.resume or config.auto_resume
        folder = Path(config.out) if config.out is not None else None
        if folder is None and going_on and not config.corpus:
            folder = latest_run()
        if folder is not None:
            self._refuse(RunDir(folder))
            if going_on:
                self._recall(RunDir(folder))
        sources = resolve_sources(self.config.corpus)
        val = resolve_sources([self.config.val]) if self.config.val is not None else None
        self.config = replace(
            self.config,
            corpus=tuple(map(_absolute, self.config.corpus)),
            val=self.config.val and _absolute(self.config.val),
        )
        run = RunDir(folder or ROOT / f"{sources.name}-{config.cell}", warn=self.console.warn)
        self._refuse(run)
        if config.dry_run:
            return self._train(run, sources, val)
        with run.lock():
            self._refuse(run)
            return self._train(run, sources, val)

    def _refuse(self, run: RunDir) -> None:
        if not self.config.dry_run:
            run.check_overwrite(self.config)
        if self.config.resume and not run.exists:
            raise UsageError(f"--resume: there is no run in '{run.folder}'")

    def _recall(self, run: RunDir) -> None:
        """Where the text of a run lies and what of it is text, as far as the command does not say."""
        if run.config.exists():
            stored = read_toml(run.config, param_types(TrainConfig))
            known = {name: stored[name] for name in _TEXT if name in stored and name not in self.given}
            if self.config.corpus:
                known.pop("corpus", None)
            self.config = replace(self.config, **known)

    def _read(self, sources: Sources, folder: Path | None) -> Corpus:
        config = self.config
        form = TextFormat(config.record_separator, config.jsonl, config.tsv, config.weights)
        corpus = read_corpus(sources, form, folder=folder, progress=self._bar)
        for note in corpus.notes:
            self.console.info(note)
        self.fingerprints |= corpus.fingerprints
        return corpus

    def _bar(self, title: str, total: int | None) -> AbstractContextManager[Callable[[int], None]]:
        return progress_bar(self.console, title, total)

    def _train(self, run: RunDir, sources: Sources, held_out: Sources | None) -> int:
        console, config = self.console, self.config
        folder = None if config.dry_run else run.folder
        corpus = self._read(sources, folder)
        val = self._read(held_out, folder) if held_out is not None else None
        for each in (corpus, val):
            if each is not None:
                each.scan(self._bar)
        digest = corpus.sha256 if val is None else f"{corpus.sha256}+{val.sha256}"
        resumed = self._resumed(run, digest)

        device, why = choose_device(config.device)
        console.debug(f"device {device}: {why}")
        plan, split = self._plan(run, corpus, val, resumed, device)
        if config.dry_run:
            event = PlanEvent(step=0, epoch=0.0, seconds=round(self.elapsed(), 3), **describe(plan, split, device))
            if config.json:
                console.write_json(to_json(event))
            else:
                for line in plan_lines(event):
                    console.info(line)
            return 0
        if resumed is None:
            run.clear()
        run.save_config(plan.config)
        with open_display(console, json=config.json) as display:
            self.stop.abandon = display.abandon

            def callback(event: Event) -> None:
                display(event)
                if isinstance(event, EvalEvent | DoneEvent):
                    self._tell_of_changes()

            trainer = Trainer(
                plan,
                split,
                run,
                device=device,
                corpus_sha256=digest,
                callback=callback,
                elapsed=self.elapsed,
                stop=self.stop,
                resumed=resumed,
            )
            try:
                trainer.train()
            except Interrupted as error:
                again = shlex.join(["charrnn", "train", "--resume", "--out", str(run.folder)])
                raise Interrupted(f"{error}; go on with: {again}", error.signal_number) from None
        if not config.json:
            console.write(os.fsencode(run.model) + b"\n")
        return 0

    def _tell_of_changes(self) -> None:
        """The run has its own copy of the text; going on with it later needs the text as it was."""
        changed = [path for path, then in self.fingerprints.items() if fingerprint(path) != then]
        for path in changed:
            del self.fingerprints[path]
            self.console.warn(
                f"{quote(path)} has changed since it was read; this run goes on with what it has read, but --resume"
                " will refuse the changed text"
            )

    def _resumed(self, run: RunDir, digest: str) -> Checkpoint | None:
        """The checkpoint to go on from, if that is what was asked for."""
        config = self.config
        if not (config.resume or config.auto_resume):
            return None
        resumed = run.newest()
        if resumed is None:
            if config.resume:
                raise UsageError(f"--resume: there is no usable checkpoint in {quote(run.folder)}")
            if run.model.exists():
                raise UsageError(
                    f"--auto-resume: there is no usable checkpoint in {quote(run.folder)} beside its model, which"
                    " starting afresh would remove; --overwrite does"
                )
            self.console.info(f"there is no run to go on with in {quote(run.folder)}: starting one")
            return None
        before = resumed.info["corpus_sha256"]
        if before != digest:
            raise UsageError(
                f"the corpus is not the one this run began with: its SHA-256 is {digest[:16]}...,"
                f" the run's {before[:16]}..."
            )
        return resumed

    def _plan(
        self, run: RunDir, corpus: Corpus, val: Corpus | None, resumed: Checkpoint | None, device: str
    ) -> tuple[Plan, Dataset]:
        config = self.config
        if resumed is not None:
            plan, changes = resume_plan(resumed, config, self.given)
            for change in changes:
                self.console.info(f"changed: {change}")
            config = plan.config
            if not config.dry_run:
                self.earlier = run.truncate_metrics(int(resumed.info["step"]))
        how = PrepareOptions(
            config.tokenizer, config.val_fraction, config.errors, config.seed, config.vocab_size, config.min_count
        )
        large = corpus.size + (val.size if val is not None else 0) > reading.MAX_IN_MEMORY
        split = prepare(
            corpus,
            val,
            how,
            tokenizer=resumed.tokenizer if resumed is not None else None,
            store=IdCache(cache_folder() / "ids") if large else None,
            progress=self._bar,
        )
        replaced = split.train_counts.replaced + split.val_counts.replaced
        if replaced:
            self.console.warn(f"{replaced:,} invalid pieces of UTF-8 are read as U+FFFD")
        if split.tokenizer.size > _MANY_SYMBOLS:
            self.console.warn(
                f"{split.tokenizer.size:,} different characters make large tables and slow steps; --tokenizer byte"
                " needs 256"
            )
        if resumed is None:
            plan = make_plan(config, split, device=device, elapsed=self.elapsed, check=self.stop.check)
        return plan, split


def _absolute(name: str) -> str:
    """A path that means the same from every folder; what is no path stays."""
    return os.path.abspath(name) if os.path.exists(name) or glob.has_magic(name) else name

"""`charrnn train`: options to a training session, its display and an exit code."""

import functools
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from charrnn.config.options import merge
from charrnn.config.train import ConfigFile, TrainConfig
from charrnn.console.display import open_display
from charrnn.console.format import plan_lines
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.errors import Interrupted
from charrnn.launcher import calm_end
from charrnn.runs.events import to_json
from charrnn.training.distributed import join
from charrnn.training.session import TrainingSession
from charrnn.training.signals import SignalHandler


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Train a model, print its path and return the exit code. Raise CharRNNError for a user's fault."""
    file = merge(ConfigFile, {"config": flags.pop("config")}, os.environ)[0].config
    config, given = merge(TrainConfig, flags, os.environ, Path(file) if file else None)
    if not (config.corpus or config.resume or config.auto_resume) and console.stdin_is_piped:
        console.warn("nothing is read from stdin: `charrnn train -` does that")
    with join() as world, calm_end(), open_display(console, json=config.json, live=not config.dry_run) as display:

        def exit_at_once(number: int) -> None:
            if world.size == 1:  # of several processes torchrun ends those that do not hear
                display.abandon()
                os._exit(128 + number)

        session = TrainingSession(
            config,
            given=given,
            callbacks=[display],
            progress=functools.partial(progress_bar, console),
            started=started,
            world=world,
            signals=SignalHandler(exit_at_once),
        )
        if config.dry_run:
            again = "" if file is None else shlex.join(["charrnn", "train", "--config", file])
            _print_plan(console, session, again, json=config.json)
            return 0
        try:
            done = session.run()
        except Interrupted as error:
            if session.run_dir is None:
                raise
            again = shlex.join(["charrnn", "train", "--resume", "--out", str(session.run_dir.folder)])
            raise Interrupted(f"{error}; go on with: {again}", error.signal_number) from None
    if not config.json:
        console.write(os.fsencode(done.model) + b"\n")
    return 0


def _print_plan(console: Console, session: TrainingSession, again: str, *, json: bool) -> None:
    """Print the plan to stdout; its last line is the command that repeats it: `again` where only a file can."""
    plan = session.plan()
    plan = replace(plan, command=plan.command or again)
    if json:
        console.write_json(to_json(plan))
        return
    console.write_text("\n".join([*plan_lines(plan, before_command=""), ""]))

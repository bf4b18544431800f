"""`charrnn train`: from text to a saved model."""

import os
from pathlib import Path
from typing import Any

from charrnn.config.options import merge
from charrnn.config.train import TrainConfig
from charrnn.console.streams import Console
from charrnn.errors import Interrupted
from charrnn.training.session import TrainingSession
from charrnn.training.signals import Cancelled, SignalHandler


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CharRNNError for the user's faults."""
    file = flags.pop("config")
    flags["corpus"] = tuple(flags["corpus"]) if flags["corpus"] else None
    config, given = merge(TrainConfig, flags, os.environ, Path(file) if file else None)
    stop = SignalHandler(announce=lambda: console.info("stopping, saving..."))
    with stop.listen():
        try:
            return TrainingSession(console, config, given, started, stop).run()
        except Cancelled:
            assert stop.signal is not None
            raise Interrupted("stopped before the first step; nothing to save", stop.signal) from None

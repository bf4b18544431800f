"""The library's functions: `charrnn.load`."""

import os

from charrnn.model import Model


def load(*paths: str | os.PathLike[str] | None) -> "Model":
    """Read a trained model, or several whose probabilities are averaged; they compute on the CPU, without PyTorch.

    Args:
        paths: each a file, a run's folder or the name of a run under `checkpoints/`; none, or None,
            takes what $CHARRNN_MODEL names, else the run saved last.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        UsageError: several have different vocabularies.
    """
    return Model.load(*paths)

"""The library's functions: `charrnn.load`."""

import os

from charrnn.model import Model, read_models


def load(*paths: str | os.PathLike[str] | None) -> "Model":
    """Read a trained model, or several that speak as one; they compute on the processor, without torch.

    Args:
        paths: each a file, a run's folder or the name of a run under `checkpoints/`; none, or None,
            takes what $CHARRNN_MODEL names, else the run saved last.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        UsageError: the symbols of several are not the same.
    """
    return Model(*read_models([os.fspath(path) for path in paths if path is not None]))

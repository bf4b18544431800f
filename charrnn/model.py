"""The models that score and write a text."""

from collections.abc import Sequence

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.errors import UsageError
from charrnn.files import quote
from charrnn.runs.locate import find_model


def read_models(names: Sequence[str]) -> list[Checkpoint]:
    """Read models, of which each name means one as `runs.find_model` has it; without names, the one it finds.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        UsageError: their symbols, or what ends their records, are not the same.
    """
    first, *others = [find_model(name) for name in (*names,) or (None,)]
    model = checkpoint.read(first)
    models = [model]
    for path in others:
        other = checkpoint.read(path)
        if (other.tokenizer.name, other.separator) != (model.tokenizer.name, model.separator) or not np.array_equal(
            other.tokenizer.table, model.tokenizer.table
        ):
            raise UsageError(f"{quote(first)} and {quote(path)} cannot speak as one: their symbols are not the same")
        models.append(other)
    return models

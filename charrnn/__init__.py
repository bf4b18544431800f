"""Small character-level recurrent language models: train on any text, sample from them, score text.

    model = charrnn.train("poems.txt", time="2m")
    model = charrnn.load("poems-lstm")
    print(model.sample(temp=0.8), model.score("A text").perplexity)
    print(charrnn.compare(model, "poems-gru", ["A text", "Another"]).difference)

Every error is a `CharRNNError`. See `charrnn.api` for `train`, `load` and `compare`, and `charrnn.model` for `Model`.
"""

from charrnn.version import __version__

TYPE_CHECKING = False  # importing `typing` would take time
if TYPE_CHECKING:
    from charrnn.api import compare, load, train
    from charrnn.config.sample import SamplingParams
    from charrnn.errors import (
        CharRNNError,
        CheckpointError,
        InputError,
        Interrupted,
        NonFiniteError,
        OutputError,
        UsageError,
    )
    from charrnn.model import Model
    from charrnn.scoring.score import Score

__all__ = [
    "CharRNNError",
    "CheckpointError",
    "InputError",
    "Interrupted",
    "Model",
    "NonFiniteError",
    "OutputError",
    "SamplingParams",
    "Score",
    "UsageError",
    "__version__",
    "compare",
    "load",
    "train",
]

_MODULES = {
    **dict.fromkeys(("compare", "load", "train"), "api"),
    "Model": "model",
    "SamplingParams": "config.sample",
    "Score": "scoring.score",
}
"""Where the public names are defined; the others are errors. They are imported when first used."""


def __getattr__(name: str) -> object:
    """Return a public name, so that importing the package takes no time."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"charrnn.{_MODULES.get(name, 'errors')}")
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)

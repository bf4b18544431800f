"""Small recurrent language models over characters: train, sample, score.

`charrnn.load(path)` reads a trained model to use from Python; see `charrnn.model`.
"""

from charrnn.version import __version__

TYPE_CHECKING = False  # what `typing` has by this name would have to be imported
if TYPE_CHECKING:
    from charrnn.api import load
    from charrnn.model import Model

__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> object:
    """The library, imported when it is first used, so that importing the package is instant."""
    if name == "load":
        from charrnn.api import load

        return load
    if name == "Model":
        from charrnn.model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

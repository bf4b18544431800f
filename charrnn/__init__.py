"""Small recurrent language models over characters: train, sample, score.

`charrnn.load(path)` reads a trained model to use from Python; see `charrnn.library`.
"""

from charrnn.version import __version__

TYPE_CHECKING = False  # what `typing` has by this name would have to be imported
if TYPE_CHECKING:
    from charrnn.library import Model, load

__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> object:
    """The library, imported when it is first used, so that importing the package is instant."""
    if name in {"Model", "load"}:
        from charrnn import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

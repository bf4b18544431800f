"""The corpora known by name: their recipes, and the built-in texts that need no network.

`download` fetches the others. `sources` finds what the command line names, these among it; `reader` reads it.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from charrnn.corpus.documents import MemoryDocument, ProgressFactory, no_progress
from charrnn.errors import InputError

DEFAULT = "python-docs"
"""The corpus that `charrnn train` takes when it is given none."""

SKIPPED_FOLDERS = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders of the standard library that do not belong to `python-stdlib`."""

BUILD_RECORD = "_sysconfigdata"
"""How modules begin that were generated when this Python was built, and so differ everywhere."""


@dataclass(frozen=True)
class Recipe:
    """A known corpus: what it is and how to get it; corpora/README.md has the meaning of each key.

    Raises:
        ValueError: a value is of the wrong type or out of range.
    """

    name: str
    title: str
    licence: str
    source: str
    kind: str
    made: str
    val_fraction: float
    records: bool = False
    url: str = ""
    bytes: int = 0
    sha256: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            if type(getattr(self, field.name)) is not field.type:
                raise ValueError(f"{field.name} is not a {field.type}")
        fetched = bool(self.url and self.bytes > 0 and re.fullmatch("[0-9a-f]{64}", self.sha256))
        absent = (self.url, self.bytes, self.sha256) == ("", 0, "")
        if not ({"built-in": absent, "download": fetched}.get(self.kind) and 0 < self.val_fraction < 1):
            raise ValueError(f"{self.name}: no such kind or fraction, or not what its kind wants")

    def documents(self, progress: ProgressFactory = no_progress) -> list[MemoryDocument]:
        """Return the documents of the corpus; one that is to be downloaded is fetched unless it has been before.

        Raises:
            InputError: this Python does not have it. CharRNNError: it cannot be fetched.
        """
        if self.kind == "download":
            return [MemoryDocument(self.name, self.fetch(progress).read_bytes())]
        return list({"python-docs": _python_docs, "python-stdlib": _python_stdlib}[self.name]())

    def fetch(self, progress: ProgressFactory = no_progress) -> Path:
        """Return the file of a corpus that is to be downloaded. Raises CharRNNError: it cannot be fetched."""
        from charrnn.corpus.download import fetch  # here, so that importing this module stays fast

        return fetch(self.name, self.url, self.bytes, self.sha256, progress)

    @property
    def is_available(self) -> bool:
        """Whether the corpus can be read without a network."""
        from charrnn.corpus.download import cached

        return self.kind == "built-in" or cached(self.name, self.bytes, self.sha256) is not None


def catalog() -> dict[str, Recipe]:
    """Return the recipe of every known corpus, by name, in the order of the names."""
    import tomllib  # takes longer to import than the rest of this module

    folder = Path(__file__).parent
    # An installed package has the recipes beside this file, a source checkout at its top.
    files = sorted(folder.glob("*.toml")) or sorted((folder.parents[1] / "corpora").glob("*.toml"))
    recipes = [Recipe(**tomllib.loads(file.read_bytes().decode())) for file in files]
    return {recipe.name: recipe for recipe in recipes}


def _python_docs() -> Iterator[MemoryDocument]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise InputError("this Python has no pydoc_data, which python-docs is made from") from None
    yield MemoryDocument("python-docs", "\n".join(topics[topic] for topic in sorted(topics)).encode())


def _python_stdlib() -> Iterator[MemoryDocument]:
    import sysconfig

    top = Path(sysconfig.get_path("stdlib"))
    for file in sorted(_modules(top), key=lambda file: file.relative_to(top).as_posix()):
        data = file.read_bytes()
        try:
            data.decode()
        except UnicodeDecodeError:
            continue
        if data:
            yield MemoryDocument(file.relative_to(top).as_posix(), data)


def _modules(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        for name in names:
            if name.endswith(".py") and not name.startswith(BUILD_RECORD):
                yield Path(folder, name)

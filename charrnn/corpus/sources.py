"""What the arguments of a command name: files, folders, patterns, stdin, known corpora."""

import glob
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from charrnn.corpus.catalog import DEFAULT, Recipe, catalog
from charrnn.corpus.folders import matching_files, visible_files
from charrnn.corpus.inputs import PACKED
from charrnn.errors import InputError, did_you_mean
from charrnn.files import quote

_MOST_COMPARED = 1000
"""Files of a folder, one of which may have been meant."""


MAX_NAME_LENGTH = 80
"""Characters of a run's folder that come from one source; they take at most `MAX_NAME_BYTES`."""


MAX_NAME_BYTES = 200
"""File systems take 255 of a name, of which the cell's is a part."""


@dataclass(frozen=True)
class Source:
    """Where texts are to be read from.

    Attributes:
        name: a path, "-" for stdin, or the name of a known corpus.
        recipe: of the known corpus; None for all others.
        found: whether it was found in a folder, so that it is skipped if it is binary.
    """

    name: str
    recipe: Recipe | None = None
    found: bool = False


@dataclass(frozen=True)
class Sources:
    """What is to be read for one corpus, in order.

    Attributes:
        name: for a run's folder: letters, marks and digits of any script, `.`, `_` and `-`; not hidden, at most about
            a hundred characters.
        given: the arguments.
        notes: sentences for the user. skipped: how many files of which kind were skipped.
    """

    name: str
    given: tuple[str, ...]
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()
    skipped: Counter[str] = field(default_factory=Counter)


def resolve_sources(arguments: Sequence[str]) -> Sources:
    """Return what arguments name, without reading it.

    Each is the first of these that it can be: "-", standard input; a file, unpacked if
    its name ends in .gz, .bz2 or .xz; a folder, all of whose files are read, in the order of
    their paths, but for hidden, binary and special ones; the name of a known corpus; a pattern
    with `*`, `?`, `[...]` or `**`, for the files that match, in the order of their paths. Links
    are followed, and what several lead to is read once.

    Args:
        arguments: as given on the command line; with none, the built-in corpus `DEFAULT`.

    Raises:
        InputError: an argument is none of these, or a folder cannot be read.
    """
    given = tuple(arguments) or (DEFAULT,)
    if given.count("-") > 1:
        raise InputError("stdin can be read only once")
    resolver = _Resolver(catalog())
    for argument in given:
        resolver.add(argument)
    name = _slug(resolver.names[0])
    if len(resolver.names) > 1:
        name += f"-and-{len(resolver.names) - 1}-more"
    return Sources(name, given, tuple(resolver.sources), tuple(resolver.notes), resolver.skipped)


class _Resolver:
    """Gathers the sources of one argument after another."""

    def __init__(self, recipes: dict[str, Recipe]) -> None:
        self.recipes = recipes
        self.sources: list[Source] = []
        self.names: list[str] = []  # one for each argument, or file that a pattern matched
        self.notes: list[str] = []
        self.skipped: Counter[str] = Counter()

    def add(self, argument: str) -> None:
        if argument == "-":
            self.sources.append(Source(argument))
            self.names.append("stdin")
        elif os.path.lexists(argument):
            if argument in self.recipes:
                self.notes.append(f"{quote(argument)} is read from here; it is not the known corpus")
            if os.path.isdir(argument):
                self._folder(argument)
            else:
                self._file(argument)
        elif argument in self.recipes:
            recipe = self.recipes[argument]
            self.sources.append(Source(argument, recipe))
            self.names.append(argument)
            if recipe.kind == "built-in":
                self.notes.append(f"{argument} is made from Python {sys.version.split()[0]}")
        elif matches := matching_files(argument):
            for match in matches:
                self._file(match)
        else:
            raise InputError(_missing(argument, list(self.recipes)))

    def _file(self, path: str) -> None:
        self.sources.append(Source(path))
        self.names.append(_stem(path))

    def _folder(self, top: str) -> None:
        paths, hidden, repeated = visible_files(top)
        self.skipped.update(hidden=hidden, repeated=repeated)
        for path in paths:
            if os.path.isfile(path):
                self.sources.append(Source(path, found=True))
            else:
                self.skipped["special"] += 1
        self.names.append(os.path.basename(os.path.realpath(top)))


def _stem(path: str) -> str:
    """Return a file's name without its endings: of `a/b.txt.gz` it is `b`."""
    stem = os.path.basename(path)
    if os.path.splitext(stem)[1].lower() in PACKED:
        stem = os.path.splitext(stem)[0]
    return os.path.splitext(stem)[0]


def _slug(name: str) -> str:
    """Return a name of a folder for any name: its letters, marks and digits, in composed form."""
    composed = unicodedata.normalize("NFC", name)
    letters = "".join(char if char in "._-" or unicodedata.category(char)[0] in "LMN" else "/" for char in composed)
    slug = re.sub("/+", "-", letters)[:MAX_NAME_LENGTH]
    return slug.encode()[:MAX_NAME_BYTES].decode("utf-8", "ignore").strip(".-") or "corpus"


def _missing(argument: str, names: list[str]) -> str:
    """Return the message about an argument that names nothing; `names` are those of the known corpora."""
    if glob.has_magic(argument):
        return f"no file matches {quote(argument)}"
    folder, name = os.path.split(argument)
    try:
        beside = os.listdir(folder or ".")
    except OSError:
        beside = []
    candidates = [*sorted(beside)[:_MOST_COMPARED], *([] if folder else names)]
    near = did_you_mean(name, candidates, lambda found: quote(os.path.join(folder, found)))
    return f"no file, folder or known corpus is called {quote(argument)}{near}"

"""A corpus from what the command line names: files, folders, patterns, stdin, known corpora."""

import difflib
import glob
import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from charrnn.corpora import DEFAULT, Recipe, Text, known
from charrnn.errors import InputError
from charrnn.files import PACKED, open_source, quote, read_pieces

PIECE = 1 << 20  # bytes read at a time
LONGEST_NAME = 80


@dataclass(frozen=True)
class Corpus:
    """Texts in the order they were named, none of them empty.

    Attributes:
        name: for a run's folder: of [A-Za-z0-9._-], not hidden, at most about a hundred characters.
        texts: at least one.
        notes: sentences for the user, such as what was skipped.
    """

    name: str
    texts: list[Text]
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(text.data) for text in self.texts)

    @cached_property
    def sha256(self) -> str:
        """A digest, in hex, of the texts and of where each ends; not of their names."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(len(text.data).to_bytes(8, "little"))
            digest.update(text.data)
        return digest.hexdigest()


def read_corpus(arguments: Sequence[str]) -> Corpus:
    """Read a corpus into memory.

    Each argument is the first of these that it can be: "-", standard input; a file, unpacked if
    its name ends in .gz, .bz2 or .xz; a folder, all of whose files are read, in the order of
    their paths, but for hidden, binary and special ones; the name of a known corpus; a pattern
    with `*`, `?`, `[...]` or `**`, for the files that match, in the order of their paths.

    Args:
        arguments: as given on the command line; with none, the built-in corpus `DEFAULT`.

    Raises:
        InputError: an argument is none of these or cannot be read, or there is no text in any.
    """
    arguments = arguments or [DEFAULT]
    if list(arguments).count("-") > 1:
        raise InputError("stdin can be read only once")
    reader = _Reader(known())
    for argument in arguments:
        reader.read(argument)

    texts = [text for text in reader.texts if text.data]
    reader.skipped["empty"] += len(reader.texts) - len(texts)
    skipped = [
        f"skipped {count} {kind} file{'s' if count > 1 else ''}"
        for kind, count in sorted(reader.skipped.items())
        if count
    ]
    if not texts:
        raise InputError("; ".join([f"no text in {', '.join(map(quote, arguments))}", *skipped]))
    name = _slug(reader.names[0])
    if len(reader.names) > 1:
        name += f"-and-{len(reader.names) - 1}-more"
    return Corpus(name, texts, reader.notes + skipped)


class _Reader:
    """Gathers the texts of one argument after another."""

    def __init__(self, recipes: dict[str, Recipe]) -> None:
        self.recipes = recipes
        self.texts: list[Text] = []
        self.names: list[str] = []  # one for each argument, or file that a pattern matched
        self.notes: list[str] = []
        self.skipped: Counter[str] = Counter()

    def read(self, argument: str) -> None:
        if argument == "-":
            self._file(argument)
        elif os.path.lexists(argument):
            if argument in self.recipes:
                self.notes.append(f"{quote(argument)} is read from here; it is not the known corpus")
            if os.path.isdir(argument):
                self._folder(argument)
            else:
                self._file(argument)
        elif argument in self.recipes:
            self.texts += self.recipes[argument].texts()
            self.names.append(argument)
            self.notes.append(f"{argument} is made from Python {sys.version.split()[0]}")
        elif matches := sorted(filter(os.path.isfile, glob.glob(argument, recursive=True))):
            for match in matches:
                self._file(match)
        else:
            raise InputError(_missing(argument, list(self.recipes)))

    def _file(self, path: str) -> None:
        if path == "-":
            self.texts.append(Text("stdin", b"".join(read_pieces(open_source(path), PIECE))))
            self.names.append("stdin")
            return
        with open_source(path) as stream:
            self.texts.append(Text(path, b"".join(read_pieces(stream, PIECE, path))))
        self.names.append(_stem(path))

    def _folder(self, top: str) -> None:
        for path in self._visible(top):
            if not os.path.isfile(path):
                self.skipped["special"] += 1
                continue
            with open_source(path) as stream:
                pieces = read_pieces(stream, PIECE, path)
                start = next(pieces, b"")
                if b"\0" in start:
                    self.skipped["binary"] += 1
                    continue
                self.texts.append(Text(path, start + b"".join(pieces)))
        self.names.append(os.path.basename(os.path.realpath(top)))

    def _visible(self, top: str) -> Iterator[str]:
        def refuse(error: OSError) -> None:
            raise InputError(f"cannot read {quote(error.filename)}: {error.strerror}") from error

        paths = []
        for folder, folders, names in os.walk(top, onerror=refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            shown = [name for name in names if not name.startswith(".")]
            self.skipped["hidden"] += len(names) - len(shown)
            paths += [os.path.join(folder, name) for name in shown]
        return iter(sorted(paths))


def _stem(path: str) -> str:
    stem = os.path.basename(path)
    if os.path.splitext(stem)[1].lower() in PACKED:
        stem = os.path.splitext(stem)[0]
    return os.path.splitext(stem)[0]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST_NAME].strip(".-") or "corpus"


def _missing(argument: str, names: list[str]) -> str:
    if glob.has_magic(argument):
        return f"no file matches {quote(argument)}"
    folder, name = os.path.split(argument)
    try:
        beside = os.listdir(folder or ".")
    except OSError:
        beside = []
    near = [os.path.join(folder, found) for found in difflib.get_close_matches(name, beside, 1)]
    if not folder:
        near += difflib.get_close_matches(name, names, 1)
    hint = f"; did you mean {' or '.join(map(quote, near))}?" if near else ""
    return f"no file, folder or known corpus is called {quote(argument)}{hint}"

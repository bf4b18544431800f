"""The files of a folder, and those that a pattern matches: each once, however many links lead to it."""

import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator

from charrnn.errors import InputError
from charrnn.files import quote


def visible_files(top: str) -> tuple[list[str], int, int]:
    """Return the files in a folder and in those within it, in the order of their paths; hidden ones are left out.

    Returns:
        Their paths; how many files are hidden; how many more paths lead to one of them.

    Raises:
        InputError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot read {quote(error.filename)}: {error.strerror}") from error

    paths, hidden = list[str](), 0
    for folder, names in _walk(top, refuse):
        shown = [name for name in names if not name.startswith(".")]
        hidden += len(names) - len(shown)
        paths += [os.path.join(folder, name) for name in shown]
    once = _each_once(paths)
    return once, hidden, len(paths) - len(once)


def matching_files(pattern: str) -> list[str]:
    """Return the files that a pattern with `*`, `?`, `[...]` or `**` matches, in the order of their paths."""
    return _each_once(filter(os.path.isfile, _matches(pattern)))


def _walk(top: str, refuse: Callable[[OSError], None] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and those within it, but for hidden ones, with the names of their files. Each is visited once:
    those behind links after all others, so that a link within leads nowhere."""
    visited, pending = set[tuple[int, int]](), [top]
    for start in pending:
        for folder, folders, names in os.walk(start, onerror=refuse):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in visited:
                folders.clear()
                continue
            visited.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            pending += filter(os.path.islink, (os.path.join(folder, name) for name in folders))
            yield folder, names


def _matches(pattern: str) -> Iterator[str]:
    """Return the paths that a pattern matches. As `glob.glob`, but that `**` visits every folder once."""
    found = re.fullmatch(r"(?:(.*?)/+)?\*\*(?:/+(.*))?", pattern, re.DOTALL)
    if found is None:
        yield from glob.glob(pattern)
        return
    head, tail = found.groups()
    for top in [""] if head is None else ["/"] if not head else filter(os.path.isdir, _matches(head)):
        for folder, names in _walk(top or os.curdir):
            within = folder if top else os.path.relpath(folder)
            within = "" if within == os.curdir else within
            if tail:
                yield from _matches(os.path.join(glob.escape(within), tail))
            else:
                yield from (os.path.join(within, name) for name in names if not name.startswith("."))


def _each_once(paths: Iterable[str]) -> list[str]:
    """Return the paths in order, of those that lead to the same file the one without links, or the first."""
    real_folder = functools.cache(os.path.realpath)

    def real(path: str) -> str:
        folder, name = os.path.split(path)
        return os.path.realpath(path) if os.path.islink(path) else os.path.join(real_folder(folder or os.curdir), name)

    chosen: dict[str, str] = {}
    for _, path, target in sorted((real(path) != os.path.abspath(path), path, real(path)) for path in paths):
        chosen.setdefault(target, path)
    return sorted(chosen.values())

"""`charrnn corpora`: list the corpora known by name, show cards of some, or `get` one."""

import os
import shlex
from dataclasses import asdict
from functools import partial
from typing import Any

from charrnn.config.manage import CorporaConfig
from charrnn.config.options import merge
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.console.tables import print_table
from charrnn.corpus.catalog import DEFAULT, Recipe, catalog
from charrnn.errors import UsageError, did_you_mean

_PREVIEW_LINES = 8
"""Lines of a corpus that its card shows."""


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Run the command; return the exit code. Raises CharRNNError for the user's faults."""
    config, _ = merge(CorporaConfig, flags, os.environ)
    match config.name:
        case ():
            _list(console, list(catalog().values()), config.json)
        case ("get", name):
            _get(console, _named(name))
        case ("get", *_):
            raise UsageError("get fetches one corpus: charrnn corpora get NAME")
        case ("show", *names):
            raise UsageError(f"charrnn corpora show is now: {shlex.join(['charrnn', 'corpora', *names])}")
        case names:
            recipes = [_named(name) for name in names]
            for number, recipe in enumerate(recipes):
                _show(console, recipe, config.json, first=number == 0)
    return 0


def _named(name: str) -> Recipe:
    """Return the corpus of that name. Raises UsageError: there is none."""
    recipes = catalog()
    if name not in recipes:
        hint = did_you_mean(name, recipes) or f"; there are {', '.join(recipes)}"
        raise UsageError(f"no known corpus is called {name!r}{hint}")
    return recipes[name]


def _list(console: Console, recipes: list[Recipe], json: bool) -> None:
    if json:
        for recipe in recipes:
            console.write_json({**asdict(recipe), "is_available": recipe.is_available})
    elif console.stdout_is_tty:
        rows = [(each.name, each.title, _where(each), each.licence) for each in recipes]
        print_table(console, ("name", "title", "where", "licence"), rows, left=4)
        console.info(
            f"charrnn train NAME takes one; charrnn train alone takes {DEFAULT}; charrnn corpora NAME shows one"
        )
    else:
        for recipe in recipes:
            row = (recipe.name, recipe.title, _where(recipe), recipe.licence, recipe.source)
            console.write("\t".join(row).encode() + b"\n")


def _where(recipe: Recipe) -> str:
    """Return whether a corpus is built in, has been fetched, or is to be."""
    if recipe.kind == "built-in":
        return "built in"
    return "fetched" if recipe.is_available else f"to fetch, {recipe.bytes / 1e6:.1f} MB"


def _get(console: Console, recipe: Recipe) -> None:
    """Fetch a corpus, and print the path of its file."""
    if recipe.kind != "download":
        raise UsageError(f"{recipe.name} is built in: charrnn train {recipe.name} needs no fetching")
    console.write(os.fsencode(recipe.fetch(partial(progress_bar, console))) + b"\n")


def _show(console: Console, recipe: Recipe, json: bool, *, first: bool) -> None:
    """Print a corpus's card, and how it begins where that needs no network."""
    text = recipe.documents()[0].data if recipe.is_available else b""
    if json:
        console.write_json({**asdict(recipe), "is_available": recipe.is_available})
        return
    rows = {
        "name": recipe.name,
        "title": recipe.title,
        "made": recipe.made,
        "licence": recipe.licence,
        "source": recipe.source,
        "url": recipe.url,
        "sha256": recipe.sha256,
        "where": _where(recipe),
        "train": f"charrnn train {recipe.name}" + (" --records" if recipe.records else ""),
    }
    page = ("" if first else "\n").encode()
    page += "".join(f"{name:<9}{value}\n" for name, value in rows.items() if value).encode()
    if text:
        page += b"\n" + b"\n".join(text.split(b"\n", _PREVIEW_LINES)[:_PREVIEW_LINES]) + b"\n"
    terminal = console.terminal_text()
    console.write(terminal.feed(page, final=True) if terminal else page)

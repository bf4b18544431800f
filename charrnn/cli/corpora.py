"""`charrnn corpora`: the corpora known by name."""

from dataclasses import asdict
from typing import Any

from charrnn.console import Console
from charrnn.console.tables import show_table
from charrnn.corpora import DEFAULT, known


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code."""
    recipes = list(known().values())
    if flags["json"]:
        for recipe in recipes:
            console.write_json(asdict(recipe))
    elif console.reader_is_terminal:
        rows = [(each.name, each.title, each.licence, each.source) for each in recipes]
        show_table(console, ("name", "what", "licence", "source"), rows, left=4)
        console.tell(f"charrnn train NAME takes one; charrnn train alone takes {DEFAULT}")
    else:
        for recipe in recipes:
            console.write(f"{recipe.name}\t{recipe.title}\t{recipe.licence}\t{recipe.source}\n".encode())
    return 0

"""The words that the code, its help, its messages and its documents no longer use."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

WORDS = """
look looks figures FIGURES tempered bounded
_hope FALL ASTRAY AIM _keep_time _do_what_is_due _tell _end_rows_at Course stale patient StopRequested
settle _Untold MOST_UNTOLD _told forget HOPELESS
claim cut_metrics
Rows Chunk begins Part Preparation how Sink Draft take_up
Form Survey read_once Ends ended
Training Inference learn state_of arrays_of cost slopes drive pays moved PACES kept squares
Request Written automaton ENDS NEVER Purpose lanes odds
Whole Real Sizes Names likeness told
typed_at reader_is_terminal Shown Smooth strangers processors
Team Meeting Signal APART INLINE Flush LEFT PAIRED lowered Kept grown
"""
"""Whole identifiers that have another name now. Words that the field, Python or a library uses too are not among them,
such as `load`, `exact`, `start`, `tell` or `outer`."""

IDENTIFIERS = re.findall(r"\w+", WORDS)

PHRASES = (
    r"\b[Tt]ells?\b",
    r"\bversion and end\b",
    r"\b[Ff]orget everything\b",
    r"\b[Rr]ows read side by side\b",
    r"\bbetween two updates\b",
    r"\binput table\b",
    r"\btoo bad for\b",
    r"\bodds\b",
    r"\b16 bits\b",
    r"\bis no (TOML|JSON)\b",
    r"\bcontradict\b",
    r"\bspeak as one\b",
    r"\bit is fixed\b",
    r"\b[Ss]ymbols?\b",
    r"\blook(s|ed|ing)? at\b",
)
"""Phrases that help, messages and documents have other words for, as regular expressions."""

PYTHON = sorted(file for room in ("charrnn", "tests", "benchmarks") for file in (ROOT / room).rglob("*.py"))
NATIVE = sorted((ROOT / "native").glob("*.h")) + sorted((ROOT / "native").glob("*.cpp"))


def code(file: Path) -> str:
    """Return a C++ file without comments and string literals."""
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(\\.|[^"\\\n])*"', " ", file.read_text(encoding="utf-8"), flags=re.DOTALL)


def names_of(tree: ast.AST) -> set[str]:
    """Return every identifier of a module, and each part of the dotted ones."""
    nodes = (node for node in ast.walk(tree) if not isinstance(node, ast.Constant))
    fields = [field for node in nodes for _, field in ast.iter_fields(node)]
    found = [each for field in fields for each in (field if isinstance(field, list) else [field])]
    return {part for each in found if isinstance(each, str) for part in each.split(".")}


def identifiers() -> dict[str, set[str]]:
    """Return every identifier of the code, and the files that have it."""
    found: dict[str, set[str]] = {}
    for file in PYTHON:
        for name in names_of(ast.parse(file.read_bytes())):
            found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    for file in NATIVE:
        for name in set(re.findall(r"\b[A-Za-z_]\w*\b", code(file))):
            found.setdefault(name, set()).add(file.relative_to(ROOT).as_posix())
    return found


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the string literals of a module that are not docstrings, with their lines."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Constant) and isinstance(child.value, str) and not isinstance(node, ast.Expr):
                yield child.lineno, child.value


def test_old_names_are_gone() -> None:
    found = identifiers()
    assert {name: sorted(found[name]) for name in IDENTIFIERS if name in found} == {}


def test_messages_and_help_have_the_new_words() -> None:
    found = [
        f"{file.relative_to(ROOT)}, line {line}: {text}"
        for file in sorted((ROOT / "charrnn").rglob("*.py"))
        for line, text in texts(ast.parse(file.read_bytes()))
        if re.search("|".join(PHRASES), text)
    ]
    assert found == []


def test_documents_have_the_new_words() -> None:
    found = [
        f"{file.relative_to(ROOT)}, line {number}: {line}"
        for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if re.search("|".join(PHRASES), line)
    ]
    assert found == []

"""docs/promises.md: every test it names exists, and every promise that a test names is on it."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
GROUPS = "CK|CL|EV|IN|NU|RS|SE|DI"


def entries() -> dict[str, str]:
    """Return the page's text about each promise, by its ID."""
    parts = re.split(rf"^- \*\*((?:{GROUPS})-\d\d)\*\* ", PAGE, flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2])), "an ID stands twice"
    return dict(zip(parts[1::2], parts[2::2], strict=True))


ENTRIES = entries()


@cache
def promises_of(file: Path) -> dict[str, set[str]]:
    """Return the tests of a file, and the IDs in the name and docstring of each."""
    tests: dict[str, set[str]] = {}
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            ids = set(re.findall(rf"\b(?:{GROUPS})-\d\d\b", ast.get_docstring(node) or ""))
            prefix = re.match(rf"test((?:_(?:{GROUPS.lower()})_?\d\d)+)(?:_|$)", node.name)
            named = re.findall(rf"({GROUPS.lower()})_?(\d\d)", prefix[1]) if prefix else []
            tests[node.name] = ids | {f"{group.upper()}-{number}" for group, number in named}
    return tests


def test_every_test_on_the_page_exists() -> None:
    for promise, entry in ENTRIES.items():
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", entry)
        for file, name in named:
            assert (ROOT / file).exists(), file
            tests = promises_of(ROOT / file)
            assert name in tests, f"{file}::{name}"
            assert promise in tests[name], f"{file}::{name} does not name {promise}"
        group = PAGE[: PAGE.index(f"**{promise}**")].rpartition("\n## ")[2]
        assert named or "*Not yet*" in entry or "*Not yet*: none" in group, f"{promise}: no test and no mark"


def test_every_promise_of_a_test_is_on_the_page() -> None:
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, ids in promises_of(file).items():
            for promise in ids:
                assert promise in ENTRIES, f"{name}: {promise}"

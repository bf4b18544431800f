"""What the package asks of its surroundings."""

import ast
import itertools
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

SAFE = {"sentencepiece": (0, 2, 1), "torch": (2, 10)}
"""The first versions without known holes: CVE-2026-1260 and CVE-2026-24747."""


def test_se_10_dependencies() -> None:
    """SE-10: lower bounds without known holes, and no upper bounds; what CI installs is above them. `make audit` asks
    the database of holes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest: dict[str, tuple[int, ...]] = {}
    for dependency in itertools.chain(project["dependencies"], *project["optional-dependencies"].values()):
        bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", dependency)
        assert bound is not None, dependency
        lowest[bound[1]] = _numbers(bound[2])
    for name, version in SAFE.items():
        assert lowest[name] >= version
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    pinned = {name: _numbers(version) for name, version in pins}
    for name, version in lowest.items():
        assert pinned[name] >= version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


OUR_MISTAKES = {
    "dataset.array_files: values.dtype == self.dtype",
    "dataset.array_files: table.itemsize <= old.itemsize",
    "dataset.encode: self._scanner is None or self._start == self.ids.size",
    "generation.generate: len(sampled.ids)",
    "network.dropout: 0 <= rate < 1",
    "rng: len(indices) <= 3",
    "scoring.compare: all((each.shape == (M,) for each in units))",
    "scoring.quantiles: 0 <= share <= 100",
    "scoring.quantiles: capacity in range(2, 1 << 40, 2)",
    "scoring.units: not isinstance(found, TextEnd)",
    "rng: all((0 <= word < 1 << 64 for word in (seed, *indices)))",
}
"""Assertions that are more than a hint for the type checker. None guards memory or what a user gives: `python -O` has
none of them."""


def test_assertions_are_about_our_own_mistakes() -> None:
    found = set()
    for path in sorted((ROOT / "charrnn").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT / "charrnn").with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert) and not (text := ast.unparse(node.test)).endswith(" is not None"):
                found |= set() if text.startswith("isinstance(") else {f"{module}: {text}"}
    assert found == OUR_MISTAKES

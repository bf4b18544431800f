"""What the package asks of its surroundings."""

import re
import tomllib
from pathlib import Path

SAFE = {"sentencepiece": (0, 2, 1), "torch": (2, 10)}
"""The first versions without known holes: CVE-2026-1260 and CVE-2026-24747."""


def test_se_10_dependencies() -> None:
    """SE-10: lower bounds without known holes, and no upper bounds."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lowest: dict[str, tuple[int, ...]] = {}
    for dependency in project["dependencies"]:
        bound = re.fullmatch(r"([\w-]+)>=([\d.]+)", dependency)
        assert bound is not None, dependency
        lowest[bound[1]] = tuple(map(int, bound[2].split(".")))
    for name, version in SAFE.items():
        assert lowest[name] >= version

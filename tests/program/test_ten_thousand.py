"""Ten thousand texts of models of real lists: each matches, and none is of the list."""

import random
import re
from pathlib import Path

import pytest

from tests.program.program import charrnn

TRAIN = ("--records", "--cell", "gru", "--hidden", "64", "--batch", "32", "--lr", "0.005", "--steps", "150", "-q")

DRAW = random.Random(1)  # noqa: S311

LOG = [
    f"20{DRAW.randrange(10, 27)}-{DRAW.randrange(1, 13):02}-{DRAW.randrange(1, 29):02} worker {DRAW.randrange(99)}:"
    f" {DRAW.choice(['served', 'retried', 'expired'])} in {DRAW.randrange(900)} ms"
    for _ in range(3000)
]


def lists(shared: Path) -> dict[str, list[str]]:
    """Names as they are, capitalised and with umlauts; molecules; lines of a log."""
    names = (shared / "names.txt").read_text().split()
    umlauts = {"ae": "ä", "oe": "ö", "ue": "ü"}
    return {
        "names": names,
        "capitals": [name.capitalize() for name in names],
        "umlauts": [re.sub("ae|oe|ue", lambda found: umlauts[found[0]], name) for name in names],
        "molecules": (shared / "chembl-drugs.csv").read_text().splitlines()[1:],
        "log": LOG,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pattern", "options"),
    [
        ("capitals", "[A-Z][a-z]{3,9}", []),
        ("capitals", "[A-Z][a-z]{3,9}", ["--tokenizer", "sentencepiece", "--vocab-size", "300"]),
        ("log", r"201[5-9]-(0[1-9]|1[0-2])-[0-3]\d .*", []),
        ("molecules", "ALPHABET{5,60}", []),
        ("umlauts", ".*[äöü].*", []),
        ("umlauts", ".*[äöü].*", ["--tokenizer", "byte"]),
    ],
)
def test_ten_thousand_match(name: str, pattern: str, options: list[str], shared: Path, tmp_path: Path) -> None:
    lines = lists(shared)[name]
    if "ALPHABET" in pattern:
        pattern = pattern.replace("ALPHABET", "[" + re.escape("".join(sorted(set("".join(lines))))) + "]")
    (tmp_path / "list.txt").write_text("".join(f"{line}\n" for line in lines))
    assert charrnn("train", "list.txt", *TRAIN, *options, "--out", "run", cwd=tmp_path).code == 0
    done = charrnn("sample", "-m", "run", "-n", "10000", "--seed", "1", "--match", pattern, cwd=tmp_path)
    assert done.code == 0, done.err
    found = done.out.decode().removesuffix("\n").split("\n")  # a byte model may draw other ends of lines
    assert len(found) == 10_000
    assert len(set(found)) > 5_000
    assert all(re.fullmatch(pattern, text) for text in found)
    assert not all(re.fullmatch(pattern, line) for line in lines)  # the model does not do so of itself


@pytest.mark.slow
def test_ten_thousand_are_new(shared: Path, tmp_path: Path) -> None:
    """Of a model that knows its list by heart in part."""
    names = lists(shared)["names"][:2000]
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names))
    train = ["train", "list.txt", *TRAIN, "--steps", "1500", "--dropout", "0", "--out", "run"]
    assert charrnn(*train, cwd=tmp_path).code == 0
    free = charrnn("sample", "-m", "run", "-n", "2000", "--seed", "1", cwd=tmp_path).out.decode().splitlines()
    assert len(set(free) & set(names)) > 200
    done = charrnn("sample", "-m", "run", "-n", "10000", "--seed", "1", "--novel", "--unique", cwd=tmp_path)
    assert done.code == 0, done.err
    found = done.out.decode().splitlines()
    assert len(found) == len(set(found)) == 10_000
    assert not set(found) & set(names)

"""Which records are held out: equal ones are on one side, whatever their order and the seed."""

import json
import random
from pathlib import Path
from typing import Any

from tests.program.conftest import TINY
from tests.program.program import TREE, charrnn, charrnn_each

WORDS = ["".join(letters) + "\n" for letters in zip(*[iter(random.Random(1).choices("abcdefghij", k=2400))] * 8)]  # noqa: B905, S311
"""300 records that nothing but their repetition makes predictable."""


def planned(folder: Path, *cases: tuple[list[str], list[str]]) -> list[dict[str, Any]]:
    """What trainings on lines are planned with, each with options: how much is held out, and what simple models make
    of it."""
    lines = []
    for number, (records, options) in enumerate(cases):
        (folder / f"{number}.txt").write_text("".join(records))
        words = ["train", f"{number}.txt", "--records", "--json", *TINY, "--steps", "1", *options]
        lines.append([*words, "--out", str(number)])
    found = []
    for ran in charrnn_each(*lines, cwd=folder):
        assert ran.code == 0, ran.err
        plan = json.loads(ran.out.splitlines()[0])
        found.append({**plan["baselines"], "val_tokens": plan["val_tokens"]})
    return found


def test_equal_records_are_on_one_side(tmp_path: Path) -> None:
    """What is held out has not been learnt, so nothing predicts it better than guessing its letters (3.3 bits)."""
    lines = WORDS * 10
    random.Random(2).shuffle(lines)  # noqa: S311
    [found] = planned(tmp_path, (lines, []))
    assert found["ngram"] > 3
    assert found["val_tokens"] == 270 * 10


def test_the_split_depends_on_the_records_alone(tmp_path: Path) -> None:
    cases: list[tuple[list[str], list[str]]] = [(WORDS, []), (WORDS, ["--seed", "7"]), (WORDS[::-1], [])]
    if TREE is None:  # the option is new
        cases.append((WORDS, ["--split-seed", "1"]))
    plain, seed, order, *other = planned(tmp_path, *cases)
    assert seed == plain
    assert order["unigram"] == plain["unigram"]
    assert all(each["unigram"] != plain["unigram"] for each in other)


def test_records_that_are_all_equal(tmp_path: Path) -> None:
    (tmp_path / "records.txt").write_text("anna\n" * 40)
    ran = charrnn("train", "records.txt", "--records", *TINY, cwd=tmp_path)
    assert (ran.code, ran.out) == (4, b"")
    assert b"Error: all 40 records are equal, so that none can be held out; --val 0 trains on all of them\n" in ran.err

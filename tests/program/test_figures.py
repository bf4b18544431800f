"""What `train` and `show` say of a model: figures of the same text, in the same words."""

import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest

from tests.program.clock import counting_clock
from tests.program.conftest import TINY
from tests.program.program import charrnn

VAL = 40_000
"""Characters of the validation text."""


def events(out: bytes) -> dict[str, dict[str, Any]]:
    """Return the last event of each kind, and the first plan."""
    found = [json.loads(line) for line in out.splitlines()]
    return {**{event["event"]: event for event in found}, "plan": found[0]}


@pytest.mark.parametrize("time", ["3s", "5s"])
def test_model_and_baselines_are_scored_on_the_same_text(time: str, tmp_path: Path) -> None:
    """On all of it where that takes less than a quarter of the time; else on the same part, and it is said."""
    text = "\n".join(topics[topic] for topic in sorted(topics))
    (tmp_path / "text.txt").write_bytes(text.encode("ascii", "ignore")[: 10 * VAL])
    options = ("--time", time, "--hidden", "16", "--batch", "4", "--threads", "1", "--json", "--out", "run")
    clock = counting_clock(tmp_path / "clock", second=0.01)
    ran = charrnn("train", "text.txt", *options, cwd=tmp_path, env=clock)
    found = events(ran.out)
    done = found["done"]
    assert done["baselines"]["val_bytes"] == done["tokens"]
    assert found["plan"]["exact_tokens"] == done["tokens"]
    assert done["val_tokens"] == VAL
    assert (done["tokens"] == VAL) == (time == "5s")
    lines = ran.err.decode()
    whole, part = "40,000 validation tokens", f"the first {done['tokens']:,} of 40,000 validation tokens"
    assert f"all of these on {whole if time == '5s' else part}\n" in lines
    assert ("all exactly at the end" in lines) == (time == "5s")
    assert ("exact score, and baselines, on the first" in lines) == (time == "3s")
    if time == "5s":
        return
    shown = charrnn("show", "run", cwd=tmp_path).out.decode()
    card = dict(line.split(maxsplit=1) for line in shown.splitlines() if line[:1].isalpha())
    assert card["tokens"] == part
    compared = next(line for line in lines.splitlines() if line.startswith("to compare with"))
    assert card["to"] == compared.removeprefix("to ").replace("with:", "with")


def test_an_evaluation_while_training_is_of_all_of_the_text(tmp_path: Path) -> None:
    """Its beginning alone, which here is easy, would be no fair sample."""
    rng = np.random.default_rng(1)
    easy = [f"{'ab' * 6}{number:03}" for number in range(500)]
    hard = ["".join(rng.choice(list("cdefghijkl"), 15).tolist()) for _ in range(500)]
    (tmp_path / "text.txt").write_text("\n".join([*easy, *hard]) + "\n")
    limit = {"CHARRNN_EVAL_TOKENS": "900", "CHARRNN_VAL_LIMIT": "900"}  # the latter was 66ff440's
    options = ("--records", "--val", "0.5", "--json", "--out", "run", *TINY)
    found = events(charrnn("train", "text.txt", *options, cwd=tmp_path, env=limit).out)
    assert 800 < found["eval"]["tokens"] < 1200
    assert found["eval"]["nats"] / found["eval"]["tokens"] == pytest.approx(found["done"]["carried"], rel=0.04)


def test_one_is_no_plural_and_nothing_is_not_the_best(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"ab" * 40)
    ran = charrnn("train", "text.txt", "--val", "0", *TINY, "--steps", "1", "--out", "run", cwd=tmp_path)
    lines = ran.err.decode()
    assert "\nplan: 1 step, 1 epoch; " in lines
    assert "\n1 step in " in lines
    assert "best" not in lines
    assert "0 to validate on\n" in lines
    assert "1 step, 1.0000 epochs, in " in charrnn("show", "run", cwd=tmp_path).out.decode()

"""`charrnn show` and `charrnn corpora`: what there is."""

import json
import os
import re
from pathlib import Path

import pytest

from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny
from tests.program.program import charrnn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with a model."""
    folder = tmp_path / "checkpoints" / "char"
    folder.mkdir(parents=True)
    model = tiny.drawn(tiny.char(), "lstm", (12, 8))
    metrics = {"perplexity": 4.5, "tokens": 99, "carried": 1.5}
    model.info.update(step=1234, epoch=1.5, corpus_sha256="ab" * 32, metrics=metrics)
    tiny.saved(folder / "model.safetensors", model)
    return folder


def test_a_card(run: tiny.Program, folder: Path) -> None:
    ran = run("show", "char")
    assert (ran.code, ran.err) == (0, b"")
    card = dict(line.split(maxsplit=1) for line in ran.out.decode().splitlines())
    assert card["model"] == "checkpoints/char/model.safetensors"
    assert card["cell"] == "lstm 12+8"
    assert card["vocabulary"] == f"{tiny.char().size} (char)"
    assert card["trained"] == "1,234 steps, 1.5000 epochs"
    assert card["corpus"] == "SHA-256 " + "ab" * 32
    assert card["carried"] == "1.5000 nats per token"
    assert (card["perplexity"], card["tokens"]) == ("4.5000", "99 validation tokens")


def test_a_card_of_a_run(run: tiny.Program, tmp_path: Path) -> None:
    """How it was trained, and what it takes on the disk."""
    Path("poem.txt").write_text("to be or not to be, that is the question\n" * 30)
    sizes = ("--hidden", "8", "--batch", "4", "--seq-len", "8", "--steps", "12", "--threads", "1")
    options = ("--lr", "0.0123", "--dropout", "0.1", "--weight-drop", "0.25", "--optimizer", "adamw")
    assert run("train", "poem.txt", "--out", "r", *sizes, *options).code == 0
    card = dict(line.split(maxsplit=1) for line in run("show", "r").out.decode().partition("\n\n")[0].splitlines())
    assert card["batch"] == "4 rows of 8 tokens"
    assert card["learning"] == "rate   0.0123, adamw, linear"
    assert card["dropout"] == "0.1, 0.25 of recurrent weights"
    assert re.fullmatch(r"12 steps, [\d.]+ epochs, in \ds", card["trained"])
    assert re.fullmatch(r"poem\.txt, SHA-256 [0-9a-f]{64}", card["corpus"])
    assert re.fullmatch(r"finished, last written \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", card["run"])
    assert re.fullmatch(r"disk         [\d.]+kB, the model [\d.]+kB of it", card["on"])


def test_a_card_as_json(run: tiny.Program, folder: Path) -> None:
    """CL-19."""
    found = json.loads(run("show", "--json").out)
    assert list(found) == ["model", "config", "tokenizer", "separator", "parameters", "info"]
    assert found["config"] == {
        "cell": "lstm", "vocabulary": tiny.char().size, "hidden": [12, 8], "embedding": 6, "activation": "tanh"
    }  # fmt: skip
    assert found["info"]["metrics"] == {"perplexity": 4.5, "tokens": 99, "carried": 1.5}


def test_a_curve(run: tiny.Program, folder: Path) -> None:
    """Drawn of what can be read of the log, and left out where there is too little."""

    def shown() -> str:
        """What is shown but for the state of the run, and its size."""
        lines = run("show", "char").out.decode().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(("run ", "on disk ")))

    plain = shown()
    events = [{"event": "eval", "step": step, "nats": 300.0 - step, "tokens": 100} for step in (1, 50, 90)]
    odd = [{"event": "eval"}, {"event": "eval", "step": 4, "nats": None, "tokens": 0}, {"event": "step", "step": 3}]
    odd += [
        {"event": "eval", "step": 2, "nats": 1e9, "tokens": 1},
        {"event": "eval", "step": 2, "nats": 1, "tokens": 0},
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in odd))
    assert shown() == plain
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in [*odd, *events]) + "[1")
    out = shown()
    assert out.startswith(plain)
    *_, axis, steps, last = out.splitlines()
    assert last == "validation perplexity from 19.886 to 8.166"
    assert axis == " " * 7 + "└" + "─" * 60
    assert steps == " " * 8 + "1" + "90 steps".rjust(59)
    chart = out.removeprefix(plain).splitlines()[1:9]
    assert [line[:8] for line in chart] == ["19.886 ┤", *["       │"] * 3, "12.743 ┤", *["       │"] * 2, " 8.166 ┤"]
    assert "⠀" in out
    (folder / "metrics.jsonl").write_text('{"event": "eval", "step": "x", "nats": 1, "tokens": 0}\n')
    assert shown() == plain
    warning = run("show", "char").err.decode()
    assert "line 1 is not an event of a training, and may be removed: 'step' must be" in warning


@pytest.mark.parametrize(
    "info",
    [
        {}, {"plan": {"config": {"batch": None, "seq_len": [1], "lr": "x", "dropout": {}}}}, {"plan": [1]},
        {"step": "many", "epoch": None, "metrics": 5}, {"metrics": {"perplexity": [1], "tokens": None}},
        {"metrics": {"perplexity": None}}, {"corpus_sha256": {"a": 1}},
        {"plan": {"origin": {"name": ["a"], "new_characters": "x", "mix_share": None}}}, {"plan": {"origin": {}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_file_that_says_something_else(info: dict[str, object], run: tiny.Program) -> None:
    """CK-12: what a checkpoint says about itself is not trusted."""
    model = tiny.drawn(ByteTokenizer())
    model.info.clear()
    model.info.update(info)
    tiny.saved(Path("m"), model)
    ran = run("show", "m")
    assert (ran.code, ran.err) == (0, b"")
    assert run("show", "m", "--json").code == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_log_that_is_a_pipe(folder: Path) -> None:
    """It is not waited for, and the model's card has no curve."""
    os.mkfifo(folder / "metrics.jsonl")
    ran = charrnn("show", folder, timeout=60)
    assert (ran.code, ran.out[:5]) == (0, b"model")
    assert ran.err.endswith(b"metrics.jsonl': it is a pipe: without the curve\n")


def test_a_card_does_not_steer_a_terminal(tmp_path: Path) -> None:
    """SE-03."""
    model = tiny.drawn(ByteTokenizer())
    model.info["corpus_sha256"] = "\x1b]0;pwn\x07\x9b"
    tiny.saved(tmp_path / "m\x1b[2J", model)
    ran = tiny.on_terminal("show", "m\x1b[2J")
    assert ran.code == 0
    assert b"m\\x1b[2J" in ran.out
    assert b"\x1b" not in ran.out
    assert b"\\x1b]0;pwn\\x07\\x9b" in ran.out


def test_corpora(run: tiny.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-19."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rows = [line.split("\t") for line in run("corpora").out.decode().splitlines()]
    found = [json.loads(line) for line in run("corpora", "--json").out.splitlines()]
    assert [row[0] for row in rows] == [each["name"] for each in found] == sorted(row[0] for row in rows)
    for row, each in zip(rows, found, strict=True):
        assert list(each)[:4] == ["name", "title", "licence", "source"]
        assert row == [each["name"], each["title"], row[2], each["licence"], each["source"]]
        assert row[2] == "built in" if each["kind"] == "built-in" else row[2].startswith("to fetch, ")


def test_corpora_on_a_terminal() -> None:
    ran = tiny.on_terminal("corpora")
    assert ran.code == 0
    assert b"python-docs" in ran.out
    assert b"charrnn train alone takes python-docs" in ran.err


def test_where_a_model_came_from(run: tiny.Program) -> None:
    model = tiny.drawn(tiny.char())
    model.info["plan"] = {"origin": {"name": "old", "sha256": "ab" * 32, "new_characters": 2, "mix_share": 0.25}}
    path = tiny.saved(Path("tuned.safetensors"), model)
    line = (
        "from            old (SHA-256 abababababababab...), 2 characters new to it, 25% of each batch from another text"
    )
    assert line in run("show", path).out.decode().splitlines()

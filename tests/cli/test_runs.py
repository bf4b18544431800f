"""`charrnn runs`: rows, tables and objects of runs, and `prune`."""

import json
import os
from pathlib import Path

import pytest

from charrnn.config.manage import RUN_COLUMNS, RUN_KEYS
from tests import tiny, trainings
from tests.cli import evals

OUR_FILES = ("a", "b", "c\x1b[2J")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Models with figures, the last saved first in the list: `a`, then `b`, then one whose name steers a terminal."""
    for number, name in enumerate(OUR_FILES):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        model = tiny.drawn(tiny.char(), "lstm", (12, 8))
        model.info["metrics"] = {"bits_per_char": 3.0 - number} if number else {}
        model.info["plan"] = {"baselines": {"uniform": 6.0, "ngram": 2.5, "xz": None, "val_bytes": 3}}
        path = tiny.saved(folder / "model.safetensors", model)
        (folder / "config.toml").write_text('# The plan of this run\ncorpus = ["/x/one.txt", "two"]\n')
        os.utime(path, (1e9 - number, 1e9 - number))
        os.utime(folder / "config.toml", (9e8, 9e8))
    return tmp_path / "checkpoints"


def test_rows(run: tiny.Program, runs: Path) -> None:
    """CL-19, rule 4."""
    ran = run("runs")
    size = sum(path.stat().st_size for path in (runs / "a").iterdir())
    rows = [line.split("\t") for line in ran.out.decode().splitlines()]
    assert (ran.code, ran.err) == (0, b"")
    first = ["a", "finished", "2001-09-09T01:46:40Z", "lstm", "12,8", "one.txt,two", "", "2.500000", "", str(size)]
    assert rows[0] == first
    assert [row[0] for row in rows] == [*OUR_FILES]
    assert run("runs", "--header").out.split(b"\n")[0].decode() == "\t".join(RUN_COLUMNS)
    assert run("runs", "-f", "name,bits_per_char=bits,baselines", "b", "--header").out == (
        b'name\tbits\tbaselines\nb\t2.000000\t{"uniform": 6.0, "ngram": 2.5}\n'
    )


def test_order(run: tiny.Program, runs: Path) -> None:
    """The newest first; by a column the smallest, and those that have none of it last."""
    for column, expected in (("date", "cba"), ("bits_per_char", "cba"), ("name", "abc"), ("seconds", "abc")):
        found = run("runs", "--sort", column, "-f", "name").out.decode().splitlines()
        assert "".join(name[0] for name in found) == expected, column


def test_objects(run: tiny.Program, runs: Path) -> None:
    """CL-19; also of names that are not UTF-8."""
    os.rename(runs / "b", os.fsencode(runs) + b"/b\xff")
    found = evals.objects(run("runs", "--json").out)
    assert [tuple(each) for each in found] == [RUN_KEYS] * 3
    assert found[0]["hidden"] == [12, 8]
    assert found[0]["baselines"] == {"uniform": 6.0, "ngram": 2.5}
    assert (found[0]["bits_per_char"], found[0]["path"]) == (None, "checkpoints/a")
    assert found[1]["name"] == "b\ufffd"
    assert b"b\\xff\t" in run("runs").out


def test_a_terminal(runs: Path) -> None:
    """SE-03."""
    ran = tiny.on_terminal("runs")
    assert (ran.code, ran.err) == (0, b"")
    assert b"bits/char" in ran.out
    assert b"\\x1b[2J" in ran.out
    assert b"\x1b[2J" not in ran.out
    header, *_ = tiny.on_terminal("runs", "-f", "name").out.splitlines()
    assert header == b"name"


def test_nothing_there(run: tiny.Program, tmp_path: Path) -> None:
    assert run("runs") == tiny.Ran(0, b"", b"")
    assert run("runs", "prune") == tiny.Ran(0, b"", b"nothing to delete\n")
    assert b"no runs here" in tiny.on_terminal("runs").err
    (tmp_path / "checkpoints").write_text("a file")
    assert run("runs") == tiny.Ran(0, b"", b"")


def test_prune(run: tiny.Program, tmp_path: Path) -> None:
    trainings.train(tmp_path / "checkpoints" / "one", steps=8)
    last, size = Path("checkpoints/one/last.safetensors"), Path("checkpoints/one/last.safetensors").stat().st_size
    stray = Path("checkpoints/one/.metrics.jsonl.tmp-0123456789abcdef")
    stray.write_text("x")
    paths = f"{stray}\n{last}\n".encode()
    planned = run("runs", "prune", "--dry-run")
    assert (planned.code, planned.out) == (0, paths)
    assert planned.err.startswith(b"2 files would be deleted, ")
    found = evals.objects(run("runs", "prune", "--dry-run", "one", "--json").out)
    assert found == [{"path": str(stray), "bytes": 1}, {"path": str(last), "bytes": size}]
    assert last.exists()
    assert run("runs", "prune", "one").out == paths
    assert not last.exists()
    assert not stray.exists()
    assert json.loads(run("runs", "--json").out)["state"] == "finished"
    assert run("eval", "-m", "one", "-f", "tokens", stdin=b"The dog").out == b"7\n"


def test_what_cannot_be_deleted(run: tiny.Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning, and exit 1."""
    trainings.train(tmp_path / "checkpoints" / "one", steps=8)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    ran = run("runs", "prune")
    assert (ran.code, ran.out) == (1, b"")
    assert ran.err == (
        b"Warning: cannot delete 'checkpoints/one/last.safetensors': Permission denied\nnothing to delete\n"
    )


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("runs --dry-run", 2, "--dry-run needs prune: charrnn runs prune"),
        ("runs prune --sort name", 2, "--sort cannot be used with prune, which prints paths"),
        ("runs prune --header", 2, "--header cannot be used with prune, which prints paths"),
        ("runs --sort size", 2, "--sort must be one of name, state, date"),
        ("runs -f nam", 2, "; there is no 'nam'; did you mean 'name'?"),
        ("runs gone", 3, "no run 'gone': there is no such folder, and no run of that name in 'checkpoints'"),
        ("list", 2, "No such command 'list'; use charrnn runs"),
    ],
)
def test_refusals(line: str, code: int, message: str, run: tiny.Program) -> None:
    ran = run(*line.split())
    assert ran.code == code
    assert message in ran.error

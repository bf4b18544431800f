"""The command line: exit codes, what goes where, and one line for every mistake."""

import errno
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest
import typer

from charrnn import __version__
from charrnn.cli.app import COMMANDS, configs, parse, program
from charrnn.config.params import Flag
from charrnn.training.learner import Learner
from tests import tiny
from tests.tiny import Program, Ran

PYTHON = sys.executable
TEXT = b"the quick brown fox jumps over the lazy dog\n" * 10
CHARS = "\n abcdefghijklmnopqrstuvwxyz\u00e9\u20ac\U0001f600"

TRAIN = [
    "train", "text.txt", "--out", "run", "--hidden", "8", "--batch", "4", "--seq-len", "8",
    "--lr", "0.01", "--steps", "6", "--threads", "1",
]  # fmt: skip
"""A training of a moment."""


def events(done: Ran) -> list[dict[str, Any]]:
    """stdout as JSON Lines, read as strictly as the strictest reader would."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse) for line in done.out.decode().split("\n")[:-1]]


@pytest.fixture
def model() -> str:
    """A model that has learned nothing, and knows characters of one to four bytes."""
    return tiny.saved(Path("m.safetensors"), tiny.drawn(tiny.char(CHARS)))


@pytest.fixture
def text() -> str:
    Path("text.txt").write_bytes(TEXT)
    return "text.txt"


def outside(*arguments: str, environ: Mapping[str, str] | None = None, program: str = "-m charrnn") -> Ran:
    """Runs a command line in a process of its own."""
    done = subprocess.run(
        [PYTHON, *program.split(), *arguments],
        capture_output=True, stdin=subprocess.DEVNULL, env={**os.environ, **(environ or {})}, timeout=60,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


# What goes where


def test_sample_puts_the_text_on_stdout_and_nothing_else(run: Program, model: str) -> None:
    """CL-01."""
    done = run("sample", "-m", model, "--length", "300")
    assert done.code == 0
    assert len(done.out.decode()) == 300
    assert set(done.out.decode()) <= set(CHARS)
    assert re.fullmatch(rb"seed (\d+): --seed \1 writes the same again\n", done.err)
    assert b"\x1b" not in done.out + done.err
    seeded = run("sample", "-m", model, "--length", "300", "--seed", "3")
    assert (seeded.code, seeded.err) == (0, b"")


def test_train_puts_the_path_on_stdout_and_nothing_else(run: Program, text: str) -> None:
    """CL-02."""
    done = run(*TRAIN)
    assert (done.code, done.out) == (0, b"run/model.safetensors\n")
    done = run(*TRAIN, "--overwrite", "--json")
    assert done.code == 0
    assert [event["event"] for event in events(done)][:2] == ["plan", "save"]
    assert events(done)[-1]["event"] == "done"


ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"NO_COLOR": "1"},
    {"NO_COLOR": ""},
    {"TERM": "dumb"},
    {"TERM": "xterm-256color", "GITHUB_ACTIONS": "1"},
    {"TERM": "xterm-256color", "CI": "1", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"},
]


@pytest.mark.parametrize("environ", ENVIRONMENTS, ids=str)
def test_no_escape_sequences_where_streams_are_redirected(
    environ: dict[str, str], run: Program, model: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-03: for help, mistakes, tables and trainings alike; and with --no-color."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for line in (
        ["--help"], ["train", "-h"], ["tran"], ["train", "--hiden", "5"], [], ["corpora"],
        ["show", model], ["show", model, "--no-color"], ["eval", "-m", model, text],
        ["eval", "-m", model, text, text, "--no-color"], ["sample", "-m", model, "--no-color"],
        TRAIN, [*TRAIN, "--no-color", "-v", "--overwrite"],
    ):  # fmt: skip
        done = run(*line)
        assert b"\x1b" not in done.out + done.err, line
        assert b"\r" not in done.out + done.err, line


def test_a_log_has_no_progress_frames(run: Program, text: str) -> None:
    """CL-04: whole lines, no more than one for each evaluation and no cursor codes."""
    done = run(*TRAIN, "--eval-every", "2", "--sample-every", "0")
    assert done.code == 0
    assert not re.search(rb"[\r\x1b\x08]", done.err)
    lines = done.err.decode().splitlines()
    assert sum(line.startswith("step ") for line in lines) == 3
    assert len(lines) < 25


# Mistakes

MISTAKES = [
    # line, exit code, words of the message
    (["tran"], 2, ["No such command 'tran'", "; did you mean 'train'?"]),
    (["nothing-like-it"], 2, ["No such command 'nothing-like-it'", "`charrnn --help`"]),
    (["train", "--hiden", "5"], 2, ["No such option: --hiden", "did you mean --hidden?"]),
    (["eval", "--sreams=5"], 2, ["No such option: --sreams", "did you mean --streams?"]),
    (["train", "--zzz"], 2, ["No such option: --zzz", "`charrnn train --help`"]),
    (["--verison"], 2, ["No such option: --verison", "did you mean --version?"]),
    (["train", "--hidden"], 2, ["'--hidden' requires an argument"]),
    (["train", "--json=1"], 2, ["'--json' does not take a value"]),
    (["sample", "what"], 2, ["unexpected extra argument", "what"]),
    (["train", "--cell", "gur"], 2, ["--cell must be one of lstm, gru, rnn,", "not 'gur'; did you mean 'gru'?"]),
    (["train", "--device", "gpu"], 2, ["--device must be auto, cpu, cuda or cuda:N, not 'gpu'"]),
    (["train", "--out", ""], 2, ["--out must be a path, not ''"]),
    (["train", "--config", "none.toml"], 2, ["cannot read 'none.toml'", "No such file"]),
    (["train", "--activation", "relu"], 2, ["--activation is now part of --cell: rnn-relu or rnn-sigmoid"]),
    (["train", "--weights"], 2, ["Error: --weights is now --counts"]),
    (["train", "--val-fraction=0.2"], 2, ["Error: --val-fraction is now --val"]),
    (["train", "--config", "old.toml"], 2, ["'old.toml': 'val-fraction' is now val"]),
    (["sample", "--temperature", "1"], 2, ["No such option: --temperature; use --temp"]),
    (["sample", "--greedy"], 2, ["No such option: --greedy; use --temp 0"]),
    (["sample", "--raw"], 2, ["--raw is now a pipe, | cat,"]),
    (["eval", "--metric", "nats"], 2, ["--metric is now --fields"]),
    (["eval", "--dynamic"], 2, ["--dynamic is now --adapt weights"]),
    (["corpora", "show", "names"], 2, ["charrnn corpora show is now: charrnn corpora names"]),
    (["corpora", "get"], 2, ["charrnn corpora get NAME"]),
    (["corpora", "nmes"], 2, ["no known corpus is called 'nmes'; did you mean 'names'?"]),
    (["generate"], 2, ["No such command 'generate'; use charrnn sample"]),
    (["rm", "run"], 2, ["No such command 'rm'; use rm -r checkpoints/RUN"]),
    (["help", "cels"], 2, ["no command or topic is called 'cels'; did you mean 'cells'?"]),
    (["help", "x"], 2, [", corpora, doctor, help, texts, fields"]),
    (["-v", "train"], 2, ["-v: belongs behind the command"]),
    (["train", "--layers", "3", "--hidden", "4,5"], 2, ["--layers 3 and --hidden 4,5", "2 sizes"]),
    (["train", "--resume", "--overwrite"], 2, ["--resume and --overwrite cannot be used together"]),
    (["train", "--resume", "--auto-resume"], 2, ["--resume and --auto-resume cannot be used together"]),
    (["train", "--vocab-size", "9", "--tokenizer", "byte"], 2, ["--vocab-size cannot be used with --tokenizer byte"]),
    (["train", "text.txt", "--resume", "--out", "none"], 2, ["--resume", "no run in 'none'"]),
    (["train", "texts.txt"], 4, ["'texts.txt'", "did you mean 'text.txt'?"]),
    (["train", "python-dcos"], 4, ["did you mean 'python-docs'?"]),
    (["train", "empty"], 4, ["no text in 'empty'"]),
    (["train", "text.txt", "--val", "none.txt"], 4, ["'none.txt'"]),
    (["train", "text.txt", "--batch", "60000"], 4, ["--batch 60000"]),
    (["sample"], 3, ["no model found", "charrnn train"]),
    (["sample", "-m", "none"], 3, ["no model 'none'"]),
    (["sample", "-m", "text.txt"], 3, ["'text.txt'", "not a charrnn checkpoint"]),
    (["sample", "-m", "m.safetensors", "-p", "7\u00df"], 4, ["U+0037 DIGIT SEVEN", "U+00DF"]),
    (["sample", "-p", "a", "--prompt-file", "b"], 2, ["--prompt and --prompt-file cannot be used together"]),
    (["eval", "-m", "m.safetensors", "none.txt"], 4, ["'none.txt'"]),
    (["eval", "-m", "m.safetensors", "empty.txt"], 4, ["no tokens to score"]),
    (["eval", "--lines", "--jsonl", "text"], 2, ["--lines and --jsonl cannot be used together"]),
    (["eval", "-f", "perplexty"], 2, ["did you mean 'perplexity'?"]),
    (["show", "none"], 3, ["no model 'none'"]),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "words"), MISTAKES, ids=[" ".join(line) for line, *_ in MISTAKES])
def test_a_mistake_is_one_line(
    line: list[str], code: int, words: list[str], run: Program, model: str, text: str
) -> None:
    """CL-12, CL-15."""
    Path("empty").mkdir()
    Path("empty.txt").touch()
    Path("old.toml").write_text("val-fraction = 0.2\n")
    done = run(*line)
    assert (done.code, done.out) == (code, b"")
    for word in words:
        assert word in done.error


def test_debug_adds_the_traceback(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-12."""
    plain = run("show", "none")
    monkeypatch.setenv("CHARRNN_DEBUG", "1")
    done = run("show", "none")
    assert done.code == plain.code == 3
    assert done.err.startswith(b"Traceback (most recent call last):\n")
    assert done.err.endswith(b"\n" + plain.err)


OUT_OF_RANGE = [
    *(("train", "--lr", value, "a finite number, above 0") for value in ("nan", "inf", "-1", "1e400", "0", "x", "")),
    *(("train", "--batch", value, "a whole number from 1 to 65536") for value in ("0", "-3", "2.5", "9" * 40)),
    *(("train", "--hidden", value, "whole numbers from 1 to 65536") for value in ("3.5", "0", "8,", "8,x", "70000")),
    *(("train", "--dropout", value, "a finite number, 0 or more and below 1") for value in ("1.0", "-0.1", "nan")),
    ("train", "--weight-drop", "1", "a finite number, 0 or more and below 1"),
    *(("train", "--time", value, "a time above 0") for value in ("0", "-5s", "5x", "nan", "1e999", "")),
    ("train", "--epochs", "inf", "a finite number, above 0"),
    ("train", "--steps", "1e3", "a whole number, 1 or more"),
    ("train", "--seed", "-1", "a whole number"),
    ("train", "--clip", "-1", "a finite number, 0 or more"),
    ("train", "--val", "1", "a file, or a share from 0 to 0.9"),
    *(("sample", "--temp", value, "a finite number, 0 or more") for value in ("-1", "nan", "inf")),
    *(("sample", "--top-p", value, "a finite number, above 0 and at most 1") for value in ("0", "1.1")),
    ("sample", "--top-k", "-1", "a whole number, 0 or more"),
    ("sample", "--num", "-1", "a whole number, 0 or more"),
    ("eval", "--streams", "0", "a whole number from 1 to 4096"),
]


@pytest.mark.parametrize(("command", "flag", "value", "wanted"), OUT_OF_RANGE)
def test_a_value_out_of_range(command: str, flag: str, value: str, wanted: str, run: Program, tmp_path: Path) -> None:
    """CL-16, NU-05: refused before a file is read (that there is none is another exit code) or made."""
    rest = {"train": ["none.txt", "--out", "run"], "sample": ["-m", "none"], "eval": ["-m", "none", "none.txt"]}
    for given in ([flag, value], [f"{flag}={value}"]):
        done = run(command, *rest[command], *given)
        assert (done.code, done.out) == (2, b"")
        assert f"{flag} must be {wanted}" in done.error
        assert f", not '{value}'" in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_called_one(run: Program, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-13: a traceback, and what was saved stays as it was."""
    assert run(*TRAIN, "--save-every", "4").code == 0
    before = {path: path.read_bytes() for path in Path("run").glob("*.safetensors")}
    assert len(before) == 2

    def broken(*_: Any) -> Any:
        return 1 / 0

    monkeypatch.setattr(Learner, "step", broken)
    done = run("train", text, "--resume", "--out", "run", "--steps", "9")
    assert (done.code, done.out) == (1, b"")
    assert b"\nTraceback (most recent call last):\n" in b"\n" + done.err
    last, second = done.err.decode().splitlines()[-1], done.err.decode().splitlines()[-2]
    assert last.startswith(f"Error: This is a bug in charrnn {__version__}")
    assert second == "ZeroDivisionError: division by zero"
    assert {path: path.read_bytes() for path in Path("run").glob("*.safetensors")} == before


@pytest.mark.parametrize(
    "where", ["charrnn.cli.app.parse", "charrnn.cli.app.importlib.import_module", "charrnn.cli.options._keep_as_typed"]
)
def test_an_interruption_while_starting(where: str, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-08, CL-11: no traceback, even where nothing can be saved yet."""

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupt)
    done = run("corpora")
    assert (done.code, done.out, done.err.strip()) == (130, b"", b"")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 48 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ImportError("libopenblas.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
    ids=str,
)
def test_too_little_memory_is_no_bug(error: Exception, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-12."""

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr("charrnn.cli.corpora.catalog", fail)
    done = run("corpora")
    assert done.code == 1
    assert "not enough memory" in done.error


def test_what_the_system_refuses_is_no_bug(run: Program, text: str) -> None:
    """CL-12."""
    done = run(*TRAIN, "--out", "a" * 300)
    assert done.code == 1
    assert "File name too long" in done.error


@pytest.mark.parametrize(("out", "words"), [("file", "exists"), ("file/run", "Not a directory")])
def test_a_folder_that_cannot_be(out: str, words: str, run: Program, text: str) -> None:
    """CL-24: found out before torch is even imported."""
    Path("file").write_bytes(b"mine")
    begin = time.monotonic()
    done = run(*TRAIN, "--out", out)
    assert time.monotonic() - begin < 4
    assert (done.code, done.out) == (1, b"")
    assert f"'{out}'" in done.error
    assert words in done.error
    assert Path("file").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_disk_that_takes_nothing(text: str) -> None:
    """CL-24."""
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
    begin = time.monotonic()
    done = outside(limited + "from charrnn.__main__ import main; sys.exit(main())", *TRAIN, program="-B -c")
    assert time.monotonic() - begin < 4
    assert (done.code, done.out) == (1, b"")
    assert "'run/.lock'" in done.error


# Names that would steer a terminal

HOSTILE = "\x1b]0;pwn\x07\x1b[2J\x9b31m[red]x[/]\u202e\r\nError: no"


def harmless(data: bytes) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", data.decode())


@pytest.mark.parametrize(
    "line",
    [
        [HOSTILE],
        ["train", f"--{HOSTILE}"],
        ["train", "--cell", HOSTILE],
        ["train", "--lr", HOSTILE],
        ["train", "--config", HOSTILE],
        ["train", HOSTILE],
        ["train", "text.txt", "--val", HOSTILE],
        ["sample", "-m", HOSTILE],
        ["sample", "-m", "m.safetensors", "-p", HOSTILE],
        ["eval", "-m", "m.safetensors", HOSTILE],
        ["eval", "-m", "m.safetensors", "--tsv", "9", "hostile.txt"],
        ["show", HOSTILE],
    ],
)
def test_messages_are_escaped(line: list[str], run: Program, model: str, text: str) -> None:
    """SE-03."""
    Path("hostile.txt").write_bytes(HOSTILE.encode())
    done = run(*line)
    assert done.code in (2, 3, 4)
    harmless(done.error.encode())


def test_names_of_files_are_escaped(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-03: of a corpus, a run's folder and a configuration, in the messages of a training."""
    name = HOSTILE.replace("/", "|")
    Path(name).write_bytes(TEXT)
    Path(f"{name}.toml").write_bytes(b'"\\u001b[2J" = 1\n')
    done = run("train", name, "--config", f"{name}.toml")
    assert done.code == 2
    assert "[red]x[|]" in done.error
    harmless(done.err)
    done = run("train", name, "--out", f"run{name}", *TRAIN[4:], "-v")
    assert done.code == 0
    assert os.fsencode(f"run{name}/model.safetensors\n") == done.out
    assert b"[red]x[|]" in done.err
    harmless(done.err)


# Starting


@pytest.mark.parametrize("line", [["--help"], ["-h"], ["train", "-h"], *([name, "--help"] for name in COMMANDS)])
def test_help(line: list[str], run: Program) -> None:
    """CL-14."""
    done = run(*line)
    assert (done.code, done.err) == (0, b"")
    assert done.out.startswith(b"Usage: charrnn")
    assert max(map(len, done.out.decode().splitlines())) <= 100
    if len(line) > 1 and line[0] != "doctor":
        assert b"\nExamples:\n  charrnn " in done.out


def test_version_and_nothing_at_all(run: Program) -> None:
    """CL-14."""
    assert run("--version") == Ran(0, f"charrnn {__version__}\n".encode(), b"")
    bare = run()
    assert (bare.code, bare.out) == (2, b"")
    assert bare.err.startswith(b"Usage: charrnn COMMAND [OPTIONS]")


@pytest.mark.parametrize(
    ("line", "environ"),
    [
        (["--help"], {}),
        (["train", "--help"], {}),
        (["--version"], {}),
        ([], {}),
        (["tran"], {}),
        ([], {"_CHARRNN_COMPLETE": "complete_bash", "COMP_WORDS": "charrnn train --he", "COMP_CWORD": "2"}),
    ],
    ids=str,
)
def test_help_comes_at_once(line: list[str], environ: dict[str, str]) -> None:
    """CL-14, CL-22: nothing heavy is imported, and half a second is not even needed."""
    done = outside(*line, environ=environ, program="-X importtime -m charrnn")
    imported = set(re.findall(r"^import time:.*\| +([\w.]+)$", done.err.decode(), re.MULTILINE))
    assert "charrnn.cli.app" in imported
    assert not {"torch", "numpy", "pydantic", "tqdm"} & imported
    assert "rich" not in imported or environ  # Typer's completions go through it
    took = []
    for _ in range(4):
        begin = time.monotonic()
        outside(*line, environ=environ)
        took.append(time.monotonic() - begin)
        if took[-1] < 0.4:
            break
    assert min(took) < 0.8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("line", ["--help", "--version", "corpora"])
@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written(line: str, where: str) -> None:
    """CL-07."""
    done = subprocess.run(["/bin/sh", "-c", f'"$0" -m charrnn {line} {where}', PYTHON], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert "cannot write to stdout: " in Ran(1, b"", done.stderr).error


# The same bytes everywhere

LOCALES = [
    {"LC_ALL": "de_DE.UTF-8"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C", "PYTHONIOENCODING": "latin-1"},
]


def test_locales_change_no_byte(model: str) -> None:
    """CL-20."""
    Path("text.txt").write_bytes("caf\u00e9 \u20ac\n".encode())
    script = (
        "from charrnn.__main__ import main\n"
        f"for line in (['sample', '-m', '{model}', '--seed', '1', '-p', 'caf\\u00e9'.encode().decode('utf-8')],"
        f" ['eval', '-m', '{model}', 'text.txt'], ['eval', '-m', '{model}', '--json', 'text.txt'],"
        f" ['eval', '-m', '{model}', '--lines', 'text.txt'], ['show', '{model}'], ['corpora'], ['--help']):\n"
        "    assert main(line) == 0\n"
    ).replace("'caf\\u00e9'.encode().decode('utf-8')", "__import__('os').fsdecode('caf\\u00e9'.encode())")
    first = outside(script, environ={"LC_ALL": "C.UTF-8"}, program="-c")
    assert first.code == 0, first.err
    assert "\u20ac".encode() in first.out
    assert re.search(rb"\d\.\d{6}\t\d\.\d{6}\t", first.out)
    for environ in LOCALES:
        assert outside(script, environ=environ, program="-c") == first


# Settings


def plan(run: Program, *more: str) -> dict[str, Any]:
    done = run("train", "text.txt", "--dry-run", "--json", "--steps", "3", *more)
    assert done.code == 0, done.err
    [event] = events(done)
    return event


def test_flag_before_variable_before_file_before_default(
    run: Program, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """CL-21, from outside; tests/test_options.py has it for every option. And a dry run leaves nothing behind."""
    assert plan(run)["cell"] == "lstm"
    Path("a.toml").write_bytes(b'cell = "gru"\nseq-len = 4\nhidden = [5, 6]\n')
    event = plan(run, "--config", "a.toml")
    assert (event["cell"], event["seq_len"], event["hidden"]) == ("gru", 4, [5, 6])
    monkeypatch.setenv("CHARRNN_CELL", "rnn")
    event = plan(run, "--config", "a.toml")
    assert (event["cell"], event["seq_len"]) == ("rnn", 4)
    event = plan(run, "--config", "a.toml", "--cell", "lstm")
    assert (event["cell"], event["seq_len"]) == ("lstm", 4)
    monkeypatch.setenv("CHARRNN_CONFIG", "a.toml")
    assert plan(run)["seq_len"] == 4
    assert {path.name for path in tmp_path.iterdir()} == {"a.toml", "text.txt"}


@pytest.mark.parametrize("folder", ["HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "here"])
def test_no_file_is_read_unasked(
    folder: str, run: Program, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-21: no user's configuration file changes a run."""
    home = tmp_path / "home"
    for place in (home, home / ".config", home / "charrnn", home / ".config/charrnn"):
        place.mkdir(parents=True, exist_ok=True)
        for name in ("config.toml", "charrnn.toml", ".charrnn.toml", ".charrnn"):
            (place / name).write_bytes(b'cell = "gru"\n')
    if folder == "here":
        for path in home.glob("*.toml"):
            path.rename(tmp_path / path.name)
    else:
        monkeypatch.setenv(folder, str(home))
    assert plan(run)["cell"] == "lstm"


def test_quiet_and_verbose(run: Program, text: str) -> None:
    """CL-23."""
    plain, quiet, verbose = (run(*TRAIN, "--overwrite", "--out", "run", *more) for more in ([], ["-q"], ["-v"]))
    assert plain.code == quiet.code == verbose.code == 0
    assert plain.out == quiet.out == verbose.out == b"run/model.safetensors\n"
    assert quiet.err == b""
    assert len(verbose.err) > len(plain.err) > 0
    assert b"saved run/last.safetensors" in verbose.err
    failed = run(*TRAIN, "-q")
    assert failed.code == 2
    assert "--overwrite" in failed.error


EVENTS = {
    "plan": "command cell hidden vocabulary parameters memory batch seq_len learning_rate steps epochs time "
    "chars_per_second train_tokens val_tokens eval_tokens exact_tokens eval_every engine precision device "
    "baselines reasons origin",
    "step": "loss perplexity learning_rate gradient_norm chars_per_second",
    "eval": "nats tokens perplexity bits_per_char bits_per_byte best",
    "sample": "text",
    "save": "path",
    "done": "nats tokens perplexity bits_per_char bits_per_byte val_tokens oov carried window_256 temperature "
    "baselines best model reason command resume_bytes origin mix_bits_per_char",
}
"""What each event of `train --json` holds, after the four keys that all have."""


def test_events(run: Program, text: str) -> None:
    """CL-19: valid JSON with the frozen keys, the same in `metrics.jsonl`, and floats that round-trip."""
    done = run(*TRAIN, "--json", "--sample-every", "2")
    assert done.code == 0
    assert {event["event"] for event in events(done)} == set(EVENTS)
    for event in events(done):
        assert list(event) == ["event", "step", "epoch", "seconds", *EVENTS[event["event"]].split()]
    logged = [json.loads(line) for line in Path("run/metrics.jsonl").read_bytes().splitlines()]
    assert logged == events(done)
    assert [json.loads(json.dumps(event)) for event in logged] == logged


def test_numbers_too_large_for_json(run: Program, text: str) -> None:
    """CL-19: a perplexity beyond what a float holds is null, never Infinity."""
    done = run(*TRAIN, "--json", "--optimizer", "sgd", "--lr", "1e6", "--clip", "0", "--steps", "4", "--val", "0")
    assert done.code in (0, 5)
    assert any(event.get("perplexity", 1) is None for event in events(done)) or done.code == 5


# Completion


COMPLETIONS = [
    ("charrnn ", list(COMMANDS)),
    ("charrnn tr", ["train"]),
    ("charrnn train --hid", ["--hidden"]),
    ("charrnn eval -f oov,bits_per_", [f"oov,bits_per_{each}" for each in ("char", "byte", "byte_se")]),
    ("charrnn sample -m ", ["first", "second"]),
    ("charrnn show s", ["second"]),
    ("charrnn eval ", []),  # nothing of ours, so that the shell offers files
]


@pytest.mark.parametrize(
    ("shell", "line", "expected"),
    [("bash", *each) for each in COMPLETIONS]
    + [(shell, *each) for shell in ("zsh", "fish") for each in COMPLETIONS[3:]],
)
def test_completion(shell: str, line: str, expected: list[str]) -> None:
    """CL-22."""
    for name in ("first", "second"):
        Path("checkpoints", name).mkdir(parents=True)
        Path("checkpoints", name, "model.safetensors").touch()
    environ = {"_CHARRNN_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    words = line.split(" ")
    done = outside(
        environ={**environ, "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": line}
    )
    assert done.code == 0
    found = re.findall(r'^(?:_arguments.*\(\()?"?([^"\t\n]+)', done.out.decode(), re.MULTILINE)
    assert found == (expected or (["_files"] if shell == "zsh" else []))


# The surface

COMMON = "--quiet --verbose --no-color --help"
OPTIONS = {
    "train": "--cell --hidden --time --tokenizer --records --jsonl --val --init-from --resume --out --seed --dry-run "
    "--json --layers --embedding --vocab-size --batch --seq-len --optimizer --lr --schedule --dropout --weight-drop "
    "--weight-decay --clip --mix --mix-share --epochs --steps --patience --split-seed --eval-every --sample-every "
    "--separator --counts --tsv --csv --errors --auto-resume --overwrite --save-every --config "
    f"--device --engine --precision --threads {COMMON}",
    "sample": "--model --temp --length --num --prompt --stop --match --unique --novel --rank --seed --interactive "
    "--json --top-k --top-p --min-p --no-repeat --precision --exclude --max-copy --prompt-file --lines --echo "
    f"--unknown --fields --separator {COMMON}",
    "eval": "--model --lines --jsonl --by --prompt --fields --keep --fail-if --classify --compare --heat --json "
    "--records --separator --tsv --csv --carry --no-end --prompt-file --prompt-field --errors --header --top-logprobs "
    f"--reference --adapt --window --streams --device --engine --precision {COMMON}",
    "check": f"--records --separator --jsonl --tsv --csv --counts --val --json {COMMON}",
    "show": f"--json {COMMON}",
    "runs": f"--sort --fields --header --dry-run --json {COMMON}",
    "corpora": f"--json {COMMON}",
    "doctor": f"--json {COMMON}",
    "help": COMMON,
}
"""The frozen surface. Changing it means changing it here, and in CHANGELOG."""

SHORT = {
    "train": "-o -q -v -h",
    "sample": "-m -l -n -p -i -f -q -v -h",
    "eval": "-m -p -f -q -v -h",
    "check": "-q -v -h",
    "show": "-q -v -h",
    "runs": "-f -q -v -h",
    "corpora": "-q -v -h",
    "doctor": "-q -v -h",
    "help": "-q -v -h",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_options(command: str, run: Program) -> None:
    """CL-25."""
    page = run(command, "--help").out.decode()
    flags = [name for line in page.splitlines() if (name := re.match(r"  (-.{1,21}?)(?:  |: |$)", line))]
    found = " ".join(each[1] for each in flags)
    assert re.findall(r"--[a-z-]+", found) == OPTIONS[command].split()
    short = re.findall(
        r"(?<![\w-])-[a-z]\b", " ".join(line[:26] for line in page.splitlines() if line.startswith("  -"))
    )
    assert sorted(short) == sorted(SHORT[command].replace("-h -h", "-h").split())


def test_commands(run: Program) -> None:
    """CL-25."""
    page = run("--help").out.decode()
    listed = page.partition("Commands:\n")[2].partition("\nOptions:")[0]
    assert re.findall(r"^  (\w+) ", listed, re.MULTILINE) == list(COMMANDS)


FLAGS = [
    (command, each)
    for command in COMMANDS
    for config in configs(command)
    for each in fields(config)
    if isinstance(each.metadata["kind"], Flag)
]


@pytest.mark.parametrize(("command", "field"), FLAGS, ids=lambda each: each if isinstance(each, str) else each.name)
def test_every_flag_has_an_off_form(command: str, field: "Field[object]") -> None:
    """Rule 6: and of an option that is repeated the last counts."""
    name = field.name.replace("_", "-")
    for words, value in (
        ([f"--{name}"], True),
        ([f"--no-{name}"], False),
        ([f"--{name}", f"--no-{name}"], False),
        ([f"--no-{name}", f"--{name}"], True),
        ([], None),
    ):
        parsed: Any = parse([command, *words])
        flags = {key: each for values in parsed.args[1:] for key, each in values.items()}
        assert flags[field.name] is value


def test_what_may_be_repeated(run: Program, model: str) -> None:
    """Rule 6: --model; of others the last counts."""
    parsed: Any = parse(["sample", "-m", "a", "--temp", "1", "--model", "b", "--temp", "2"])
    assert (parsed.args[-1]["model"], parsed.args[-1]["temp"]) == (["a", "b"], "2")
    assert run("sample", "-m", model, "-l", "9", "-l", "3", "--seed", "1").out.decode().__len__() == 3


def test_values_stay_as_typed() -> None:
    """What Typer gives is text, flags and lists of text: `options` replaces a method of its parameters for that, which
    this test sees gone when Typer changes."""
    command = typer.main.get_command(program([*COMMANDS]))
    for name, each in command.commands.items():  # type: ignore[attr-defined]
        context = typer.Context(each)
        each.parse_args(context, [])
        for parameter in each.get_params(context):
            if parameter.param_type_name == "argument" or parameter.metavar:
                assert parameter.process_value(context, "7") == "7", (name, parameter.name)


def test_starting_imports_no_pydantic() -> None:
    script = "import sys; from charrnn.cli.app import parse; parse(['eval', '-m', 'a', 'b']); print(*sys.modules)"
    done = outside(script, program="-c")
    assert not {"pydantic", "numpy", "torch", "rich"} & set(done.out.decode().split())


def test_variables_that_nothing_reads(run: Program, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-21: a warning, in which old names are answered; -q leaves it out."""
    monkeypatch.setenv("CHARRNN_TEMPERATURE", "1")
    monkeypatch.setenv("CHARRNN_DYNAMIC", "1")
    done = run("sample", "-m", model, "--seed", "1", "-l", "3")
    assert done.code == 0
    assert done.err.decode().splitlines() == [
        "Warning: CHARRNN_DYNAMIC is not read: it is now CHARRNN_ADAPT=weights",
        "Warning: CHARRNN_TEMPERATURE is not read: there is no such option; did you mean CHARRNN_TEMP?",
    ]
    assert run("sample", "-m", model, "--seed", "1", "-l", "3", "-q").err == b""


def test_a_variable_serves_all_commands(run: Program, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule 8: also those that say how messages are printed."""
    monkeypatch.setenv("CHARRNN_JSON", "1")
    monkeypatch.setenv("CHARRNN_QUIET", "1")
    monkeypatch.setenv("CHARRNN_LENGTH", "3")
    done = run("sample", "-m", model)
    assert (done.code, done.err, len(events(done)[0]["text"])) == (0, b"", 3)
    assert events(run("show", model))[0]["model"] == model
    assert run("sample", "-m", model, "--no-json", "--no-quiet").err.startswith(b"seed ")
    monkeypatch.setenv("CHARRNN_QUIET", "perhaps")
    assert "CHARRNN_QUIET must be true or false, not 'perhaps'" in run("show", model).error


def test_version(run: Program) -> None:
    assert run("-V") == run("--version") == Ran(0, f"charrnn {__version__}\n".encode(), b"")


@pytest.mark.parametrize(
    ("script", "warned"),
    [
        ("echo text | charrnn train --dry-run --steps 1", True),
        ("charrnn train --dry-run --steps 1 < text.txt", True),
        ("charrnn train --dry-run --steps 1 < /dev/null", False),
        ("charrnn train --dry-run --steps 1 <&-", False),
        ("cat text.txt | charrnn train - --dry-run --steps 1", False),
        ("echo text | charrnn train text.txt --dry-run --steps 1", False),
    ],
)
def test_what_is_piped_to_train_is_not_lost_unnoticed(script: str, warned: bool, text: str) -> None:
    """Rule 2: it reads stdin for - only."""
    done = tiny.shell(script)
    assert done.code == 0, done.err
    assert (b"Warning: nothing is read from stdin: `charrnn train -` does that\n" in done.err) == warned

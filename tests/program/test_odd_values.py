"""Values and machines that are odd: a sentence, and never a traceback or the words "this is a bug"."""

import resource
import subprocess
from pathlib import Path

import pytest

from tests.program.conftest import TEXT, TINY
from tests.program.program import charrnn, charrnn_each, command, environment
from tests.tiny import Ran


def sentence(ran: Ran, code: int) -> str:
    """The one line on stderr."""
    lines = ran.err.decode().splitlines()
    assert (ran.code, ran.out, len(lines)) == (code, b"", 1), ran.err.decode()[-500:]
    return lines[0].removeprefix("Error: ")


def test_nested_toml(tmp_path: Path) -> None:
    """CL-12."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    (tmp_path / "a.toml").write_text("[model]\nhidden = 5\n")
    (tmp_path / "b.toml").write_text("hidden = " + "[" * 9999 + "]" * 9999)
    line = ("train", "text.txt", "--config")
    table, deep = charrnn_each((*line, "a.toml"), (*line, "b.toml"), cwd=tmp_path)
    assert sentence(table, 2) == "'a.toml': 'model' is a table; options stand outside of tables, as in hidden = 64"
    assert sentence(deep, 2) == "'b.toml' holds lists or tables within too many others"


def test_long_names_and_values(tmp_path: Path) -> None:
    """CL-12: the middle of a value is left out."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    line = ("train", "text.txt", *TINY)
    name, value = charrnn_each((*line, "--out", "a" * 300), (*line, "--hidden", "9," * 5000), cwd=tmp_path)
    assert "File name too long" in sentence(name, 1)
    assert sentence(value, 2).startswith("--hidden must be whole numbers")
    assert len(value.err) < 3000


def test_a_share_of_probability_that_is_hardly_there(stream_run: Path) -> None:
    """The core took it for 0 and kept no token at all; the likeliest one is kept."""
    line = ("sample", "--model", stream_run, "--seed", "1", "--length", "20")
    options = (("--temp", "0"), ("--top-p", "1e-308"), ("--top-p", "5e-324"))
    greedy, *others = charrnn_each(*((*line, *each) for each in options))
    assert greedy.code == 0
    assert others == [greedy, greedy]


def test_help_for_a_reader_who_has_gone() -> None:
    """CL-06."""
    for words in (("--help",), ("train", "-h"), ("help", "fields")):
        with subprocess.Popen(
            command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
        ) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            run.stdout.close()
            assert (run.stderr.read(), run.wait(timeout=60)) == (b"", 141)


def test_completion_that_cannot_be_installed(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"")
    (tmp_path / "latin").mkdir()
    (tmp_path / "latin/.bashrc").write_bytes(b"# caf\xe9")
    for home, words in (("text.txt/below", "below': Not a directory"), ("latin", "can't decode byte")):
        environ = {"HOME": str(tmp_path / home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
        found = sentence(charrnn("--install-completion", "bash", env=environ), 1)
        assert found.startswith("cannot install completion: ")
        assert words in found
        assert "--show-completion" in found


@pytest.mark.parametrize("megabytes", [60])
def test_too_little_memory(megabytes: int, stream_run: Path) -> None:
    """CL-12: less than what loading NumPy takes; the limit is set between fork and start."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    done = subprocess.run(
        command("sample", "--model", str(stream_run)), capture_output=True, env=environment(), preexec_fn=limit,
        timeout=60, check=False,
    )  # fmt: skip
    assert "memory" in sentence(Ran(done.returncode, done.stdout, done.stderr), 1)


LATIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_locale_without_unicode(stream_run: Path, tmp_path: Path) -> None:
    """CL-20: a learning curve and a separator from a file are UTF-8 all the same."""
    (tmp_path / "text.txt").write_bytes(TEXT.replace(b" ", "é".encode()))
    (tmp_path / "a.toml").write_text('separator = "é"\n', encoding="utf-8")
    lines = (("show", stream_run), ("train", "text.txt", "--config", "a.toml", "--dry-run", "--seed", "3", *TINY))
    plain, without = (charrnn_each(*lines, cwd=tmp_path, env=env) for env in ({}, LATIN))
    for ran, same in zip(without, plain, strict=True):
        assert ran == same
        assert (ran.code, ran.out.isascii()) == (0, False)

"""`charrnn check`: every fault of a spoiled text is found, and mended by the command that it names."""

import gzip
import json
import os
import re
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import pexpect
import pytest

from tests.program.program import charrnn, charrnn_each, command, environment
from tests.spoiled import KINDS, LINES, TEXT, WORDS, spoiled
from tests.tiny import Ran, shell


def check(*arguments: str | Path, cwd: Path, stdin: bytes = b"") -> tuple[Ran, list[dict[str, Any]]]:
    ran = charrnn("check", "--json", *arguments, cwd=cwd, stdin=stdin)
    return ran, [json.loads(line) for line in ran.out.splitlines()]


def faults(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in found if each["severity"] != "info"}


def on_a_terminal(folder: Path, *arguments: str) -> tuple[str, int | None]:
    """What a terminal shows, and the exit code."""
    words = command("check", *arguments)
    child = pexpect.spawn(words[0], words[1:], cwd=str(folder), env={**environment(), "TERM": "xterm"}, timeout=60)
    report = child.read().decode().replace("\r\n", "\n")
    child.close()
    return report, child.exitstatus


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    (folder / "spoiled.txt").write_bytes(spoiled())
    (folder / "clean.txt").write_text(TEXT, encoding="utf-8", newline="")
    return folder


def test_every_fault_is_found(folder: Path) -> None:
    """Those that training refuses first; and exit 4."""
    ran, found = check("spoiled.txt", cwd=folder)
    assert (ran.code, ran.err) == (4, b"")
    assert {each["kind"] for each in found if each["severity"] == "error"} == {"encoding"}
    assert {*faults(found), "bom"} == KINDS
    assert all(each["option"].endswith(" > NEW") for each in found if each["kind"] in KINDS)


def test_the_report_names_one_command_for_all(folder: Path) -> None:
    """SE-01: control characters are shown, not sent."""
    report, code = on_a_terminal(folder, "spoiled.txt")
    assert code == 4
    assert re.search(r"^error    encoding      'spoiled.txt', line 7, byte [\d,]+: ", report, re.MULTILINE)
    assert "\x1b[31m" not in report
    [line] = re.findall(r"^all of it: (.*) > NEW$", report, re.MULTILINE)
    assert shell(f"cd '{folder}' && {line} > mended.txt").code == 0
    ran, found = check("mended.txt", cwd=folder)
    assert (ran.code, faults(found)) == (0, {})


def test_the_report_of_many_files_is_short(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.txt").write_bytes(b"a line\r\nwith \x07 in it\n")
    report, code = on_a_terminal(tmp_path, ".")
    assert code == 0
    assert report.count("\nall of it: ") == 3
    assert report.endswith("\nand 6 more files: charrnn check --json has what mends each of their faults\n")


def test_the_report_of_the_readme(tmp_path: Path) -> None:
    """CL-25: word for word."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    [(words, expected)] = re.findall(
        r"^\$ (printf .*); charrnn check menu.txt\n((?:(?!```).*\n)*)", readme, re.MULTILINE
    )
    assert shell(f"cd '{tmp_path}' && {words}").code == 0
    assert on_a_terminal(tmp_path, "menu.txt") == (expected, 4)


CLEAN = {
    "shakespeare": ["tinyshakespeare.txt"],
    "names": ["names.txt", "--records"],
    "reviews": ["reviews-zh.txt"],
    "molecules": ["chembl-drugs.csv", "--csv", "smiles", "--records"],
    "code": ["code.py"],
}


SMALL = ("names", "molecules")
"""Those that are checked in a second or two."""


@pytest.mark.parametrize(
    "name", [name if name in SMALL else pytest.param(name, marks=pytest.mark.slow) for name in CLEAN]
)
def test_no_fault_is_invented(name: str, shared: Path, tmp_path: Path) -> None:
    """In five clean texts, one of which is the first modules of this interpreter's library."""
    for file in shared.iterdir():
        (tmp_path / file.name).symlink_to(file)
    if name == "code":
        modules = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-m]*.py"))
        (tmp_path / "code.py").write_bytes(b"".join(file.read_bytes() for file in modules))
    ran, found = check(*CLEAN[name], cwd=tmp_path)
    assert (ran.code, faults(found), ran.err) == (0, {}, b"")
    advice = {each["kind"]: each for each in found}
    assert advice.keys() >= {"split", "leakage", "records", "tokenizer", "plan", "command"}
    is_list = name in ("names", "reviews", "molecules")
    assert advice["records"]["message"].startswith("records" if is_list else "a stream")


def test_rows(folder: Path) -> None:
    """In a pipe: severity, kind, file, line, count and message; a text may come from a pipe too, as train's do."""
    ran = charrnn("check", "spoiled.txt", cwd=folder)
    rows = [line.split("\t", 5) for line in ran.out.decode().splitlines()]
    assert ran.code == 4
    assert rows[0][:3] == ["error", "encoding", "spoiled.txt"]
    assert rows[0][3] == "7"
    assert {row[0] for row in rows} == {"error", "warning", "info"}
    assert {row[1] for row in rows} >= KINDS
    piped = charrnn("check", cwd=folder, stdin=(folder / "spoiled.txt").read_bytes())
    assert piped.code == 4
    assert [line.split("\t")[0:2] for line in piped.out.decode().splitlines()] == [row[:2] for row in rows]
    assert b"\tstdin\t" in piped.out
    assert r"tr -d '\r' < FILE > NEW" in charrnn("check", "-", cwd=folder, stdin=b"a line\r\n" * 9).out.decode()


@pytest.mark.slow
def test_packed_files_and_names(tmp_path: Path) -> None:
    """A command unpacks what is packed; and a name is quoted for the shell."""
    (tmp_path / "it's a.txt.gz").write_bytes(gzip.compress(b"a line\r\n" * 9 + TEXT.encode()))
    _, found = check("it's a.txt.gz", cwd=tmp_path)
    mend = faults(found)["line-ends"]["option"]
    assert shell(f"cd '{tmp_path}' && {mend}").code == 0
    assert (tmp_path / "NEW").read_bytes() == b"a line\n" * 9 + TEXT.encode()


@pytest.mark.slow
def test_a_validation_text_of_its_own(folder: Path) -> None:
    """What of it is trained on is found, and the command leaves it out."""
    (folder / "val.txt").write_text(TEXT[:30_000] + "".join(f"{line[::-1]}\n" for line in LINES[:400]), newline="")
    _, found = check("clean.txt", "--val", "val.txt", cwd=folder)
    assert [*faults(found)] == ["leakage"]
    done = shell(f"cd '{folder}' && {faults(found)['leakage']['option'].removesuffix('NEW')} new-val.txt")
    assert done.code == 0
    ran, found = check("clean.txt", "--val", "new-val.txt", cwd=folder)
    assert (ran.code, faults(found)) == (0, {})


def test_the_suggested_command_trains(tmp_path: Path) -> None:
    """As records, where lines are short and none is blank."""
    names = "".join(f"{word}\n" for word in dict.fromkeys(WORDS))
    (tmp_path / "list.txt").write_text(names, newline="")
    ran, found = check("list.txt", cwd=tmp_path)
    advice = {each["kind"]: each for each in found}
    assert ran.code == 0
    assert advice["records"]["message"].startswith("records: ")
    assert advice["command"]["option"] == "charrnn train list.txt --records"
    words = advice["command"]["option"].split()[1:]
    options = ("--steps", "2", "--hidden", "8", "--out", "run")
    assert charrnn(*words, *options, cwd=tmp_path).code == 0


def test_a_row_is_a_line(tmp_path: Path) -> None:
    """With the separator in the command, and with names that have line ends."""
    (tmp_path / "two\nlines.txt").write_text("a line\n\n" * 50 + "\x07")
    ran = charrnn("check", "two\nlines.txt", "--separator", r"\n\n", cwd=tmp_path)
    rows = ran.out.decode().splitlines()
    assert {row.split("\t")[0] for row in rows} == {"warning", "info"}
    assert rows[-1].endswith(r" --separator '\n\n'")


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    folder = tmp_path_factory.mktemp("refused")
    (folder / "objects.jsonl").write_bytes(b'{"t": "a text"}\n{"t": \n{"t": "caf\xe9"}\n{"u": 1}\n' * 9)
    (folder / "one.txt").write_bytes(b"x")
    (folder / "empty.txt").write_bytes(b"")
    lines = {
        "objects": ["objects.jsonl", "--jsonl", "t"],
        "short": ["one.txt"],
        "empty": ["empty.txt"],
        "missing": ["none.txt"],
        "together": ["one.txt", "--csv", "a", "--jsonl", "t"],
        "val": ["one.txt", "--val", "2"],
    }
    return dict(zip(lines, charrnn_each(*(("check", *line) for line in lines.values()), cwd=folder), strict=True))


@pytest.mark.parametrize(
    ("name", "code", "out", "err"),
    [
        ("objects", 4, b"left out: 18 lines; the first: 'objects.jsonl', line 2: not valid JSON", b""),
        ("objects", 4, b"9 of 18 objects have no text in the field 't'", b""),
        ("short", 4, b"error\tsplit\t\t\t\tthe text has 1 character", b""),
        ("empty", 4, b"", b"Error: no text in 'empty.txt'"),
        ("missing", 4, b"", b"Error: no file, folder or known corpus is called 'none.txt'"),
        ("together", 2, b"", b"Error: --jsonl and --csv cannot be used together"),
        ("val", 2, b"", b"Error: --val must be"),
    ],
)
def test_what_cannot_be_trained_on(name: str, code: int, out: bytes, err: bytes, refused: dict[str, Ran]) -> None:
    """Exit 4, as training would end; what cannot be read at all is an error of one line."""
    ran = refused[name]
    assert ran.code == code
    assert out in ran.out
    assert err in ran.err
    assert ran.err.count(b"\n") == bool(err)


def test_without_a_text(tmp_path: Path) -> None:
    """On a terminal: an example, and exit 2."""
    said, code = on_a_terminal(tmp_path)
    assert (said, code) == ("Error: no text: name a file, or pipe one in: cat FILE | charrnn check\n", 2)


def test_train_names_no_place_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{word}\n" for word in WORDS[:100] * 2))
    ran = charrnn("train", "list.txt", "--records", "--out", "run", "--steps", "1", "--hidden", "8", cwd=tmp_path)
    [warning] = [line for line in ran.err.decode().splitlines() if line.startswith("Warning: ")]
    assert re.match(r"Warning: \d\d\.\d% of records are equal to earlier ones: LC_ALL=C awk ", warning)


def test_train_says_three_lines(folder: Path) -> None:
    """Of the faults that are found without reading all of the text; check has the others. Each fault once."""
    ran = charrnn(
        "train", "spoiled.txt", "--errors", "replace", "--out", "run", "--steps", "1", "--hidden", "8", cwd=folder
    )
    warnings = [line for line in ran.err.decode().splitlines() if line.startswith("Warning: ")]
    assert ran.code == 0
    assert len(warnings) == 4
    assert "'spoiled.txt', line " in warnings[1]
    assert re.fullmatch(r"Warning: and \d more: charrnn check has all, and the commands that mend them", warnings[2])
    assert "invalid pieces of UTF-8 are read as U+FFFD" in warnings[3]
    clean = charrnn("train", "clean.txt", "--out", "clean", "--steps", "1", "--hidden", "8", cwd=folder)
    assert (clean.code, clean.err.count(b"Warning: ")) == (0, 0)


@pytest.mark.slow
def test_a_large_text(shared: Path, tmp_path: Path) -> None:
    """100 MB in less than 30 seconds on two cores, and in less than 1 GB of memory."""
    rng = np.random.default_rng(0)
    texts = ((shared / name).read_bytes() for name in ("tinyshakespeare.txt", "reviews-zh.txt"))
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    with (tmp_path / "large.txt").open("wb") as file:
        while file.tell() < 100_000_000:
            rng.shuffle(lines)
            file.writelines(lines)
    begin = time.monotonic()
    with subprocess.Popen(
        command("check", "large.txt"), stdout=subprocess.PIPE, env=environment(), cwd=tmp_path
    ) as run:
        assert run.stdout is not None
        report = run.stdout.read().decode()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0
    assert time.monotonic() - begin < 30
    assert usage.ru_maxrss < 1_000_000
    assert "(at least: one of 16 stretches was compared)" in report

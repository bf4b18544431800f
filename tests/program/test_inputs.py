"""What is read of the texts that the command line names, and what is said of the rest."""

import csv
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.program.conftest import TINY
from tests.program.program import charrnn, charrnn_each, command, environment
from tests.tiny import Ran

STEP = ("--overwrite", "--out", "run", "--json", *TINY, "--steps", "1", "--engine", "native")

CELLS = [("id", "text"), *((number, f'a cell, "{number}"\r\nwith\nlines') for number in range(10, 30))]

FILES = {
    "tree/a/b.txt": b"x" * 100,
    "tree/c.txt": b"x" * 1000,
    "beside/d.txt": b"x" * 10_000,
    "a.jsonl": b'\xef\xbb\xbf{"t": "%s"}\n\n{"t": \n \n\xef\xbb\xbf{"t": "%s"}\n{"t": "\xe9"}\n'
    % (b"a" * 200, b"b" * 200),
    "records.txt": b"%s\n%s\ncaf\xe9\nna\xefve" % (b"a" * 200, b"b" * 200),
    "folder/0.txt": b"x" * 1000,
    "folder/1.txt": b"caf\xe9\n" * 50,
    "folder/2.txt": b"y" * 100,
    "folder/3.txt": b"\xff\xfez\0" * 9,
    "crlf.txt": b"one line\r\nand another\r\n" * 9,
    "crlf-2.txt": b"one line\r\nand another\r\n" * 9,
    "cr.txt": b"one line\rand another\r" * 9,
    "lf.txt": b"one line\nanother\r\nand three\n",
    "joined.txt": b"\xef\xbb\xbf" + b"first\n" * 20 + b"\xef\xbb\xbf" + b"second\n" * 20,
    "archives/a.txt": b"a text\n" * 100,
}

LINES = {
    "folder of links": ["tree"],
    "jsonl": ["a.jsonl", "--jsonl", "t"],
    "jsonl, skip": ["a.jsonl", "--jsonl", "t", "--errors", "skip", "--val", "0"],
    "records": ["records.txt", "--records"],
    "records, skip": ["records.txt", "--records", "--errors", "skip", "--val", "0"],
    "folder": ["folder"],
    "folder, skip": ["folder", "--errors", "skip"],
    "CRLF": ["lf.txt", "crlf.txt", "crlf-2.txt"],
    "CR": ["lf.txt", "cr.txt"],
    "csv, name": ["table.csv", "--csv", "text"],
    "csv, number": ["table.csv", "--csv", "2"],
    "marks": ["joined.txt"],
    "archive": ["archives/a.tar.gz"],
    "folder of archives": ["archives"],
    "none": ["--val", "0"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that is read."""
    top = tmp_path_factory.mktemp("inputs")
    for name, data in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    for link, target in (("self", "."), ("again", "."), ("a/up", ".."), ("out", "../beside"), ("a/e.txt", "../c.txt")):
        os.symlink(target, top / "tree" / link)
    with (top / "table.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(CELLS)
    with tarfile.open(top / "archives/a.tar.gz", "w:gz") as archive:
        archive.add(top / "archives/a.txt", "a.txt")
    return top


@pytest.fixture(scope="module")
def trained(folder: Path) -> dict[str, tuple[Ran, int]]:
    """What the program said to each line, and how many characters it read if all went well."""
    found = {}
    for name, ran in zip(
        LINES, charrnn_each(*(("train", *line, *STEP) for line in LINES.values()), cwd=folder), strict=True
    ):
        found[name] = (ran, chars_read(ran.out) if ran.code == 0 else 0)
    return found


def chars_read(out: bytes) -> int:
    plan = json.loads(out.splitlines()[0])
    return int(plan["train_tokens"] + plan["val_tokens"])


def test_a_file_is_read_once_however_many_links_lead_to_it(trained: dict[str, tuple[Ran, int]]) -> None:
    """Folders behind links are followed once: links to where they stand, or to one another, lead nowhere."""
    ran, chars = trained["folder of links"]
    assert (ran.code, chars) == (0, 11_100), ran.err


def test_a_recursive_pattern_ends(folder: Path) -> None:
    words = command("train", "tree/**/*.txt", *STEP)
    done = subprocess.run(words, capture_output=True, env=environment(), cwd=folder, timeout=20, check=True)
    assert chars_read(done.stdout) == 11_100


@pytest.mark.parametrize(
    ("name", "source", "fault", "chars"),
    [
        ("jsonl", "a.jsonl", "line 3: not valid JSON at column 7", 400),
        ("records", "records.txt", "line 3: invalid UTF-8 at byte 3", 402),
    ],
)
def test_errors_skip_leaves_out_what_cannot_be_used(
    trained: dict[str, tuple[Ran, int]], name: str, source: str, fault: str, chars: int
) -> None:
    """IN-03: and counts it, naming the first; without, exit 4. Blank lines and marks are no fault."""
    strict, _ = trained[name]
    assert strict.code == 4
    assert f"'{source}'".encode() in strict.err
    assert re.findall(rb"line \d+", strict.err) == [fault.split(":")[0].encode()]
    assert b"--errors" in strict.err
    skip, read = trained[f"{name}, skip"]
    assert (skip.code, read) == (0, chars), skip.err
    assert f"left out: 2 lines; the first: '{source}', {fault}".encode() in skip.err


def test_a_bad_file_in_a_folder(trained: dict[str, tuple[Ran, int]]) -> None:
    """IN-03: it is named, and what can be done; or left out."""
    strict, _ = trained["folder"]
    assert strict.code == 4
    assert b"Error: 'folder/1.txt': invalid UTF-8 at byte 3 (line 1); if it is Latin-1, iconv -f LATIN1" in strict.err
    skip, chars = trained["folder, skip"]
    assert (skip.code, chars) == (0, 1100), skip.err
    assert b"left out: 1 file; the first: 'folder/1.txt': invalid UTF-8 at byte 3 (line 1)\n" in skip.err


@pytest.mark.parametrize(
    ("name", "chars", "warning"),
    [
        (
            "CRLF",
            28 + 2 * 9 * 23,
            r"lines of 'crlf.txt' and 1 more end with CR LF, and the CR is learnt as part of them",
        ),
        ("CR", 28 + 9 * 21, "lines of 'cr.txt' end with CR, which ends no line here"),
    ],
)
def test_lines_that_end_as_elsewhere(trained: dict[str, tuple[Ran, int]], name: str, chars: int, warning: str) -> None:
    """IN-08: one warning names what converts them; nothing is rewritten."""
    ran, read = trained[name]
    assert (ran.code, read) == (0, chars), ran.err
    [line] = [line for line in ran.err.decode().splitlines() if "Warning: " in line]
    mend = {"CRLF": r"tr -d '\r' < FILE > NEW", "CR": r"tr '\r' '\n' < FILE > NEW"}[name]
    assert line.startswith(f"Warning: {warning}: {mend}")


def test_csv(trained: dict[str, tuple[Ran, int]]) -> None:
    """Cells may have commas, quotes and newlines in them."""
    for name, chars in (("csv, name", 20 * 24), ("csv, number", 20 * 24 + 4)):
        ran, read = trained[name]
        assert (ran.code, read) == (0, chars), ran.err


def test_marks_inside_a_text(trained: dict[str, tuple[Ran, int]]) -> None:
    """IN-05: they stay, with a warning that names what takes them out; the one at the start is dropped with a note."""
    ran, chars = trained["marks"]
    assert (ran.code, chars) == (0, 261)
    assert b"'joined.txt' has byte order marks, U+FEFF, inside" in ran.err
    assert b"dropped 1 byte order mark\n" in ran.err


def test_archives(trained: dict[str, tuple[Ran, int]]) -> None:
    """IN-07: they are refused by name, and passed over in folders."""
    ran, _ = trained["archive"]
    assert ran.code == 4
    assert b"Error: cannot read 'archives/a.tar.gz': it is an archive; tar -xOf 'archives/a.tar.gz' writes" in ran.err
    ran, chars = trained["folder of archives"]
    assert (ran.code, chars) == (0, 700)
    assert b"skipped 1 archive file" in ran.err


def test_a_pipe_that_is_not_read_is_warned_of(trained: dict[str, tuple[Ran, int]], tmp_path: Path) -> None:
    """`cat x | charrnn train` trains on the built-in text, as the warning says; `-` reads the pipe."""
    piped = charrnn("train", "--val", "0", *STEP, stdin=b"a text\n" * 99, cwd=tmp_path)
    assert piped.code == 0
    assert b"Warning: nothing is read from stdin: `charrnn train -` does that\n" in piped.err
    ran, _ = trained["none"]  # without stdin
    assert ran.code == 0
    assert b"stdin" not in ran.err

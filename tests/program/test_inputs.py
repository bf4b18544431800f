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
from tests.program.program import charrnn, command, environment
from tests.tiny import Ran


def train(folder: Path, *words: str, stdin: bytes = b"", timeout: float = 60) -> tuple[Ran, int]:
    """Train one step in a folder; return what the program said, and how many characters it read if all went well."""
    options = ("--overwrite", "--out", "run", "--json", *TINY, "--steps", "1", "--engine", "native")
    ran = charrnn("train", *words, *options, cwd=folder, stdin=stdin, timeout=timeout)
    if ran.code:
        return ran, 0
    plan = json.loads(ran.out.splitlines()[0])
    return ran, plan["train_tokens"] + plan["val_tokens"]


@pytest.mark.parametrize("name", ["tree", "tree/**/*.txt"])
def test_a_file_is_read_once_however_many_links_lead_to_it(name: str, tmp_path: Path) -> None:
    """Folders behind links are followed once: links to where they stand, or to one another, lead nowhere."""
    for number, path in enumerate(("tree/a/b.txt", "tree/c.txt", "beside/d.txt")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x" * 100 * 10**number)
    for link, target in (("self", "."), ("again", "."), ("a/up", ".."), ("out", "../beside"), ("a/e.txt", "../c.txt")):
        os.symlink(target, tmp_path / "tree" / link)
    ran, chars = train(tmp_path, name, timeout=20)
    assert (ran.code, chars) == (0, 11_100), ran.err


ROWS: dict[str, tuple[list[str], bytes, str, int]] = {
    "a.jsonl": (
        ["--jsonl", "t"],
        b'\xef\xbb\xbf{"t": "%s"}\n\n{"t": \n \n\xef\xbb\xbf{"t": "%s"}\n{"t": "\xe9"}\n',
        "line 3: not valid JSON at column 7",
        2,
    ),
    "records.txt": (["--records"], b"%s\n%s\ncaf\xe9\nna\xefve", "line 3: invalid UTF-8 at byte 3", 2),
}
"""Files with two good texts of 200 characters, `%s`, and bad ones: options, data, the first fault and their number."""


def test_errors_skip_leaves_out_what_cannot_be_used(tmp_path: Path) -> None:
    """IN-03: and counts it, naming the first; without, exit 4. Blank lines and marks are no fault."""
    for name, (options, data, fault, count) in ROWS.items():
        (tmp_path / name).write_bytes(data % (b"a" * 200, b"b" * 200))
        ran, _ = train(tmp_path, name, *options)
        assert ran.code == 4
        assert f"'{name}'".encode() in ran.err
        assert re.findall(rb"line \d+", ran.err) == [fault.split(":")[0].encode()]
        assert b"--errors" in ran.err
        ran, chars = train(tmp_path, name, *options, "--errors", "skip", "--val", "0")
        assert (ran.code, chars) == (0, 400 + 2 * ("--jsonl" not in options)), ran.err
        lines = f"{count} line{'s' if count > 1 else ''}"
        assert f"left out: {lines}; the first: '{name}', {fault}".encode() in ran.err


def test_a_bad_file_in_a_folder(tmp_path: Path) -> None:
    """IN-03: it is named, and what can be done; or left out."""
    (tmp_path / "folder").mkdir()
    for number, data in enumerate((b"x" * 1000, b"caf\xe9\n" * 50, b"y" * 100, b"\xff\xfez\0" * 9)):
        (tmp_path / "folder" / f"{number}.txt").write_bytes(data)
    ran, _ = train(tmp_path, "folder")
    assert ran.code == 4
    assert b"Error: 'folder/1.txt': invalid UTF-8 at byte 3 (line 1); if it is Latin-1, iconv -f LATIN1 -t " in ran.err
    ran, chars = train(tmp_path, "folder", "--errors", "skip")
    assert (ran.code, chars) == (0, 1100), ran.err
    assert b"left out: 1 file; the first: 'folder/1.txt': invalid UTF-8 at byte 3 (line 1)\n" in ran.err


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"one line\r\nand another\r\n" * 9, b"CR LF"), (b"one line\rand another\r" * 9, b"CR")],
)
def test_lines_that_end_as_elsewhere(data: bytes, kind: bytes, tmp_path: Path) -> None:
    """IN-08: one warning names what converts them; nothing is rewritten."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_bytes(data)
    (tmp_path / "c.txt").write_bytes(b"one line\nanother\r\nand three\n")
    ran, chars = train(tmp_path, "a.txt", "c.txt", "b.txt")
    assert (ran.code, chars) == (0, 2 * len(data) + 28), ran.err
    command = rb"tr -d '\r' < FILE > NEW" if kind == b"CR LF" else rb"tr '\r' '\n' < FILE > NEW"
    [line] = [line for line in ran.err.splitlines() if b"'a.txt'" in line]
    assert b"lines of 'a.txt' and 1 more end with " + kind in line
    assert command in line


def test_csv(tmp_path: Path) -> None:
    """Cells may have commas, quotes and newlines in them."""
    rows = [("id", "text"), *((number, f'a cell, "{number}"\r\nwith\nlines') for number in range(10, 30))]
    with (tmp_path / "a.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    for column in ("text", "2"):
        ran, chars = train(tmp_path, "a.csv", "--csv", column)
        assert (ran.code, chars) == (0, 20 * 24 + 4 * (column == "2")), ran.err
    done = charrnn("train", "--resume", "--out", "run", "--steps", "2", cwd=tmp_path)
    assert done.code == 0, done.err


def test_marks_inside_a_text(tmp_path: Path) -> None:
    """IN-05: they stay, with a warning that names what takes them out; the one at the start is dropped with a note."""
    (tmp_path / "joined.txt").write_bytes(b"\xef\xbb\xbf" + b"first\n" * 20 + b"\xef\xbb\xbf" + b"second\n" * 20)
    ran, chars = train(tmp_path, "joined.txt")
    assert (ran.code, chars) == (0, 261)
    assert b"'joined.txt' has byte order marks, U+FEFF, inside" in ran.err
    assert b"dropped 1 byte order mark\n" in ran.err


def test_archives(tmp_path: Path) -> None:
    """IN-07: they are refused by name, and passed over in folders."""
    (tmp_path / "text.txt").write_bytes(b"a text\n" * 100)
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "text.txt", "text.txt")
    ran, _ = train(tmp_path, "a.tar.gz")
    assert ran.code == 4
    assert b"Error: cannot read 'a.tar.gz': it is an archive; tar -xOf 'a.tar.gz' writes" in ran.err
    ran, chars = train(tmp_path, ".")
    assert (ran.code, chars) == (0, 700)
    assert b"skipped 1 archive file" in ran.err


def test_a_pipe_that_is_not_read_is_warned_of(tmp_path: Path) -> None:
    """`cat x | charrnn train` trains on the built-in text, as the warning says; `-` reads the pipe."""
    options = ("--out", "run", "--overwrite", *TINY, "--steps", "1", "--val", "0")
    warning = b"Warning: nothing is read from stdin: `charrnn train -` does that\n"
    ran = charrnn("train", *options, stdin=b"a text\n" * 99, cwd=tmp_path)
    assert ran.code == 0
    assert warning in ran.err
    words = command("train", *options)
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, env=environment(), cwd=tmp_path, check=True
    )
    assert b"stdin" not in done.stderr

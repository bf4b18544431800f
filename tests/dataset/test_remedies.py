"""Commands that mend a text: where one is named, and what it leaves alone."""

import contextlib
import gzip
from pathlib import Path

from charrnn.corpus.reader import read_corpus
from charrnn.dataset.check import check_corpus
from charrnn.dataset.prepare import PrepareOptions
from tests.dataset.checks import CLEAN, findings, of_kind
from tests.tiny import shell


def test_no_filter_of_lines_where_no_line_comes_again(tmp_path: Path) -> None:
    data = (" ".join(CLEAN)[:5000] * 4).encode()
    found = {each.kind: (each.severity, each.option) for each in findings(data, tmp_path)}
    assert found["repeats"] == ("warning", None)
    assert found["leakage"] == ("warning", "--val FILE")


def test_leakage_from_several_packed_files(tmp_path: Path) -> None:
    """The command reads them as training does; names that programs would take for something else are written out."""
    for number, part in enumerate((CLEAN[:200], CLEAN[200:])):
        (tmp_path / f"{number}=a.txt.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in part).encode()))
    others = "".join(f"{line[::-1]}\n" for line in CLEAN[:100])
    (tmp_path / "x=1.txt").write_text("".join(f"{line}\n" for line in CLEAN[150:250]) + others)
    with contextlib.chdir(tmp_path):
        train, val = read_corpus(["0=a.txt.gz", "1=a.txt.gz"]), read_corpus(["x=1.txt"])
        found, _ = check_corpus(train, val, PrepareOptions(val_fraction=0.0))
    done = shell(f"cd '{tmp_path}' && {of_kind(found, 'leakage').option}")
    assert (done.code, done.err) == (0, b"")
    assert (tmp_path / "NEW").read_text() == others


def test_a_command_alone_leaves_other_faults_as_they_are(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 among them."""
    mixed = "e\u0301 \u00e9 c\u0430t ".encode() + b"caf\xe9\n"
    for each in findings("".join(f"{line}\n" for line in CLEAN).encode() + mixed, tmp_path):
        if each.kind in ("normal-forms", "look-alikes"):
            done = shell(f"cd '{tmp_path}' && {each.option}")
            assert (done.code, done.err) == (0, b"")
            mended = {"normal-forms": "\u00e9 \u00e9 c\u0430t ", "look-alikes": "e\u0301 \u00e9 cat "}[each.kind]
            assert (tmp_path / "NEW").read_bytes().endswith(mended.encode() + b"caf\xe9\n")

"""Lines that are longer than a block, and words of mixed scripts, many of them."""

import time
from pathlib import Path

from charrnn.corpus.reader import read_corpus
from charrnn.dataset.check import check_corpus
from charrnn.dataset.prepare import PrepareOptions
from charrnn.dataset.text_blocks import blocks
from charrnn.dataset.text_scan import TextScan
from tests.dataset.checks import WORDS, findings, of_kind


def test_one_line_of_many_blocks_is_one_line(tmp_path: Path) -> None:
    """Its pieces are no lines, and none that come again."""
    line = b"the quick brown fox " * 500_000
    (tmp_path / "text.txt").write_bytes(b"a\n" + line + b"\n b\n" + line)
    found, scan = check_corpus(read_corpus([str(tmp_path / "text.txt")]), None, PrepareOptions(val_fraction=0.0))
    assert scan is not None
    assert scan.lines.sizes.tolist() == [1, len(line), 2, len(line)]
    assert scan.lines.indented == 1
    long = of_kind(found, "long-lines")
    assert (long.count, long.line, long.byte) == (2, 2, 2)
    assert long.message.endswith("the first of 10,000,000")
    again = of_kind(found, "duplicates")
    assert (again.count, again.line) == (1, 4)


def test_many_look_alikes_take_no_longer_than_reading(tmp_path: Path) -> None:
    """The place of the first alone is worked out, which takes all that is before it."""
    words = "".join(f"{word}c\u0430t " for word in WORDS) * 40
    (tmp_path / "text.txt").write_text("\u00e9 many words " * 60_000 + words)
    [block] = blocks(read_corpus([str(tmp_path / "text.txt")]))
    scan = TextScan()
    started = time.process_time()
    scan.add(block)
    assert scan.sources[block.name].found["look-alikes"].count == 20_000
    assert time.process_time() - started < 2  # 0.2 s; with the place of each several times the limit


def test_a_part_of_many_look_alikes(tmp_path: Path) -> None:
    """Where not all are examined, the count says so."""
    text = "c\u0430t " * 40_000 + "\n"
    found = of_kind(findings(text.encode(), tmp_path), "look-alikes")
    assert found.message.startswith("40,000 words")
    found = of_kind(findings(text.encode() * 2, tmp_path), "look-alikes")
    assert found.message.startswith("at least 50,000 words")

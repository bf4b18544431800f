"""Sequences side by side: in order, with bounded look-ahead, and what has come before a flush at once."""

import json
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.corpus.formats import NamedText, read_rows
from charrnn.corpus.json_lines import Field
from charrnn.engines.base import Ids
from charrnn.errors import InputError, NonFiniteError
from charrnn.scoring import batching
from charrnn.scoring.batching import Piece, Spans, score_ids
from charrnn.scoring.score import Score
from tests import tiny
from tests.scoring import oracle
from tests.scoring.models import close, drawn, nats, rows_of, scorer


def sequences_of(model: Checkpoint, *sequences: Iterable[Piece], **options: Any) -> list[list[Spans]]:
    """The spans of each sequence."""
    found: list[list[Spans]] = [[]]
    for spans in score_ids(tiny.engine_of(model), model.tokenizer, sequences, **options):
        found[-1].append(spans)
        if spans.is_last:
            found.append([])
    assert found.pop() == []
    return found


def ids(text: bytes) -> Ids:
    return np.frombuffer(text, np.uint8)


@pytest.mark.parametrize("slots", [1, 2, 64])
def test_spans_end_where_they_are_said_to(slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across chunks and calls of the engine; what follows the last end goes on or ends with the sequence."""
    model = drawn("byte")
    monkeypatch.setattr(batching, "_CALL_IDS", slots * 16)
    text = b"the cat sat on the mat and ran" * 3
    costs = oracle.nats_of(model, list(text))
    pieces = [
        Piece(ids(text[:10])),
        Piece(ids(text[10:40]), np.array([1, 2, 30])),
        Piece(ids(text[40:41])),
        Piece(ids(text[41:]), np.array([9])),
    ]
    bounds = [0, 11, 12, 40, 50, 90]
    found = sequences_of(model, pieces, [], [Piece(ids(text[:5]))], pieces, slots=slots)
    for sequence in (found[0], found[3]):
        spans = np.concatenate([each.nats for each in sequence])
        assert spans.tolist() == close([costs[a:b].sum() for a, b in pairwise(bounds)])
        assert np.concatenate([each.tokens for each in sequence]).tolist() == np.diff(bounds).tolist()
    assert [each.tokens.tolist() for each in found[1]] == [[]]
    assert sum(each.total().nats for each in found[2]) == close(costs[:5].sum())


def test_look_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """EV-16: behind a long text as many are read as may wait, and no more begin before it has been scored."""
    model = drawn("byte")
    monkeypatch.setattr(batching, "_MAX_HELD", 50)
    monkeypatch.setattr(batching, "_CALL_IDS", 1 << 10)
    long, short = b"the cat sat " * 500, [b"a", b"the", b"cat "]
    fetched = 0

    def texts() -> Iterator[NamedText]:
        nonlocal fetched
        for data in [long, *(short[n % 3] for n in range(5000))]:
            fetched += 1
            yield NamedText([[data]])

    scores = scorer(model).texts(texts())
    assert next(scores).nats == close(nats(model, long))
    assert fetched < 600  # 50, and what one call of 1024 tokens has taken
    assert [each.nats for each in scores] == close([nats(model, short[n % 3]) for n in range(5000)])


def test_details_count_as_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    model = drawn("byte")
    monkeypatch.setattr(batching, "_MAX_HELD", 5000)
    monkeypatch.setattr(batching, "_CALL_IDS", 1 << 10)
    fetched = 0

    def sequences() -> Iterator[list[Piece]]:
        nonlocal fetched
        for text in [b"the cat sat " * 60, *[b"a"] * 3000]:
            fetched += 1
            yield [Piece(ids(text), np.arange(1, len(text) + 1))]

    for top, least, most in ((0, 2500, 3001), (99, 0, 1200)):
        fetched = 0
        spans = score_ids(tiny.engine_of(model), model.tokenizer, sequences(), top=top)
        assert any(each.is_last for each in spans)
        assert least < fetched <= most
        assert sum(1 for each in spans if each.is_last) == 3000


def test_a_flush_is_scored_before_more_is_fetched() -> None:
    model = drawn("byte")
    fetched: list[int] = []

    def chunks() -> Iterator[Piece]:
        for n, text in enumerate([b"the", b" cat", b"", b"sat"]):
            fetched.append(n)
            yield Piece(ids(text), np.array([len(text)]) if text else None)
            fetched.append(-n)
            yield Piece(ids(b""))

    found = score_ids(tiny.engine_of(model), model.tokenizer, [chunks()])
    assert [(len(spans.nats), len(fetched)) for spans in found] == [(1, 2), (1, 4), (1, 8), (0, 8)]


def test_more_rows_than_a_call_has_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_CALL_IDS", 8)
    model = drawn("byte")
    texts = [b"the cat", b"", b"a"] * 30
    found = sequences_of(model, *([Piece(ids(text))] for text in texts))
    assert [sum(each.total().nats for each in spans) for spans in found] == close([nats(model, text) for text in texts])


def test_overflow_in_the_middle() -> None:
    """NU-06: whoever it meets, whatever stands beside it."""
    model = tiny.drawn(tiny.char("ab"))
    model.weights["embedding"][1] = math.inf
    found = scorer(model).lines(rows_of([b"a"] * 5000 + [b"bb"] + [b"a"] * 9))
    with pytest.raises(NonFiniteError):
        list(found)
    for top in (None, 0, 2):
        with pytest.raises(NonFiniteError):
            sequences_of(model, [Piece(np.array([0, 1, 1]), np.arange(1, 4))], top=top)


def test_the_first_fault_of_a_text_is_the_one_that_counts() -> None:
    """Its other parts may have more."""
    model = drawn("char")
    parts = [[b"the"], [b"c\xff"], [b"\xff"], [b"mat"]]
    texts = [NamedText([[b"sat"]]), NamedText(parts, "it"), NamedText([[b"sat"]])]
    first, fault, last = scorer(model, errors="skip").text_outcomes(texts)
    assert str(fault) == "it: invalid UTF-8 at byte 1 (line 1)"
    assert isinstance(fault, InputError)
    assert isinstance(first, Score)
    assert first == last


def mixed_lines(count: int, text: str) -> list[str]:
    """Lines of every kind: of a text, empty, very long, with quotes, of other scripts and controls."""
    rng = np.random.default_rng(5)
    lines = [line for line in text.split("\n") if "\0" not in line]
    odd = ["", " ", '"', 'a "quoted" word, and', "日本語 né", "\t\ttabs", "x" * 300, "a\\n", ",", "\u2028", "😀" * 9]
    found = [lines[n % len(lines)] if n % 3 else odd[int(rng.integers(len(odd)))] for n in range(count)]
    found[count // 2] = "long " * 5000
    return [line.replace("\r", "") for line in found]


def check_sources(lines: list[str]) -> None:
    """Check that lines, JSON Lines and CSV have each line's own score, in order."""
    model = drawn("byte", "gru", (8,))
    made = scorer(model)
    quoted = [line.replace('"', '""') for line in lines]
    objects = [json.dumps({"n": n, "t": line}) for n, line in enumerate(lines)]
    files: dict[str, tuple[list[str], dict[str, Any]]] = {
        "lines": (lines, {}),
        "jsonl": (objects, {"field": Field("t")}),
        "csv": ([f'{n},"{line}"' for n, line in enumerate(quoted)], {"column": "2", "is_csv": True}),
    }
    alone = {line: next(made.texts([NamedText([[f"{line}\n".encode()]])])) for line in set(lines)}
    expected = [alone[line] for line in lines]
    for name, (texts, options) in files.items():
        data = "".join(f"{text}\n" for text in texts).encode()
        chunks = (data[at : at + 100_000] for at in range(0, len(data), 100_000))
        found = [score for rows in read_rows(chunks, name, **options) for score in made.lines(rows)]
        assert [score[1:3] + score[4:7] for score in found] == [score[1:3] + score[4:7] for score in expected], name
        assert [score.nats for score in found] == close([score.nats for score in expected]), name


def test_lines_of_whatever_source() -> None:
    """EV-12: 2,000 lines of mixed text cost what each does alone."""
    check_sources(mixed_lines(2000, Path(__file__).read_text(encoding="utf-8")))


@pytest.mark.slow
def test_50_000_lines_of_whatever_source(shared: Path) -> None:
    """EV-12: of real texts."""
    names = ("tinyshakespeare.txt", "reviews-zh.txt", "names.txt")
    text = "\n".join((shared / name).read_text(encoding="utf-8")[:600_000] for name in names)
    check_sources(mixed_lines(50_000, text))

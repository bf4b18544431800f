"""Lines with the state carried: each one's share of what the whole text costs."""

from collections.abc import Iterator

import numpy as np
import pytest

from charrnn.corpus.formats import NamedText, Place, Row
from charrnn.errors import InputError
from charrnn.scoring.carried import carried_outcomes
from charrnn.scoring.score import Score
from charrnn.scoring.units import TextEnd, Unit, UnitText, score_units
from tests.scoring import oracle
from tests.scoring.models import cells, close, drawn, engines, nats, rows_of, scorer, token_nats, tokenizers

LINES = ["\ufeffthe cat", "", "Uß né 日", "sat on the mat " * 3, "\ufeff", " ", "a\0b", "mat"]


def with_ends(lines: list[str], *, last: bool) -> list[tuple[Row, bytes]]:
    """Lines with what ends them; nothing ends the last one of a file without a newline."""
    rows = rows_of([line.encode() for line in lines])
    return [(row, b"\n" if last or row is not rows[-1] else b"") for row in rows]


@tokenizers
@cells
@engines
def test_shares_of_the_whole(tokenizer: str, cell: str, engine: str) -> None:
    """EV-02, EV-09: those of a file add up to its score, and are the sums of their tokens' nats."""
    model = drawn(tokenizer, cell)
    whole = "\n".join(LINES).encode()
    costs = token_nats(model, whole)
    each = with_ends(LINES, last=False)
    found = list(carried_outcomes(scorer(model, engine), each))
    assert [row for row, _ in found] == [row for row, _ in each]
    scores = [outcome for _, outcome in found if isinstance(outcome, Score)]
    assert sum(score.nats for score in scores) == close(costs.sum())
    ends = np.cumsum([score.tokens for score in scores])
    expected = np.append(0, np.cumsum(costs))[ends]
    assert [score.nats for score in scores] == close(np.diff(expected, prepend=0).tolist())
    assert ends[0] == len(oracle.ids_of(model, LINES[0].encode() + b"\n"))
    if tokenizer == "byte":
        assert [score.tokens for score in scores] == [len(row.text or b"") + len(end) for row, end in each]
    [score] = scorer(model, engine).texts([NamedText([[whole]])])
    assert sum(scores, Score())[:7] == (close(score.nats), *score[1:3], close(score.oov_nats), *score[4:7])


@tokenizers
@pytest.mark.parametrize("by", ["word", "token"])
def test_units_of_shares(tokenizer: str, by: str) -> None:
    """Words and tokens of carried lines add up to the whole; their offsets begin anew with each line."""
    model = drawn(tokenizer)
    each = [*with_ends(LINES, last=True), None]
    texts = [
        pair if pair is None else UnitText(pair[0], [(pair[0].text or b"") + pair[1]], line=pair[0].place.line)
        for pair in each
    ]
    found = list(score_units(scorer(model), texts, by, carry=True))
    assert [part.where for part in found if isinstance(part, TextEnd)] == [pair[0] for pair in each if pair]
    units = [part for part in found if isinstance(part, Unit)]
    assert sum(unit.nats for unit in units) == close(nats(model, "".join(f"{line}\n" for line in LINES).encode()))
    assert all(unit.line == unit.where.place.line for unit in units)
    firsts = {unit.where.place.line: unit.offset for unit in reversed(units)}
    assert firsts == {line: int(line == 1 and tokenizer != "byte") for line in firsts}  # after the byte order mark


@tokenizers
def test_lines_that_cannot_be_used_are_left_out_of_the_whole(tokenizer: str) -> None:
    """In their places, and so are lines without text."""
    model = drawn(tokenizer)
    fault = InputError("no text")
    rows = [
        *rows_of([b"the cat", None]),
        Row(None, b"", Place("f", 3), fault=fault),
        Row(b"a\xff", b"", Place("f", 4)),
        Row(b"mat", b"", Place("f", 5)),
        Row(b"\xff", b"", Place("f", 6)),
    ]
    found = [outcome for _, outcome in carried_outcomes(scorer(model), [(row, b"\n") for row in rows])]
    assert (found[1], found[2]) == (Score(), fault)
    invalid = [str(each) for each in found[3:] if isinstance(each, InputError)]
    scores = [each for each in found if isinstance(each, Score)]
    if tokenizer == "byte":
        assert sum(each.nats for each in scores) == close(nats(model, b"the cat\na\xff\nmat\n\xff\n"))
    else:
        assert invalid == ["'f', line 4: invalid UTF-8 at byte 1", "'f', line 6: invalid UTF-8 at byte 0"]
        assert sum(each.nats for each in scores) == close(nats(model, b"the cat\nmat\n"))


def test_nothing_but_lines_without_tokens() -> None:
    model = drawn("char")
    rows = rows_of([None, "\ufeff".encode(), None])
    found = [outcome for _, outcome in carried_outcomes(scorer(model), [(row, b"") for row in rows])]
    assert found == [Score(), Score(bytes=3), Score()]
    assert list(carried_outcomes(scorer(model), [])) == []


def test_none_says_that_what_has_come_is_to_be_scored() -> None:
    """Before more is fetched, so that a line which somebody types is answered."""
    model = drawn("char")
    fetched = 0

    def typed() -> Iterator[tuple[Row, bytes] | None]:
        nonlocal fetched
        for row in rows_of([b"the", b"cat", b"sat"]):
            fetched += 1
            yield row, b"\n"
            yield None

    for number, (row, outcome) in enumerate(carried_outcomes(scorer(model), typed()), 1):
        assert fetched == number == row.place.line
        assert isinstance(outcome, Score)

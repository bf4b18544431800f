"""Whole texts in blocks of lines: cut alike for every tokenizer, and they add up to the text."""

import math

import numpy as np
import pytest

from charrnn.corpus.formats import NamedText
from charrnn.scoring.blocks import BLOCK_CHARS
from charrnn.scoring.score import Score
from tests.scoring.models import close, drawn, nats, rows_of, scorer, tokenizers

RNG = np.random.default_rng(3)
LINES = ["".join(RNG.choice(list("the cat日é"), length)) for length in RNG.integers(0, 90, 120)]
LINES[40:44] = ["mat " * 700, "", "", "x" * 999]
TEXT = "".join(f"{line}\n" for line in LINES).encode()


def cuts(text: bytes, separator: bytes) -> list[int]:
    """How many bytes blocks have: about a thousand characters and the rest of the line."""
    found, chars, size = [], 0, 0
    *lines, rest = text.split(separator)
    for line in lines:
        chars += len((line + separator).decode())
        size += len(line + separator)
        if chars >= BLOCK_CHARS:
            found.append(size)
            chars = size = 0
    size += len(rest)
    return [*found, size] if size else found


def named(data: bytes, size: int = 1 << 16) -> NamedText:
    return NamedText([[data[at : at + size] for at in range(0, len(data), size)]])


@pytest.mark.parametrize("size", [37, 4096])
@pytest.mark.parametrize("end", [b"", b"the end", "日".encode() * 2000])
def test_cuts_are_the_same_for_all(end: bytes, size: int) -> None:
    """Whatever the tokenizer, whether a model is one of records, and wherever the text is cut in chunks."""
    expected = cuts(TEXT + end, b"\n")
    for tokenizer in ("char", "byte", "sentencepiece"):
        for separator in (b"", b"\n"):
            model = drawn(tokenizer, "rnn", (4,), separator)
            _, found, sizes = scorer(model, boundary=b"\n").blocks(named(TEXT + end, size))
            if separator and end:  # what ends the last record is added
                assert (sizes[:-1].tolist(), sizes[-1]) == (expected[:-1], expected[-1] + 1)
            else:
                assert sizes.tolist() == expected
            assert len(found) == len(sizes)


@tokenizers
@pytest.mark.parametrize("separator", [b"", b"\n", b"\n\n"])
def test_blocks_add_up_to_the_text(tokenizer: str, separator: bytes) -> None:
    model = drawn(tokenizer, "rnn", (4,), separator)
    made = scorer(model)
    _, found, sizes = made.blocks(named(TEXT))
    [whole] = made.texts([named(TEXT)])
    assert found.sum() == close(whole.nats)
    assert sizes.sum() == whole.bytes
    assert len(found) == whole.units.num > 1
    ratio = whole.bits_per_byte
    residuals = found / math.log(2) - ratio * sizes
    M = len(found)
    expected = math.sqrt(M / (M - 1) * (residuals**2).sum()) / whole.bytes
    assert whole.bits_per_byte_se == pytest.approx(expected, rel=1e-9)


@tokenizers
def test_a_block_costs_what_its_tokens_do(tokenizer: str) -> None:
    """With the state carried from block to block; records each on its own."""
    model = drawn(tokenizer, "rnn", (4,))
    _, found, sizes = scorer(model).blocks(named(TEXT[:4000]))
    ends = np.cumsum(sizes).astype(int).tolist()
    expected = [nats(model, TEXT[:end]) for end in ends[:2]]
    assert np.cumsum(found)[:2] == pytest.approx(expected, rel=1e-6)


def test_a_boundary_that_ends_no_record_cuts_nothing() -> None:
    """As of two models of records that are compared, with separators of their own."""
    model = drawn("byte", "rnn", (4,), b";")
    data = b"the cat; sat\non the; mat\n" * 100
    _, found, sizes = scorer(model, boundary=b"\n").blocks(named(data))
    [whole] = scorer(model).texts([named(data)])
    assert (len(found), sizes.tolist()) == (1, [whole.bytes])
    assert found[0] == close(whole.nats)


@pytest.mark.parametrize("data", [b"", "\ufeff".encode()])
def test_nothing_has_no_blocks_with_tokens(data: bytes) -> None:
    _, found, sizes = scorer(drawn("char")).blocks(named(data))
    assert found.sum() == 0
    assert sizes.sum() == len(data)


def test_a_prompt_is_in_no_block() -> None:
    model = drawn("char", "rnn", (4,))
    made = scorer(model, prompt=b"the cat\n" * 300)
    _, found, sizes = made.blocks(named(TEXT[:3000]))
    assert sizes.tolist() == cuts(TEXT[:3000], b"\n")
    assert found.sum() == close(nats(model, TEXT[:3000], b"the cat\n" * 300))


def test_lines_are_units() -> None:
    """The error of several rows' total is over the rows, by the formula."""
    model = drawn("char")
    scores = list(scorer(model).lines(rows_of([line.encode() for line in LINES])))
    total = sum(scores, Score())
    bits, sizes = np.array([each.bits for each in scores]), np.array([each.bytes for each in scores])
    M = len(scores)
    residuals = bits - total.bits_per_byte * sizes
    assert total.units.num == M
    assert total.bits_per_byte_se == pytest.approx(
        math.sqrt(M / (M - 1) * (residuals**2).sum()) / sizes.sum(), rel=1e-9
    )

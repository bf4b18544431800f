"""Strings that end a text, against a plain search for each."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.corpus.inputs import begun_bytes
from charrnn.generation import end_strings
from charrnn.generation.end_strings import EndStrings

BITS = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=6).map(b"".join)


@pytest.mark.parametrize("few", [0, 32])
@given(ends=st.lists(BITS.filter(bool), min_size=1, max_size=6), pieces=st.lists(BITS, max_size=6))
def test_the_first_is_found(few: int, ends: list[bytes], pieces: list[bytes]) -> None:
    """In a text that comes in pieces, of which no more is kept than may be the beginning of one."""
    before, end_strings.FEW = end_strings.FEW, few
    try:
        named = [(text, str(number)) for number, text in enumerate(ends)]
        strings, data = EndStrings(named), b""
        for piece in pieces:
            checked = len(data)
            data += piece
            places = [(data.find(text), number) for number, text in enumerate(ends) if text in data]
            found = strings.find(data, checked)
            if places:
                place, number = min(places)
                assert found == (place, number, ends[number], str(number))
                return
            assert found is None
            begun = strings.begun(data)
            assert begun == max(begun_bytes(data, text) for text in ends)
            data = data[len(data) - begun :]
    finally:
        end_strings.FEW = before


def test_ten_thousand() -> None:
    """A byte takes no time that grows with them."""
    ends = [(f"{number:05}x".encode(), "stop") for number in range(10_000)]
    strings = EndStrings([(b"end", "end"), *ends])
    begin = time.process_time()
    held = b""
    for _ in range(20_000):
        data = held + b"0"
        assert strings.find(data, len(held)) is None
        held = data[len(data) - strings.begun(data) :]
    assert time.process_time() - begin < 2
    assert strings.find(held + b"7x", len(held)) == (1, 8, b"00007x", "stop")


def test_a_megabyte() -> None:
    """What was held back is part of the text after all."""
    strings = EndStrings([(b"ab" * 500_000, "stop")])
    begin = time.process_time()
    data = b"ab" * 200_000
    assert strings.begun(data + b"a") == len(data) + 1
    assert strings.begun(b"aba" * 100) == 3
    assert strings.find(b"ab" * 500_000) == (0, 0, b"ab" * 500_000, "stop")
    assert time.process_time() - begin < 2

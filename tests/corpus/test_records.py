"""Records: where they end, in bytes and in ids."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.corpus.records import HASH_BYTES, RecordHasher, SeparatorScanner, insert_bos, keyed, with_final_separator

SEPARATORS = [b"\n", b"a", b"ab", b"aa", b"aba", b"\n\n", b"aab", b"abaab", b"aaaaaa"]

texts = st.one_of(
    st.lists(st.sampled_from(b"ab\n"), max_size=40).map(bytes),
    # mostly nothing that a separator may begin with
    st.lists(st.sampled_from([b"\n" * 30, b"ab", b"aa", b"abaab"]), max_size=12).map(b"".join),
)
separators = st.sampled_from(SEPARATORS)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def records_of(text: bytes, separator: bytes) -> list[bytes]:
    """The records of a text that is ended, each with its separator, as `bytes.split` finds them."""
    *records, rest = text.split(separator)
    assert rest == b""
    return [record + separator for record in records]


@settings(max_examples=150, deadline=None)
@given(text=texts, separator=separators, size=st.one_of(st.integers(1, 9), st.just(1000)))
def test_ends_are_where_split_finds_them(text: bytes, separator: bytes, size: int) -> None:
    """From left to right, without overlap, wherever the text is cut."""
    parts = text.split(separator)
    expected = list(itertools.accumulate(len(part) + len(separator) for part in parts[:-1]))
    finder, found, begin = SeparatorScanner(np.frombuffer(separator, np.uint8)), [], 0
    for chunk in cut(text, size):
        found += [begin + int(end) for end in finder.feed(np.frombuffer(chunk, np.uint8))]
        begin += len(chunk)
    assert found == expected
    assert finder.open == len(parts[-1])


@settings(max_examples=150, deadline=None)
@given(text=texts, separator=separators, size=st.integers(1, 9))
def test_the_last_record_is_ended(text: bytes, separator: bytes, size: int) -> None:
    """With as much of the separator as is missing; a text that is ended is left as it is."""
    whole = b"".join(with_final_separator(cut(text, size), separator))
    assert whole.startswith(text)
    assert whole.split(separator)[-1] == b""
    assert len(whole) - len(text) <= len(separator)
    assert b"".join(with_final_separator([whole], separator)) == whole
    if len(separator) == 1 and text and not text.endswith(separator):
        assert whole == text + separator


@settings(max_examples=150, deadline=None)
@given(text=texts, separator=separators, size=st.integers(1, 9))
def test_equal_records_have_equal_hashes(text: bytes, separator: bytes, size: int) -> None:
    """Wherever the text is cut: their bytes as the digits of a number."""
    text = b"".join(with_final_separator([text], separator))
    scanner, hasher, found = SeparatorScanner(np.frombuffer(separator, np.uint8)), RecordHasher(), list[int]()
    for chunk in cut(text, size):
        data = np.frombuffer(chunk, np.uint8)
        hashes = hasher.feed(data, scanner.feed(data))
        assert hashes.dtype == np.uint32
        found += hashes.tolist()
    records = records_of(text, separator)
    assert found == [sum(byte * 0x9E3779B1**place for place, byte in enumerate(record)) % 2**32 for record in records]


def test_different_records_have_different_hashes() -> None:
    """As good as always: of 100,000 numbers as text, a pair or two are expected to share one of 2**32 hashes."""
    text = np.frombuffer(b"".join(b"%d\n" % number for number in range(100_000)), np.uint8)
    scanner, hasher = SeparatorScanner(np.array([10], np.uint8)), RecordHasher()
    parts = [text[at : at + HASH_BYTES] for at in range(0, len(text), HASH_BYTES)]
    hashes = np.concatenate([hasher.feed(part, scanner.feed(part)) for part in parts])
    assert len(hashes) == 100_000
    distinct = len(np.unique(hashes))
    assert distinct > 99_990
    assert len(np.unique(keyed(hashes, [5, 6]))) == distinct
    assert np.count_nonzero(keyed(hashes, [5, 6]) == keyed(hashes, [5, 7])) < 10


def test_a_newline_is_half_a_blank_line() -> None:
    for text in (b"a\nb\n\nc", b"a\nb\n\nc\n", b"a\nb\n\nc\n\n"):
        assert b"".join(with_final_separator([text], b"\n\n")) == b"a\nb\n\nc\n\n"


def test_the_start_is_put_in() -> None:
    assert insert_bos(np.array([5, 6, 7], np.uint8), np.array([1, 3]), 300).tolist() == [5, 300, 6, 7, 300]

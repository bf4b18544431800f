"""Token streams, and the beginning of a validation text."""

import itertools

import numpy as np
import pytest

from charrnn.dataset.dataset import MIN_SEGMENT_TOKENS, TokenStream, head
from tests.dataset.test_batches import V, numbered, stream_of


def test_streams_remember_where_texts_begin() -> None:
    texts = [np.array(ids, np.uint8) for ids in ([1, 2, 3], [], [4], [5, 6])]
    stream = TokenStream.join(texts)
    assert stream.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert stream.starts.tolist() == [0, 3, 4]
    assert [text.tolist() for text in stream.texts()] == [[1, 2, 3], [4], [5, 6]]
    assert [text.tolist() for text in stream.texts(4)] == [[1, 2, 3], [4]]
    assert [text.tolist() for text in stream.texts(5)] == [[1, 2, 3], [4], [5]]
    assert len(TokenStream.join([])) == 0
    assert TokenStream.join([]).texts() == []


@pytest.mark.parametrize(
    ("count", "limit", "segments"),
    [(4, 10**6, 4), (64, 10**6, 7), (64, 1999, 7), (64, 600, 2), (3, 900, 3), (4, 2, 1), (1, 5, 1), (5, 0, 0)],
)
def test_segments_are_spread_over_the_text(count: int, limit: int, segments: int) -> None:
    """In order, none twice; and long enough for the state that they begin without to matter little."""
    stream = numbered(1000, 1000)
    found = [segment.tolist() for segment in stream.segments(count, limit, V)]
    assert len(found) == segments
    assert sum(map(len, found)) == min(limit, 2000)
    assert all(segment == list(range(segment[0], segment[0] + len(segment))) for segment in found)
    assert all(len(segment) >= min(limit, MIN_SEGMENT_TOKENS) for segment in found)
    assert max(map(len, found), default=0) - min(map(len, found), default=0) <= 1
    gaps = [b[0] - a[-1] - 1 for a, b in itertools.pairwise([[-1], *found, [2000]])]
    assert sum(gaps) == max(0, 2000 - limit)
    between = gaps[1:-1]
    assert not between or max(between) - min(between) <= 1
    assert not found or abs(gaps[0] - gaps[-1]) <= 1


@pytest.mark.parametrize(("count", "limit"), [(1, 150), (3, 150), (64, 150), (4, 20), (2, 1), (5, 10**6), (7, 139)])
def test_segments_of_whole_records(count: int, limit: int) -> None:
    """Spread over them all, none twice."""
    stream = stream_of([3, 1, 7, 2, 2, 9, 4, 1, 1, 6] * 4)
    chunks = stream.segments(count, limit, 1000)
    assert 0 < len(chunks) <= count
    seen: list[int] = []
    for chunk in chunks:
        assert chunk[0] in stream.starts
        for before, token in itertools.pairwise(chunk.tolist()):
            assert token == 1000 or token in (before + 1, *stream.starts)
            assert (token == 1000) == (before + 1 in stream.starts and before != 1000)
        assert chunk[-1] + 1 in (*stream.starts, len(stream))
        seen += [token for token in chunk.tolist() if token != 1000]
    assert seen == sorted(set(seen))
    if limit >= len(stream):
        assert len(seen) == len(stream)
    else:
        assert limit - 9 * len(chunks) <= len(seen) <= limit + 9 * len(chunks)
        halves = [sum(token < len(stream) / 2 for token in seen), sum(token >= len(stream) / 2 for token in seen)]
        assert len(chunks) == 1 or abs(halves[0] - halves[1]) <= len(seen) / 3 + 9


@pytest.mark.parametrize(
    ("count", "separator", "found"),
    [
        (1, b"", [b"a"]),
        (2, b"", [b"ab"]),
        (3, b"", [b"ab", "é".encode()]),
        (5, b"", [b"ab", "éé".encode(), b"c"]),
        (99, b"", [b"ab", "éé".encode(), b"c"]),
        (1, b"b", [b"ab"]),
        (3, "é".encode(), [b"ab", "é".encode()]),
    ],
)
def test_heads(count: int, separator: bytes, found: list[bytes]) -> None:
    """Of records the last one is whole."""
    assert head((b"ab", "éé".encode(), b"c"), count, by_char=True, separator=separator) == found

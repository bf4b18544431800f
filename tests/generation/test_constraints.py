"""Automata against their definition, searched for token by token, and how long they take to make."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.engines.base import END, FORBIDDEN, Array
from charrnn.errors import UsageError
from charrnn.generation.constraints import end_distance, token_dfa

LONG = 256
"""Tokens of a separator at most, as a file stores it."""


def defined(vocabulary: int, unknown: int | None, end: tuple[int, ...]) -> list[list[int]]:
    """The transitions by definition: the longest beginning of `end` that what was read ends with."""
    table = np.zeros((max(1, len(end)), vocabulary), np.int64)
    for n in range(len(end)):
        for token in range(vocabulary):
            read = (*end[:n], token)
            matched = next(k for k in range(len(read), -1, -1) if read[len(read) - k :] == end[:k])
            table[n, token] = matched if matched < len(end) else END
    if unknown is not None:
        table[:, unknown] = FORBIDDEN
    found: list[list[int]] = table.tolist()
    return found


@settings(max_examples=100, deadline=None)
@given(end=st.lists(st.integers(0, 2), max_size=12).map(tuple), unknown=st.sampled_from([None, 3]))
def test_the_automaton_is_as_defined(end: tuple[int, ...], unknown: int | None) -> None:
    dfa = token_dfa(4, unknown, end)
    assert dfa.next.dtype == np.int32
    assert dfa.next.tolist() == defined(4, unknown, end)


def test_a_long_end_of_a_large_vocabulary() -> None:
    """By definition too; each table takes as long as its transitions do to write, not the cube of the end's length."""
    wanted = defined(300, 299, tuple(range(40)))
    assert token_dfa(300, 299, tuple(range(40))).next.tolist() == wanted
    for end in (tuple(range(LONG)), (7,) * LONG, (1, 2) * (LONG // 2)):
        begin = time.process_time()
        table = token_dfa(1 << 16, 0, end).next
        assert time.process_time() - begin < 1.0  # 0.03 s; it was 4 s
        assert table.shape == (LONG, 1 << 16)
        assert table[-1, end[-1]] == END


def test_an_automaton_too_large_is_never_made() -> None:
    """No more than 256 MB: it is refused before anything is allocated."""
    with pytest.raises(UsageError, match="needs 256 states for 1,114,113 tokens: more than 67,108,864 transitions"):
        token_dfa(0x110001, None, tuple(range(LONG)))
    with pytest.raises(UsageError, match="more than 67,108,864 transitions"):
        token_dfa(1 << 62, None, ())


def defined_distance(table: Array) -> list[int]:
    """The distances by definition: that of a state is one more than the least of those that it leads to."""
    far = np.iinfo(np.int32).max
    distance = [far] * len(table)
    for _ in table:
        distance = [
            min(1 if to == END else far if to == FORBIDDEN else min(far, distance[to] + 1) for to in row)
            for row in table.tolist()
        ]
    return distance


@settings(max_examples=100, deadline=None)
@given(data=st.data(), states=st.integers(1, 7))
def test_distances_are_as_defined(data: st.DataObject, states: int) -> None:
    rows = st.lists(st.integers(FORBIDDEN, states - 1), min_size=3, max_size=3)
    table = np.array(data.draw(st.lists(rows, min_size=states, max_size=states)), np.int32)
    found = end_distance(table)
    assert found.dtype == np.int32
    assert found.tolist() == defined_distance(table)


def test_distances_of_a_long_automaton() -> None:
    begin = time.process_time()
    distance = end_distance(token_dfa(1 << 16, 0, tuple(range(1, LONG + 1))).next)
    assert time.process_time() - begin < 5.0  # 0.5 s
    assert distance.tolist() == list(range(LONG, 0, -1))

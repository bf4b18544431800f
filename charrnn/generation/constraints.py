"""What may be drawn at each place of a text, as an automaton over token ids."""

from collections import deque

import numpy as np

from charrnn.engines.base import END, FORBIDDEN, Array, TokenDFA, check_dfa_size


def token_dfa(vocabulary: int, unknown: int | None, end: tuple[int, ...]) -> TokenDFA:
    """Return the automaton that allows all tokens but `unknown`, up to the tokens `end`, if there are any.

    State n is where the last n tokens are the first n of `end` (Knuth, Morris & Pratt 1977). Texts are cut at their
    length.

    Raises:
        UsageError: `end` is too long for a vocabulary of this size.
    """
    check_dfa_size(max(1, len(end)), vocabulary)
    table = np.zeros((max(1, len(end)), vocabulary), np.int32)
    border = 0  # the state after all of `end` read so far but its first token
    for n, token in enumerate(end):
        table[n] = table[border]  # another token than the next of `end` leads where it leads from there
        border = int(table[border, token]) if n else 0
        table[n, token] = n + 1 if n + 1 < len(end) else END
    if unknown is not None:
        table[:, unknown] = FORBIDDEN
    return TokenDFA(table)


def end_distance(table: Array) -> Array:
    """Return `TokenDFA.distance` of its transitions, int32 (A, V): the fewest tokens from each state to an `END`."""
    distance = np.full(len(table), np.iinfo(np.int32).max, np.int32)
    before: list[list[int]] = [[] for _ in table]  # the states that lead to each
    for state, row in enumerate(table):
        for follower in np.unique(row[row >= 0]).tolist():
            before[follower].append(state)
    reached = deque(np.flatnonzero((table == END).any(axis=1)).tolist())
    distance[list(reached)] = 1
    while reached:  # breadth first, from the end: each state once
        state = reached.popleft()
        for earlier in before[state]:
            if distance[earlier] > distance[state] + 1:
                distance[earlier] = distance[state] + 1
                reached.append(earlier)
    return distance

"""What may be drawn at each place of a text, as an automaton over token ids."""

import numpy as np

from charrnn.engines.base import END, FORBIDDEN, Array, TokenDFA


def token_dfa(vocabulary: int, unknown: int | None, end: tuple[int, ...]) -> TokenDFA:
    """Return the automaton that allows all tokens but `unknown`, up to the tokens `end`, if there are any.

    State n is where the last n tokens are the first n of `end` (Knuth, Morris & Pratt 1977). Texts are cut at their
    length.
    """
    table = np.zeros((max(1, len(end)), vocabulary), np.int32)
    for n in range(len(end)):
        for token in set(end):
            read = (*end[:n], token)
            matched = next(k for k in range(len(read), -1, -1) if read[len(read) - k :] == end[:k])
            table[n, token] = matched if matched < len(end) else END
    if unknown is not None:
        table[:, unknown] = FORBIDDEN
    return TokenDFA(table)


def end_distance(table: Array) -> Array:
    """Return `TokenDFA.distance` of its transitions, int32 (A, V): the fewest tokens from each state to an `END`."""
    unreached = np.iinfo(np.int32).max
    distance = np.full(len(table), unreached, np.int32)
    steps, ends = 1, (table == END).any(axis=1)  # states that end with the next token
    while ends.any():
        distance[ends] = steps
        leads_there = ends[np.maximum(table, 0)] & (table >= 0)
        steps, ends = steps + 1, leads_there.any(axis=1) & (distance == unreached)
    return distance

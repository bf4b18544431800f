"""What may be drawn at each place of a text, as an automaton over token ids."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from charrnn.engines.base import END, FORBIDDEN, Array, Ids, TokenDFA, check_dfa_size

FAR = np.iinfo(np.int32).max
"""A distance: no end can be reached."""


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
    return distances(table, (table == END).any(axis=1), 1)


def distances(table: Array, known: Array, tokens: int) -> Array:
    """Return the fewest tokens from each state, int32 (A,): `tokens` for those that are `known`, one more for each
    transition to them; `FAR` where none is reached."""
    distance = np.full(len(table), FAR, np.int32)
    before: list[list[int]] = [[] for _ in table]  # the states that lead to each
    leads = np.zeros(len(table) + 2, np.bool_)  # END and FORBIDDEN are the last places
    for state, row in enumerate(table):
        leads[:] = False
        leads[row] = True
        for follower in np.flatnonzero(leads[:-2]).tolist():
            before[follower].append(state)
    reached = deque(np.flatnonzero(known).tolist())
    distance[list(reached)] = tokens
    while reached:  # breadth first, from the end: each state once
        state = reached.popleft()
        for earlier in before[state]:
            if distance[earlier] > distance[state] + 1:
                distance[earlier] = distance[state] + 1
                reached.append(earlier)
    return distance


@dataclass(frozen=True, eq=False)
class MatchDFA:
    """The automaton of texts that match a regular expression: see `match.match_dfa`.

    Attributes:
        dfa: its transitions.
        starts: int32 (P,), the state in which the texts of each prompt begin.
        whole: what texts are to match that `dfa` lets go on freely, until they leave it; None: `dfa` itself.
    """

    dfa: TokenDFA
    starts: Array
    whole: "MatchDFA | None" = None

    @property
    def has_end(self) -> bool:
        """Whether some token ends a text."""
        return bool((self.dfa.next == END).any())

    def of_prompt(self, prompt: int) -> "MatchDFA":
        """Return the same of one of the prompts alone."""
        return MatchDFA(self.dfa, self.starts[prompt : prompt + 1])

    def ends(self, ids: Ids, prompt: int) -> bool:
        """Return whether the last token of a whole text ends it: of a record, in a match; of any other text, as it
        leaves the pattern."""
        of = self.whole or self
        follower, state = of.dfa.next.item, int(of.starts[prompt])
        for token in ids.tolist():
            state = follower(state, token)
        return state == END

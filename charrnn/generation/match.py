"""The automaton of `--match`: texts that match a regular expression as a whole, token by token."""

import time
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from charrnn.engines.base import END, FORBIDDEN, Array, TokenDFA, check_dfa_size
from charrnn.errors import UsageError
from charrnn.generation.constraints import FAR, MatchDFA, distances, end_distance, token_dfa
from charrnn.generation.regex import START_MARK, Points, all_points, literal, plain_regex
from charrnn.generation.regex_dfa import BUILD_SECONDS, DEAD, ByteDFA, byte_dfa, too_slow
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer

_CELLS = 1 << 22
"""States times tokens that are walked at a time."""


def match_dfa(
    tokenizer: Tokenizer,
    pattern: str,
    separator: bytes,
    length: int,
    echoes: Sequence[bytes] = (b"",),
    *,
    ended_by: Sequence[str] = (),
) -> MatchDFA:
    """Return the automaton of texts that match a regular expression as a whole, within their length.

    Of records, those of a `separator`, only what matches can be ended by it. Of other texts a token that would leave
    the pattern is an `END` wherever the text matches without it: it is drawn as often as the model has it, and is not
    part of the text (see `MatchDFA.ends`). All other tokens that lead to no match are forbidden, and `<unk>` is.

    Args:
        tokenizer: its tokens are walked byte by byte, so that a text matches however it is cut into tokens.
        pattern: see docs/match.md.
        separator: what ends a record; empty: the texts are not records.
        length: most tokens in a text; 0: no limit.
        echoes: of each prompt what its texts begin with, without being generated; no separator is in it.
        ended_by: options that may end a text after any token: it is to match then.

    Raises:
        UsageError: the pattern is not one, is too large, takes too long, or no text of some prompt matches it; or a
            text would not match where it is ended.
    """
    deadline = time.monotonic() + BUILD_SECONDS
    plain = plain_regex(pattern, _points(tokenizer, echoes))
    if plain is None:
        raise UsageError("{match}: no text of the characters that the model can write matches", ("match",))
    if separator:
        dfa = _ended(byte_dfa(f"(?:{plain}){_literals(separator)}"), separator)
        end = len(dfa.next) - 1
    else:
        dfa, end = byte_dfa(plain), None
    first, place = np.unique([_walk(dfa.next, echo) for echo in echoes], return_inverse=True)
    if first[0] == DEAD:
        _check_length(FAR, length, echoes[int(place.argmin())], separator)
    table, states = _token_table(dfa.next, first.tolist(), tokenizer.token_bytes, end, deadline)
    if tokenizer.unknown is not None:
        table[:, tokenizer.unknown] = FORBIDDEN
    accepting = dfa.accepting[states]
    distance = end_distance(table) if separator else distances(table, accepting, 0)
    for echo, tokens in zip(echoes, distance[place].tolist(), strict=True):
        _check_length(tokens, length, echo, separator)
    table, accepting, distance, number = _without_dead_states(table, accepting, distance)
    if ended_by and distance.max() > bool(separator):  # somewhere a text may not end
        raise UsageError(
            f"{{match}} and {{{ended_by[0]}}} cannot be used together with this pattern: a text ends where nothing"
            " may follow, and would not match; a pattern can be that every beginning of a text matches, as '[^0-9]*'",
            ("match", *ended_by),
        )
    if not separator:
        _end_where_left(table, accepting, distance, tokenizer.unknown)
    return MatchDFA(TokenDFA(table, distance), number[place])


def _check_length(tokens: int, length: int, echo: bytes, separator: bytes) -> None:
    """Refuse a pattern for which a text after `echo` needs more tokens than it may have, or for which there is none."""
    begin = f"begins with {echo[:40].decode('utf-8', 'replace')!r} and " if echo else ""
    if tokens == FAR:
        that = f" {begin}that" if begin else ""
        raise UsageError(f"{{match}}: no text that{that} the model can write matches", ("match",))
    if 0 < length < tokens:
        counted = f"{tokens:,} tokens" + (" after it" if echo else "") + (", its end among them" if separator else "")
        raise UsageError(
            f"{{match}}: the shortest text that {begin}matches has {counted}, above {{length}} {length:,}",
            ("match", "length"),
        )


def _walk(table: Array, text: bytes) -> int:
    """Return the state of a `ByteDFA` after a text."""
    state = 1
    for byte in text:
        state = int(table[state, byte])
    return state


def _points(tokenizer: Tokenizer, echoes: Sequence[bytes]) -> Points:
    """Return the characters that may stand in a text, ascending: those that the model can write, and what is given."""
    if not isinstance(tokenizer, CharTokenizer):
        return all_points()
    given = {ord(char) for echo in echoes for char in echo.decode("utf-8", "ignore")}
    points: Points = np.union1d(tokenizer.table, np.array(sorted(given), np.uint32))
    return points[points < START_MARK]


def _literals(separator: bytes) -> str:
    try:
        return "".join(literal(ord(char)) for char in separator.decode())
    except UnicodeDecodeError:
        raise UsageError("{match} cannot be used: what ends the model's records is not UTF-8", ("match",)) from None


def _ended(dfa: ByteDFA, separator: bytes) -> ByteDFA:
    """Return the automaton of a pattern and `separator` after it, in which no text goes on after its first separator:
    where the pattern is complete with it, it leads to the last state."""
    (D, _), K = dfa.next.shape, len(separator)
    check_dfa_size(D * K, 256)
    found = token_dfa(256, None, tuple(separator)).next  # (K, 256), how much of the separator comes last
    # state d of the pattern and k of the separator is state d * K + k; that of DEAD and 0 stays DEAD
    to, is_end = dfa.next[:, None], (found == END)[None]  # (D, 1, 256), (1, K, 256)
    table = np.where(is_end, np.where(dfa.accepting[to], D * K, DEAD), np.where(to == DEAD, DEAD, to * K + found))
    order = np.arange(D * K + 1)
    order[[1, K]] = order[[K, 1]]  # texts begin in state 1
    renamed = np.vstack([table.reshape(D * K, 256), np.zeros((1, 256), np.int64)])[order]
    return ByteDFA(order[renamed].astype(np.int32), np.zeros(D * K + 1, np.bool_))


def _token_table(
    table: Array, first: Sequence[int], tokens: Sequence[bytes], end: int | None, deadline: float
) -> tuple[Array, Array]:
    """Walk every token from every state in which one may begin.

    Args:
        table: int32 (D, 256), of a `ByteDFA`.
        first: the states in which texts begin, each once.
        end: the state in which a text ends: what a token has after it is not part of the text. None: there is none.

    Returns:
        int32 (A, V): the number of the state that each token leads to, `END` or `FORBIDDEN`; and int32 (A,), which
        state of the `table` each is; those of `first` come first.
    """
    prefixes = sorted({token[:size] for token in tokens for size in range(len(token) + 1)}, key=len)
    node = {prefix: place for place, prefix in enumerate(prefixes)}
    levels = []  # of prefixes of 1, 2, ... bytes: their places, those without the last byte, that byte
    for _, level in groupby(prefixes[1:], key=len):
        some = list(level)
        parents, final = np.array([(node[prefix[:-1]], prefix[-1]) for prefix in some]).T
        levels.append((slice(node[some[0]], node[some[0]] + len(some)), parents, final))
    if end is not None:
        table = table.copy()
        table[end] = end
    of_token = np.array([node[token] for token in tokens])
    is_empty = np.array([not token for token in tokens])
    number = np.full(len(table), FORBIDDEN, np.int32)
    if end is not None:
        number[end] = END
    number[first] = np.arange(len(first))
    is_known = number > FORBIDDEN
    is_known[DEAD] = True
    states, rows, done = list(first), [], 0
    while done < len(states):
        if time.monotonic() > deadline:
            raise too_slow()
        begin, done = done, min(len(states), done + max(1, _CELLS // len(prefixes)))
        reached = np.empty((done - begin, len(prefixes)), np.int32)
        reached[:, 0] = states[begin:done]
        for places, parents, final in levels:
            reached[:, places] = table[reached[:, parents], final]
        to = reached[:, of_token]
        to[:, is_empty] = DEAD
        is_reached = np.zeros(len(table), np.bool_)
        is_reached[to] = True
        new = np.flatnonzero(is_reached & ~is_known)
        is_known[new] = True
        number[new] = np.arange(len(states), len(states) + len(new))
        states += new.tolist()
        check_dfa_size(len(states), len(tokens))
        rows.append(number[to])
    return np.concatenate(rows), np.array(states, np.int32)


def _without_dead_states(table: Array, accepting: Array, distance: Array) -> tuple[Array, Array, Array, Array]:
    """Leave out the states from which no end can be reached; what leads there is forbidden. Return also which number
    each of the others has now."""
    alive = distance < FAR
    number = np.full(len(table) + 2, FORBIDDEN, np.int32)
    number[END] = END  # the last but one and the last place: FORBIDDEN and END
    number[:-2][alive] = np.arange(alive.sum())
    return number[table[alive]], accepting[alive], distance[alive], number


def _end_where_left(table: Array, accepting: Array, distance: Array, unknown: int | None) -> None:
    """Where a text matches, let it end by what cannot go on, in place."""
    ends = (table == FORBIDDEN) & accepting[:, None]
    if unknown is not None:
        # <unk> leaves the pattern too. As it is never drawn, it is an end only where all other tokens may be too far
        # from a match for the length, and none of them is an end
        without = np.flatnonzero(accepting & (ends.sum(axis=1) == 1))
        ends[without, unknown] = [(distance[row[row >= 0]] > 0).all() for row in table[without]]
        others = np.setdiff1d(np.arange(len(table)), without)
        ends[others, unknown] = False
    table[ends] = END

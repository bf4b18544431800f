"""Automata of regular expressions over the bytes of UTF-8, built by the library outlines-core.

Its automata are those of the Rust crate regex-automata, which stop at the first match: of `a|ab` they never accept
`ab`. So a mark that no text holds is put after the pattern, and a state accepts where the mark would complete a match.
They are built for matches anywhere in a text, too, which takes a state for each set of places where one may have begun:
another such mark before the pattern leaves one place, and texts begin in the state after it.
"""

import math
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from charrnn.engines.base import Array
from charrnn.errors import CharRNNError, UsageError
from charrnn.generation import regex_process
from charrnn.generation.regex import END_MARK, START_MARK, literal

MAX_STATES = 10_000
"""Of an automaton over bytes."""

BUILD_SECONDS = 5.0
BUILD_BYTES = 1 << 30
"""Memory that building may take."""

DEAD = 0


@dataclass(frozen=True, eq=False)
class ByteDFA:
    """A deterministic finite automaton over bytes. State `DEAD` leads to itself; texts begin in state 1.

    Attributes:
        next: int32 (D, 256), the state that each byte leads to.
        accepting: bool (D,), whether a text that ends there matches.
    """

    next: Array
    accepting: Array


@lru_cache(maxsize=32)
def byte_dfa(plain: str) -> ByteDFA:
    """Return the automaton of a pattern as `plain_regex` writes it.

    Raises:
        UsageError: it has more than `MAX_STATES` states, or takes longer than `BUILD_SECONDS` to build.
        CharRNNError: the library does not work here.
    """
    library = find_spec("outlines_core")
    if library is None or library.origin is None:
        raise CharRNNError("{match} needs the package outlines-core: pip install outlines-core", ("match",))
    command = (
        *(sys.executable, "-I", "-S", regex_process.__file__, str(Path(library.origin).parents[1])),
        *map(str, (MAX_STATES, math.ceil(BUILD_SECONDS), BUILD_BYTES)),
    )
    pattern = f"{literal(START_MARK)}(?:{plain}){literal(END_MARK)}"
    try:
        done = subprocess.run(command, input=pattern.encode(), capture_output=True, timeout=BUILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise too_slow() from None
    if done.returncode < 0 or done.returncode == regex_process.TOO_MANY_STATES:  # a signal: out of memory
        raise UsageError(f"{{match}} needs more than {MAX_STATES:,} states", ("match",))
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CharRNNError(f"{{match}} cannot be built: {said}", ("match",))
    return _read(np.frombuffer(done.stdout, np.intc))


def too_slow() -> UsageError:
    """Return what is wrong with a pattern that takes too long."""
    return UsageError(f"{{match}} takes more than {BUILD_SECONDS:g} s to build", ("match",))


def _read(numbers: Array) -> ByteDFA:
    """Return the automaton that `regex_process` wrote, from the first mark on, without what leads to the end of the
    other."""
    first, final_count = numbers[:2].tolist()
    final = numbers[2 : 2 + final_count]
    rows: dict[int, tuple[Array, Array]] = {}
    at = 2 + final_count
    while at < len(numbers):
        state, count = numbers[at : at + 2].tolist()
        rows[state] = numbers[at + 2 : at + 2 + count], numbers[at + 2 + count : at + 2 + 2 * count]
        at += 2 + 2 * count
    for byte in chr(START_MARK).encode():
        first = dict(zip(*(each.tolist() for each in rows.pop(first)), strict=True))[byte]
    order = np.array([first, *(state for state in rows if state != first)], np.intc)
    number = np.zeros(int(order.max()) + 1, np.int32)
    number[order] = np.arange(1, len(order) + 1)
    table = np.zeros((len(order) + 1, 256), np.int32)
    for state, (keys, values) in rows.items():
        table[number[state], keys] = number[values]
    marked = np.arange(len(table))
    for byte in chr(END_MARK).encode():
        marked = table[marked, byte]
    return ByteDFA(table, np.isin(marked, number[final]))

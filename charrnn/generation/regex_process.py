"""The process that builds a regular expression's automaton: the library takes all the time and memory that it wants,
and cannot be interrupted, so that it has a process of its own, which is ended when either is used up.

Run as `python regex_process.py FOLDER STATES SECONDS BYTES`, FOLDER being where the library is. It reads a pattern from
stdin and writes int32 numbers to stdout: the first state, how many states are final, these, and then for each state its
number, how many bytes lead from it, the bytes, and where they lead. It imports no other file of the package.
"""

import sys
from array import array

TOO_MANY_STATES = 3
"""The exit code where there are more states than STATES, or than BYTES can hold."""


def main(folder: str, states: int, seconds: int, memory: int) -> int:
    """Build the automaton and return the exit code."""
    import resource

    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
    ):
        highest = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if highest == resource.RLIM_INFINITY else min(value, highest), highest))
    sys.path.append(folder)
    from outlines_core import Index, Vocabulary

    with open(0, "rb") as pipe:
        pattern = pipe.read().decode()
    end = 256  # the library wants a token that ends texts; it leads from final states
    index = Index(pattern, Vocabulary(end, {bytes([byte]): [byte] for byte in range(end)}))
    transitions = index.get_transitions()
    if len(transitions) > states:
        return TOO_MANY_STATES
    final = index.get_final_states()
    numbers = array("i", [index.get_initial_state(), len(final), *final])
    for state, row in transitions.items():
        row.pop(end, None)
        numbers.extend((state, len(row)))
        numbers.extend(row)
        numbers.extend(row.values())
    with open(1, "wb") as pipe:
        pipe.write(numbers)
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1], *map(int, sys.argv[2:]))
    except MemoryError:
        code = TOO_MANY_STATES
    sys.exit(code)

"""What may be drawn at each place of a text, as an automaton over ids."""

import numpy as np

from charrnn.engines.base import END, FORBIDDEN, Array


def token_dfa(vocabulary: int, unknown: int | None, end: tuple[int, ...]) -> Array:
    """What may be written, for `InferenceEngine.sampler`: all but `unknown`, up to the symbols `end`, if there are any.

    State n is where the last n symbols are the first n of `end` (Knuth, Morris & Pratt 1977).
    """
    automaton = np.zeros((max(1, len(end)), vocabulary), np.int32)
    for n in range(len(end)):
        for symbol in set(end):
            read = (*end[:n], symbol)
            matched = next(k for k in range(len(read), -1, -1) if read[len(read) - k :] == end[:k])
            automaton[n, symbol] = matched if matched < len(end) else END
    if unknown is not None:
        automaton[:, unknown] = FORBIDDEN
    return automaton

"""How fast the core is here, beside what the processor could do at most."""

import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from charrnn.engines.native import lib
from charrnn.engines.native.training import NativeTraining
from charrnn.network.architecture import Architecture
from charrnn.network.init import initial_weights

_SIZE, _BATCH, _STEPS, _VOCABULARY = 256, 64, 8, 32
"""Of the model and its batches: a step takes about ten milliseconds, so that some are not interrupted."""

_SECONDS, _PEAK_SECONDS = 1.0, 0.004
"""Of all turns, and of each measurement of the peak."""


@dataclass(frozen=True)
class CoreSpeed:
    """Multiply-adds a second, of float32.

    Attributes:
        threads: that worked together. reached: of matrix products, by steps of training an LSTM, all else included that
            a step computes. peak: in registers alone, without memory; 0.0: the core is older than this measurement.
    """

    threads: int
    reached: float
    peak: float

    @property
    def share(self) -> float:
        """What is reached of the peak; NaN where that is not known."""
        return self.reached / self.peak if self.peak else float("nan")


def measure(counts: Sequence[int]) -> list[CoreSpeed]:
    """Return the core's speed with each number of threads: the median of many turns, of several threads the best, which
    they and the measurements of the peak take one after another, so that other programs are equally unfair to all.

    Raises:
        RuntimeError: there is no core.
    """
    architecture = Architecture("lstm", _VOCABULARY, (_SIZE,), _SIZE)
    engine = NativeTraining(architecture)
    engine.load_weights(initial_weights(architecture, 0))
    ids = np.arange(_BATCH * _STEPS, dtype=np.int64).reshape(_BATCH, _STEPS) % _VOCABULARY  # (B, T)
    state, rates = engine.zero_state(_BATCH), {count: list[tuple[float, float]]() for count in counts}
    end, turns = time.monotonic() + _SECONDS, 0
    while turns < 3 or time.monotonic() < end:
        turns += 1
        for count, found in rates.items():
            engine.set_num_threads(count)
            clock = time.thread_time if count == 1 else time.perf_counter  # of one thread, the time that it has had
            begin = clock()
            engine.forward_backward(ids, ids, state)
            found.append((_multiply_adds() / max(1e-9, clock() - begin), peak(count)))
    usual = {count: (np.median if count == 1 else np.max)(found, axis=0) for count, found in rates.items()}
    return [CoreSpeed(count, float(reached), float(most)) for count, (reached, most) in usual.items()]


def _multiply_adds() -> int:
    """Return those of the matrix products of a step: forward, and twice as many back. The core computes the input
    projection of each token of the vocabulary once."""
    rows = _BATCH * _STEPS
    return 3 * 4 * _SIZE * _SIZE * (rows + _VOCABULARY) + 3 * _VOCABULARY * _SIZE * rows


def peak(threads: int) -> float:
    """Return the most multiply-adds a second that threads make together; 0.0: the core is older than this."""
    function = getattr(lib.loaded(), "charrnn_multiply_adds", None)
    if function is None:
        return 0.0
    rates = np.zeros(lib.check_threads(threads), np.float64)
    function.argtypes, function.restype = (ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p), None
    begin, begin_own = time.perf_counter(), time.thread_time()
    function(threads, int(_PEAK_SECONDS * 1e9), rates.ctypes.data)
    seconds, own = time.perf_counter() - begin, time.thread_time() - begin_own
    return float(rates.sum()) * (seconds / max(own, 1e-9) if threads == 1 else 1.0)  # as in `measure`

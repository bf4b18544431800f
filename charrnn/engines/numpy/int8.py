"""Products in int8, as the compiled core computes them: sums of integers are exact, so both give the same bits.

Each row of a matrix, and each row that it multiplies, is a scale times integers from -127 to 127, the nearest there
are; see `native/quantize.h`.
"""

import numpy as np

from charrnn.engines.base import Array

MAX_INT8 = np.float32(127)


SMALLEST = np.float32(1e-30)
"""Rows whose numbers are all smaller count as zero: the inverse of their scale would overflow."""


def quantize(rows: Array) -> tuple[Array, Array]:
    """Return the scales, float32 (N,), and the integers, float32 (N, K), of float32 rows (N, K): their product is next
    to the row. Where a number is not finite, neither is the product."""
    largest = np.abs(rows).max(axis=1)
    is_zero = largest < SMALLEST
    largest[is_zero] = MAX_INT8
    numbers = np.rint(rows * (MAX_INT8 / largest)[:, None])
    numbers[is_zero] = 0
    return np.where(is_zero, np.float32(0), largest / MAX_INT8), numbers


class Int8Matrix:
    """A matrix (N, K) in int8."""

    def __init__(self, matrix: Array) -> None:
        self.scales, numbers = quantize(np.asarray(matrix, np.float32))
        # whole numbers up to 2^24 are exact in float32, and BLAS multiplies no integers
        is_small = numbers.shape[1] * int(MAX_INT8) ** 2 <= 1 << 24
        self._transposed = np.ascontiguousarray(numbers.T, np.float32 if is_small else np.float64)

    def multiply(self, rows: Array, begin: int = 0, end: int | None = None) -> Array:
        """Return the products of the matrix, or some rows of it, with rows (B, K): float32 (B, N). None depends on its
        neighbours."""
        scales, numbers = quantize(rows)
        sums = numbers.astype(self._transposed.dtype, copy=False) @ self._transposed[:, begin:end]
        return np.asarray(sums.astype(np.float32) * (self.scales[begin:end] * scales[:, None]))

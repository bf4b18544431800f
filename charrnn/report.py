"""Pictures made of characters."""

import math
from collections.abc import Sequence

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille cell: by column, then row


def curve(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """A line through points, in braille: two by four dots a character.

    Args:
        points: (x, y), x ascending; y that is not finite is left out.
        width, height: in characters.

    Returns:
        `height` strings of `width` characters, the highest y first; blank for fewer than two points.
    """
    shown = [(x, y) for x, y in points if math.isfinite(y)]
    cells = [[0] * width for _ in range(height)]
    if len(shown) >= 2 and shown[-1][0] > shown[0][0]:
        left, right = shown[0][0], shown[-1][0]
        low, high = min(y for _, y in shown), max(y for _, y in shown)
        after = 0
        for column in range(2 * width):
            x = left + (right - left) * column / (2 * width - 1)
            while after < len(shown) - 2 and shown[after + 1][0] < x:
                after += 1
            (x0, y0), (x1, y1) = shown[after], shown[after + 1]
            y = y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y1
            row = round((high - y) / (high - low) * (4 * height - 1)) if high > low else 2 * height
            cells[row // 4][column // 2] |= _DOTS[column % 2][row % 4]
    return ["".join(chr(0x2800 + cell) for cell in row) for row in cells]


def count(number: float) -> str:
    """A quantity in few digits: `1.2M`, `34k`, `560`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:  # what would be rounded up to 1000 of the unit below
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"

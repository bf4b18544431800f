"""A bar for what takes more than a moment."""

import contextlib
from collections.abc import Callable, Iterator

from charrnn.console.streams import Console


@contextlib.contextmanager
def progress(console: Console, title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar in bytes on a terminal, nothing elsewhere; yields what to tell of every further piece.

    Args:
        title: what is being done.
        total: bytes in all; None where nobody knows.
    """
    if not console.interactive:
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, delay=1.0, leave=False, desc=title) as bar:
        yield lambda count: bar.update(count) and None

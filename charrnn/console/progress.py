"""A progress bar for operations that take more than a moment."""

import contextlib
from collections.abc import Callable, Iterator

from charrnn.console.streams import Console


@contextlib.contextmanager
def progress_bar(console: Console, title: str, total: int | None, unit: str = "B") -> Iterator[Callable[[int], None]]:
    """Show a progress bar if stderr is a terminal, after the first second; yield its update function.

    Args:
        console: where to draw it.
        title: what is being done.
        total: bytes, or what else is counted, in all; None if that is not known.
        unit: what is counted.

    Yields:
        A function to call with the number of them done since its last call.
    """
    if not console.interactive:
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, unit_scale=True, delay=1.0, leave=False, desc=title) as bar:
        yield lambda count: bar.update(count) and None

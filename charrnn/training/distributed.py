"""The processes that train one model together: what a `World` of them does, and the world of one process.

All take every step, each with some rows of the batch, and average their gradients, so that all make the same update.
What one alone may do, and whatever depends on a clock, process 0 does, and tells the others.
"""

import contextlib
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from charrnn.engines.base import State
from charrnn.errors import CharRNNError, UsageError
from charrnn.launcher import follow_launcher, is_launched
from charrnn.scoring.score import Score
from charrnn.training.signals import Cancelled, SignalHandler

Made = TypeVar("Made")


class World(Protocol):
    """Processes that train together. All call the same methods in the same order, but where `first` says otherwise.

    Attributes:
        rank: which of the processes this is, from 0. size: how many there are.

    Raises:
        LostProcessError: from every method, where another process is no longer there.
    """

    rank: int
    size: int

    def all_reduce(self, buffer: Any) -> None:
        """Replace a buffer, an array or a tensor, by its mean over all processes, in place."""

    def gather(self, value: Made) -> list[Made]:
        """Return the values of all processes, in order of rank."""

    def broadcast(self, value: Made) -> Made:
        """Return the value of process 0."""

    def gather_rows(self, state: State) -> State:
        """Return the states of all processes as one, their rows in order of rank."""

    def first(self, make: Callable[[], Made], assist: Callable[..., object] | None = None) -> Made:
        """Let process 0 make something, and return it on all; what it raises, if it is a `CharRNNError` or `Cancelled`,
        all raise. Within, process 0 is as alone: a `first` or `each` inside concerns no other.

        Args:
            assist: what the others do meanwhile whenever process 0 asks them to.
        """

    def ask(self, *request: Any) -> contextlib.AbstractContextManager[None]:
        """Within `first`: have all others call `assist` with this request while the block lasts; it may call the other
        methods."""

    def each(self, make: Callable[[], Made], *, in_turn: bool = False) -> Made:
        """Let each process make something of its own; what one of them raises, all raise, as in `first`.

        Args:
            in_turn: of the processes on a machine, one does so before the others.
        """

    def place(self, device: str, threads: int | None) -> tuple[str, int | None]:
        """Return the device and the number of threads of this process, its share of the machine; None: not known.

        Args:
            device, threads: what the options ask for.

        Raises:
            UsageError: there are not so many devices.
        """


class SingleProcess:
    """A world of one process. See `World`."""

    rank = 0
    size = 1

    def all_reduce(self, buffer: Any) -> None:
        """See `World`."""

    def gather(self, value: Made) -> list[Made]:
        """See `World`."""
        return [value]

    def broadcast(self, value: Made) -> Made:
        """See `World`."""
        return value

    def gather_rows(self, state: State) -> State:
        """See `World`."""
        return state

    def first(self, make: Callable[[], Made], assist: Callable[..., object] | None = None) -> Made:
        """See `World`."""
        return make()

    def ask(self, *request: Any) -> contextlib.AbstractContextManager[None]:
        """See `World`."""
        return contextlib.nullcontext()

    def each(self, make: Callable[[], Made], *, in_turn: bool = False) -> Made:
        """See `World`."""
        return make()

    def place(self, device: str, threads: int | None) -> tuple[str, int | None]:
        """See `World`."""
        return device, threads


ALONE = SingleProcess()


@contextlib.contextmanager
def join() -> Iterator[World]:
    """Yield the world of the processes that this one was started with: by torchrun, or by a program that has
    initialised a process group of PyTorch's; else that of one process, for which PyTorch is not imported.

    Raises:
        CharRNNError: PyTorch cannot be imported. LostProcessError: the other processes do not come.
    """
    group = sys.modules.get("torch.distributed")
    is_initialized = group is not None and group.is_available() and group.is_initialized()
    if not is_initialized and not is_launched():
        yield ALONE
        return
    if not is_initialized:
        follow_launcher()
    try:
        from charrnn.training.process_group import process_group
    except ImportError as error:
        raise CharRNNError(
            f"several processes train together by PyTorch, which cannot be imported ({error}); pip install torch,"
            " or start one process"
        ) from None
    with process_group() as world:
        yield world


class SharedStop:
    """Whether a signal has come to one of the processes: all hear of it at the same step.

    Attributes:
        is_known: whether all have been asked, but for what the gradients of steps tell them.
    """

    def __init__(self, signals: SignalHandler, world: World) -> None:
        self.signals, self.world, self.is_known = signals, world, False

    def check(self, must_stop: bool) -> None:
        """Raise Cancelled, in all processes, if a signal has come.

        Args:
            must_stop: whether a step has told that one has; the same in all.
        """
        if self.world.size == 1:
            self.signals.check()
        elif must_stop or not self.is_known:
            if number := max(self.world.gather(self.signals.signal or 0)):
                raise Cancelled(number)
            self.is_known = True


def rows_of(world: World, batch: int | None) -> slice:
    """Return the rows of a batch that are this process's.

    Raises:
        UsageError: the processes cannot share them equally.
    """
    assert batch is not None
    rows, rest = divmod(batch, world.size)
    if rest:
        raise UsageError(
            f"{{batch}} {batch} cannot be shared out to {world.size} processes; {{batch}} is that of all together",
            ("batch",),
        )
    return slice(world.rank * rows, (world.rank + 1) * rows)


def total(scores: Sequence[Score]) -> Score:
    """Return the score of what all processes have scored; sums are float64, and those of all of them are equal."""
    return functools.reduce(operator.add, scores)


def difference(values: Sequence[object]) -> str:
    """Return in words which processes have which value; nothing where all have the same."""
    found: dict[str, list[str]] = {}
    for rank, value in enumerate(values):
        found.setdefault(str(value), []).append(str(rank))
    if len(found) == 1:
        return ""
    return "; ".join(f"{value} in process {', '.join(ranks)}" for value, ranks in found.items())

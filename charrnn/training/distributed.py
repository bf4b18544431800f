"""The processes that train one model together: what a `World` of them does, and the world of one process."""

from typing import Any, Protocol

from charrnn.engines.base import Array, State


class World(Protocol):
    """Processes that take every step together, each with some rows of the batch. All call the same methods in order.

    Attributes:
        rank: which of the processes this is, from 0. size: how many there are.
    """

    rank: int
    size: int

    def all_reduce(self, buffer: Any) -> None:
        """Replace a buffer, an array or a tensor, by its mean over all processes, in place."""

    def sum(self, values: Array) -> Array:
        """Return the sum over all processes; float64, any shape."""

    def agree(self, value: int) -> int:
        """Return the greatest value of all processes."""

    def broadcast(self, value: Any) -> Any:
        """Return the value of process 0; it is plain JSON."""

    def gather_rows(self, state: State) -> State:
        """Return the states of all processes as one, their rows in order of rank."""


class SingleProcess:
    """A world of one process. See `World`."""

    rank = 0
    size = 1

    def all_reduce(self, buffer: Any) -> None:
        """See `World`."""

    def sum(self, values: Array) -> Array:
        """See `World`."""
        return values

    def agree(self, value: int) -> int:
        """See `World`."""
        return value

    def broadcast(self, value: Any) -> Any:
        """See `World`."""
        return value

    def gather_rows(self, state: State) -> State:
        """See `World`."""
        return state

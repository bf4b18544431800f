"""A `World` of several processes, by PyTorch's process groups: Gloo on the processor, NCCL between GPUs."""

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from charrnn.engines.base import State
from charrnn.engines.select import choose_device
from charrnn.errors import CharRNNError, LostProcessError, UsageError
from charrnn.launcher import own_openmp_threads, uses_launcher_store
from charrnn.machine import available_cpus
from charrnn.training.signals import Cancelled

Made = TypeVar("Made")

MEETING_SECONDS = 300
"""Seconds in which all processes that torchrun has started must come."""

_FIRST = "charrnn: process 0"  # a key of torchrun's store


class _Place(NamedTuple):
    """Where a process runs: its machine's name, the CPUs it may use, and the GPUs it is shown."""

    node: str
    cpus: frozenset[int]
    gpus: str


class _Outcome(NamedTuple):
    """What came of something that a process did."""

    value: Any = None
    error: CharRNNError | Cancelled | None = None

    @classmethod
    def of(cls, make: Callable[[], Any]) -> "_Outcome":
        """Return what comes of a call; faults that are ours are raised at once."""
        try:
            return cls(make())
        except (CharRNNError, Cancelled) as error:
            return cls(None, error)

    def get(self) -> Any:
        """Return the value. Raise the error."""
        if self.error is not None:
            raise self.error
        return self.value


@contextlib.contextmanager
def process_group() -> Iterator["ProcessGroup"]:
    """Yield the world of PyTorch's default process group; where there is none yet, of one made for so long."""
    made = not dist.is_initialized()
    if made:
        try:
            if uses_launcher_store():
                rank, size = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
                host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
                patience = timedelta(seconds=MEETING_SECONDS)
                store = dist.TCPStore(host, port, is_master=False, timeout=patience)  # type: ignore[attr-defined]
                dist.init_process_group("gloo", store=meet(store, rank, size), rank=rank, world_size=size)
            else:
                dist.init_process_group("gloo")
        except (RuntimeError, ValueError) as error:
            raise LostProcessError(f"the processes have not met: {_sentence(error)}") from None
    try:
        yield ProcessGroup()
    finally:
        if made:
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group()


def meet(store: Any, rank: int, size: int) -> Any:
    """Return a part of torchrun's store that is for this start of these processes alone, once all are there.

    When torchrun restarts processes the store still has the addresses of those before, and a new process that finds one
    waits for a dead one. So process 0 draws a name, each other one draws its own and leaves it there, and goes on when
    process 0 has found it.

    Raises:
        RuntimeError: one does not come.
    """
    name = os.urandom(8).hex()
    if rank == 0:
        store.set(_FIRST, name)
        found = [store.get(f"{name}/{other}").decode() for other in range(1, size)]  # waits for each
        store.set(f"{name}/found", " ".join(found))
        return dist.PrefixStore(name, store)  # type: ignore[attr-defined]
    end = time.monotonic() + MEETING_SECONDS
    while time.monotonic() < end:
        if store.check([_FIRST]):
            first = store.get(_FIRST).decode()  # perhaps of an earlier start
            store.set(f"{first}/{rank}", name)
            if store.check([f"{first}/found"]) and name in store.get(f"{first}/found").decode().split():
                return dist.PrefixStore(first, store)  # type: ignore[attr-defined]
        time.sleep(0.02)
    raise RuntimeError(f"process 0 has not come in {MEETING_SECONDS} seconds")


class ProcessGroup:
    """All processes of the default process group. See `World`."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        backends = dist.get_backend_config()
        self._control = None if "gloo" in backends else dist.new_group(backend="gloo")  # None: the default group
        self._gpus: Any = None  # likewise; made when it is needed
        self._has_nccl = "nccl" in backends
        self._is_alone = False  # within `first`
        self._is_asking = False  # within `ask`: what is raised there the others cannot hear of
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        own = _Place(platform.node(), frozenset(cpus), os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        places = self.gather(own)
        here = [place for place in places if place.node == own.node]
        self._is_leader = all(place.node != own.node for place in places[: self.rank])
        alike = [rank for rank, place in enumerate(places) if (place.node, place.gpus) == (own.node, own.gpus)]
        self._gpu, self._num_gpus = alike.index(self.rank), len(alike)  # of those that its neighbours see too
        sharing = sum(bool(place.cpus & own.cpus) for place in here)
        self.threads = max(1, available_cpus(heed_openmp=own_openmp_threads()) // sharing)

    def all_reduce(self, buffer: Any) -> None:
        """See `World`."""
        tensor = torch.from_numpy(buffer) if isinstance(buffer, np.ndarray) else buffer
        with self._lost("averaging the gradients"):
            if tensor.is_cuda and not self._has_nccl:
                self._gpus, self._has_nccl = dist.new_group(backend="nccl"), True
            dist.all_reduce(tensor, group=self._gpus if tensor.is_cuda else self._control)
        buffer /= self.size

    def gather(self, value: Made) -> list[Made]:
        """See `World`."""
        values: list[Any] = [None] * self.size
        with self._lost("gathering what each has"):
            dist.all_gather_object(values, value, group=self._control)
        return values

    def broadcast(self, value: Made) -> Made:
        """See `World`."""
        values = [value if self.rank == 0 else None]
        with self._lost("waiting for what process 0 does"):
            dist.broadcast_object_list(values, src=0, group=self._control, device=torch.device("cpu"))
        return cast(Made, values[0])

    def gather_rows(self, state: State) -> State:
        """See `World`."""
        parts = self.gather(state)
        return tuple(np.concatenate([part[layer] for part in parts], axis=1) for layer in range(len(state)))

    def first(self, make: Callable[[], Made], assist: Callable[..., object] | None = None) -> Made:
        """See `World`."""
        if self._is_alone:
            return make()
        if self.rank == 0:
            self._is_alone = True
            try:
                outcome = _Outcome.of(make)
            finally:
                self._is_alone = False
            if self._is_asking:
                return cast(Made, outcome.get())
            return cast(Made, self.broadcast(outcome).get())
        said: Any = self.broadcast(None)
        while not isinstance(said, _Outcome):
            assert assist is not None
            assist(*said)
            said = self.broadcast(None)
        return cast(Made, said.get())

    @contextlib.contextmanager
    def ask(self, *request: Any) -> Iterator[None]:
        """See `World`."""
        if not self._is_alone:
            yield
            return
        self.broadcast(request)
        self._is_alone, self._is_asking = False, True
        yield
        self._is_alone, self._is_asking = True, False

    def each(self, make: Callable[[], Made], *, in_turn: bool = False) -> Made:
        """See `World`."""
        if self._is_alone:
            return make()
        outcome: _Outcome | None = None
        for turn in (True, False) if in_turn else (self._is_leader,):
            if turn == self._is_leader:
                outcome = _Outcome.of(make)
            for rank, error in enumerate(self.gather(outcome and outcome.error)):
                if isinstance(error, CharRNNError) and rank:
                    raise error.prefixed(f"in process {rank}")
                if error is not None:
                    raise error
        assert outcome is not None
        return cast(Made, outcome.get())

    def place(self, device: str, threads: int | None) -> tuple[str, int | None]:
        """See `World`."""
        found, _ = choose_device(device)
        if found != "cpu":
            if self._num_gpus > min(torch.cuda.device_count(), 1 if ":" in device else self.size):
                raise UsageError(
                    f"{{device}} {device}: each of {self._num_gpus} processes on this machine needs a GPU of its own,"
                    f" and there are {torch.cuda.device_count()}; `cuda` gives each process another one",
                    ("device",),
                )
            found = found if ":" in device else f"cuda:{self._gpu}"
            torch.cuda.set_device(found)
        return found, threads or self.threads

    @contextlib.contextmanager
    def _lost(self, what: str) -> Iterator[None]:
        """Raise LostProcessError where the others cannot be reached."""
        try:
            yield
        except RuntimeError as error:
            raise LostProcessError(
                f"process {self.rank} of {self.size} has lost another while {what}: {_sentence(error)}"
            ) from None


def _sentence(error: Exception) -> str:
    """Return what went wrong, without the places in PyTorch's sources."""
    line = str(error).strip().split("\n")[0]
    return line.partition("] ")[2] if line.startswith("[") and "] " in line else line

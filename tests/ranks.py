"""Several processes that train together: those of a process group, and those that torchrun starts. All have to end."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from charrnn.errors import CharRNNError
from tests.program.program import environment
from tests.tiny import Ran
from tests.trainings import PRELOADED


def in_group(
    function: Callable[..., Any], *arguments: Any, size: int = 2, seconds: float = 120, patience: float = 60
) -> list[Any]:
    """Call a function of a module in processes that are one process group; return what each returned, by rank: a
    `CharRNNError` where it raised one.

    Args:
        seconds: after which all are killed. patience: the group's timeout; processes that end later than that after the
            first one are killed too, and have returned None.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "tests.trainings", "charrnn.training.process_group"])
    with tempfile.TemporaryDirectory() as name:
        processes = [
            context.Process(target=_member, args=(rank, size, name, patience, function, arguments), daemon=True)
            for rank in range(size)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + seconds
        while any(process.exitcode is None for process in processes) and time.monotonic() < end:
            if any(process.exitcode is not None for process in processes):
                end = min(end, time.monotonic() + patience)
            time.sleep(0.02)
        for process in processes:
            process.kill()
            process.join()
        found = [Path(name, str(rank)) for rank in range(size)]
        assert any(path.exists() for path in found), "no process has ended"
        return [pickle.loads(path.read_bytes()) if path.exists() else None for path in found]  # noqa: S301 (our own)


def _member(rank: int, size: int, folder: str, patience: float, function: Callable[..., Any], arguments: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=patience),
    )
    try:
        result = function(*arguments)
    except CharRNNError as error:
        result = error
    temporary = Path(folder, f"{rank}.part")
    temporary.write_bytes(pickle.dumps(result))
    temporary.rename(Path(folder, str(rank)))
    dist.destroy_process_group()


class Torchrun:
    """torchrun, started with some words after its own, in a folder.

    Args:
        options: torchrun's, by default two processes that meet at a free port. python: the program's module or file.
    """

    started: ClassVar[list["Torchrun"]] = []

    def __init__(
        self,
        *words: str | Path,
        folder: Path,
        options: tuple[str, ...] = ("--standalone", "--nproc-per-node", "2"),
        env: dict[str, str] | None = None,
        program: tuple[str, ...] = ("-m", "charrnn"),
    ) -> None:
        self.started.append(self)
        self._folder = tempfile.TemporaryDirectory()
        self._paths = [Path(self._folder.name, name) for name in ("out", "err")]
        self._texts = ["", ""]
        with self._paths[0].open("wb") as out, self._paths[1].open("wb") as err:
            self.agent = subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", *options, *program, *map(str, words)],
                cwd=folder,
                env=environment({"OMP_NUM_THREADS": "1", **(env or {})}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def workers(self) -> dict[int, int]:
        """Return the process ids of those that train, by rank."""
        pid = self.agent.pid
        found = {}
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                with contextlib.suppress(OSError, KeyError):
                    pairs = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                    values = dict(pair.partition(b"=")[::2] for pair in pairs)
                    found[int(values[b"RANK"])] = int(child)
        return found

    def wait_until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        """Return once something holds; torchrun must not end before."""
        end = time.monotonic() + seconds
        while not holds():
            assert self.agent.poll() is None or holds(), self.output()
            assert time.monotonic() < end, self.output()
            time.sleep(0.01)

    def output(self) -> tuple[str, str]:
        """Return what has come on stdout and stderr so far."""
        if self._paths[0].exists():
            self._texts = [path.read_bytes().decode() for path in self._paths]
        return self._texts[0], self._texts[1]

    def wait(self, seconds: float = 90) -> Ran:
        """Return what came of it. All its processes are killed if that takes longer."""
        try:
            code = self.agent.wait(seconds)
        finally:
            self.kill()
        out, err = self.output()
        return Ran(code, out.encode(), err.encode())

    def kill(self) -> None:
        """Kill all that is left of it."""
        workers = self.workers()
        for pid in (self.agent.pid, *workers.values()):
            if pid != self.agent.pid or self.agent.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.agent.wait()
        self.output()
        self._folder.cleanup()


def torchrun(*words: str | Path, folder: Path, seconds: float = 90, **more: Any) -> Ran:
    """Run torchrun to its end: see `Torchrun`."""
    return Torchrun(*words, folder=folder, **more).wait(seconds)


@contextlib.contextmanager
def two_agents(
    *words: str | Path, folders: tuple[Path, Path], options: tuple[str, ...] = (), **more: Any
) -> Iterator[list[Torchrun]]:
    """Start two agents of torchrun with a process each, as on two machines, which meet at a port of this one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-id", "test")
    options = ("--nnodes", "2", "--nproc-per-node", "1", *meeting, *options)
    agents = [Torchrun(*words, folder=folder, options=options, **more) for folder in folders]
    try:
        yield agents
    finally:
        for agent in agents:
            agent.kill()

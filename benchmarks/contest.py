"""Contenders timed fairly: each in a process of its own, so that no one's threads or memory are in another's
way; taking turns of a fraction of a second, so that a noisy neighbour meets all of them alike."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Work = Callable[[], object]


def serve(run: Work, work: float) -> None:
    """In a contender's process: for each number of seconds on stdin, run that long and print the work done per second.

    Args:
        run: once, what is timed.
        work: in it, in any unit.
    """
    run()
    print(flush=True)
    for line in sys.stdin:
        times: list[float] = []
        end = time.perf_counter() + float(line)
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            run()
            times.append(time.perf_counter() - begin)
        print(work / statistics.median(times), flush=True)


def contest(
    commands: Mapping[str, Sequence[Any]], script: str, *, rounds: int = 9, turn: float = 0.4
) -> dict[str, list[float]]:
    """What each contender did per second, in every round.

    Args:
        commands: by name, what `script` is handed as JSON, to call `serve` with.
        script: the path of a Python file.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    processes = {
        name: subprocess.Popen(
            [sys.executable, script, "--contender", json.dumps(command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name, command in commands.items()
    }
    try:
        for process in processes.values():
            assert process.stdout is not None
            process.stdout.readline()
        speeds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, process in processes.items():
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(f"{turn}\n")
                process.stdin.flush()
                speeds[name].append(float(process.stdout.readline()))
        return speeds
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def ratio(speeds: Mapping[str, Sequence[float]], ours: str, theirs: str) -> float:
    """How many times as fast: the median over rounds of their quotients."""
    return statistics.median(a / b for a, b in zip(speeds[ours], speeds[theirs], strict=True))

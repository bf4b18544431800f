"""The processes of a campaign: trials side by side, each known by the seed and its number."""

import argparse
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

Trial = Callable[[int, int], str]
"""Takes the seed and a number, in an empty working directory of its process; returns what came of it in a word, and
raises anything where it failed."""


def run_campaign(trial: Trial, description: str, *, count: int, max_memory: int) -> int:
    """Run a campaign as its command line says; print failures, and how many trials came to what.

    Args:
        count: of trials, unless the command line says. max_memory: bytes of a process.

    Returns:
        The exit code: 1 if a trial failed.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="the one trial of this number")
    options = parser.parse_args()
    numbers = range(options.first, options.count) if options.only is None else [options.only]
    start = time.monotonic()
    counts, failures = run_trials(trial, options.seed, numbers, jobs=options.jobs, max_memory=max_memory)
    for word, number in counts.most_common():
        print(f"{number:>8}  {word}")
    seconds = time.monotonic() - start
    print(f"seed {options.seed}: {counts.total()} trials in {seconds:.0f} s, {len(failures)} failed")
    return 1 if failures else 0


def run_trials(
    trial: Trial, seed: int, numbers: Sequence[int], *, jobs: int, max_memory: int
) -> tuple[Counter[str], list[str]]:
    """Return how many trials came to what, and what is known of each that failed: a process that died failed, too."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    shown = time.monotonic()
    context = multiprocessing.get_context("spawn")
    left = {job: list(numbers[job::jobs]) for job in range(jobs)}
    readers: dict[Connection, int] = {}

    def start(job: int) -> None:
        reader, writer = context.Pipe(duplex=False)
        context.Process(target=_work, args=(trial, seed, left[job], max_memory, writer)).start()
        writer.close()
        readers[reader] = job

    for job in left:
        start(job)
    while readers:
        for reader in wait(list(readers)):
            assert isinstance(reader, Connection)
            job = readers[reader]
            try:
                word, failure = reader.recv()
            except EOFError:
                del readers[reader]
                if not left[job]:
                    continue
                word, failure = "died", f"seed {seed}, trial {left[job][0]}: its process died"
                left[job].pop(0)
                start(job)
            else:
                left[job].pop(0)
            counts[word] += 1
            if failure:
                failures.append(failure)
                print(failure, flush=True)
            if time.monotonic() > shown + 30:
                shown = time.monotonic()
                print(f"{counts.total()} of {len(numbers)} trials, {len(failures)} failed", flush=True)
    return counts, failures


def _work(trial: Trial, seed: int, numbers: list[int], max_memory: int, results: Connection) -> None:
    """Make trials in this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background ignores
    resource.setrlimit(resource.RLIMIT_AS, (max_memory, max_memory))
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: S108 (for speed)
    try:
        os.chdir(folder)
        for number in numbers:
            try:
                results.send((trial(seed, number), ""))
            except BaseException:
                results.send(("FAILED", f"seed {seed}, trial {number}:\n{traceback.format_exc()}"))
    finally:
        shutil.rmtree(folder)

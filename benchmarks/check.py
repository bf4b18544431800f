"""How fast `charrnn check` reads a large text, and what memory it takes.

    python benchmarks/check.py ../shared/data/*.txt --megabytes 100

The text is the lines of the files, in another order each time. Medians of three runs.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


def write_text(path: Path, files: list[Path], size: int) -> None:
    """Write about `size` bytes of shuffled lines."""
    rng = np.random.default_rng(0)
    lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
    with path.open("wb") as stream:
        while stream.tell() < size:
            stream.writelines(lines[number] for number in rng.permutation(len(lines)).tolist())


def check(path: Path) -> tuple[float, float]:
    """Return the seconds of a check, and its peak memory in MB."""
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "charrnn", "check", str(path)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit("the check failed")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def main() -> None:
    """Print one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--megabytes", type=float, default=100.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "text.txt"
        write_text(path, options.files, int(options.megabytes * 1e6))
        runs = [check(path) for _ in range(3)]
        seconds, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{path.stat().st_size / 1e6:.0f} MB: {seconds:.1f} s, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()

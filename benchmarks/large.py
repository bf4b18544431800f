"""A corpus larger than memory should allow: how fast it becomes ids, and what training on it takes.

    python benchmarks/large.py --gigabytes 5

The text is Python's own standard library, over and over, each copy under another heading. For each tokenizer
the command trains a few steps twice: the second run finds the ids of the first. Needs twice
the text's size on disk, in a folder that is removed afterwards.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from charrnn.corpus.catalog import catalog

STEPS = 20


def write_corpus(path: Path, size: int) -> None:
    """Write about `size` bytes of Python."""
    source = b"".join(text.data for text in catalog()["python-stdlib"].documents())
    with path.open("wb") as stream:
        copy = 0
        while stream.tell() < size:
            copy += 1
            stream.write(b"# copy %d\n" % copy)
            stream.write(source[: max(0, size - stream.tell())])


def train(corpus: Path, out: Path, tokenizer: str, cache: Path) -> dict[str, float]:
    """Train a little; return the seconds until the first step, those in all and of CPU, and the peak memory in MB."""
    command = [
        sys.executable, "-m", "charrnn", "train", str(corpus), "--tokenizer", tokenizer, "--out", str(out),
        "--steps", str(STEPS), "--hidden", "128", "--val", "0.001", "--json",
    ]  # fmt: skip
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "CHARRNN_EVAL_TOKENS": "20000"}
    begin = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "plan"
    ready = time.monotonic() - begin
    rest = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    done = json.loads(rest.splitlines()[-1])
    assert done["event"] == "done"
    cpu = usage.ru_utime + usage.ru_stime
    return {"ready": ready, "seconds": time.monotonic() - begin, "cpu": cpu, "peak": usage.ru_maxrss / 1024}


def main() -> None:
    """Print a row for each tokenizer and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--tokenizers", default="char,byte")
    parser.add_argument("--folder", help="where the text and the ids go for the while")
    options = parser.parse_args()
    size = int(options.gigabytes * 1e9)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        corpus = folder / "corpus.txt"
        write_corpus(corpus, size)
        print(f"{corpus.stat().st_size / 1e9:.2f} GB, {STEPS} steps of 1x128, Python {sys.version.split()[0]}")
        print(f"{'tokenizer':<16}{'run':<8}{'to plan, s':>12}{'MB/s':>8}{'in all, s':>12}{'CPU, s':>10}{'peak MB':>10}")
        for tokenizer in options.tokenizers.split(","):
            for run in ("first", "second"):
                found = train(corpus, folder / f"{tokenizer}-{run}", tokenizer, folder / "cache")
                print(
                    f"{tokenizer:<16}{run:<8}{found['ready']:>12.1f}{size / 1e6 / found['ready']:>8.0f}"
                    f"{found['seconds']:>12.1f}{found['cpu']:>10.1f}{found['peak']:>10.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

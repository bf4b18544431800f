"""How often short lists should be read: validation bits per character by the most epochs that a plan may take.

    python benchmarks/epochs.py FOLDER [--caps 30,60,100] [--seeds 3]

FOLDER has names.txt and chembl-drugs.csv. Each list is learnt with the program's defaults in five minutes or less, and
scored on others of its kind: names (1, 3 and 10 kB), molecules (7 kB), lines of a log (8 kB). In brackets: the best and
the worst seed, and for how many the best evaluation was the last.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys
import charrnn.training.plan as plan
from charrnn.__main__ import main
plan.MAX_EPOCHS = int(sys.argv[1])
sys.exit(main(sys.argv[2:]))
"""


def lists(folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    """What each list trains on, and what it is scored on."""
    draw = random.Random(0)  # noqa: S311
    names = (folder / "names.txt").read_text().split()
    molecules = (folder / "chembl-drugs.csv").read_text().split()[1:]
    log = [
        f"2026-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02} {draw.choice(['INFO', 'WARN', 'ERROR'])} worker"
        f" {draw.randrange(9)}: {draw.choice(['served', 'retried', 'expired'])} in {draw.randrange(999)} ms"
        for _ in range(700)
    ]
    for each in (names, molecules):
        draw.shuffle(each)
    return {
        "names, 1 kB": (names[:140], names[-2000:]),
        "names, 3 kB": (names[:420], names[-2000:]),
        "names, 10 kB": (names[:1400], names[-2000:]),
        "molecules, 7 kB": (molecules[:110], molecules[-500:]),
        "log, 8 kB": (log[:180], log[-500:]),
    }


def bits(folder: Path, cap: int, seed: int) -> tuple[float, float, bool]:
    """Bits per character of the finished model, epochs that it took, and whether its last evaluation was its best."""
    words = [
        "train",
        "list.txt",
        "--records",
        "--val",
        "val.txt",
        "--seed",
        str(seed),
        "--json",
        "--overwrite",
        "-o",
        "run",
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(cap), *words], cwd=folder, capture_output=True, check=True
    ).stdout.splitlines()
    plan, last = json.loads(done[0]), json.loads(done[-1])
    return last["bits_per_char"], plan["epochs"], last["best"] == last["step"]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--caps", default="30,60,100")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    caps = [int(cap) for cap in options.caps.split(",")]
    print(f"| list | {' | '.join(f'{cap} epochs' for cap in caps)} |\n{'|---' * (len(caps) + 1)}|", flush=True)
    means: dict[int, list[float]] = {cap: [] for cap in caps}
    for name, (train, val) in lists(options.folder).items():
        row = []
        for cap in caps:
            with tempfile.TemporaryDirectory() as folder:
                for file, lines in (("list.txt", train), ("val.txt", val)):
                    (Path(folder) / file).write_text("".join(f"{line}\n" for line in lines))
                found = [bits(Path(folder), cap, seed) for seed in range(options.seeds)]
            means[cap].append(mean := statistics.mean(each[0] for each in found))
            bits_found, best_last = [each[0] for each in found], sum(each[2] for each in found)
            row.append(f"{mean:.3f} ({min(bits_found):.3f} to {max(bits_found):.3f}; {best_last})")
        print(f"| {name} | {' | '.join(row)} |", flush=True)
    print(f"| mean | {' | '.join(f'{statistics.mean(means[cap]):.3f}' for cap in caps)} |")


if __name__ == "__main__":
    main()

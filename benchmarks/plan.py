"""Whether a run with a time budget is what its plan says: `charrnn train FILE --time 60s`, several times.

    python benchmarks/plan.py tinyshakespeare.txt [--seconds 60] [--runs 5]

The speed that was measured for the plan, that of the first quarter of the steps, and of all; how often the run was
planned anew; and the seconds after which the process ended, its start included.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def speed(events: list[dict[str, Any]], plan: dict[str, Any], until: float) -> float:
    """Return the tokens that were trained on in a second of steps, until a step."""
    seconds, steps, last = 0.0, 0, (0, plan["seconds"])
    for event in events:
        if event["event"] == "step" and steps < until:
            steps += event["step"] - last[0]
            seconds += event["seconds"] - last[1]
        last = event["step"], event["seconds"]
    return float(steps * plan["batch"] * plan["seq_len"] / seconds)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    heads = ("run", "measured, chars/s", "first quarter", "of it", "all", "re-plans", "ended after, s")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
    shares, ends, replans = [], [], []
    for run in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            words = ["train", str(options.file), "--time", f"{options.seconds}s", "--seed", str(run), "--out", folder]
            begin = time.monotonic()
            command = [sys.executable, "-m", "charrnn", *words, "--overwrite", "-q"]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            ends.append(time.monotonic() - begin)
            events = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_bytes().splitlines()]
        plan, *more = (event for event in events if event["event"] == "plan")
        last, measured = events[-1]["step"], plan["chars_per_second"]
        quarter, whole = (speed(events, plan, until) for until in (last / 4, last))
        shares.append(quarter / measured)
        replans.append(len(more))
        cells = (
            f"{measured:,.0f}", f"{quarter:,.0f}", f"{shares[-1]:.2f}", f"{whole:,.0f}", str(replans[-1]),
            f"{ends[-1]:.1f}",
        )  # fmt: skip
        print(f"| {run} | {' | '.join(cells)} |", flush=True)
    share, again, end = (statistics.median(each) for each in (shares, replans, ends))
    print(f"| median | | | {share:.2f} | | {again:g} | {end:.1f} |")


if __name__ == "__main__":
    main()

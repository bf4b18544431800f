"""Many texts: what `charrnn sample` draws a second freely, and where texts are matched, new or side by side.

    python benchmarks/volume.py names.txt [--rounds 9] [--model MODEL] [--million]

A GRU 1x256 is trained on the names for half a minute, unless a model is named. Each way draws 30,000 names; its rate is
of the characters that it drew, those of names that were not wanted included. `--million` prints what
`-n 1000000 --unique` takes.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import sampling
from contest import contest, ratio, serve
from scoring import by_engine as scored
from trained import trained

NUM = 30_000

WAYS: dict[str, dict[str, Any]] = {
    "free": {},
    "--match '[a-z]*'": {"match": "[a-z]*"},
    "--unique": {"unique": True},
    "--novel": {"novel": True},
    "--unique --novel": {"unique": True, "novel": True},
}


def by_way(model_file: str, options: dict[str, Any]) -> None:
    """Answer with characters a second of one way: the first answer is worth how many characters `NUM` names draw."""
    from charrnn.machine import configure_threading

    configure_threading()
    import charrnn
    from charrnn.config.sample import SamplingParams
    from charrnn.generation import generate
    from charrnn.generation.sampling import make_sampler

    model, params, drawn = charrnn.load(model_file), SamplingParams(num=NUM, seed=1, **options), 0

    class Counting:
        """A sampler whose tokens are counted."""

        def __init__(self, *arguments: Any) -> None:
            self.sampler = make_sampler(*arguments)
            self.finish = self.sampler.finish

        def advance(self, seconds: float) -> Any:
            nonlocal drawn
            sampled = self.sampler.advance(seconds)
            drawn += len(sampled.ids)
            return sampled

    def run() -> int:
        return sum(chunk.finished for chunk in model.generate("", params))

    vars(generate)["make_sampler"] = Counting
    assert run() == NUM
    vars(generate)["make_sampler"] = make_sampler
    serve(run, drawn)


def side_by_side(rounds: int) -> None:
    """A stream model's 64 texts against the scorer's 64 streams: neither is to wait for the other's work."""
    commands = {"sample": ("sample",), "score": ("score",)}
    speeds = contest(commands, __file__, rounds=rounds)
    medians = " | ".join(f"{statistics.median(speeds[name]):,.0f}" for name in commands)
    print(
        f"\n| GRU 1x512, characters a second | 64 texts sampled | 64 streams scored | ratio |\n{'|---' * 4}|\n"
        f"| | {medians} | {ratio(speeds, 'sample', 'score'):.2f} |",
        flush=True,
    )


def million(model: str) -> None:
    """Seconds and memory of a million texts, none twice."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "charrnn", "sample", "-m", model, "-n", "1000000", "--unique", "--seed", "1", "-q"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    names = done.stdout.splitlines()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"\n-n 1000000 --unique: {len(names):,} names, {len(set(names)):,} different, exit code {done.returncode};"
        f" {used.ru_utime - before:.0f} CPU seconds; at most {used.ru_maxrss / 1e3:.0f} MB in any process"
    )


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="?")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contender:
        kind, *rest = json.loads(arguments.contender)
        if kind == "sample":
            serve(sampling.by_engine("native", 512, 64, {}), 64 * sampling.LENGTH)
        elif kind == "score":
            serve(scored("native", "float32", 512, 64, 128), 64 * 128)
        else:
            by_way(*rest)
        return
    if not arguments.names and not arguments.model:
        print("no names to train on: many texts are not measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model
        if not model:
            model = f"{folder}/names"
            trained(arguments.names, "--records", "--cell", "gru", "--hidden", "256", "--time", "30s", "--out", model)
        commands = {name: ("way", model, options) for name, options in WAYS.items()}
        speeds = contest(commands, __file__, rounds=arguments.rounds, turn=0.1)
        print(f"| {NUM:,} names, GRU | drawn characters a second | of the free rate |\n|---|---|---|")
        for name in WAYS:
            print(
                f"| {name} | {statistics.median(speeds[name]):,.0f} | {ratio(speeds, name, 'free'):.2f} |", flush=True
            )
        side_by_side(arguments.rounds)
        if arguments.million:
            million(model)


if __name__ == "__main__":
    main()

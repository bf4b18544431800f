"""How long a person waits for the first character: `python benchmarks/startup.py`.

Makes a model of about 4 MB (GRU 1x512, random weights), then starts the installed command afresh
for each measurement, in turn, and prints medians; then where the time goes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7


def make_model(path: Path) -> None:
    """A checkpoint with the weights of a GRU 1x512 over 66 tokens."""
    import numpy as np

    from charrnn.checkpoint import format as checkpoint
    from charrnn.checkpoint.format import Checkpoint
    from charrnn.network.architecture import Architecture
    from charrnn.tokenizers.char import CharTokenizer

    tokenizer = CharTokenizer(np.arange(32, 97, dtype=np.uint32))
    architecture = Architecture("gru", tokenizer.size, (512,), 64)
    draw = np.random.default_rng(0)
    weights = {name: draw.normal(0, 0.05, shape).astype(np.float32) for name, shape in architecture.shapes().items()}
    checkpoint.write(path, Checkpoint(architecture, tokenizer, weights))


def until_first_byte(command: list[str], given: bytes = b"") -> float:
    """Seconds from starting a command to its first byte on stdout."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given)
        process.stdin.close()
        process.stdout.read(1)
        took = time.perf_counter() - begin
        process.stdout.read()
    return took


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.safetensors"
        make_model(model)
        charrnn = [sys.executable, "-m", "charrnn"]
        commands = {
            "python -c pass": ([sys.executable, "-c", "print()"], b""),
            "charrnn --help": ([*charrnn, "--help"], b""),
            "charrnn sample": ([*charrnn, "sample", "-m", str(model), "--seed", "1"], b""),
            "charrnn eval, one line": ([*charrnn, "eval", "-m", str(model)], b"THE KING\n"),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(RUNS + 1):  # the first warms the caches
            for name, (command, given) in commands.items():
                times[name].append(until_first_byte(command, given))
        print(f"model of {model.stat().st_size / 1e6:.1f} MB; seconds to the first byte, median of {RUNS}")
        for name, taken in times.items():
            print(f"{name:<24}{statistics.median(taken[1:]):.3f}")
        parts = []
        stages = Path(__file__).with_name("stages.py")
        for _ in range(RUNS):
            command = [sys.executable, str(stages), str(model), str(time.perf_counter())]
            parts.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
        print("\nof `charrnn sample`, milliseconds")
        for name in parts[0]:
            print(f"{name:<28}{statistics.median(part[name] for part in parts):5.1f}")


if __name__ == "__main__":
    main()

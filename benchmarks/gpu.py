"""What charrnn does on a GPU: is it right, how fast is it, and what does it learn in seconds and in minutes.

    python benchmarks/gpu.py tinyshakespeare.txt             # at most 8 minutes on a machine with CUDA
    python benchmarks/gpu.py tinyshakespeare.txt --smoke     # the same script on the processor, made small

Needs a checkout and torch, numpy, safetensors, typer, rich, tqdm and sentencepiece; no network, no installation.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from trained import trained  # noqa: E402
from training import V, charrnn_step, torch_step  # noqa: E402

from charrnn.engines.reference import ReferenceEngine  # noqa: E402
from charrnn.engines.torch.inference import TorchInference  # noqa: E402
from charrnn.engines.torch.layers import matmul_precision  # noqa: E402
from charrnn.engines.torch.model import LanguageModel  # noqa: E402
from charrnn.network.architecture import Architecture  # noqa: E402

CELLS = ("rnn", "gru", "lstm")
SHAPES = [(64, 512, 128, 1), (64, 512, 128, 2), (64, 1024, 128, 3)]
"""B, H, T, layers."""

PRECISIONS = ("float32", "tf32", "float16")

BUDGETS = (10, 20, 40, 60)
"""Seconds, of runs that try to come below TARGET; the first that does is printed."""

TARGET = 1.4697
"""Nats per character in windows of 256: what nanoGPT tells for Tiny Shakespeare."""


def distance(found: Any, true: Any) -> float:
    return float(np.linalg.norm(found - true) / np.linalg.norm(true))


def correctness(device: str) -> None:
    """Scores against the float64 reference, and gradients against PyTorch's own in float64 on the processor."""
    print("| cell | nats, relative error | gradients, relative error |\n|---|---|---|")
    random = np.random.default_rng(0)
    for cell in (*CELLS, "mgu"):
        architecture = Architecture(cell, 11, (33, 33), 9)
        weights = {k: (0.3 * random.standard_normal(s)).astype(np.float32) for k, s in architecture.shapes().items()}
        ids = np.where(random.random((4, 25)) < 0.1, 11, random.integers(0, 11, (4, 25)))
        engine, truth = TorchInference(architecture, weights, device), ReferenceEngine(architecture, weights)
        nats = distance(engine.score(ids, engine.zero_state(4))[0], truth.score(ids, truth.zero_state(4))[0])
        gradients = []
        for place, kind in ((device, torch.float32), ("cpu", torch.float64)):
            model = LanguageModel(architecture).to(kind)
            model.load_weights(weights)
            model.to(place)
            features, _ = model.outputs(torch.tensor(ids, device=place), model.zero_state(4))
            model.loss(features, torch.tensor(ids % 11)).backward()  # type: ignore[no-untyped-call]
            parts = [weight.grad.flatten() for weight in model.named_weights().values() if weight.grad is not None]
            gradients.append(torch.cat(parts).double().cpu().numpy())
        print(f"| {cell} | {nats:.1e} | {distance(*gradients):.1e} |", flush=True)


def speed(step: Callable[[], object], tokens: int, device: str, seconds: float) -> float:
    """Symbols a second."""

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    wait()
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        step()
        count += 1
    wait()
    return count * tokens / (time.perf_counter() - begin)


def speeds(device: str, shapes: list[tuple[int, int, int, int]], precisions: tuple[str, ...], seconds: float) -> None:
    """Training steps in each precision, against the same model written with torch.nn in float32: k chars a second, how
    many times as fast, and the most MB of the device's memory."""
    columns = [f"{precision} | ratio | MB" for precision in precisions]
    print(f"\n| cell | B, H, T, layers | torch.nn | {' | '.join(columns)} |\n{'|---' * (3 + 3 * len(precisions))}|")
    for cell in CELLS:
        for shape in shapes:
            B, _, T, _ = shape
            with matmul_precision("float32", torch.device(device)):  # TF32 is PyTorch's default in cuDNN
                theirs = speed(torch_step(cell, *shape, device=device), B * T, device, seconds)
            found = []
            for precision in precisions:
                if device != "cpu":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                step = charrnn_step(cell, *shape, device=device, precision=precision)
                ours = speed(step, B * T, device, seconds)
                peak = torch.cuda.max_memory_allocated() / 1e6 if device != "cpu" else float("nan")
                found.append(f"{ours / 1e3:.0f} | {ours / theirs:.2f} | {peak:.0f}")
            print(f"| {cell} | {', '.join(map(str, shape))} | {theirs / 1e3:.0f} | {' | '.join(found)} |", flush=True)


def learning(text: str, device: str, precision: str, budgets: tuple[int, ...], long: int) -> None:
    """How soon the target is reached, and how far a longer run comes."""
    print(f"\n| time | model | characters read | carried | window-256 |\n{'|---' * 5}|")
    with tempfile.TemporaryDirectory() as folder:
        reached = False
        for budget in (*budgets, long):
            if reached and budget != long:
                continue
            out = ("--device", device, "--precision", precision, "--time", f"{budget}s", "--out", f"{folder}/{budget}")
            try:
                done = trained(text, *out)
            except subprocess.CalledProcessError as error:
                print(f"| {budget}s | failed with exit code {error.returncode} | | | |", flush=True)
                continue
            model = f"{done['cell']} {'x'.join(map(str, done['hidden']))}"
            read = done["step"] * done["batch"] * done["seq_len"] / 1e6
            metrics = f"{done['carried']:.4f} | {done['window_256']:.4f}"
            print(f"| {done['seconds']:.0f}s | {model} | {read:.2f}M | {metrics} |", flush=True)
            reached = reached or done["window_256"] < TARGET
    print(f"\nwindow-256 below {TARGET} by one of the shorter runs: {'yes' if reached else 'no'}")


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    device = "cpu" if options.smoke else "cuda"
    name = "the processor" if options.smoke else torch.cuda.get_device_name(0)
    print(f"{name}, PyTorch {torch.__version__}; {V} tokens\n", flush=True)
    correctness(device)
    if options.smoke:
        speeds(device, [(4, 32, 16, 1), (4, 32, 16, 2)], ("float32", "bfloat16"), 0.2)
        learning(options.text, device, "auto", (6,), 8)
    else:
        speeds(device, SHAPES, PRECISIONS, 1.0)
        learning(options.text, device, "float16", BUDGETS, 150)


if __name__ == "__main__":
    main()

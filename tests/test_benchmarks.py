"""That the scripts which need another machine, or hours, run at all."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.slow
def test_gpu_smoke(shared: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), str(shared / "tinyshakespeare.txt"), "--smoke"]
    done = subprocess.run(command, capture_output=True, timeout=280)
    assert done.returncode == 0, done.stderr.decode()
    assert b"| lstm | 4, 32, 16, 2 |" in done.stdout
    assert b"failed" not in done.stdout

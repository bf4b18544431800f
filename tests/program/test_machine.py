"""What the machine lends the program: threads, memory, time."""

import functools
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

from tests.program.conftest import TEXT, TINY
from tests.program.program import command, environment

CONTAINER = """
import json, os, pathlib, runpy, sys
files, real = json.loads(sys.argv.pop(1)), pathlib.Path.read_bytes

def read_bytes(path):
    name = str(path)
    if not name.startswith(("/proc/self/", "/sys/fs/cgroup")):
        return real(path)
    if name not in files:
        raise FileNotFoundError(name)
    return files[name].encode()

pathlib.Path.read_bytes = read_bytes
os.sched_getaffinity = lambda pid: set(range(8))
runpy.run_module("charrnn", run_name="__main__")
"""
"""The program on 8 processors, with these files of its system."""


def test_quotas_of_nested_cgroups(tmp_path: Path) -> None:
    """2.10: the quota of the outermost cgroup of version 2 was all that was seen."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    v1 = "/sys/fs/cgroup/cpu,cpuacct"
    v2 = "/sys/fs/cgroup"
    systems = [
        {
            "/proc/self/cgroup": "0::/user.slice/job\n",
            "/proc/self/mountinfo": f"31 25 0:28 / {v2} rw - cgroup2 cgroup2 rw\n",
            f"{v2}/user.slice/cpu.max": "250000 100000\n",
            f"{v2}/user.slice/job/cpu.max": "max 100000\n",
        },
        {
            "/proc/self/cgroup": "4:cpu,cpuacct:/docker/one/job\n1:name=systemd:/\n0::/\n",
            "/proc/self/mountinfo": f"33 31 0:31 /docker/one {v1} rw - cgroup cgroup rw,cpu,cpuacct\n",
            f"{v1}/cpu.cfs_quota_us": "300000\n",
            f"{v1}/cpu.cfs_period_us": "100000\n",
            f"{v1}/job/cpu.cfs_quota_us": "-1\n",
            f"{v1}/job/cpu.cfs_period_us": "100000\n",
        },
    ]
    for files in systems:
        options = [*(word for word in TINY if word not in ("--threads", "1")), "--dry-run"]
        words = command("train", "text.txt", *options)[3:]
        done = subprocess.run(
            [sys.executable, "-c", CONTAINER, json.dumps(files), *words],
            env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert re.search(rb"--threads 3\b", done.stdout + done.stderr)


def test_rs_02_a_model_too_large_for_memory(tmp_path: Path) -> None:
    """RS-02: one line with an estimate, before anything is allocated, or where the system has no more."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    sizes = r"\d[\d,]* parameters and batches of 4 x 16 tokens: needs about [\d.,]+ [GM]B"
    most = r", and there is at most [\d.,]+ [GM]B"
    for hidden, limit, there in (("65000", None, most), ("1500", 500_000_000, most), ("1500", 650_000_000, "")):
        words = command("train", "text.txt", *TINY, "--hidden", hidden, "--val", "0", "-q", "--out", hidden)
        done = subprocess.run(
            words, env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False,
            preexec_fn=functools.partial(_limit_memory, limit),
        )  # fmt: skip
        error = done.stderr.decode()
        assert done.returncode == 1, error
        assert re.fullmatch(f"Error: not enough memory for {sizes}{there}; lower --hidden or --batch\n", error), error


def _limit_memory(count: int | None) -> None:
    """As `ulimit -v`, in bytes."""
    if count is not None:
        resource.setrlimit(resource.RLIMIT_AS, (count, count))


GPU = """
import runpy, sys, types
torch = types.ModuleType("torch")
torch.cuda = types.SimpleNamespace(
    is_available=lambda: True, device_count=lambda: 1, get_device_name=lambda number: "a GPU"
)
sys.modules["torch"] = torch
runpy.run_module("charrnn", run_name="__main__")
"""
"""The program where PyTorch has a GPU, as long as nothing is computed."""


def test_bfloat16_on_a_gpu_is_refused(tmp_path: Path) -> None:
    """2.11: PyTorch's autocast would run cuDNN's layers in float16, whose gradients vanish unless they are scaled."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    ran = {}
    for precision in ("bfloat16", "float16"):
        words = command("train", "text.txt", *TINY, "--dry-run", "--device", "cuda", "--precision", precision)[3:]
        done = subprocess.run(
            [sys.executable, "-c", GPU, *words],
            env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        ran[precision] = done.returncode, done.stderr.decode().splitlines()
    assert ran["float16"][0] == 0
    message = (
        "Error: --precision bfloat16: the engine is torch on cuda:0, which has float32, tf32 and float16;"
        " bfloat16 is not proven there yet"
    )
    assert ran["bfloat16"] == (2, [message])


def test_threads_that_cannot_be_started(tmp_path: Path) -> None:
    """PyTorch's OpenMP ended the process: "libgomp: Thread creation failed"."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    options = [*(word for word in TINY if word not in ("--threads", "1")), "--engine", "torch", "--threads", "1000"]
    limited = ["bash", "-c", 'ulimit -v 6000000; exec "$@"', "bash"]
    done = subprocess.run(
        [*limited, *command("train", "text.txt", *options)],
        env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.search(rb"\AError: --threads 1000: no more than \d+ can be started here\n\Z", done.stderr), done.stderr

"""Full disks, few threads, a suspended process, a clock that is set back, and a thousand runs in one process."""

import json
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.program.conftest import TEXT
from tests.program.program import charrnn, command, environment

SIZES = (
    "--hidden", "48", "--batch", "4", "--seq-len", "16", "--lr", "0.01", "--threads", "1", "--patience", "0",
    "--sample-every", "0",
)  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT)
    return file


def in_namespace(script: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a shell script that may mount what it likes: nobody else sees it. Skips where that is not allowed."""
    unshare = shutil.which("unshare")
    words = [unshare or "", "--mount", "--map-root-user", "sh", "-c"]
    if (
        unshare is None
        or subprocess.run([*words, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mounts in a namespace")
    return subprocess.run([*words, script], env=environment(), cwd=cwd, capture_output=True, timeout=120, check=False)


@pytest.mark.slow
def test_rs_01_a_full_disk(text: Path, tmp_path: Path) -> None:
    """RS-01: a periodic save that does not fit is a warning, the last one a failure; what was there stays whole."""
    options = [*SIZES, "--steps", "40", "--eval-every", "0", "--save-every", "10"]
    assert charrnn("train", text, *options, "--out", "roomy", cwd=tmp_path).code == 0
    size = (tmp_path / "roomy" / "last.safetensors").stat().st_size
    words = shlex.join(command("train", text, *options, "--out", "full/run"))
    mount = f"mkdir full && mount -t tmpfs -o size={int(1.7 * size)} none full"
    ran = in_namespace(f"{mount} && {words}; code=$?; cp -r full/run left; exit $code", tmp_path)
    assert ran.returncode == 1, ran.stderr
    lines = ran.stderr.decode().splitlines()
    later = "last.safetensors': No space left on device; will try again at the next save"
    assert len([line for line in lines if line == f"Warning: cannot write 'full/run/{later}"]) >= 2
    assert lines[-1] == "Error: cannot write 'full/run/model.safetensors': No space left on device"
    assert not list((tmp_path / "left").glob("*.tmp*"))
    resumed = charrnn("train", text, "--resume", "--out", "left", cwd=tmp_path)
    assert resumed.code == 0, resumed.err
    assert (tmp_path / "left" / "model.safetensors").read_bytes() == (
        tmp_path / "roomy" / "model.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_rs_04_low_limits(text: Path, tmp_path: Path, stream_run: Path) -> None:
    """RS-04: no threads, no HOME, no /dev/shm, few files: it works, or says in one line what is missing."""

    def no_threads() -> None:
        """A stack of a thread that has no place in memory."""
        resource.setrlimit(resource.RLIMIT_STACK, (8 << 30, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    train = command("train", text, *SIZES, "--steps", "9", "--val", "0", "--threads", "4", "-q", "--out", "run")
    commands = [
        command("sample", "-m", stream_run, "--length", "9", "--seed", "1"),
        command("eval", "-m", stream_run, text),
        train,
    ]
    for words in commands:
        done = subprocess.run(
            words, env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False, preexec_fn=no_threads
        )
        assert (done.returncode, done.stderr) == (0, b""), words
    done = subprocess.run(
        [*train[:-1], "baselines", "--val", "0.1"],
        env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False, preexec_fn=no_threads,
    )  # fmt: skip
    error = b"Error: no thread can be started: too many processes, or not enough memory (ulimit -u, ulimit -v)\n"
    assert (done.returncode, done.stderr) in ((0, b""), (1, error))
    ran = in_namespace(
        "while umount /dev/shm 2>&-; do :; done; unset HOME XDG_CACHE_HOME; ulimit -n 32;"
        f" {shlex.join(train[:-1])} bare && HOME=/proc/nowhere {shlex.join(train[:-1])} nowhere",
        tmp_path,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    runs = {(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "bare", "nowhere")}
    assert len(runs) == 1


BACKWARDS = """
import time
now = 2e9

def back():
    global now
    now -= 3600.0
    return now

time.time, time.time_ns = back, lambda: int(back() * 1e9)
"""


@pytest.mark.serial
def test_rs_05_a_suspended_run_and_a_clock_that_goes_back(text: Path, tmp_path: Path) -> None:
    """RS-05: neither changes what is trained, and seconds only grow."""
    options = [*SIZES[2:], "--hidden", "16", "--steps", "400", "--eval-every", "200", "--save-every", "200"]
    words = command("train", text, *options)
    plain, stopped = (
        subprocess.Popen([*words, "--out", name], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE)
        for name in ("plain", "stopped")
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BACKWARDS)
    env = {"PYTHONPATH": f"{tmp_path / 'site'}:{environment()['PYTHONPATH']}"}
    assert charrnn("train", text, *options, "--out", "back", cwd=tmp_path, env=env).code == 0
    log = tmp_path / "stopped" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (log.exists() and b'"step"' in log.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.002)
    for _ in range(5):
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        stopped.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    for process in (plain, stopped):
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    models = {(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "stopped", "back")}
    assert len(models) == 1
    for name in ("plain", "stopped", "back"):
        lines = (tmp_path / name / "metrics.jsonl").read_bytes().splitlines()
        seconds = [json.loads(line)["seconds"] for line in lines]
        assert seconds == sorted(seconds)
        assert 0 <= seconds[0] <= seconds[-1] < 120


CYCLES = """
import gc, os, sys, threading
import charrnn

def resources():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), threading.active_count()

cycles, steps = int(sys.argv[1]), int(sys.argv[2])
options = dict(hidden=(8,), batch=4, seq_len=8, lr=0.01, threads=1, val=0.0, overwrite=True, out="run")
for cycle in range(cycles + 10):
    model = charrnn.train("text.txt", steps=2, **options)
    model.sample(length=5)
    if cycle == 9:
        before = resources()
print(*before, *resources())
before = [None]

def after_some(event):
    if event.step == steps // 10:
        before[0] = resources()
    if event.step == steps:
        after[:] = resources()

after = []
charrnn.train("text.txt", steps=steps, eval_every=0, sample_every=0, callbacks=[after_some], **options)
print(*before[0], *after)
"""


@pytest.mark.parametrize(
    ("cycles", "steps"),
    [(20, 500), pytest.param(1000, 100_000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_rs_06_memory_and_files_stay_as_they_are(cycles: int, steps: int, text: Path, tmp_path: Path) -> None:
    """RS-06: over runs in one process, and over the steps of a run."""
    text.write_bytes(TEXT[:1000])
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc")
    done = subprocess.run(
        [sys.executable, "-c", CYCLES, str(cycles), str(steps)],
        env=environment(), cwd=tmp_path, capture_output=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in done.stdout.decode().splitlines():
        rss, files, threads, rss_after, files_after, threads_after = map(int, line.split())
        assert rss_after < 1.05 * rss, line
        assert (files_after, threads_after) == (files, threads), line

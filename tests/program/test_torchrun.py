"""`torchrun -m charrnn train`: the options, the output and the files of one process; what becomes of a group that is
stopped, killed or given what it cannot use."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors

from charrnn.checkpoint import format as checkpoint
from charrnn.engines.native import lib
from tests.program.conftest import TEXT, TINY
from tests.program.program import charrnn, environment
from tests.ranks import Torchrun, torchrun, two_agents
from tests.tiny import Ran

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
    pytest.mark.skipif(lib.library() is None, reason="the compiled core was not built here"),
]

FILES = {"model.safetensors", "last.safetensors", "metrics.jsonl", "config.toml", ".lock"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text."""
    (tmp_path / "text.txt").write_bytes(TEXT)
    return tmp_path


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Whatever a test has started ends with it."""
    yield
    while Torchrun.started:
        Torchrun.started.pop().kill()


def errors(ran: Ran) -> list[bytes]:
    """The program's own lines about what went wrong."""
    return [line for line in ran.err.split(b"\n") if line.startswith(b"Error: ")]


def codes(ran: Ran) -> list[str]:
    """The exit codes of processes in torchrun's summary."""
    lines = ran.err.decode().split("\n")
    return [line.split()[2] for line in lines if line.strip().startswith("exitcode")]


def test_di_04_di_14_a_batch_that_does_not_divide(folder: Path) -> None:
    """One message in all, which torchrun's summary repeats; every process exits with 2; no file is made."""
    ran = torchrun("train", "text.txt", *TINY, "--batch", "5", "--out", "run", folder=folder)
    said = "--batch 5 cannot be shared out to 2 processes; --batch is that of all together"
    assert errors(ran) == [f"Error: {said}".encode()]
    assert ran.code == 1  # torchrun's own
    assert set(codes(ran)) == {"2"}
    assert f"traceback : {said}\n".encode() in ran.err
    assert b"/charrnn/" not in ran.err  # no traceback of ours
    assert not (folder / "run").exists()


@pytest.mark.slow
def test_di_05_di_13_options_and_output_are_those_of_one_process(folder: Path) -> None:
    """The first process alone prints and writes; the file has the names of one process, and needs no PyTorch."""
    alone = charrnn("train", "text.txt", *TINY, "--out", "one", cwd=folder)
    together = torchrun("train", "text.txt", *TINY, "--out", "two", folder=folder)
    assert alone.code == together.code == 0
    assert together.out == b"two/model.safetensors\n"
    own = [line for line in together.err.split(b"\n") if not line.startswith((b"W", b"[W"))]
    lines = alone.err.split(b"\n")

    def words(printed: list[bytes]) -> list[bytes]:
        return [line.split(b" ")[0] for line in printed if line.startswith((b"step", b"model:", b"plan:", b"text:"))]

    assert words(own) == words(lines)
    assert {path.name for path in (folder / "two").iterdir()} == FILES

    def events_of(name: str) -> list[tuple[str, int, list[str]]]:
        found = map(json.loads, (folder / name / "metrics.jsonl").read_text().splitlines())
        return [(each["event"], each["step"], list(each)) for each in found]

    assert events_of("one") == events_of("two")
    names = []
    for name in ("one", "two"):
        with safetensors.safe_open(folder / name / "model.safetensors", "numpy") as file:
            names.append(list(file.keys()))
    assert names[0] == names[1]
    script = (
        "import sys; from charrnn.__main__ import main; assert main(['eval', '-m', 'two', 'text.txt']) == 0;"
        " assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, env=environment(), capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_di_13_json_and_dry_run(folder: Path) -> None:
    plans = []
    for words in (["--dry-run", "--json"], ["--json", "--out", "run"]):
        ran = torchrun("train", "text.txt", *TINY, *words, folder=folder)
        assert ran.code == 0, ran.err.decode()
        events = [json.loads(line) for line in ran.out.splitlines()]
        plans.append(events[0])
        assert [event["event"] for event in events].count("plan") == 1
    assert plans[0]["command"] == plans[1]["command"]
    assert charrnn("train", "text.txt", *TINY, "--dry-run", cwd=folder).code == 0


@pytest.mark.slow
def test_fine_tuning(folder: Path, stream_run: Path) -> None:
    """With rows of another text in each batch, of which the second process has most."""
    (folder / "other.txt").write_bytes(TEXT[:6000])
    sizes = ("--batch", "8", "--seq-len", "16", "--steps", "20", "--eval-every", "10", "--dropout", "0.3")
    texts = ("other.txt", "--init-from", str(stream_run), "--mix", "text.txt")
    words = ["train", *texts, *sizes, "--threads", "1", "--out"]
    assert charrnn(*words, "one", cwd=folder).code == 0
    ran = torchrun(*words, "two", folder=folder)
    assert ran.code == 0, ran.err.decode()
    one, two = (json.loads((folder / name / "metrics.jsonl").read_bytes().splitlines()[-1]) for name in ("one", "two"))
    assert two["nats"] == pytest.approx(one["nats"], rel=1e-5)


LONG = ("--steps", "1000000", "--sample-every", "0")


def stopped(run: Torchrun, number: signal.Signals, folder: Path) -> None:
    """A signal to torchrun: one checkpoint, an end within ten seconds, nobody killed, nothing of Gloo's."""
    begin = time.monotonic()
    run.agent.send_signal(number)
    ran = run.wait(40)
    took = time.monotonic() - begin
    assert ran.code not in (0, -9)
    text = ran.err.decode()
    assert text.count("Error: stopped after step ") == 1, text
    assert "--resume --out run" in text
    assert "forcefully" not in text
    assert "SIGKILL" not in text
    assert not [word for word in ("gloo", "Gloo", "Connection closed", "lost another") if word in text], text
    step = checkpoint.read(folder / "run" / "last.safetensors", training=True).info["step"]
    assert f"stopped after step {step:,};" in text
    assert took < 10


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", ["step", "eval"])
def test_di_07_a_signal_to_torchrun(number: signal.Signals, phase: str, folder: Path) -> None:
    intervals = ["--eval-every", "0"]
    if phase == "eval":  # each takes many times as long as a step
        (folder / "text.txt").write_bytes(TEXT * 60)
        intervals = ["--eval-every", "1", "--val", "0.5", "--hidden", "64"]
    run = Torchrun("train", "text.txt", *TINY, *LONG, *intervals, "--out", "run", "--json", folder=folder)
    try:
        run.wait_until(lambda: '"event": "save"' in run.output()[0])
        time.sleep(1)
        stopped(run, number, folder)
    finally:
        run.kill()


OPTIONS = (*TINY, "--batch", "8", "--steps", "400", "--save-every", "5", "--eval-every", "40", "--dropout", "0.3")


def final(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def step_of(run: Path) -> int:
    """The newest step in a run's log; -1: there is none."""
    try:
        lines = (run / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
        return int(json.loads(lines[-1])["step"]) if lines else -1
    except (OSError, ValueError):
        return -1


@pytest.mark.slow
def test_di_08_a_killed_process_restarts_the_group(folder: Path) -> None:
    restart = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
    words = ["train", "text.txt", *OPTIONS, "--steps", "1500", "--auto-resume", "--out"]
    assert torchrun(*words, "whole", folder=folder).code == 0
    run = Torchrun(*words, "run", folder=folder, options=restart)
    run.wait_until(lambda: step_of(folder / "run") > 100)
    os.kill(run.workers()[1], signal.SIGKILL)
    ran = run.wait()
    assert ran.code == 0, ran.err.decode()
    assert final(folder / "run") == final(folder / "whole")


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(900)
def test_di_08_killed_ten_times_at_random(folder: Path) -> None:
    """The first process, the second, or torchrun itself: what is left ends at once, and the run goes on."""
    rng = random.Random(1)  # noqa: S311 (nothing secret)
    words = ["train", "text.txt", *OPTIONS, "--steps", "3000", "--auto-resume", "--out"]
    whole = torchrun(*words, "whole", folder=folder, seconds=200)
    assert whole.code == 0
    took = json.loads((folder / "whole" / "metrics.jsonl").read_bytes().split(b"\n")[-2])["seconds"]
    restart = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "20")
    run = Torchrun(*words, "run", folder=folder, options=restart)
    kills = {"rank 0": 0, "rank 1": 0, "agent": 0}
    for _ in range(10):
        if not is_training(run, folder / "run", at_once=rng.random() < 0.2):
            break
        time.sleep(rng.uniform(0, took / 12))
        workers, victim = run.workers(), rng.choice(sorted(kills))
        kills[victim] += 1
        if victim == "agent":
            run.agent.kill()
            run.agent.wait()
            end = time.monotonic() + 10
            while any(map(is_alive, workers.values())):
                assert time.monotonic() < end, "a process lives on without torchrun"
                time.sleep(0.05)
            run.kill()
            run = Torchrun(*words, "run", folder=folder, options=restart)
        elif pid := workers.get(int(victim[-1])):
            os.kill(pid, signal.SIGKILL)
    ran = run.wait(200)
    assert ran.code == 0, (kills, ran.err.decode())
    assert sum(kills.values()) == 10, kills
    assert final(folder / "run") == final(folder / "whole"), kills


def is_training(run: Torchrun, folder: Path, *, at_once: bool) -> bool:
    """Wait until both processes are there, and unless `at_once` have taken a step; return whether torchrun runs."""
    before = step_of(folder)
    run.wait_until(lambda: len(run.workers()) == 2 or run.agent.poll() == 0)
    if not at_once:
        run.wait_until(lambda: step_of(folder) != before or run.agent.poll() == 0)
    return run.agent.poll() is None


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_two_agents(folder: Path) -> None:
    """As on two machines: each started on its own, and they meet."""
    words = ["train", "text.txt", *TINY, "--dropout", "0.3", "--out"]
    assert torchrun(*words, "whole", folder=folder).code == 0
    with two_agents(*words, "run", folders=(folder, folder)) as agents:
        found = [agent.wait() for agent in agents]
    assert [ran.code for ran in found] == [0, 0], found
    assert sorted(ran.out for ran in found) == [b"", b"run/model.safetensors\n"]
    assert final(folder / "run") == final(folder / "whole")


NETWORKS = """
set -e
ip link set lo up
unshare -n sleep 200 >&- 2>&- & other=$!
trap 'kill $other' EXIT
sleep 1
ip link add name va type veth peer name vb
ip link set vb netns $other
ip addr add 10.9.0.1/24 dev va
ip link set va up
there="nsenter -t $other -n"
$there ip addr add 10.9.0.2/24 dev vb
$there ip link set vb up
[ -n "$1" ] || exit 0
set +e
GLOO_SOCKET_IFNAME=va $1 --rdzv-conf is_host=1 --local-addr 10.9.0.1 $2 & first=$!
GLOO_SOCKET_IFNAME=vb $there $1 --rdzv-conf is_host=0 --local-addr 10.9.0.2 $2
second=$?
wait $first && [ $second = 0 ]
"""
"""Two networks of their own with a cable between them, and an agent in each."""


def in_networks(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["unshare", "-Urn", "bash", "-c", NETWORKS, "bash", *words],  # noqa: S607
        cwd=folder, env=environment({"OMP_NUM_THREADS": "1"}), capture_output=True, timeout=150, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_two_networks(folder: Path) -> None:
    """Two agents in two network namespaces, where a user may make such."""
    if shutil.which("unshare") is None or shutil.which("ip") is None or in_networks(folder, "").returncode:
        pytest.skip("no network namespaces can be made here")
    words = ["train", "text.txt", *TINY, "--out"]
    assert torchrun(*words, "whole", folder=folder).code == 0
    meeting = "--nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-endpoint 10.9.0.1:29500 --rdzv-id networks"
    agent = f"timeout 100 {sys.executable} -m torch.distributed.run {meeting}"
    done = in_networks(folder, agent, f"-m charrnn {' '.join(words)} run")
    assert done.returncode == 0, done.stderr.decode()
    assert final(folder / "run") == final(folder / "whole")


README = Path(__file__).parents[2] / "README.md"

QUICK = {"STEPS": "3", "HIDDEN": "8", "SEQ_LEN": "2", "LR": "0.01"}


@pytest.mark.slow
def test_the_commands_of_the_readme(folder: Path) -> None:
    """Of the section "Bigger": both machines are this one, with a process each."""
    (folder / "corpus.txt").write_bytes(TEXT)
    section = README.read_text(encoding="utf-8").partition("### Bigger")[2].partition("\n## ")[0]
    one, two = re.findall(r"^    torchrun ((?:.*\\\n)*.*)$", section, re.MULTILINE)
    quick = {f"CHARRNN_{name}": value for name, value in QUICK.items()}

    def split(command: str) -> tuple[tuple[str, ...], list[str]]:
        words = shlex.split(command.replace("/data", str(folder)))
        place = words.index("-m")
        assert words[place + 1] == "charrnn"
        return tuple(words[:place]), words[place + 2 :]

    options, words = split(one)
    ran = torchrun(*words, folder=folder, options=options, env=quick)
    assert ran.code == 0, ran.err.decode()
    options, words = split(two)
    at = options.index
    assert [options[at(name) + 1] for name in ("--nnodes", "--rdzv-backend", "--rdzv-endpoint")] == [
        "2",
        "c10d",
        "node1:29500",
    ]
    with two_agents(*words, folders=(folder, folder), options=("--max-restarts", "3"), env=quick) as agents:
        found = [agent.wait() for agent in agents]
    assert [ran.code for ran in found] == [0, 0], found
    assert (folder / "corpus" / "model.safetensors").exists()


def no_text(path: Path) -> None:
    path.unlink()


def another_text(path: Path) -> None:
    path.write_bytes(TEXT[1:])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "code", "said"), [(no_text, "4", b"in process 1: "), (another_text, "4", b"read different texts")]
)
def test_another_machine_has_another_text(
    spoil: Callable[[Path], None], code: str, said: bytes, tmp_path: Path
) -> None:
    """One line, one exit code, within half a minute."""
    folders = (tmp_path / "a", tmp_path / "b")
    for folder in folders:
        folder.mkdir()
        (folder / "text.txt").write_bytes(TEXT)
    begin = time.monotonic()
    with two_agents("train", "text.txt", *TINY, "--out", "run", folders=folders) as agents:
        agents[0].wait_until(agents[0].workers)
        agents[1].wait_until(agents[1].workers)
        ranks = [next(iter(agent.workers())) for agent in agents]
        spoil(folders[ranks.index(1)] / "text.txt")
        found = [agent.wait(60) for agent in agents]
    assert time.monotonic() - begin < 60
    lines = [line for ran in found for line in errors(ran)]
    assert len(lines) == 1
    assert said in lines[0]
    assert {each for ran in found for each in codes(ran)} == {code}


@pytest.mark.slow
def test_wrong_options_are_said_once(folder: Path) -> None:
    """Whoever finds it: the command line, the configuration, the folder, the text."""
    (folder / "empty.txt").write_bytes(b"")
    (folder / "run").mkdir()
    (folder / "run" / "metrics.jsonl").write_bytes(b"")
    for words, code in (
        (["text.txt", "--hidden", "x"], "2"),
        (["text.txt", "--steps", "0"], "2"),
        (["text.txt", "--out", "run"], "2"),
        (["-"], "2"),
        (["nothing.txt"], "4"),
        (["empty.txt"], "4"),
        (["text.txt", "--device", "cuda"], "2"),
    ):
        ran = torchrun("train", *words, folder=folder)
        assert len(errors(ran)) == 1, ran.err.decode()
        # torchrun ends one that was slower to come so far
        assert code in codes(ran), (words, ran.err.decode())
        assert set(codes(ran)) <= {code, "-15"}, (words, ran.err.decode())

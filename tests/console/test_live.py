"""What a person at a terminal sees of a training, and that they get their terminal back."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.console import live
from charrnn.console.streams import Console
from charrnn.errors import NonFiniteError
from charrnn.runs.events import StepEvent
from charrnn.training.learner import Learner

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

import pexpect

pytestmark = pytest.mark.serial

SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"
TEXT = b"the quick brown fox jumps over the lazy dog\n" * 10
TRAIN = [
    "train", "text.txt", "--out", "run", "--hidden", "8", "--batch", "4", "--seq-len", "8", "--lr", "0.01",
    "--threads", "1", "--patience", "0",
]  # fmt: skip
SHORT = [*TRAIN, "--steps", "9", "--eval-every", "3", "--sample-every", "4"]
LONG = [*TRAIN, "--steps", "100000000", "--eval-every", "0", "--sample-every", "0", "--save-every", "0"]

Capture = pytest.CaptureFixture[bytes]


class Terminal:
    """Runs a command line with stderr on a pseudo-terminal; returns its exit code and all that was sent there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    def __call__(self, *line: str, encoding: str = "utf-8") -> tuple[int, str]:
        master, slave = os.openpty()
        seen = bytearray()

        def read() -> None:
            with contextlib.suppress(OSError):  # once nobody holds the other end
                while data := os.read(master, 4096):
                    seen.extend(data)

        reader = threading.Thread(target=read)
        reader.start()
        with (
            self.monkeypatch.context() as patch,
            open(slave, "w", encoding=encoding, errors="backslashreplace", buffering=1) as stream,
        ):
            patch.setattr(sys, "stderr", stream)
            code = main(line)
        reader.join(10)
        os.close(master)
        return code, seen.decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    Path("text.txt").write_bytes(TEXT)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "40")
    return Terminal(monkeypatch)


def given_back(screen: str) -> bool:
    """Whether the cursor was taken, and is there again."""
    return screen.rfind(SHOW) > screen.rfind(HIDE) >= 0


def last_frame(screen: str) -> str:
    """What was sent after the display was last wiped, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", screen[screen.rfind("\x1b[2K") :])


def test_a_training_on_a_terminal(terminal: Terminal, capfdbinary: Capture) -> None:
    """CL-05: the end of all is on stdout as ever; on the terminal are frames, then what the run came to."""
    code, screen = terminal(*SHORT)
    assert code == 0
    assert capfdbinary.readouterr().out == b"run/model.safetensors\n"
    assert given_back(screen)
    for part in ("step 9 of 9", "perplexity", "validation", "learning rate", "a sample, at temperature 0.8"):
        assert part in screen
    end = last_frame(screen)
    assert "done" in end
    assert "charrnn sample -m run --temp 0.8" in end
    assert "a sample" not in end  # the frames are wiped away


def test_json_and_a_terminal(terminal: Terminal, capfdbinary: Capture) -> None:
    """CL-02, CL-05: events on stdout do not keep the display from being drawn."""
    code, screen = terminal(*SHORT, "--json")
    assert code == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert all(line.startswith(b"{") for line in lines)
    assert b'"done"' in lines[-1]
    assert given_back(screen)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (NonFiniteError("loss is nan"), 5, "Error: loss is nan; "),
        (ZeroDivisionError("oh"), 1, "Error: This is a bug in charrnn "),
        (MemoryError(), 1, "Error: not enough memory"),
        (KeyboardInterrupt(), 130, ""),
    ],
    ids=repr,
)
def test_after_an_error(
    error: BaseException, code: int, words: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-05: the error stands below the wiped display, on a line of its own."""
    step = Learner.step

    def failing(learner: Learner, batch: Any, number: int, lr: float) -> Any:
        if number == 4:
            raise error
        return step(learner, batch, number, lr)

    monkeypatch.setattr(Learner, "step", failing)
    exit_code, screen = terminal(*SHORT)
    assert exit_code == code
    assert given_back(screen)
    assert re.search(rf"(^|[\r\n]|\x1b\[2K){re.escape(words)}", screen[screen.rfind(SHOW) :])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_after_a_signal(number: signal.Signals, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-05, CL-10."""
    step = Learner.step

    def signalled(learner: Learner, batch: Any, count: int, lr: float) -> Any:
        if count == 4:
            signal.raise_signal(number)
        return step(learner, batch, count, lr)

    before = signal.signal(number, signal.default_int_handler)
    try:
        monkeypatch.setattr(Learner, "step", signalled)
        code, screen = terminal(*SHORT)
        assert code == 128 + number
    finally:
        signal.signal(number, before)
    assert given_back(screen)
    assert "stopping, saving..." in screen
    assert (
        "Error: stopped after step 5; go on with: charrnn train --resume --out run\r\n" in screen[screen.rfind(SHOW) :]
    )


@pytest.mark.parametrize(
    ("environ", "more", "drawn", "coloured"),
    [
        ({}, [], True, True),
        ({"NO_COLOR": ""}, [], True, True),
        ({"NO_COLOR": "1"}, [], True, False),
        ({}, ["--no-color"], True, False),
        ({"TERM": "dumb"}, [], False, False),
        ({}, ["-q"], False, False),
    ],
)
def test_colour(
    environ: dict[str, str],
    more: list[str],
    drawn: bool,
    coloured: bool,
    terminal: Terminal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CL-03, CL-23."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    code, screen = terminal(*SHORT, *more)
    assert code == 0
    assert (HIDE in screen) is drawn
    assert ("\x1b" in screen) is drawn
    assert bool(re.search(r"\x1b\[(\d+;)*(3[0-9]|9[0-7]|38;5;\d+)[;m]", screen)) is coloured
    assert (screen == "") is (more == ["-q"])


@pytest.mark.parametrize(("columns", "rows"), [(20, 5), (40, 10), (300, 100)])
def test_sizes(columns: int, rows: int, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame is never larger than the terminal, which could not wipe it."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(rows))
    code, screen = terminal(*SHORT)
    assert code == 0
    assert given_back(screen)
    assert screen.count("\x1b[1A") > 0
    assert max(map(len, re.findall(r"(?:\x1b\[1A\x1b\[2K)+", screen))) <= rows * len("\x1b[1A\x1b[2K")


def test_what_a_model_writes_steers_no_terminal(terminal: Terminal) -> None:
    """SE-01, SE-03: a text of escape sequences and markup, shown as samples and as a name."""
    name = "[red]x[|]\x1b[5m.txt"
    Path(name).write_bytes(b"\x1b]0;pwn\x07\x1b[2J\x9b31m[red][/]\x0e\n".replace(b"\x9b", b"\xc2\x9b") * 20)
    code, screen = terminal(SHORT[0], name, *SHORT[2:], "--sample-every", "1")
    assert code == 0
    assert given_back(screen)
    for hostile in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\x0e", "\x1b[5m"):
        assert hostile not in screen
    assert "[red]x[|]\\x1b[5m.txt" in screen
    assert "\\x1b" in screen


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode(encoding: str, terminal: Terminal) -> None:
    """CL-20: whatever the locale, a display is drawn, without its picture, and nothing fails."""
    code, screen = terminal(*SHORT, encoding=encoding)
    assert code == 0
    assert given_back(screen)
    assert "\\u28" not in screen
    assert screen.isascii()


# A process of its own, which can be killed

Spawn = Callable[..., "pexpect.spawn[bytes]"]


@pytest.fixture
def spawn() -> Iterator[Callable[..., Any]]:
    """Starts a training on a terminal, and waits for its first steps; `before` is run in it first."""
    Path("text.txt").write_bytes(TEXT)
    started = []

    def spawn(before: str = "") -> Any:
        script = f"import sys\nfrom charrnn.__main__ import main\n{before}\nsys.exit(main())"
        environ = {**os.environ, "TERM": "xterm-256color"}
        child = pexpect.spawn(
            sys.executable, ["-c", script, *LONG], env=environ, dimensions=(40, 100), timeout=60, encoding="utf-8"
        )
        started.append(child)
        child.expect("training, step [1-9]")
        return child

    yield spawn
    for child in started:
        child.close(force=True)


FORKS = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # pexpect's way


@FORKS
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_from_outside(number: signal.Signals, code: int, spawn: Callable[..., Any]) -> None:
    """CL-05: Ctrl-C at the keyboard, and `kill`."""
    child = spawn()
    if number == signal.SIGINT:
        child.sendintr()
    else:
        child.kill(number)
    child.expect("stopping, saving", timeout=5)
    child.expect(re.escape(SHOW))
    child.expect(r"Error: stopped after step ([\d,]+); go on with: charrnn train --resume --out run\r\n")
    step = int(child.match[1].replace(",", ""))
    child.expect(pexpect.EOF)
    assert HIDE not in child.before
    child.close()
    assert child.exitstatus == code
    assert checkpoint.read(Path("run/last.safetensors"), training=True).info["step"] == step


@FORKS
def test_a_second_signal(spawn: Callable[..., Any]) -> None:
    """CL-05, CL-09: while saving; it ends at once, and the cursor is there again all the same."""
    child = spawn(
        "import time\nfrom charrnn.checkpoint import format as checkpoint\nwrite = checkpoint.write\n"
        "def slow(path, state, **more):\n"
        "    if state.info['step']: print('saving', flush=True), time.sleep(60)\n"
        "    write(path, state, **more)\n"
        "checkpoint.write = slow"
    )
    child.sendintr()
    child.expect("saving\r\n", timeout=5)
    child.sendintr()
    child.expect(pexpect.EOF, timeout=5)
    assert child.before.rfind(SHOW) > child.before.rfind(HIDE)
    child.close()
    assert child.exitstatus == 130
    assert checkpoint.read(Path("run/last.safetensors"), training=True).info["step"] == 0


@FORKS
def test_a_terminal_that_is_closed(spawn: Callable[..., Any]) -> None:
    """CL-10: the window goes, and with it all that could be written to; the work is saved nonetheless."""
    child = spawn()
    child.ptyproc.fileobj.close()  # the system sends SIGHUP
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    child.closed = child.ptyproc.closed = child.terminated = child.ptyproc.terminated = True
    assert code == 129
    assert checkpoint.read(Path("run/last.safetensors"), training=True).info["step"] > 0


def test_rs_05_the_time_left_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """RS-05: after a pause of an hour in a run of 15 minutes."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    display = live.LiveDisplay(Console())
    display.steps, left = 1000, {}
    for step in range(1, 600):
        now += 3600.0 if step == 200 else 1.0
        display.now["step"] = step
        display._step(
            StepEvent(
                step=step, epoch=0.0, seconds=now, loss=1.0, perplexity=1.0, learning_rate=0.1, gradient_norm=1.0,
                chars_per_second=1.0, logged=step % 10 == 0,
            )
        )  # fmt: skip
        left[step] = display._left()
    assert left[1] == "-"
    assert (left[199], left[599]) == ("13m21s", "6m41s")
    assert "h" in left[210]

"""`charrnn sample --interactive`, driven through a pseudo-terminal as a user would."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny
from tests.cli.test_sample import HOSTILE, SHOWN

if sys.platform == "win32":
    pytest.skip("needs pseudo-terminals", allow_module_level=True)

import termios

import pexpect

pytestmark = pytest.mark.serial

NOISE = tiny.drawn(tiny.char("abcdefgh \n"))
NAMES = tiny.drawn(tiny.char("abcdefgh\n"), separator=b"\n")

READY, TAKEN = b"\x1b[?2004h", b"\x1b[?2004l"
"""What is sent to the terminal when a line can be typed, and when one has been."""


class User:
    """Someone at a terminal."""

    def __init__(self, *words: str, ready: bytes = READY, **variables: str) -> None:
        environment = {"TERM": "xterm", "CHARRNN_SEED": "3", **os.environ, **variables}
        self.terminal = pexpect.spawn(
            sys.executable, ["-m", "charrnn", "sample", "-i", *words], env=environment, dimensions=(24, 80), timeout=30
        )
        self.terminal.delaybeforesend = None
        self.modes = termios.tcgetattr(self.terminal.child_fd)
        self.modes[3] |= termios.NOFLSH  # Ctrl-C throws away nothing that was not read here by then
        termios.tcsetattr(self.terminal.child_fd, termios.TCSANOW, self.modes)
        self.terminal.expect_exact(ready)
        self.greeting = self._before()

    def ask(self, line: str | bytes) -> bytes:
        """Type a line, and return what comes back."""
        self.terminal.send(line)
        self.terminal.send("\r")
        return self.answer()

    def answer(self) -> bytes:
        """Return what is printed between a line that was typed and the next."""
        self.terminal.expect_exact(TAKEN)
        self.terminal.expect_exact(READY)
        return self._before()

    def leave(self) -> int | None:
        """Press Ctrl-D; return the exit code."""
        self.terminal.sendeof()
        return self.exit_code()

    def exit_code(self) -> int | None:
        self.terminal.expect(pexpect.EOF)
        if sys.platform == "linux":
            assert termios.tcgetattr(self.terminal.child_fd) == self.modes
        self.terminal.close()
        code: int | None = self.terminal.exitstatus
        return code

    def _before(self) -> bytes:
        data: bytes = self.terminal.before
        return data.replace(b"\r\n", b"\n")


@pytest.fixture(autouse=True)
def _models(tmp_path: Path) -> None:
    tiny.saved(tmp_path / "noise", NOISE)
    tiny.saved(tmp_path / "names", NAMES)
    tiny.saved(tmp_path / "hostile", tiny.reciting(ByteTokenizer(), HOSTILE))


def test_a_conversation(run: tiny.Program) -> None:
    """Prompt, going on, changes of options, undo, retry, save; the state is kept between turns."""

    def sampled(prompt: str, *more: str) -> bytes:
        return run("sample", "-m", "noise", "-l", "30", "-p", prompt, *more).out

    user = User("-m", "noise", "-l", "30")
    assert b"/help lists commands" in user.greeting
    first = user.ask("abba ")
    assert first.rstrip(b"\n") == sampled("abba ", "--seed", "3").rstrip(b"\n")
    assert user.ask("/undo") == b"taken back: 35 characters\n"
    assert user.ask("/seed 7") == b"/seed 7\n"
    second = user.ask("abba ")
    assert second.rstrip(b"\n") == sampled("abba ", "--seed", "7").rstrip(b"\n") != first.rstrip(b"\n")
    assert user.ask("/retry") == second + b"the same again: seed 7 is set\n"
    assert user.ask("/temp 0") == b"/temp 0\n"
    greedy = user.ask("/retry")
    assert greedy.rstrip(b"\n") == sampled("abba ", "--temp", "0").rstrip(b"\n")
    assert user.ask("/retry") == greedy + b"the same again: nothing is random\n"
    text = "abba " + sampled("abba ", "--temp", "0").decode()
    for line in ("", r"b\na", "", ""):
        typed = line.replace(r"\n", "\n")
        expected = sampled(text + typed, "--temp", "0")
        assert user.ask(line).rstrip(b"\n") == expected.rstrip(b"\n")
        text += typed + expected.decode()
    assert user.ask("/save text here.txt") == b"%d bytes in '%s'\n" % (len(text), b"text here.txt")
    assert Path("text here.txt").read_text() == text
    assert user.ask("/text").rstrip(b"\n") == text.encode().rstrip(b"\n")
    assert user.ask(r"/stop '\n'") == b"/stop '\\n'\n"
    assert user.ask("/new") == b""
    assert user.ask("ab").rstrip(b"\n") == sampled("ab", "--temp", "0", "--stop", "\n")
    assert user.ask("/reset stop") == b"/stop none\n"
    assert user.ask("/reset") == (
        b"/temp 1\n/length 30\n/stop none\n/match none\n/seed 3\n/top-k 0\n/top-p 1\n/min-p 0\n/unknown error\n"
    )
    assert user.leave() == 0


def test_none_unsets_an_option(run: tiny.Program) -> None:
    """Also one that was set at the start; in quotes it is a text."""
    user = User("-m", "noise", "-l", "30", "--seed", "3", "--stop", "a", CHARRNN_SEED="")
    assert user.ask("/match a*") == b"Error: /match and /stop cannot be used together\n"
    assert user.ask("/stop none") == b"/stop none\n"
    assert user.ask("/match a*") == b"/match a*\n"
    assert user.ask("/match none") == b"/match none\n"
    free = run("sample", "-m", "noise", "-l", "30", "--seed", "3", "-p", "ab").out
    assert user.ask("ab").rstrip(b"\n") == free.rstrip(b"\n")
    assert user.ask("/stop 'none'") == b"/stop 'none'\n"
    assert user.ask("/seed none").startswith(b"/seed a new one for each text; the last was 3")
    assert user.ask("/temp none") == b"Error: /temp must be a finite number, 0 or more, not 'none'\n"
    assert user.leave() == 0


def test_what_is_wrong_is_a_sentence() -> None:
    user = User("-m", "noise", "-l", "30", CHARRNN_SEED="")
    for line, complaint in {
        "/undo": "there is no text yet",
        "/retry": "there is no text yet",
        "/tmep 3": "there is no /tmep; did you mean /temp?; /help lists commands, and // begins a prompt with /",
        "/temperature 1": "there is no /temperature; use /temp",
        "/": "there is no /; /help lists commands, and // begins a prompt with /",
        "/temp -1": "/temp must be a finite number, 0 or more, not '-1'",
        "/top-p 0": "/top-p must be a finite number, above 0 and at most 1, not '0'",
        "/unknown scip": "/unknown must be one of error, skip, nearest, not 'scip'; did you mean 'skip'?",
        "/undo 3": "/undo takes no value",
        "/save": "/save needs the name of a file",
        "/save no/such/folder": "cannot write 'no/such/folder': No such file or directory",
        "/reset help": "there is no help; /help lists commands, and // begins a prompt with /",
        "//": "the model has never seen U+002F SOLIDUS @ 0; /unknown skip leaves such characters out, /unknown nearest"
        " takes the nearest that it knows",
    }.items():
        assert user.ask(line) == f"Error: {complaint}\n".encode()
    assert user.ask("/seed") == b"/seed a new one for each text\n"
    first = user.ask("ab")
    [seed] = re.findall(rb"the last was (\d+)\n", user.ask("/seed"))
    assert user.ask("/match ax*").startswith(b"/match ax*")
    assert user.ask("/length 0") == b"/length 0\n"
    assert user.ask("/stop a") == b"Error: /match and /stop cannot be used together\n"
    assert user.ask("") == b"a\n"
    assert user.ask("/undo") == b"taken back: 1 character\n"
    assert user.ask("/reset").startswith(b"/temp 1\n")
    user.ask("/seed " + seed.decode())
    assert user.ask("/retry") == first + b"the same again: seed %s is set\n" % seed
    assert user.leave() == 0


def test_help_and_completion() -> None:
    user = User("-m", "noise", "--temp", "0.5")
    page = user.ask("/help")
    for line in (b"  /undo ", b"  /save FILE ", b"  /temp X ", b"  /min-p X ", b"random. [0.5]\n", b"[none]\n"):
        assert line in page
    assert user.ask("/tem\t 0.8") == b"/temp 0.8\n"
    assert user.ask("/temp") == b"/temp 0.8\n"
    Path("a long name").mkdir()
    assert user.ask("/save a lo\t/x\t").startswith(b"0 bytes in 'a long name/x'")
    assert user.ask("\x1b[A\x1b[A") == b"/temp 0.8\n"  # the last line but one
    user.terminal.send("/quit\r")
    assert user.exit_code() == 0


def test_ctrl_c(run: tiny.Program) -> None:
    """It stops the text, which goes on where it stood; and drops a line."""
    user = User("-m", "noise", "--temp", "0", "-l", "0")
    shown = b""
    for line in ("ab", ""):
        user.terminal.send(line + "\r")
        user.terminal.expect_exact(TAKEN)
        user.terminal.expect("[a-h]{2}")
        begun = user.terminal.before + user.terminal.after
        time.sleep(0.1)
        user.terminal.sendintr()
        user.terminal.expect_exact(READY)
        shown += (begun + user.terminal.before).replace(b"^C", b"").replace(b"\r\n", b"")
        user.terminal.send("abc")
        user.terminal.sendintr()
        user.answer()
    user.ask("/save text")
    text = Path("text").read_bytes()
    assert len(text) > 1000
    assert text.replace(b"\n", b"") == b"ab" + shown
    user.ask("/length 30")
    answer = user.ask("").removesuffix(b"\n")
    assert user.leave() == 0
    whole = run("sample", "-m", "noise", "--temp", "0", "-l", "30", "--prompt-file", "text").out
    assert not text.endswith(b"\n")
    assert whole.removesuffix(b"\n") == answer


def test_nothing_of_the_model_s_reaches_the_terminal() -> None:
    """SE-01: control characters are shown, in texts and in prompts."""
    user = User("-m", "hostile", "--temp", "0", "-l", str(len(HOSTILE)))
    assert user.ask("") == SHOWN + b"\n"
    assert user.ask(b"\x16\x1b]0;pwn\x16\x07") != b""  # Ctrl-V: the next key as it is
    assert rb"\x1b]0;pwn\x07" in user.ask("/text")
    assert user.leave() == 0


def test_records(run: tiny.Program) -> None:
    user = User("-m", "names", "--temp", "0")
    assert b"an empty one draws another" in user.greeting
    line = ("sample", "-m", "names", "--temp", "0")
    plain = run(*line).out + run(*line, "-p", "ab").out
    first = user.ask("")
    prompted = user.ask("ab")
    assert first + prompted == plain
    assert user.ask("/text") == plain
    user.ask("/save names.txt")
    assert Path("names.txt").read_bytes() == plain
    assert user.leave() == 0


def test_a_prompt_of_the_command_line(run: tiny.Program) -> None:
    """The first text continues it; what is wrong with it ends the program as without --interactive."""
    user = User("-m", "noise", "--temp", "0", "-l", "30", "-p", "ab", "-v")
    expected = run("sample", "-m", "noise", "--temp", "0", "-l", "30", "-p", "ab").out
    assert expected in user.greeting
    assert b"seed 3\n" in user.greeting
    assert user.leave() == 0
    wrong = pexpect.run(f"{sys.executable} -m charrnn sample -i -m noise -p x", env={"TERM": "xterm", **os.environ})
    assert wrong.startswith(b"Error: --prompt: the model has never seen U+0078")


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"NO_COLOR": "1"}], ids=str)
def test_a_plain_terminal(variables: dict[str, str]) -> None:
    """CL-03: a dumb one gets no escape sequence; where no colour is wanted there is none."""
    is_dumb = "TERM" in variables
    user = User("-m", "noise", "--temp", "0", "-l", "30", ready=b"> " if is_dumb else READY, **variables)
    user.terminal.send("ab\r")
    user.terminal.expect_exact(b"> " if is_dumb else READY)
    first = user.terminal.before
    user.terminal.send("/tem\t\r")
    user.terminal.expect_exact(b"> " if is_dumb else READY)
    assert b"/temp 0\r\n" in user.terminal.before or is_dumb  # which completes nothing
    user.terminal.send("/quit\r")
    assert user.exit_code() == 0
    drawn = user.greeting + first + user.terminal.before
    assert not re.search(rb"\x1b\[[0-9;]*[1-9][0-9;]*m", drawn)
    if is_dumb:
        assert b"\x1b" not in first + user.terminal.before


def test_size_and_end() -> None:
    """CL-05: a terminal that changes its size while a text is drawn, or while a line is typed, and one whose program is
    ended: it is left as it was."""
    user = User("-m", "noise", "--temp", "0", "-l", "0")
    user.terminal.send("ab\r")
    user.terminal.expect_exact(TAKEN)
    user.terminal.setwinsize(2, 200)
    user.terminal.setwinsize(24, 3)
    time.sleep(0.1)
    user.terminal.sendintr()
    user.terminal.expect_exact(READY)
    user.terminal.setwinsize(50, 9)
    user.terminal.send("/length 5\r")
    user.terminal.expect_exact(b"/length 5\r\n" + READY)
    user.terminal.kill(signal.SIGTERM)
    assert user.exit_code() == 143


@pytest.mark.parametrize(
    "option", [["--json"], ["--fields", "text"], ["--num", "2"], ["--rank"], ["--lines"], ["--separator", "x"]], ids=str
)
def test_what_it_cannot_be_used_with(option: list[str], run: tiny.Program) -> None:
    ran = run("sample", "-i", "-m", "no such model", *option)
    assert (ran.code, ran.error) == (2, f"Error: --interactive and {option[0]} cannot be used together")


def test_it_needs_a_terminal(run: tiny.Program) -> None:
    ran = run("sample", "-i", "-m", "no such model")
    assert (ran.code, ran.error) == (2, "Error: --interactive needs a terminal, as stdin and as stdout")


def test_other_texts_do_not_wait_for_it() -> None:
    script = (
        "import sys; from charrnn.__main__ import main\n"
        "assert main(['sample', '-m', 'noise']) == 0\n"
        "assert not {'prompt_toolkit', 'charrnn.cli.interactive'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()

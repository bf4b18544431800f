"""`charrnn sample --interactive`: prompts and commands from a terminal, texts to it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from types import FrameType
from typing import NamedTuple

from charrnn.cli.help_page import Group, Page
from charrnn.config.params import Escaped, typed_bytes
from charrnn.config.renamed import tried
from charrnn.config.sample import SampleConfig
from charrnn.console.prompt import LineReader
from charrnn.console.streams import Console
from charrnn.errors import CharRNNError, InputError, UsageError, counted, did_you_mean
from charrnn.files import atomic_write, quote
from charrnn.generation.conversation import SETTINGS, Conversation
from charrnn.generation.novelty import Novelty
from charrnn.model import Model

_PIECE = 4096  # bytes of the text so far that are printed at a time

_OPTIONS = {each.name: each.metadata for each in fields(SampleConfig)}


def converse(console: Console, model: Model, config: SampleConfig, prompt: tuple[bytes, str] | None) -> int:
    """Read prompts and commands until Ctrl-D or `/quit`, answer them, and return the exit code.

    Args:
        config: the options at the start.
        prompt: the first, in place of a line, and what it is called in messages; None: it is asked for.

    Raises:
        InputError: that prompt cannot be used, or a file of `config.exclude`. UsageError: `config.novel` cannot be.
    """
    novelty = Novelty(model.known_texts(config), unique=config.unique) if config.is_selective else None
    copies = model.copy_index(config.max_copy)
    conversation = Conversation(model.engine, model.tokenizer, model.separator, config, novelty, copies)
    first = iter(()) if prompt is None else _first(conversation, *prompt)
    session = _Session(console, model, conversation)
    reader = LineReader(console, sorted(map(_word, (*_COMMANDS, *SETTINGS))), [_word("save")])
    meaning, empty = ("begins a record", "draws another") if model.separator else ("is a prompt", "goes on")
    console.info(f"A line {meaning}, an empty one {empty}; Ctrl-C stops a text, Ctrl-D ends; /help lists commands")
    with _ended_by_sigterm():
        if prompt is not None:
            session.answer(lambda: session.show(first))
        while True:
            try:
                line = reader.read()
                if line is None or session.is_last(line):
                    return 0
            except KeyboardInterrupt:  # as in a shell: another line
                continue


def _first(conversation: Conversation, prompt: bytes, name: str) -> Iterator[bytes]:
    try:
        return conversation.draw(prompt)
    except InputError as error:
        raise error.prefixed(name) from None


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program as it would, once the terminal is as it was."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Command(NamedTuple):
    """A command that is no option: what stands for its value in help, empty: it takes none; and what it does."""

    metavar: str
    help: str


_COMMANDS = {
    "undo": _Command("", "Take back the last turn: the prompt and its text."),
    "retry": _Command("", "Draw the last turn again, with a new seed unless one is set."),
    "new": _Command("", "Begin a new text."),
    "text": _Command("", "Print the text so far."),
    "save": _Command("FILE", "Write the text so far to FILE."),
    "reset": _Command("[NAME]", "Set an option as it was at the start; without NAME, all of them."),
    "help": _Command("", "Print this page."),
    "quit": _Command("", "End, as Ctrl-D does."),
}


_NONE = "none"

_UNSET = ("stop", "match", "seed")
"""Options that may have no value; `_NONE` in quotes is one."""


def _word(name: str) -> str:
    """Return what is typed for a command or an option."""
    return "/" + name.replace("_", "-")


class _Session:
    """Answers the lines of a user."""

    def __init__(self, console: Console, model: Model, conversation: Conversation) -> None:
        self.console, self.model, self.conversation = console, model, conversation

    def is_last(self, line: str) -> bool:
        """Answer a line; return whether it ends the session."""
        if line.rstrip() == _word("quit"):
            return True
        if line.startswith("/") and not line.startswith("//"):
            word, _, value = line.partition(" ")
            self.answer(lambda: self._run(word, value.strip()))
        else:
            text = Escaped(may_be_empty=True).parse(line.removeprefix("/") if line.startswith("//") else line)
            self.answer(lambda: self.show(self.conversation.draw(typed_bytes(text))))
        return False

    def answer(self, work: Callable[[], None]) -> None:
        """Do what a line asks for, until it is done or Ctrl-C comes; what is wrong is said in a sentence."""
        try:
            work()
            self.console.flush()
        except CharRNNError as error:
            self.console.error(error.render(_word))
        except KeyboardInterrupt:
            self.console.write(b"\n", flush=True)

    def show(self, pieces: Iterator[bytes]) -> None:
        """Print a text as it is drawn, until it ends or Ctrl-C comes; the next line begins on its own."""
        terminal, at_start = self.console.terminal_text(), True
        with _Interruption() as interruption:
            for piece in pieces:
                with interruption.deferred():  # what is part of the text has been shown
                    data = terminal.feed(piece) if terminal else piece
                    self.console.write(data)
                    at_start = data.endswith(b"\n") if data else at_start
        rest = terminal.feed(b"", final=True) if terminal else b""
        self.console.write(rest + (b"" if at_start and not rest and not self.model.separator else b"\n"))
        self.console.flush()
        self.console.debug(f"seed {self.conversation.seed}")

    def _run(self, word: str, value: str) -> None:
        """Run a command: what is typed for it, and its value."""
        name = word.removeprefix("/").replace("-", "_")
        is_unset, value = name in _UNSET and value == _NONE, _unquoted(value)
        if name in SETTINGS:
            if value:
                self._set(name, None if is_unset else value)
            self._say(f"{word} {self._value(name)}")
            return
        if name not in _COMMANDS:
            raise _unknown(word, name)
        takes_value = _COMMANDS[name].metavar
        if value and not takes_value:
            raise UsageError(f"{word} takes no value")
        run: Callable[..., None] = getattr(self, f"_{name}")
        run(*[value] if takes_value else [])

    def _set(self, name: str, value: str | None) -> None:
        before = self.conversation.config
        if value is None:
            self.conversation.unset(name)
        else:
            self.conversation.set(name, value)
        config = self.conversation.config
        try:
            if config.is_selective:
                self.model.check_ends(config)
        except UsageError:
            self.conversation.config = before
            raise

    def _undo(self) -> None:
        turn = self.conversation.undo()
        self._say(f"taken back: {counted(turn.chars, 'character')}")

    def _retry(self) -> None:
        before, config = self.conversation.turns[-1:], self.conversation.config
        self.show(self.conversation.retry())
        if self.conversation.turns[-1].drawn == before[0].drawn and (config.seed is not None or not config.is_random):
            reason = f"seed {config.seed} is set" if config.is_random else "nothing is random"
            self._say(f"the same again: {reason}")

    def _new(self) -> None:
        self.conversation.restart()

    def _text(self) -> None:
        text = self.conversation.text.removesuffix(self.conversation.record_end)
        self.show(text[at : at + _PIECE] for at in range(0, len(text), _PIECE))

    def _save(self, file: str) -> None:
        if not file:
            raise UsageError("/save needs the name of a file")
        path = os.path.expanduser(file)
        text = self.conversation.text
        atomic_write(path, text)
        self._say(f"{counted(len(text), 'byte')} in {quote(path)}")

    def _reset(self, name: str) -> None:
        known = name.removeprefix("/").replace("-", "_")
        if name and known not in SETTINGS:
            raise _unknown(name, known, SETTINGS)
        names = [known] if name else SETTINGS
        self.conversation.reset(*names)
        self._say("\n".join(f"{_word(each)} {self._value(each)}" for each in names))

    def _help(self) -> None:
        commands = [(f"{_word(name)} {each.metavar}".rstrip(), each.help) for name, each in _COMMANDS.items()]
        options = [
            (f"{_word(name)} {_OPTIONS[name]['metavar']}", f"{_OPTIONS[name]['help']} [{self._value(name)}]")
            for name in SETTINGS
        ]
        lines = (
            r"A line is a prompt, with \n \t \\ for a newline, a tab and a backslash; // begins one with /.",
            "Up and down are earlier lines, Tab completes commands. /temp alone prints it, /stop none unsets it.",
        )
        self._say(Page((), lines, (Group("Commands", commands), Group("Options", options))).render().rstrip("\n"))

    def _value(self, name: str) -> str:
        """Return the value of an option now, as it is written."""
        value = getattr(self.conversation.config, name)
        if name == "stop":
            return " ".join(f"'{Escaped().write(text)}'" for text in value) or _NONE
        if value is None:
            shown = _OPTIONS[name]["shown"] or _NONE
            if name == "seed":
                last = self.conversation.seed
                shown = "a new one for each text" + ("" if last is None else f"; the last was {last}")
            return str(shown)
        return f"{value:g}" if isinstance(value, float) else str(value)

    def _say(self, text: str) -> None:
        self.console.write_text(text + "\n")


def _unquoted(value: str) -> str:
    """Return a value without spaces around it, and without quotes around it, which keep spaces."""
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] in "'\"" else value


def _unknown(word: str, name: str, names: tuple[str, ...] = (*_COMMANDS, *SETTINGS)) -> UsageError:
    """Return what a word that is no command means."""
    if instead := tried("sample", name):
        return UsageError(f"there is no {word}; {instead.render(_word)}")
    near = did_you_mean(name, names, _word)
    return UsageError(f"there is no {word}{near}; /help lists commands, and // begins a prompt with /")


class _Interruption:
    """Ctrl-C while a text is drawn: it ends the block, and while it is deferred only what is in it has begun."""

    def __init__(self) -> None:
        self._is_deferred = self._came = False

    def __enter__(self) -> "_Interruption":
        self._before = signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        signal.signal(signal.SIGINT, self._before)
        return kind is KeyboardInterrupt

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let what is in the block be done first."""
        self._is_deferred = True
        yield
        self._is_deferred = False
        if self._came:
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        if not self._is_deferred:
            raise KeyboardInterrupt

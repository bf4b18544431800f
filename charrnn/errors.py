"""Faults of the user's making, each with the exit code the command line ends with; and what was probably meant.

A fault of ours is an `assert`, never one of these.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Self


class CharRNNError(Exception):
    """A failure that one sentence explains: something outside the program did not work.

    Args:
        text: the sentence. `{seq_len}` stands for the option of that name where `fields` has it: a flag on the command
            line, an argument in Python, as `str(error)` has it.
        fields: the names of the options.
    """

    exit_code = 1

    def __init__(self, text: str = "", fields: Sequence[str] = ()) -> None:
        self.text, self.fields = text, tuple(fields)
        super().__init__(self.render(str))

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (self.text, self.fields)

    def render(self, name: Callable[[str], str]) -> str:
        """Return the sentence, each option as `name` writes it."""
        text = self.text
        for field in self.fields:
            text = text.replace(f"{{{field}}}", name(field))
        return text

    def prefixed(self, prefix: str) -> Self:
        """Return the same error, its sentence after a prefix that says where it happened."""
        return type(self)(f"{prefix}: {self.text}", self.fields)


class UsageError(CharRNNError):
    """An option, its value or a combination of them cannot be used."""

    exit_code = 2


class CheckpointError(CharRNNError):
    """A checkpoint file is missing, corrupt, hostile or of another kind."""

    exit_code = 3


class InputError(CharRNNError):
    """A text cannot be read, decoded or is too short."""

    exit_code = 4


class NonFiniteError(CharRNNError):
    """A loss, a gradient or a weight is not a finite number; without a text: what a model computes is not."""

    exit_code = 5

    def __init__(
        self,
        text: str = "the model's figures are not finite: its weights are unusable",
        fields: Sequence[str] = (),
    ) -> None:
        super().__init__(text, fields)


class OutputError(CharRNNError):
    """A file or a stream cannot be written."""


class LostProcessError(CharRNNError):
    """One of several processes that train together has ended, or does not answer."""


class Interrupted(CharRNNError):  # noqa: N818 (it is no error)
    """A signal asked the program to end.

    Args:
        text: what was saved and how to continue.
        signal_number: the signal; the exit code is 128 more, as shells count.
    """

    def __init__(self, text: str, signal_number: int) -> None:
        super().__init__(text)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), (self.text, self.signal_number)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether memory ended, whoever says so: Python, PyTorch, the dynamic linker or C++."""
    said = isinstance(error, RuntimeError | ImportError | OSError) and _NO_MEMORY.search(str(error))
    return isinstance(error, MemoryError) or bool(said)


_NO_MEMORY = re.compile(
    "can't allocate memory|cannot allocate memory|out of memory|not enough memory|failed to map segment|bad_alloc", re.I
)


def counted(number: float, noun: str, form: str = ",") -> str:
    """Return a number of things as people write it: `1 token`, `2,000 tokens`; `form` is the number's format."""
    text = format(number, form)
    return f"{text} {noun}" + "s" * (text != "1")


_LONGEST = 60
"""Characters of a word that may have been mistyped."""


def did_you_mean(word: str, words: Iterable[str], write: Callable[[str], str] = repr) -> str:
    """Return what a message about a wrong word ends with: `; did you mean 'hidden'?`, or nothing where no word is
    likely.

    Args:
        words: the right ones. write: how they are written.
    """
    near = nearest(word, words)
    return "" if near is None else f"; did you mean {write(near)}?"


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant: the one that takes the fewest edits, at most one for three letters, or
    of which one is the beginning of the other; None where there is none. Case, `-` and `_` make no difference."""
    best: tuple[int, str] | None = None
    plain = _plain(word)
    for each in words if 0 < len(plain) <= _LONGEST else ():
        shorter, longer = sorted((plain, _plain(each)), key=len)
        is_beginning = len(shorter) > 2 and longer.startswith(shorter)
        missing = len(longer) - len(shorter)
        edits = _edits(shorter, longer) if not is_beginning and missing <= len(longer) // 3 else missing
        if (edits <= len(longer) // 3 or is_beginning) and (best is None or edits < best[0]):
            best = edits, each
    return None if best is None else best[1]


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "")


def _edits(one: str, other: str) -> int:
    """Return how many letters to insert, remove, replace or swap with the next make one word the other (optimal string
    alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        before, last, row = row, before, [i + 1]
        for j, wanted in enumerate(other):
            edits = min(before[j] + (letter != wanted), before[j + 1] + 1, row[j] + 1)
            if i and j and letter == other[j - 1] and one[i - 1] == wanted:
                edits = min(edits, last[j - 1] + 1)
            row.append(edits)
    return row[-1]

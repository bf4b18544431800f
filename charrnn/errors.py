"""Faults of the user's making, each with the exit code the command line ends with.

A fault of ours is an `assert`, never one of these.
"""

from collections.abc import Callable, Sequence
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

"""Faults of the user's making, each with the exit code the command line ends with.

A fault of ours is an `assert`, never one of these.
"""


class CharRNNError(Exception):
    """A failure to be told in one sentence: something outside the program did not work."""

    exit_code = 1


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
    """A loss, a gradient or a weight is not a finite number; without a message: what a model computes is not."""

    exit_code = 5

    def __init__(self, message: str = "the model's figures are not finite: its weights are unusable") -> None:
        super().__init__(message)


class OutputError(CharRNNError):
    """A file or a stream cannot be written."""


class Interrupted(CharRNNError):  # noqa: N818 (it is no error)
    """A signal asked the program to end.

    Args:
        message: what was saved and how to go on.
        signal_number: the signal; the exit code is 128 more, as shells count.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

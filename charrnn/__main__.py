"""`python -m charrnn` and the `charrnn` command: from arguments to an exit code."""

import os
import signal
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done, 1 failure, 2 usage, 3 checkpoint unusable, 4 text unusable, 5 numbers
        not finite, 10 a condition was not met, 128 + N ended by signal N, 141 nobody reads stdout any more.
    """
    try:
        return _run(arguments, time.monotonic())
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(arguments: Sequence[str] | None, started: float) -> int:
    from typer.exceptions import TyperException

    from charrnn.cli.app import parse
    from charrnn.cli.options import sentence
    from charrnn.config.options import flag
    from charrnn.console.streams import Console, discard
    from charrnn.errors import CharRNNError
    from charrnn.launcher import record_failure
    from charrnn.version import __version__

    console = Console()

    def flush_stdout() -> None:
        """Flush what was written before a failure, if that is possible."""
        try:
            console.flush()
        except (OSError, CharRNNError):
            discard(sys.stdout)

    def end(message: str, code: int, *, trace: bool = False) -> int:
        flush_stdout()
        if trace or os.environ.get("CHARRNN_DEBUG"):
            console.print_traceback()
        console.error(message)
        record_failure(message)
        return code

    try:
        command = parse(arguments)
        code = command if isinstance(command, int) else command(started=started)
        console.flush()
        return code
    except CharRNNError as error:
        return end(error.render(flag), error.exit_code)
    except TyperException as error:
        return end(sentence(error), 2)
    except BrokenPipeError:
        discard(sys.stdout)
        return 128 + 13  # SIGPIPE
    except Exception as error:
        if outside := _outside_cause(error):
            return end(outside, 1)
        return end(f"This is a bug in charrnn {__version__}; the traceback above shows where", 1, trace=True)
    finally:
        flush_stdout()


def _outside_cause(error: Exception) -> str:
    """Return a sentence where the system refused something: memory, a thread, a file; else nothing."""
    from charrnn.errors import is_out_of_memory

    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no thread can be started: too many processes, or not enough memory (ulimit -u, ulimit -v)"
    if is_out_of_memory(error):
        return "not enough memory: a smaller model, and in training a smaller --batch, needs less (see ulimit -v)"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename!r}: {error.strerror}"
    return ""


if __name__ == "__main__":
    sys.exit(main())

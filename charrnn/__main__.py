"""`python -m charrnn` and the `charrnn` command: from arguments to an exit code."""

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code: 0 done, 1 failure, 2 usage, 3 checkpoint unusable, 4 text unusable, 5 numbers
        not finite, 128 + N ended by signal N, 141 nobody reads stdout any more.
    """
    started = time.monotonic()
    from typer.exceptions import TyperException

    from charrnn.cli import parse
    from charrnn.console import Console
    from charrnn.errors import CharRNNError

    console = Console()
    try:
        command = parse(arguments)
        code = command if isinstance(command, int) else command(started=started)
        console.flush()
        return code
    except (CharRNNError, TyperException) as error:
        if os.environ.get("CHARRNN_DEBUG"):
            traceback.print_exc()
        _flush_quietly(console)
        message = error.format_message() if isinstance(error, TyperException) else str(error)
        console.error(message)
        return error.exit_code if isinstance(error, CharRNNError) else 2
    except BrokenPipeError:
        return _gone()
    except KeyboardInterrupt:
        _flush_quietly(console)
        return 128 + signal.SIGINT
    except MemoryError:
        console.error("not enough memory; a smaller --hidden or --batch needs less")
        return 1
    except Exception:
        from charrnn import __version__

        _flush_quietly(console)
        traceback.print_exc()
        console.tell(f"This is a bug in charrnn {__version__}. What is above tells where.")
        return 1


def _flush_quietly(console: object) -> None:
    """What was written before a failure still goes out, if it can."""
    try:
        console.flush()  # type: ignore[attr-defined]
    except Exception:
        _gone()


def _gone() -> int:
    """Nobody reads stdout: let nothing be written there any more, not even when Python ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # SIGPIPE


if __name__ == "__main__":
    sys.exit(main())

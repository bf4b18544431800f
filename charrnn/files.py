"""Files that are whole or absent, and a lock that dies with its holder.

Every failure is one sentence that names the path, quoted so that no newline or escape sequence in
a file's name reaches a terminal.
"""

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from charrnn.errors import CharRNNError, OutputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


PathLike = str | os.PathLike[str]


TEMPORARY = re.compile(r"\..+\.tmp-[0-9a-f]{16}", re.DOTALL)


LARGEST_WRITE = 1 << 30  # bytes; macOS refuses 2 GiB and more in one call


NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)


CREATE: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | getattr(os, "O_BINARY", 0)


UNSYNCABLE = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES}  # of a folder: it knows no fsync


def quote(path: PathLike) -> str:
    """A path for a message: in quotes, with whatever cannot be printed escaped."""
    return repr(os.fspath(path))


def atomic_write(
    path: PathLike,
    data: bytes,
    *,
    verify: Callable[[Path], None] | None = None,
    before_replace: Callable[[], None] | None = None,
) -> None:
    """Make a file hold `data`, durably; whoever reads it sees all of the old or all of the new.

    A symbolic link is kept and its target replaced. A file that exists keeps its mode.

    Args:
        path: the file; it need not exist, its folder must.
        data: all that it is to hold.
        verify: called with the finished temporary file; the old file stays if it raises.
        before_replace: called right before the old file is replaced; likewise.

    Raises:
        OutputError: the file cannot be written. Then, as after any other exception, the path is
            what it was, and no temporary file is left. (Where there are no hard links and only
            the last step fails, the fsync of the folder, the new file stays.)
    """
    target = os.path.realpath(path)
    temporary = _temporary(target)
    try:
        mode = _mode(target)
        # The kernel applies the umask to a new file's 0666. One that may be private starts private.
        descriptor = os.open(temporary, CREATE, 0o666 if mode is None else 0o600)
        try:
            try:
                _write_all(descriptor, data)
                os.fsync(descriptor)
                if hasattr(os, "fchmod"):
                    os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) if mode is None else mode)
            finally:
                os.close(descriptor)
            if verify is not None:
                verify(Path(temporary))
            if before_replace is not None:
                before_replace()
            _replace(temporary, target, new=mode is None)
        except BaseException:
            _remove(temporary)
            raise
    except OSError as error:
        raise OutputError(f"cannot write {quote(path)}: {error_reason(error)}") from error


def cache_folder() -> Path:
    """The user's folder for what can be made again: `$XDG_CACHE_HOME/charrnn`, or the system's own place.

    It need not exist.
    """
    from platformdirs import user_cache_path  # here, as most commands need no cache

    return user_cache_path("charrnn", appauthor=False)


def prune_temporaries(directory: PathLike) -> int:
    """Remove the temporary files that killed writers left in a folder; returns their number.

    Only for whoever holds the folder's lock: a file that is being written looks the same.
    """
    try:
        names = os.listdir(directory)
    except OSError:
        return 0  # nothing that could be removed
    evals_beyond_recovery = [os.path.join(directory, name) for name in names if TEMPORARY.fullmatch(name)]
    return sum(map(_remove, evals_beyond_recovery))


class Lock:
    """Holds a folder for one process, in a `with` block. A killed process holds nothing.

    Args:
        path: the lock's file, made if need be. It stays, and says nothing by being there.

    Raises:
        CharRNNError: another process holds it; the message has its pid. Raised on entering.
        OutputError: the file cannot be made or locked. Raised on entering.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> "Lock":
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o666)
            try:
                try:
                    _lock(descriptor)
                except BlockingIOError:
                    holder = os.read(descriptor, 32).strip().decode("ascii", "replace")
                    raise CharRNNError(
                        f"{quote(os.path.dirname(os.path.abspath(self._path)))} is in use by process "
                        + (holder or "of unknown number")
                    ) from None
                os.ftruncate(descriptor, 0)
                _write_all(descriptor, f"{os.getpid()}\n".encode())
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise OutputError(f"cannot lock {quote(self._path)}: {error_reason(error)}") from error
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not unlinked: another process may have opened the file and be about to lock it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def _temporary(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.tmp-{os.urandom(8).hex()}")


def _mode(target: str) -> int | None:
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):  # replacing /dev/null would be a calamity
        raise OSError(errno.EINVAL, "Not a regular file")
    return stat.S_IMODE(status.st_mode)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[:LARGEST_WRITE]) :]


def _replace(temporary: str, target: str, new: bool) -> None:
    """Put the new file in the old one's place for good, or leave the old one there."""
    kept = _temporary(target)
    try:
        if not new:
            with contextlib.suppress(OSError):  # no hard links here
                os.link(target, kept)
        os.replace(temporary, target)
        try:
            _sync(os.path.dirname(target))
        except OSError:
            if new:
                _remove(target)
            elif os.path.lexists(kept):
                os.replace(kept, target)
            raise
    finally:
        _remove(kept)


def _sync(folder: str) -> None:
    """Make a folder's entries outlast a loss of power, where the file system knows how."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSYNCABLE:
            raise


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _lock(descriptor: int) -> None:
    """Take the lock or raise BlockingIOError."""
    if sys.platform == "win32":
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # beyond the pid, which others are to read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def error_reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the file is cut short"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__

"""Atomic writes of files, a lock on a folder, and paths quoted for messages.

Every failure is one sentence that names the path, quoted so that no newline or escape sequence in a file's name
reaches a terminal.
"""

import contextlib
import errno
import os
import re
import stat
import sys
import time
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

MAX_WRITE = 1 << 30  # bytes; macOS refuses 2 GiB and more in one call

NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)

CREATE: int = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | getattr(os, "O_BINARY", 0)

FSYNC_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES}  # of a folder

LOCK_PROBE: int = (os.O_RDWR if sys.platform == "win32" else os.O_RDONLY | os.O_NONBLOCK) | NOFOLLOW

LOCK_WAIT = 0.3  # seconds; who only asks whether a lock is held, or prunes, has it for a moment

LINK_UNSUPPORTED = {*FSYNC_UNSUPPORTED, errno.EOPNOTSUPP, errno.EPERM, errno.EMLINK, errno.EXDEV}


def quote(path: PathLike) -> str:
    """Return a path for a message: in quotes, with unprintable characters escaped."""
    return repr(os.fspath(path))


def atomic_write(
    path: PathLike,
    data: bytes,
    *,
    verify: Callable[[Path], None] | None = None,
    before_replace: Callable[[], None] | None = None,
) -> None:
    """Replace a file's content atomically and durably: a reader sees all of the old or all of the new content.

    A symbolic link is kept and its target replaced. A file that exists keeps its mode.

    Args:
        path: the file; it need not exist, its folder must.
        data: the new content.
        verify: called with the finished temporary file; if it raises, the old file stays.
        before_replace: called right before the old file is replaced; if it raises, the old file stays.

    Raises:
        OutputError: the file cannot be written. Then, as after any other exception, the path is unchanged and no
            temporary file is left. (Where the file system has no hard links and only the last step fails, the fsync of
            the folder, the new file stays.)
    """
    target = os.path.realpath(path)
    temporary = _temporary_path(target)
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


def duplicate(source: PathLike, target: PathLike) -> None:
    """Give the content of a file to another path too, atomically; where there are hard links, without copying.

    Symbolic links are kept. The content is shared: either path is only ever to be replaced, never written into.

    Raises:
        OSError: the source cannot be read, or the target not be replaced; then it is as it was.
        OutputError: as `atomic_write`, where a copy is made.
    """
    source, target = os.path.realpath(source), os.path.realpath(target)
    temporary = _temporary_path(target)
    try:
        os.link(source, temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno not in LINK_UNSUPPORTED:
            raise
        atomic_write(target, Path(source).read_bytes())
    finally:
        _remove(temporary)  # replacing leaves it where both paths had one content before


def cache_folder() -> Path:
    """Return the user's cache folder: `$XDG_CACHE_HOME/charrnn`, or where the system keeps caches. It may not exist."""
    from platformdirs import user_cache_path  # late: most commands need no cache

    return user_cache_path("charrnn", appauthor=False)


def prune_temporaries(directory: PathLike) -> int:
    """Remove the temporary files that killed writers have left in a folder; return how many.

    The caller must hold the folder's lock: a file that is being written has such a name too.
    """
    try:
        names = os.listdir(directory)
    except OSError:
        return 0  # there is no such folder
    return sum(_remove(os.path.join(directory, name)) for name in names if TEMPORARY.fullmatch(name))


class Lock:
    """An exclusive lock on a folder, held in a `with` block. The lock of a killed process is released.

    Args:
        path: the lock file, created if it does not exist. It is not removed; that it exists does not mean that the
            lock is held.

    Raises:
        CharRNNError: on entering: another process holds the lock; the message has its pid.
        OutputError: on entering: the file cannot be created or locked.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> "Lock":
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | NOFOLLOW, 0o666)
            try:
                if not _lock_soon(descriptor):
                    holder = os.read(descriptor, 32).strip().decode("ascii", "replace")
                    raise CharRNNError(
                        f"{quote(os.path.dirname(os.path.abspath(self._path)))} is in use by process "
                        + (holder or "of unknown number")
                    )
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
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The file is not unlinked: another process may have opened it and be about to lock it.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def is_locked(path: PathLike) -> bool:
    """Return whether a process holds this `Lock`; the file is neither created nor changed."""
    try:
        descriptor = os.open(path, LOCK_PROBE)
    except OSError:
        return False
    try:
        if not os.fstat(descriptor).st_size:  # who has it writes a number into it
            return False
        _lock(descriptor, shared=True)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _temporary_path(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.tmp-{os.urandom(8).hex()}")


def _mode(target: str) -> int | None:
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):  # /dev/null, say, must not be replaced
        raise OSError(errno.EINVAL, "Not a regular file")
    return stat.S_IMODE(status.st_mode)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[:MAX_WRITE]) :]


def _replace(temporary: str, target: str, new: bool) -> None:
    """Replace the old file by the new one, durably; on failure the old one stays."""
    backup = _temporary_path(target)
    try:
        if not new:
            with contextlib.suppress(OSError):  # the file system has no hard links
                os.link(target, backup)
        os.replace(temporary, target)
        try:
            _sync(os.path.dirname(target))
        except OSError:
            if new:
                _remove(target)
            elif os.path.lexists(backup):
                os.replace(backup, target)
            raise
    finally:
        _remove(backup)


def _sync(folder: str) -> None:
    """Flush a folder's entries to the disk, where the file system can."""
    if sys.platform == "win32":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in FSYNC_UNSUPPORTED:
            raise


def _remove(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _lock_soon(descriptor: int) -> bool:
    """Take the lock; return whether that was possible within `LOCK_WAIT`."""
    end = time.monotonic() + LOCK_WAIT
    while True:
        try:
            _lock(descriptor)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        else:
            return True


def _lock(descriptor: int, *, shared: bool = False) -> None:
    """Take the lock, or share it with others that share it. Raise BlockingIOError if another process has it."""
    if sys.platform == "win32":
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # behind the pid, which others may read
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def error_reason(error: Exception) -> str:
    """Return what went wrong, for the end of a message, without the path that an OSError adds."""
    if isinstance(error, EOFError):
        return "the file is truncated"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__

"""Download a known corpus: once, checked against the digest of its recipe, into the user's cache folder."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from charrnn.corpus.documents import ProgressFactory
from charrnn.errors import CharRNNError
from charrnn.files import cache_folder, quote

TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and between two chunks."""

RETRY_DELAYS = (1.0, 3.0)
"""Seconds before each further attempt, where the connection or the server has failed."""

_MAX_REDIRECTS = 5

_CHUNK_BYTES = 1 << 16


class _FetchError(Exception):
    """What is wrong with a server's answer, and whether another attempt may succeed."""

    def __init__(self, cause: str, *, transient: bool = False) -> None:
        super().__init__(cause)
        self.transient = transient


def cached(name: str, size: int, sha256: str) -> Path | None:
    """Return the file of a corpus that has been fetched and is whole; None if there is none."""
    path = cache_folder() / "corpora" / f"{name}.txt"
    try:
        if path.stat().st_size == size and hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    except OSError:
        pass  # as good as absent
    return None


def fetch(name: str, url: str, size: int, sha256: str, progress: ProgressFactory) -> Path:
    """Return the file of a corpus: the cached one, or a new one that appears there only when it is whole.

    Args:
        name: of the corpus. url: where it lies. size: its bytes. sha256: their digest, in hex.
        progress: shows progress.

    Raises:
        CharRNNError: it cannot be fetched; the message says how to do without.
    """
    path = cached(name, size, sha256)
    if path is not None:
        return path
    import pooch  # here, as nothing else needs a network

    pooch.get_logger().disabled = True  # messages are ours
    folder = cache_folder() / "corpora"
    for wait in (*RETRY_DELAYS, None):
        try:
            with progress(f"fetching {name}", size) as advance:
                return Path(
                    pooch.retrieve(
                        url,
                        known_hash=f"sha256:{sha256}",
                        fname=f"{name}.txt",
                        path=folder,
                        downloader=_Downloader(size, advance),
                    )
                )
        except _FetchError as error:
            if not error.transient or wait is None:
                raise _refusal(name, url, str(error)) from None
            time.sleep(wait)
        except ValueError:  # pooch's, a page long
            raise _refusal(name, url, "what came does not have the SHA-256 of the recipe") from None
        except OSError as error:
            raise CharRNNError(f"cannot keep {name} in {quote(folder)}: {error.strerror or error}") from None
    raise AssertionError("unreachable")


def _refusal(name: str, url: str, cause: str) -> CharRNNError:
    return CharRNNError(
        f"cannot fetch {name} from {url}: {cause}; a file fetched in another way can be named by its path"
    )


class _Downloader:
    """Downloads a URL for pooch: over https all the way, and no more than is expected."""

    def __init__(self, size: int, advance: Callable[[int], None]) -> None:
        self.size, self.advance = size, advance

    def __call__(self, url: str, output: str, pooch: Any) -> None:
        import requests

        try:
            with requests.Session() as session, _opened(session, url) as response, open(output, "wb") as file:
                got = 0
                for chunk in response.iter_content(_CHUNK_BYTES):
                    got += len(chunk)
                    if got > self.size:
                        raise _FetchError(f"more came than the {self.size:,} bytes of the recipe")
                    file.write(chunk)
                    self.advance(len(chunk))
        except requests.RequestException as error:
            passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
            raise _FetchError(_cause(error), transient=isinstance(error, passing)) from None


def _opened(session: Any, url: str) -> Any:
    """Return the answer of the last address to which redirects lead."""
    for _ in range(_MAX_REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme != "https" and (parts.scheme, parts.hostname) != ("http", "127.0.0.1"):
            raise _FetchError(f"it leads to {url[:200]}, which is not https")
        response = session.get(url, stream=True, timeout=TIMEOUT, allow_redirects=False)
        if response.status_code == 200:
            return response
        response.close()
        if not response.is_redirect:
            code = response.status_code
            raise _FetchError(f"the server answers {code} {response.reason}", transient=code >= 500)
        url = urljoin(url, response.headers["location"])
    raise _FetchError("too many redirects")


def _cause(error: Exception) -> str:
    """Return the message of the innermost error: libraries wrap what the system said."""
    seen: list[BaseException] = [error]
    while (inner := seen[-1].__cause__ or seen[-1].__context__) is not None and inner not in seen and len(seen) < 20:
        seen.append(inner)
    last = seen[-1]
    return (
        (last.strerror if isinstance(last, OSError) and last.strerror else "") or str(last)[:200] or type(last).__name__
    )

"""What every test stands on: an environment without the user's settings, in an empty folder."""

import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from charrnn.machine import configure_threading

if TYPE_CHECKING:
    from tests import tiny

# A test run started in the background, or by nohup, ignores these, and every program it starts would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Programs that tests start are compiled once, and buffer what they write, as a user's do.
for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
    os.environ.pop(name, None)

configure_threading()  # before anything imports NumPy or torch: tests may run beside other programs


def pytest_collection_finish() -> None:
    """What has been collected stays, and is not searched for garbage time and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the user's reaches a test, and no file of a test reaches the user."""
    for name in list(os.environ):
        if name.startswith("CHARRNN_") or name in ("NO_COLOR", "CI", "GITHUB_ACTIONS", "TERM"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> "tiny.Program":
    """The program, in this process."""
    from tests import tiny  # what many tests do not need

    return tiny.Program(capfdbinary, monkeypatch)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real texts, which lie beside the checkout and not in it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the texts of ../shared/data are not here")
    return folder

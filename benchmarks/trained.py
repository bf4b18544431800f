"""The results of a training, as the program reports them."""

import json
import subprocess
import sys
from typing import Any


def trained(*arguments: str) -> dict[str, Any]:
    """The first `plan` event of `charrnn train` with these arguments, and the `done` event over it."""
    command = [sys.executable, "-m", "charrnn", "train", *arguments, "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    lines = run.stdout.splitlines()
    event: dict[str, Any] = {**json.loads(lines[0]), **json.loads(lines[-1])}
    return event

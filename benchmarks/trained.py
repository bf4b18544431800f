"""What comes of a training, told by the program itself."""

import json
import subprocess
import sys
from typing import Any


def trained(*arguments: str) -> dict[str, Any]:
    """The `done` event of `charrnn train` with these arguments."""
    command = [sys.executable, "-m", "charrnn", "train", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    event: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return event

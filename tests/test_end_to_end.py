"""The program as a whole: it needs no network, and what it trains knows language from noise."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

TEXT = "\n".join(topics[topic] for topic in sorted(topics)).encode()

OFFLINE = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        print("network:", event, arguments, file=sys.stderr)
        raise PermissionError("no network here")

sys.addaudithook(refuse)
from charrnn.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def offline(*words: str) -> bytes:
    """Run the program where every use of a socket fails; return its stdout."""
    done = subprocess.run([sys.executable, "-c", OFFLINE, *words], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"network:" not in done.stderr
    return done.stdout


def test_se_08_without_a_network() -> None:
    """SE-08, EV-19: training, sampling and scoring; and held-out text has a lower loss than its characters shuffled."""
    Path("text.txt").write_bytes(TEXT[:40_000])
    held_out = TEXT[40_000:44_000].decode()
    Path("held-out.txt").write_bytes(held_out.encode())
    shuffled_text = "".join(random.Random(1).sample(held_out, len(held_out)))  # noqa: S311
    Path("shuffled.txt").write_bytes(shuffled_text.encode())
    small = ("--hidden", "32", "--steps", "150", "--threads", "1")
    path = offline("train", "text.txt", "--out", "run", *small).decode().strip()
    assert path == os.path.join("run", "model.safetensors")
    assert offline("sample", "-m", "run", "-l", "50", "--seed", "1")
    rows = offline("eval", "-m", "run", "held-out.txt", "shuffled.txt", "--json").splitlines()
    text, shuffled = (json.loads(row)["perplexity"] for row in rows[:2])
    assert text < 0.8 * shuffled

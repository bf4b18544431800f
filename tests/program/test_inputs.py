"""What is read of the texts that the command line names, and what is said of the rest."""

import json
import os
from pathlib import Path

import pytest

from tests.program.conftest import TINY
from tests.program.program import charrnn
from tests.tiny import Ran


def train(folder: Path, *words: str, stdin: bytes = b"", timeout: float = 60) -> tuple[Ran, int]:
    """Train one step in a folder; return what the program said, and how many characters it read if all went well."""
    options = ("--overwrite", "--out", "run", "--json", *TINY, "--steps", "1", "--engine", "native")
    ran = charrnn("train", *words, *options, cwd=folder, stdin=stdin, timeout=timeout)
    if ran.code:
        return ran, 0
    plan = json.loads(ran.out.splitlines()[0])
    return ran, plan["train_tokens"] + plan["val_tokens"]


@pytest.mark.parametrize("name", ["tree", "tree/**/*.txt"])
def test_a_file_is_read_once_however_many_links_lead_to_it(name: str, tmp_path: Path) -> None:
    """Folders behind links are followed once: links to where they stand, or to one another, lead nowhere."""
    for number, path in enumerate(("tree/a/b.txt", "tree/c.txt", "beside/d.txt")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x" * 100 * 10**number)
    for link, target in (("self", "."), ("again", "."), ("a/up", ".."), ("out", "../beside"), ("a/e.txt", "../c.txt")):
        os.symlink(target, tmp_path / "tree" / link)
    ran, chars = train(tmp_path, name, timeout=20)
    assert (ran.code, chars) == (0, 11_100), ran.err

"""What tests of `charrnn eval` share: models in the folder `checkpoints`, and how its rows are read."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny
from tests.scoring.oracle import ids_of, nats_of


@cache
def models() -> dict[str, Checkpoint]:
    """Return models by name: their weights are at random, but those of `letters`, which knows how often some occur."""
    return {
        "char": tiny.drawn(tiny.char()),
        "other": tiny.drawn(tiny.char(), seed=2),
        "byte": tiny.drawn(ByteTokenizer()),
        "pieces": tiny.drawn(tiny.pieces()),
        "records": tiny.drawn(tiny.char(), separator=b"\n"),
        "letters": tiny.unigram(tiny.char(), {bytes([letter]): 4.0 for letter in b"the king\n"}),
    }


@cache
def _data(name: str) -> bytes:
    return checkpoint.to_bytes(models()[name])


def write_models() -> None:
    """Write the models as runs of these names."""
    for name in models():
        folder = Path("checkpoints", name)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(_data(name))


def nats(name: str, text: bytes, prompt: bytes = b"") -> list[float]:
    """Return the nats of the tokens of a text, by the equations alone."""
    model = models()[name]
    found: list[float] = nats_of(model, ids_of(model, text), ids_of(model, prompt)).tolist()
    return found


def bits(name: str, *parts: bytes) -> list[float]:
    """Return the bits of consecutive parts of a text, each a number of whole tokens."""
    found = np.cumsum([0.0, *nats(name, b"".join(parts))]) / np.log(2)
    ends = np.cumsum([0, *(len(ids_of(models()[name], part)) for part in parts)])
    return [float(each) for each in np.diff(found[ends])]


def perplexity(name: str, text: bytes, prompt: bytes = b"") -> float:
    """Return the perplexity of a text, by the equations alone."""
    return float(np.exp(np.mean(nats(name, text, prompt))))


def rows(data: bytes) -> list[list[bytes]]:
    """Return the columns of each line."""
    assert data.endswith(b"\n")
    return [line.split(b"\t") for line in data[:-1].split(b"\n")]


def column(data: bytes, index: int = 0) -> list[float]:
    """Return a column of numbers."""
    return [float(row[index]) for row in rows(data)]


def objects(data: bytes) -> list[dict[str, Any]]:
    """Return JSON Lines; the standard's JSON, which knows neither NaN nor infinity."""

    def refuse(name: str) -> float:
        raise AssertionError(name)

    return [json.loads(line, parse_constant=refuse) for line in data.decode().split("\n")[:-1]]


def texts(found: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return the last column."""
    return [row[-1] for row in found]

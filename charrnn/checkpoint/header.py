"""What a checkpoint file says of itself: its header, read without believing it.

Nothing here takes memory or time that a file could ask for, however large its claims.
"""

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.errors import CheckpointError
from charrnn.files import PathLike, quote
from charrnn.network.architecture import Architecture

MAX_HEADER = 1_000_000  # bytes; the format allows a hundred times more, our largest model needs 0.1


MAX_TENSORS = 1_000


METADATA = "charrnn"  # the one metadata key: safetensors writes several in no fixed order


TensorSpec = tuple[str, tuple[int, ...]]  # a tensor's dtype, as safetensors calls it, and shape


FOREIGN = (
    (0, rb"PK\x03\x04", "a zip archive, which is how PyTorch saves"),
    (0, rb"\x80[\x02-\x05][^\x00]", "a Python pickle, which is never opened"),
    (0, rb"GGUF", "a GGUF model"),
    (0, rb"\x89PNG", "a PNG picture"),
    (0, rb"\x1f\x8b", "gzip-compressed"),
    (257, rb"ustar", "a tar archive"),
    (0, rb"[^\x00-\x08\x0e-\x1f]{8,}\Z", "text"),
)


VOCABULARY = "tokenizer.vocabulary"


TRAINING = "train."


MAX_SEPARATOR = 256  # ids


DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U64": np.uint64, "U8": np.uint8}


@dataclass(frozen=True)
class Header:
    """A header that is ours, none of it verified yet.

    Attributes:
        raw: its bytes, and before them the 8 that tell its length.
        document: our metadata; anything that is JSON may be in it.
        tensors: the dtype and shape that it claims for each tensor.
    """

    raw: bytes
    document: dict[str, Any]
    tensors: dict[str, TensorSpec]


@contextlib.contextmanager
def open_regular(path: PathLike) -> Iterator[FileIO]:
    """The regular file at `path`, not buffered, which would take 30 times as long.

    Raises:
        CheckpointError: it cannot be opened, or reading it fails within the `with` block.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CheckpointError(f"{quote(path)} is not a charrnn checkpoint: it is no regular file")
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CheckpointError(f"cannot read {quote(path)}: {error.strerror}{_beside(path)}") from None
    except ValueError as error:  # a NUL in the path
        raise CheckpointError(f"cannot read {quote(path)}: {error}") from None


def read_header(path: PathLike, file: FileIO) -> Header:
    """The header of a file just opened.

    Raises:
        CheckpointError: empty, not ours, or beyond the limits.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if not start:
        raise corrupt(path, "it is empty")
    if length > MAX_HEADER:
        raise _foreign(path, start + file.read(1024), f"a header of {length} bytes; at most {MAX_HEADER}")
    raw = start + file.read(length)
    try:
        if len(raw) < 8 + length:
            raise ValueError("it ends within its header")
        entries = _parse(raw[8:])
        document = _parse(entries.pop("__metadata__")[METADATA])
        found = {name: _tensor_spec(entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _foreign(path, raw[:1024], "its header is not one of ours") from None
    if len(found) > MAX_TENSORS:
        raise _foreign(path, b"", f"{len(found)} tensors; at most {MAX_TENSORS}")
    return Header(raw, document, found)


def corrupt(path: PathLike, why: str) -> CheckpointError:
    """To be raised where a writer of ours cannot have made the file as it is."""
    return CheckpointError(f"{quote(path)} is corrupt: {why}")


def short(value: object) -> str:
    """What a file says, fit for a message of one line."""
    text = str(value)
    return text[:200] if text.isascii() and text.isprintable() else ascii(text)[:200]


def _foreign(path: PathLike, head: bytes, why: str) -> CheckpointError:
    """To be raised where nothing shows that the file is ours; `head` is how it starts."""
    for place, pattern, kind in FOREIGN:
        if re.match(pattern, head[place:]):
            return CheckpointError(f"{quote(path)} is not a charrnn checkpoint: it looks like {kind}")
    return CheckpointError(f"{quote(path)} is not a charrnn checkpoint, or is corrupt: {why}")


def _parse(text: bytes | str) -> dict[str, Any]:
    """A JSON object; ValueError for anything that two readers might read differently."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key occurs twice")
        return found

    def finite(number: str) -> float:
        if not math.isfinite(float(number)):
            raise ValueError(f"{number} is not finite")
        return float(number)

    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _tensor_spec(entry: Mapping[str, Any]) -> TensorSpec:
    """A tensor's dtype and shape from its entry in the header."""
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("not a tensor")
    return dtype, tuple(shape)


def _beside(path: PathLike) -> str:
    names = sorted(file.name for file in Path(path).parent.glob("*.safetensors") if file != Path(path))
    return f"; beside it there is {', '.join(map(quote, names[:3]))}" if names else ""


def peek(path: PathLike) -> dict[str, Any]:
    """The metadata (`config`, `info`, ...) from the header alone, for listing: nothing is verified.

    Raises:
        CheckpointError: missing, no regular file, or its header is not ours.
    """
    with open_regular(path) as file:
        return read_header(path, file).document


def check_tensors(
    path: PathLike, architecture: Architecture, tokenizer_name: str, found: Mapping[str, TensorSpec]
) -> None:
    """Compare the header's tensors with those that the config asks for."""
    expected: dict[str, TensorSpec] = {name: ("F32", shape) for name, shape in architecture.shapes().items()}
    for name in found:
        dtype, shape = found[name]
        if name.startswith(TRAINING) and dtype in DTYPES:
            expected[name] = dtype, shape
    if tokenizer_name != "byte":  # how many symbols is for the tokenizer to judge
        dtype, shape = found.get(VOCABULARY, ("", ()))
        wanted = "U8" if tokenizer_name == "sentencepiece" else "U32"
        expected[VOCABULARY] = wanted, shape if len(shape) == 1 else (architecture.vocabulary - 1,)
    for name in sorted(expected.keys() | found.keys()):
        want, have = expected.get(name), found.get(name)
        if want != have:
            told = [f"{kind[0]} {list(kind[1])}" if kind else "none" for kind in (want, have)]
            raise unusable(path, f"tensor {short(name)}: expected {told[0]}, found {short(told[1])}")


def unusable(path: PathLike, why: str) -> CheckpointError:
    return CheckpointError(f"{quote(path)} cannot be used: {why}")

"""The header of a checkpoint file, which is not trusted: opened, parsed, and validated.

Nothing here allocates memory or spends time in proportion to what a file claims. `validate` and `validate_tokenizer`
have every limit of the format; the reader calls them, the writer, and the planner before a model is trained.
"""

import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from charrnn.errors import CheckpointError
from charrnn.files import PathLike, quote
from charrnn.network.architecture import Architecture
from charrnn.tokenizers.tokenizer import Tokenizer

MAX_HEADER = 1_000_000  # bytes; safetensors allows a hundred times more, our largest model needs 0.1


MAX_TENSORS = 1_000


MAX_SEPARATOR = 256  # ids


METADATA_KEY = "charrnn"  # one key alone: safetensors writes several in no fixed order


VOCABULARY = "tokenizer.vocabulary"


CLUSTERS = "head.clusters"


TRAINING = "train."


DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U64": np.uint64, "U8": np.uint8}
"""The dtypes of training tensors, as safetensors calls them."""


SIGNATURES = (
    (0, rb"PK\x03\x04", "a zip archive, which is how PyTorch saves"),
    (0, rb"\x80[\x02-\x05][^\x00]", "a Python pickle, which is never opened"),
    (0, rb"GGUF", "a GGUF model"),
    (0, rb"\x89PNG", "a PNG picture"),
    (0, rb"\x1f\x8b", "gzip-compressed"),
    (257, rb"ustar", "a tar archive"),
    (0, rb"[^\x00-\x08\x0e-\x1f]{8,}\Z", "text"),
)
"""Files of other kinds: at which byte, which bytes, and what they mean."""


class TensorSpec(NamedTuple):
    """A tensor's dtype, as safetensors calls it, and shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Header:
    """A header in our format. Nothing in it is verified.

    Attributes:
        raw: its bytes, with the 8 before them that hold its length.
        metadata: our JSON object; its values may be any JSON.
        tensors: the dtype and shape that it claims for each tensor.
        size: the bytes of the whole file, by its tensors.
    """

    raw: bytes
    metadata: dict[str, Any]
    tensors: dict[str, TensorSpec]
    size: int


@contextlib.contextmanager
def open_regular(path: PathLike) -> Iterator[FileIO]:
    """Open a regular file, unbuffered: through a buffer, reading takes 30 times as long.

    Raises:
        CheckpointError: it cannot be opened, is not a regular file, or cannot be read within the `with` block.
    """
    # Without O_NONBLOCK, opening a pipe that nobody writes to would block for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CheckpointError(f"{quote(path)} is not a charrnn checkpoint: it is not a regular file")
            with open(descriptor, "rb", buffering=0, closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)
    except OSError as error:
        raise CheckpointError(f"cannot read {quote(path)}: {error.strerror}{_neighbours(path)}") from None
    except ValueError as error:  # a NUL in the path
        raise CheckpointError(f"cannot read {quote(path)}: {error}") from None


def read_header(path: PathLike, file: FileIO) -> Header:
    """Return the header of a file that has just been opened.

    Raises:
        CheckpointError: the file is empty, not in our format, or its header is too long.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if not start:
        raise corrupt(path, "it is empty")
    if length > MAX_HEADER:
        raise _not_ours(path, start + file.read(1024), f"a header of {length} bytes; at most {MAX_HEADER}")
    raw = start + file.read(length)
    try:
        if len(raw) < 8 + length:
            raise ValueError("it ends within its header")
        entries = parse_object(raw[8:])
        metadata = parse_object(entries.pop("__metadata__")[METADATA_KEY])
        tensors = {name: _tensor_spec(entry) for name, entry in entries.items()}
        size = len(raw) + max((_end(entry) for entry in entries.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _not_ours(path, raw[:1024], "its header is not one of ours") from None
    return Header(raw, metadata, tensors, size)


def read_metadata(path: PathLike) -> tuple[dict[str, Any], bool]:
    """Return the metadata (`config`, `info`, ...) from the header alone, for listing models, and whether the file is as
    long as the header says. Nothing else is verified.

    Raises:
        CheckpointError: the file is missing, not a regular file, or its header is not in our format.
    """
    with open_regular(path) as file:
        header = read_header(path, file)
        return header.metadata, os.fstat(file.fileno()).st_size == header.size


def check_size(path: PathLike, file: FileIO, header: Header) -> None:
    """Raise CheckpointError if a file is not as long as its header says."""
    size = os.fstat(file.fileno()).st_size
    if size != header.size:
        raise corrupt(path, f"it has {size:,} bytes, not the {header.size:,} that its header says")


def validate(architecture: Architecture, tokenizer_name: str, tensors: Mapping[str, TensorSpec]) -> None:
    """Check the tensors of a file against its config and the limits of the format.

    Args:
        architecture: the file's config.
        tokenizer_name: `char`, `byte` or `sentencepiece`; which names exist is checked with the vocabulary.
        tensors: all tensors of the file, by name.

    Raises:
        ValueError: there are too many, or a tensor is missing, unexpected, or of another dtype or shape.
    """
    if len(tensors) > MAX_TENSORS:
        raise ValueError(f"{len(tensors)} tensors; at most {MAX_TENSORS}")
    expected = {name: TensorSpec("F32", shape) for name, shape in architecture.shapes().items()}
    if architecture.clusters:  # what it says is checked with the vocabulary
        expected[CLUSTERS] = TensorSpec("U8", (architecture.vocabulary,))
    if tokenizer_name != "byte":  # the tokenizer checks its vocabulary's length
        _, shape = tensors.get(VOCABULARY, ("", ()))
        dtype = "U8" if tokenizer_name == "sentencepiece" else "U32"
        expected[VOCABULARY] = TensorSpec(dtype, shape if len(shape) == 1 else (architecture.vocabulary - 1,))
    expected |= {name: spec for name, spec in tensors.items() if name.startswith(TRAINING) and spec.dtype in DTYPES}
    for name in sorted(expected.keys() | tensors.keys()):
        if expected.get(name) != tensors.get(name):
            found = short(tensors.get(name, "none"))
            raise ValueError(f"tensor {short(name)}: expected {expected.get(name, 'none')}, found {found}")


def validate_tokenizer(architecture: Architecture, tokenizer: Tokenizer, separator: object) -> Sequence[int]:
    """Check a file's vocabulary and record separator against its config; return the separator.

    Args:
        architecture: the file's config.
        tokenizer: made from the file's vocabulary.
        separator: the ids of the record separator, any JSON in an untrusted file; empty for a model of streams.

    Raises:
        ValueError: the vocabulary has another size, or the separator is not a list of at most MAX_SEPARATOR known ids.
    """
    if tokenizer.size != architecture.vocabulary:
        raise ValueError(f"{architecture.vocabulary} tokens in its config, {tokenizer.size} in its vocabulary")
    if not isinstance(separator, list) or len(separator) > MAX_SEPARATOR:
        raise ValueError(f"the separator is not a list of at most {MAX_SEPARATOR} tokens")
    if not all(type(each) is int and 0 <= each < tokenizer.size and each != tokenizer.unknown for each in separator):
        raise ValueError("a token of the separator is not in the vocabulary")
    return separator


def corrupt(path: PathLike, why: str) -> CheckpointError:
    """Return the error for a file that cannot be as our writer made it."""
    return CheckpointError(f"{quote(path)} is corrupt: {why}")


def unusable(path: PathLike, why: str) -> CheckpointError:
    """Return the error for a file that is intact, but not a valid checkpoint."""
    return CheckpointError(f"{quote(path)} cannot be used: {why}")


def short(value: object) -> str:
    """Return untrusted text in printable ASCII, at most 200 characters of it, for a message."""
    text = str(value)
    return text[:200] if text.isascii() and text.isprintable() else ascii(text)[:200]


def _not_ours(path: PathLike, head: bytes, why: str) -> CheckpointError:
    """Return the error for a file that may never have been a checkpoint; `head` is its first bytes."""
    for offset, pattern, meaning in SIGNATURES:
        if re.match(pattern, head[offset:]):
            return CheckpointError(f"{quote(path)} is not a charrnn checkpoint: it looks like {meaning}")
    return CheckpointError(f"{quote(path)} is not a charrnn checkpoint, or is corrupt: {why}")


def parse_object(text: bytes | str) -> dict[str, Any]:
    """Return a JSON object. Raise ValueError for anything that two parsers might read differently."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise ValueError("a key occurs twice")
        return entries

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
    """Return a tensor's dtype and shape from its entry in the header."""
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("not a tensor")
    return TensorSpec(dtype, tuple(shape))


def _end(entry: Mapping[str, Any]) -> int:
    """Return where a tensor ends, counted from the header's end."""
    _, end = entry["data_offsets"]
    if type(end) is not int or end < 0:
        raise ValueError("not a tensor")
    return end


def _neighbours(path: PathLike) -> str:
    """Return a hint at other checkpoints in the same folder, for the end of a message."""
    names = sorted(file.name for file in Path(path).parent.glob("*.safetensors") if file != Path(path))
    return f"; beside it there is {', '.join(map(quote, names[:3]))}" if names else ""

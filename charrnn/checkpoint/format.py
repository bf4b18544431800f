"""The checkpoint: one `.safetensors` file that holds a model whole. docs/format.md is its page.

A file is believed in steps, each of which needs only what the steps before it have proved: its
header is small, it is ours, its digest holds, its config is in range, its tensors are those the
config asks for. Nothing in it is ever taken for a path, a name to import or code.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from charrnn.checkpoint.header import (
    DTYPES,
    MAX_HEADER,
    MAX_SEPARATOR,
    MAX_TENSORS,
    METADATA,
    TRAINING,
    VOCABULARY,
    Header,
    check_tensors,
    corrupt,
    open_regular,
    read_header,
    short,
    unusable,
)
from charrnn.errors import CheckpointError, NonFiniteError, OutputError
from charrnn.files import PathLike, atomic_write, quote
from charrnn.network.architecture import Architecture
from charrnn.tokenizers.tokenizer import Tokenizer, tokenizer_from_table
from charrnn.version import __version__

FORMAT_VERSION = 2


Array = npt.NDArray[Any]


_ZEROS = b"0" * 64


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model, and what is known of how it came to be.

    Attributes:
        architecture: the sizes.
        tokenizer: what turns text into ids; of `architecture.vocabulary` symbols.
        weights: float32 arrays, named and shaped as `architecture.shapes()`.
        info: plain JSON without NaN: counters, metrics, the corpus's SHA-256, engine, plan. No path.
        training: what resuming needs beside the weights, by name; empty in a file that is not resumable.
        separator: what ends each record that the model writes or reads; empty: its texts are no records.
    """

    architecture: Architecture
    tokenizer: Tokenizer
    weights: dict[str, Array]
    info: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Array] = field(default_factory=dict)
    separator: bytes = b""


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The file's bytes: equal checkpoints give equal bytes.

    Raises:
        NonFiniteError: a weight or a training tensor holds NaN or infinity.
        ValueError: `info` is not JSON, or holds NaN.
    """
    param_types = {name: (weight.dtype, weight.shape) for name, weight in checkpoint.weights.items()}
    shapes = checkpoint.architecture.shapes()
    assert param_types == {name: (np.dtype(np.float32), shape) for name, shape in shapes.items()}, (
        "weights unlike config"
    )
    assert all(tensor.dtype in DTYPES.values() for tensor in checkpoint.training.values()), "dtype"
    assert checkpoint.tokenizer.size == checkpoint.architecture.vocabulary, "vocabulary differs"
    tensors = dict(checkpoint.weights)
    tensors |= {TRAINING + name: tensor for name, tensor in checkpoint.training.items()}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise NonFiniteError(f"weight {name} is not finite; not saved")
    if checkpoint.tokenizer.name != "byte":
        tensors[VOCABULARY] = checkpoint.tokenizer.table
    document = {
        "format_version": FORMAT_VERSION,
        "program_version": __version__,
        "tokenizer": checkpoint.tokenizer.name,
        "config": checkpoint.architecture.to_json(),
        "info": checkpoint.info,
        "separator": checkpoint.tokenizer.encode(checkpoint.separator).tolist(),
        "sha256": _ZEROS.decode(),
    }
    metadata = json.dumps(document, sort_keys=True, allow_nan=False, separators=(",", ":"))
    # safetensors takes an array's memory as it lies, whatever its strides say.
    packed = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    data: bytes = safetensors.numpy.save(packed, {METADATA: metadata})
    header = data[: 8 + int.from_bytes(data[:8], "little")]
    assert len(header) <= 8 + MAX_HEADER, "info is too long"
    assert len(tensors) <= MAX_TENSORS, "too many tensors"
    assert header.count(_ZEROS) == 1, "info holds 64 zeros, which mark the digest's place"
    place = header.index(_ZEROS)
    return data[:place] + _digest(data, place) + data[place + 64 :]


def write(path: PathLike, checkpoint: Checkpoint, *, before_replace: Callable[[], None] | None = None) -> None:
    """Save a checkpoint; `path` is the old file or the whole new one at every moment.

    Args:
        before_replace: called once the new file is whole and has been read back, while `path` is still the old one.

    Raises:
        NonFiniteError: a tensor is not finite; the old file is untouched.
        OutputError: the file cannot be written, or does not read back as it was written.
    """
    data = to_bytes(checkpoint)

    def same(temporary: Path) -> None:
        if temporary.read_bytes() != data:
            raise OutputError(f"{quote(path)} was not saved: the disk does not give back what was written")

    atomic_write(Path(path), data, verify=same, before_replace=before_replace)


def read(path: PathLike, *, training: bool = False) -> Checkpoint:
    """Load and check a checkpoint.

    Weights that are not finite load; whoever computes with them tells.

    Args:
        path: of a regular file, read through one descriptor.
        training: also hand out what resuming needs.

    Raises:
        CheckpointError: missing, no regular file, not ours, corrupt, newer, or inconsistent.
    """
    with open_regular(path) as file:
        header = read_header(path, file)
        file.seek(0)
        data = file.readall()
    version = _check_digest(path, data, header)
    document = header.document
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{quote(path)} was written by a newer charrnn (format {short(version)}; "
            f"this program reads up to {FORMAT_VERSION}); upgrade charrnn"
        )
    name, info = document.get("tokenizer"), document.get("info")
    if not isinstance(name, str) or not isinstance(info, dict):
        raise unusable(path, "its metadata lacks a tokenizer or info")
    try:
        architecture = Architecture.from_json(document.get("config"))
    except ValueError as error:
        raise unusable(path, short(error)) from None
    check_tensors(path, architecture, name, header.tensors)
    try:
        arrays: dict[str, Array] = safetensors.numpy.load(data)
    except (SafetensorError, ValueError) as error:  # offsets with holes; more dimensions than NumPy has
        raise corrupt(path, short(error)) from None
    try:
        symbols = tokenizer_from_table(name, arrays.get(VOCABULARY, np.zeros(0, np.uint32)))
    except ValueError as error:
        raise unusable(path, short(error)) from None
    if symbols.size != architecture.vocabulary:
        raise unusable(path, f"{architecture.vocabulary} symbols in its config, {symbols.size} in its vocabulary")
    separator = _separator(path, document.get("separator", []) if version > 1 else [], symbols)
    weights = {weight: arrays[weight] for weight in architecture.shapes()}
    kept = {key.removeprefix(TRAINING): arrays[key] for key in arrays if training and key.startswith(TRAINING)}
    return Checkpoint(architecture, symbols, weights, info, kept, separator)


def _check_digest(path: PathLike, data: bytes, header: Header) -> int:
    """Prove every byte and return the format's version.

    Where the digest stands and what it covers is the same in all versions, so that a flipped bit
    in the version's digit is not taken for a newer file.
    """
    version, digest = header.document.get("format_version"), header.document.get("sha256")
    if type(version) is not int or version < 1:
        raise corrupt(path, "its metadata lacks a format_version")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise corrupt(path, "its metadata lacks a sha256")
    digits = digest.encode()
    sound = data.startswith(header.raw) and header.raw.count(digits) == 1
    if not sound or _digest(data, header.raw.index(digits)) != digits:
        newer = f", or was written by a newer charrnn (format {short(version)})" if version > FORMAT_VERSION else ""
        raise corrupt(path, f"its bytes do not match its SHA-256{newer}")
    return version


def _separator(path: PathLike, ids: object, tokenizer: Tokenizer) -> bytes:
    """What ends a record, from the ids that a file gives for it."""
    if not isinstance(ids, list) or len(ids) > MAX_SEPARATOR:
        raise unusable(path, "its separator is no list of a few ids")
    if not all(type(each) is int and 0 <= each < tokenizer.size and each != tokenizer.unknown for each in ids):
        raise unusable(path, "an id of its separator is out of range")
    return tokenizer.decode(ids)


def _digest(data: bytes, place: int) -> bytes:
    """The SHA-256 of `data` with the 64 digits at `place` taken for zeros, as hex digits."""
    view = memoryview(data)
    running = hashlib.sha256(view[:place])
    running.update(_ZEROS)
    running.update(view[place + 64 :])
    return running.hexdigest().encode()

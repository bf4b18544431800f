"""The checkpoint: one `.safetensors` file that holds a model whole. docs/format.md is its page.

A file is verified in steps, each of which relies only on what the steps before it have proved: its header is small, it
is in our format, its digest is right, its config is in range, its tensors are those of its config. Nothing in it is
ever used as a path, as a name to import or as code.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from charrnn.checkpoint.header import (
    CLUSTERS,
    DTYPES,
    MAX_HEADER,
    METADATA_KEY,
    TRAINING,
    VOCABULARY,
    Header,
    TensorSpec,
    check_size,
    corrupt,
    open_regular,
    read_header,
    short,
    unusable,
    validate,
    validate_tokenizer,
)
from charrnn.errors import CheckpointError, NonFiniteError, OutputError
from charrnn.files import PathLike, atomic_write, quote
from charrnn.network.architecture import Architecture
from charrnn.tokenizers.tokenizer import Tokenizer, tokenizer_from_table
from charrnn.version import __version__

FORMAT_VERSION = 3


MAX_LATER_INFO = 200_000
"""Bytes of a header that are kept for what is not known before a run: its metrics, its progress, its re-plans."""


MAX_TENSOR_ENTRY = 200
"""Bytes of a header that a tensor takes, at most."""


Array = npt.NDArray[Any]


_ZEROS = b"0" * 64


_DTYPE_NAMES = {np.dtype(dtype): name for name, dtype in (*DTYPES.items(), ("U32", np.uint32))}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model, and what is known of its training.

    Attributes:
        architecture: its sizes.
        tokenizer: between text and ids; of `architecture.vocabulary` tokens.
        weights: float32 arrays, named and shaped as `architecture.shapes()`.
        info: JSON without NaN: step, metrics, the corpus's SHA-256, engine, plan. No paths.
        training: the tensors that resuming needs beside the weights, by name; empty in a file that cannot be resumed.
        separator: what ends each record; empty for a model of streams.
    """

    architecture: Architecture
    tokenizer: Tokenizer
    weights: dict[str, Array]
    info: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Array] = field(default_factory=dict)
    separator: bytes = b""


def check_can_be_saved(
    architecture: Architecture,
    tokenizer: Tokenizer,
    separator: bytes,
    info: Mapping[str, Any],
    *,
    training_tensors: int,
) -> None:
    """Check, before a model is trained, that its checkpoints are within the limits of the format.

    Args:
        architecture: the model's sizes.
        tokenizer: its tokenizer.
        separator: what ends each record; empty for a model of streams.
        info: what is known of `Checkpoint.info`; there is room for `MAX_LATER_INFO` more bytes.
        training_tensors: how many tensors resuming needs beside the weights.

    Raises:
        ValueError: a checkpoint could not be saved; the message says why.
    """
    tensors = {name: TensorSpec("F32", shape) for name, shape in architecture.shapes().items()}
    tensors |= {f"{TRAINING}{number}": TensorSpec("F32", ()) for number in range(training_tensors)}
    tensors |= {name: _spec(table) for name, table in _tables(architecture, tokenizer).items()}
    validate(architecture, tokenizer.name, tensors)
    validate_tokenizer(architecture, tokenizer, tokenizer.encode(separator).tolist())
    size = len(json.dumps(_json(dict(info)))) + MAX_TENSOR_ENTRY * len(tensors)
    if size > MAX_HEADER - MAX_LATER_INFO:
        raise ValueError(
            f"{size:,} bytes for the options and the names of tensors; at most {MAX_HEADER - MAX_LATER_INFO:,}"
        )


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """Return the file's bytes; equal checkpoints give equal bytes.

    Raises:
        NonFiniteError: a weight or a training tensor holds NaN or infinity.
        ValueError: a limit of the format is exceeded, or `info` is not JSON or holds NaN.
        MemoryError: there is not enough.
    """
    architecture, tokenizer = checkpoint.architecture, checkpoint.tokenizer
    tensors = dict(checkpoint.weights)
    tensors |= {TRAINING + name: tensor for name, tensor in checkpoint.training.items()}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise NonFiniteError(f"weight {name} is not finite; not saved")
    tensors |= _tables(architecture, tokenizer)
    validate(architecture, tokenizer.name, {name: _spec(tensor) for name, tensor in tensors.items()})
    separator = tokenizer.encode(checkpoint.separator).tolist()
    metadata = {
        "format_version": FORMAT_VERSION if architecture.clusters else 2,
        "program_version": __version__,
        "tokenizer": tokenizer.name,
        "config": architecture.to_json(),
        "info": checkpoint.info,
        "separator": validate_tokenizer(architecture, tokenizer, separator),
    }
    # The digest's place is found by digits that occur nowhere else in the header.
    placeholder = hashlib.sha256(_json(metadata).encode()).hexdigest()
    # safetensors takes an array's memory as it lies, whatever its strides are.
    packed = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    # It ends the process where it gets no memory for them, or for their copy: NumPy raises MemoryError.
    np.empty(2 * sum(tensor.nbytes for tensor in packed.values()) + (1 << 24), np.uint8)
    data: bytes = safetensors.numpy.save(packed, {METADATA_KEY: _json(metadata | {"sha256": placeholder})})
    header = data[: 8 + int.from_bytes(data[:8], "little")]
    if len(header) > 8 + MAX_HEADER:
        raise ValueError(f"a header of {len(header) - 8} bytes; at most {MAX_HEADER}")
    place = header.index(placeholder.encode())
    return data[:place] + _digest(data, place) + data[place + 64 :]


def write(path: PathLike, checkpoint: Checkpoint, *, before_replace: Callable[[], None] | None = None) -> None:
    """Save a checkpoint atomically: at every moment, `path` is the whole old or the whole new file.

    Args:
        path: the file; its folder must exist.
        checkpoint: what to save.
        before_replace: called when the new file is complete and has been read back, while `path` is still the old one.

    Raises:
        NonFiniteError: a tensor is not finite; the old file is unchanged.
        OutputError: the file cannot be written, or does not read back as it was written; the old file is unchanged.
        ValueError: a limit of the format is exceeded, which `check_can_be_saved` would have found.
    """
    data = to_bytes(checkpoint)

    def verify(temporary: Path) -> None:
        if temporary.read_bytes() != data:
            raise OutputError(f"{quote(path)} was not saved: the disk does not give back what was written")

    atomic_write(Path(path), data, verify=verify, before_replace=before_replace)


def read(path: PathLike, *, training: bool = False) -> Checkpoint:
    """Return the checkpoint in a file, verified.

    Weights that are not finite are returned too: what computes with them raises NonFiniteError.

    Args:
        path: a regular file; it is opened once.
        training: whether to return the tensors that resuming needs.

    Raises:
        CheckpointError: missing, not a regular file, not in our format, corrupt, of a newer version, or inconsistent.
    """
    with open_regular(path) as file:
        header = read_header(path, file)
        check_size(path, file, header)  # before anything is read that may be as long as a disk
        file.seek(0)
        try:
            data = file.readall()
        except MemoryError:
            raise unusable(path, f"its {header.size:,} bytes are more than there is memory for") from None
    version = _check_digest(path, data, header)
    metadata = header.metadata
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{quote(path)} was written by a newer charrnn (format {short(version)}; "
            f"this program reads up to {FORMAT_VERSION}); upgrade charrnn"
        )
    name, info = metadata.get("tokenizer"), metadata.get("info")
    if not isinstance(name, str) or not isinstance(info, dict):
        raise unusable(path, "its metadata lacks a tokenizer or info")
    try:
        architecture = Architecture.from_json(metadata.get("config"))
        if architecture.clusters and version < 3:
            raise ValueError(f"clusters in its config, which format {version} has not")
        validate(architecture, name, header.tensors)
    except ValueError as error:
        raise unusable(path, short(error)) from None
    try:
        arrays: dict[str, Array] = safetensors.numpy.load(data)
    except (SafetensorError, ValueError) as error:  # offsets with holes; more dimensions than NumPy has
        raise corrupt(path, short(error)) from None
    try:
        if architecture.clusters:
            architecture = _with_clusters(architecture, arrays[CLUSTERS])
        tokenizer = tokenizer_from_table(name, arrays.get(VOCABULARY, np.zeros(0, np.uint32)))
        separator = validate_tokenizer(architecture, tokenizer, metadata.get("separator", []) if version > 1 else [])
    except ValueError as error:
        raise unusable(path, short(error)) from None
    return Checkpoint(
        architecture,
        tokenizer,
        weights={name: arrays[name] for name in architecture.shapes()},
        info=info,
        training={key.removeprefix(TRAINING): arrays[key] for key in arrays if training and key.startswith(TRAINING)},
        separator=tokenizer.decode(separator),
    )


def _tables(architecture: Architecture, tokenizer: Tokenizer) -> dict[str, Array]:
    """Return the tensors that say what tokens are, and in which clusters of the head."""
    tables = {} if tokenizer.name == "byte" else {VOCABULARY: tokenizer.table}
    if architecture.clusters:
        tables[CLUSTERS] = np.frombuffer(architecture.clusters, np.uint8)
    return tables


def _with_clusters(architecture: Architecture, table: Array) -> Architecture:
    """Return an architecture with the clusters (V,) of its tokens. Raise ValueError where they are not as many as it
    says, or one of them has no token."""
    found = replace(architecture, clusters=table.tobytes())
    if found.num_clusters != architecture.num_clusters:
        raise ValueError(f"{architecture.num_clusters} clusters in its config, {found.num_clusters} in {CLUSTERS}")
    return found


def _spec(tensor: Array) -> TensorSpec:
    """Return the dtype and shape of an array, as the header has them."""
    return TensorSpec(_DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype)), tensor.shape)


def _json(metadata: dict[str, Any]) -> str:
    return json.dumps(metadata, sort_keys=True, allow_nan=False, separators=(",", ":"))


def _check_digest(path: PathLike, data: bytes, header: Header) -> int:
    """Verify every byte and return the format's version.

    Where the digest is and what it covers is the same in all versions, so that a flipped bit in the version's digit is
    not taken for a newer file.
    """
    version, digest = header.metadata.get("format_version"), header.metadata.get("sha256")
    if type(version) is not int or version < 1:
        raise corrupt(path, "its metadata lacks a format_version")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise corrupt(path, "its metadata lacks a sha256")
    digits = digest.encode()
    found = data.startswith(header.raw) and header.raw.count(digits) == 1
    if not found or _digest(data, header.raw.index(digits)) != digits:
        newer = f", or was written by a newer charrnn (format {short(version)})" if version > FORMAT_VERSION else ""
        raise corrupt(path, f"its bytes do not match its SHA-256{newer}")
    return version


def _digest(data: bytes, place: int) -> bytes:
    """Return the SHA-256, as hex digits, of `data` with the 64 digits at `place` replaced by zeros."""
    view = memoryview(data)
    digest = hashlib.sha256(view[:place])
    digest.update(_ZEROS)
    digest.update(view[place + 64 :])
    return digest.hexdigest().encode()

"""Model files taken apart, and put together again with a digest that holds whatever else is wrong with them.

A second reader and writer of docs/format.md, which shares nothing with the program's own.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DTYPES: dict[str, Any] = {
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U32": np.uint32,
    "U64": np.uint64,
    "BOOL": np.bool_,
}

PLACE = hashlib.sha256(b"the place of the digest").hexdigest()
"""Stands nowhere else in a file."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def take_apart(data: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the JSON object and the tensors of a sound file, free to be changed."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    document = json.loads(header.pop("__metadata__")["charrnn"])
    tensors = {}
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = (end + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:stop], DTYPES[entry["dtype"]]).reshape(entry["shape"]).copy()
    return document, tensors


def header_of(document: dict[str, Any], tensors: dict[str, Array]) -> tuple[dict[str, Any], bytes]:
    """Return the header of a file, with `PLACE` where its digest is to be, and what comes after the header."""
    header: dict[str, Any] = {"__metadata__": {"charrnn": json.dumps(document | {"sha256": PLACE})}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        dtype = NAMES[tensor.dtype.type]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [begin, end]}
    return header, b"".join(tensor.tobytes() for tensor in tensors.values())


def seal(header: str, payload: bytes) -> bytes:
    """Return the file of a header's JSON, its digest where the header has a place for it."""
    text = header.encode()
    data = len(text).to_bytes(8, "little") + text + payload
    place = PLACE.encode()
    if data.count(place) != 1:
        return data
    return data.replace(place, hashlib.sha256(data.replace(place, b"0" * 64)).hexdigest().encode())


def sealed(document: dict[str, Any], tensors: dict[str, Array], extra: str = "") -> bytes:
    """Return the file of an object and tensors. `extra`: JSON at the end of the header's."""
    header, payload = header_of(document, tensors)
    return seal(json.dumps(header)[:-1] + extra + "}", payload)


def operate(path: Path, change: Callable[[dict[str, Any], dict[str, Array]], None]) -> None:
    """Change a file's object and tensors in place."""
    document, tensors = take_apart(path.read_bytes())
    change(document, tensors)
    path.write_bytes(sealed(document, tensors))

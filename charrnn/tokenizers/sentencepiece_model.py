"""The file of a sentencepiece model: a protobuf message that holds no more than it must.

The library's C++ parser is not to be trusted with what a stranger may have written. So a model is read
here, and the library is given only what is written here: pieces, their scores, and settings that never vary.
The message is a `ModelProto` of google/sentencepiece's `sentencepiece_model.proto`, so that others can read it.
"""

import math
import struct
from dataclasses import dataclass

MAX_PIECES = 1 << 16
MAX_PIECE_BYTES = 256

UNKNOWN, NEWLINE, FIRST_BYTE = 0, 1, 2
FIXED = 258
"""Pieces that every model begins with: `<unk>`, the newline and the bytes."""
SPACE = "\u2581"
"""Stands for a space in pieces."""

KINDS = {"unigram": 1, "bpe": 2}  # TrainerSpec.ModelType
_NORMAL, _UNKNOWN, _USER_DEFINED, _BYTE = 1, 2, 4, 6  # SentencePiece.Type
_VARINT, _LENGTH, _FLOAT = 0, 2, 5  # wire types
_NONE = (1 << 64) - 1  # -1: a control symbol that does not exist


@dataclass(frozen=True)
class Model:
    """A sentencepiece model.

    Attributes:
        kind: "unigram" or "bpe".
        pieces: string and score of those after the first `FIXED`, each string once.
    """

    kind: str
    pieces: tuple[tuple[str, float], ...]

    @property
    def size(self) -> int:
        """Pieces in all."""
        return FIXED + len(self.pieces)


def fixed_pieces() -> list[tuple[str, int]]:
    """Return the first pieces and their types, equal in every model."""
    return [("<unk>", _UNKNOWN), ("\n", _USER_DEFINED), *((f"<0x{byte:02X}>", _BYTE) for byte in range(256))]


def write_model(model: Model) -> bytes:
    """Return the message of a model: equal models give equal bytes."""
    named = [(text, 0.0, kind) for text, kind in fixed_pieces()]
    named += [(text, score, _NORMAL) for text, score in model.pieces]
    pieces = b"".join(
        _bytes_field(1, _bytes_field(1, text.encode()) + _float_field(2, score) + _varint_field(3, kind))
        for text, score, kind in named
    )
    absent = b"".join(_varint_field(field, _NONE) for field in (41, 42, 43))  # bos_id, eos_id, pad_id
    trainer = (
        _varint_field(3, KINDS[model.kind])
        + _varint_field(4, model.size)
        + _varint_field(35, 1)
        + _varint_field(40, UNKNOWN)
        + absent
    )
    # identity, no charsmap, no dummy prefix, no whitespace removed, but escaped
    normalizer = (
        _bytes_field(1, b"identity")
        + _bytes_field(2, b"")
        + _varint_field(3, 0)
        + _varint_field(4, 0)
        + _varint_field(5, 1)
    )
    return pieces + _bytes_field(2, trainer) + _bytes_field(3, normalizer)


def read_model(data: bytes) -> Model:
    """Return the model that `write_model` wrote, trusting nothing.

    Raises:
        ValueError: anything else.
    """
    pieces: list[tuple[str, float]] = []
    kind, place, count = 0, 0, 0
    while place < len(data):
        tag, body, place = _read_bytes_field(data, place)
        if tag == 1 << 3 | _LENGTH:
            count += 1
            if count > MAX_PIECES:
                raise ValueError(f"more than {MAX_PIECES} pieces")
            if count > FIXED:
                pieces.append(_piece(body))
        elif tag == 2 << 3 | _LENGTH:
            kind = body[1] if len(body) > 1 else 0
    named = {number: name for name, number in KINDS.items()}
    if kind not in named or count < FIXED:
        raise ValueError("not a sentencepiece model that charrnn writes")
    model = Model(named[kind], tuple(pieces))
    taken = {text for text, _ in fixed_pieces()}
    if len({text for text, _ in pieces} - taken) != len(pieces):
        raise ValueError("a piece occurs twice")
    if write_model(model) != data:
        raise ValueError("not a sentencepiece model as charrnn writes it")
    return model


def _piece(body: bytes) -> tuple[str, float]:
    tag, text, place = _read_bytes_field(body, 0)
    if tag != 1 << 3 | _LENGTH or not 0 < len(text) <= MAX_PIECE_BYTES or len(body) < place + 5:
        raise ValueError("a piece is damaged")
    (score,) = struct.unpack_from("<f", body, place + 1)
    found = text.decode()  # a UnicodeDecodeError is a ValueError
    if not math.isfinite(score) or "\n" in found or "\0" in found:
        raise ValueError("a piece is out of range")
    return found, score


def _read_bytes_field(data: bytes, place: int) -> tuple[int, bytes, int]:
    """Read a field that has a length: return its tag, its content, and where the next field begins."""
    tag, place = _read_varint(data, place)
    if tag & 7 != _LENGTH:
        raise ValueError("a field of an unexpected type")
    size, place = _read_varint(data, place)
    if place + size > len(data):
        raise ValueError("it ends within a field")
    return tag, data[place : place + size], place + size


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number: return it, and where the next one begins."""
    value = 0
    for shift in range(0, 35, 7):
        if place >= len(data):
            raise ValueError("it ends within a number")
        value |= (data[place] & 0x7F) << shift
        place += 1
        if data[place - 1] < 0x80:
            return value, place
    raise ValueError("a number is too large")


def _varint_field(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _float_field(field: int, value: float) -> bytes:
    return _varint(field << 3 | _FLOAT) + struct.pack("<f", value)


def _bytes_field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | _LENGTH) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Return a number in groups of 7 bits, the lowest first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)

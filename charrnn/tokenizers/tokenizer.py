"""Bytes to ids and back, exactly: the contracts of tokenizers and their encoders, and which kinds there are.

No text is changed: no newline is translated and nothing is normalised. Errors name a place in the text, not
the file: whoever opened the file puts its name in front.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.texts import EncodedTexts
from charrnn.tokenizers.utf8 import Errors

Ids = npt.NDArray[np.unsignedinteger[Any]]


class Encoder(Protocol):
    """Encodes one text that arrives in chunks; the counts are of everything fed so far.

    The ids and the final counts do not depend on where the text is cut. A character that is cut
    is held back until the rest of it comes, and counted then; `bytes` are counted at once.
    """

    def feed(self, data: bytes, final: bool = False) -> Ids:
        """Return the ids that are complete with this chunk; `final` says that the text ends here.

        Raises:
            InputError: the text is not what the tokenizer reads. The encoder cannot be used any more.
        """

    @property
    def chars(self) -> int:
        """Code points; for bytes, those that are not UTF-8 continuation bytes."""

    @property
    def words(self) -> int:
        """Words that whitespace separates: `len(text.split())`, of a `str` or of `bytes`."""

    @property
    def unknowns(self) -> int:
        """Ids that are `<unk>`."""

    @property
    def unknown_chars(self) -> Mapping[int, int]:
        """How often each unknown code point has come."""

    @property
    def replaced(self) -> int:
        """Pieces of invalid UTF-8 that became U+FFFD."""

    @property
    def bom(self) -> bool:
        """Whether a byte order mark was dropped; it is counted in `bytes`, not in `chars`."""

    @property
    def bytes(self) -> int:
        """Bytes fed."""


class Tokenizer(Protocol):
    """A mapping between texts and sequences of ids in 0..V-1."""

    @property
    def name(self) -> str:
        """The kind, as `--tokenizer` and `tokenizer_from_table` take it."""

    @property
    def size(self) -> int:
        """V, `<unk>` included."""

    @property
    def newline(self) -> int | None:
        """The id of a newline; None if there is none."""

    @property
    def unknown(self) -> int | None:
        """The id of `<unk>`, if there is one."""

    @property
    def unknown_cost(self) -> float:
        """The nats that each `<unk>` of a scored text costs on top of -ln p(`<unk>`)."""

    @property
    def token_bytes(self) -> Sequence[bytes]:
        """The bytes that each id stands for, (V,); of `<unk>` none: b""."""

    @property
    def table(self) -> npt.NDArray[np.uint32] | npt.NDArray[np.uint8]:
        """What a checkpoint stores, for `tokenizer_from_table(name, table)` to read back."""

    def encode(self, data: bytes, errors: Errors = "strict") -> Ids:
        """Return the ids of a whole text, in the smallest of uint8, uint16 and uint32 that holds every id.

        Raises:
            InputError: the text is not what the tokenizer reads.
        """

    def encode_texts(self, texts: Sequence[bytes]) -> EncodedTexts | None:
        """Return what N short texts are, encoded together: as an encoder for each, but far faster. None: one of them
        is not plain text, and is to be encoded on its own."""

    def decode(self, ids: npt.ArrayLike) -> bytes:
        """Return the text of the ids; the inverse of `encode`.

        Raises:
            ValueError: an id is `<unk>`, `<s>`, or out of range.
        """

    def encoder(self, errors: Errors = "strict") -> Encoder:
        """Return a new encoder for one text; with "replace", invalid UTF-8 becomes U+FFFD."""


def tokenizer_from_table(name: str, table: npt.NDArray[Any]) -> Tokenizer:
    """Return the tokenizer that a checkpoint describes by its name and table, neither of them trusted.

    Raises:
        ValueError: no such tokenizer, or a table that is not one of its tables.
    """
    if name == CharTokenizer.name:
        return CharTokenizer(table)
    if name == "sentencepiece":
        from charrnn.tokenizers.sentencepiece import SentencePieceTokenizer  # what other models do not wait for

        return SentencePieceTokenizer(table)
    if name != ByteTokenizer.name:
        raise ValueError(f"tokenizer cannot be {str(name)[:80]!r}")
    if table.dtype != np.uint32 or table.shape != (0,):
        raise ValueError(f"a byte tokenizer's table is empty, not {table.dtype} {table.shape}")
    return ByteTokenizer()

"""Common strings as tokens: a unigram (Kudo 2018) or BPE (Sennrich et al. 2016) model of the sentencepiece library.

Lossless, which the library alone is not: nothing is normalised, a newline is a token of its own, what has no
piece is written as bytes, and decoding goes by the pieces' bytes. U+2581, which stands for a space in
the library's pieces, reaches it only as one; in a text it is written as its three bytes.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import UsageError
from charrnn.tokenizers.sentencepiece_model import (
    FIRST_BYTE,
    FIXED,
    MAX_PIECES,
    NEWLINE,
    SPACE,
    UNKNOWN,
    Model,
    read_model,
    write_model,
)
from charrnn.tokenizers.texts import EncodedTexts, decode_texts
from charrnn.tokenizers.utf8 import STEP, CodePoints, CountingDecoder, Errors

Ids = npt.NDArray[np.unsignedinteger[Any]]

LINE = 1024
"""Characters of a line that are encoded together: of a longer one the next `LINE`, and so on."""

SAMPLE = 1_000_000
"""Characters that a model is made from, taken evenly from a longer text."""

_OPTIONS = ("vocab_size", "tokenizer")


DEFAULT_SIZE = 1024
"""Pieces, where the text has so many."""

_RARE_SHARE = 0.0005
"""Of a text, which its rarest characters may make up without a piece of their own."""


class SentencePieceTokenizer:
    """See `Tokenizer`. The ids 0, 1 and 2..257 are `<unk>`, which no text has, the newline and the bytes.

    Args:
        table: a model, as `table` gives it; nothing in it is trusted.

    Raises:
        ValueError: it is not one.
    """

    name = "sentencepiece"
    newline: int | None = NEWLINE
    unknown: int | None = UNKNOWN
    unknown_cost = 0.0

    def __init__(self, table: npt.NDArray[Any]) -> None:
        if table.dtype != np.uint8 or table.ndim != 1:
            raise ValueError(f"a sentencepiece model cannot be {table.dtype} {table.shape}")
        model = read_model(table.tobytes())
        self.table: npt.NDArray[np.uint8] = table.copy()
        self.table.setflags(write=False)
        self.size = model.size
        self.dtype = np.min_scalar_type(self.size - 1)
        self.token_bytes: Sequence[bytes] = (
            b"",
            b"\n",
            *(bytes([byte]) for byte in range(256)),
            *(text.replace(SPACE, " ").encode() for text, _ in model.pieces),
        )

    @classmethod
    def train(cls, text: Iterable[str], vocab_size: int | None, kind: str) -> "SentencePieceTokenizer":
        """Return the model of a text: the same for the same text, on one thread.

        Args:
            text: in chunks, cut anywhere; about `SAMPLE` characters.
            vocab_size: of the model; None: `DEFAULT_SIZE`, or as many pieces as the text has.
            kind: "unigram" or "bpe".

        Raises:
            UsageError: no model can have that size; the message names the largest possible one.
        """
        if vocab_size is not None and not FIXED < vocab_size <= MAX_PIECES:
            limits = f"{FIXED + 1} (all bytes, newline, ...) to {MAX_PIECES}"
            raise UsageError(f"{{vocab_size}} must be from {limits} with {{tokenizer}} sentencepiece", _OPTIONS)
        whole = "".join(text)
        pieces = _train(whole, vocab_size or DEFAULT_SIZE, kind)
        if vocab_size is not None and FIXED + len(pieces) < vocab_size:  # too few characters may have been chosen
            pieces = max(pieces, _train(whole, vocab_size, kind, share=1), key=len)
        largest = FIXED + len(pieces)
        if vocab_size is not None and largest < vocab_size:
            # how many characters have pieces depends on the size asked for, so what was found may be too large yet
            while (found := FIXED + len(_train(whole, largest, kind))) < largest:
                largest = found
            message = f"{{vocab_size}} {vocab_size} is too large for the text; the largest possible is {largest}"
            raise UsageError(message, _OPTIONS)
        return cls(np.frombuffer(write_model(Model(kind, tuple(pieces))), np.uint8))

    @cached_property
    def _library(self) -> Any:
        from sentencepiece import SentencePieceProcessor  # takes a while to import

        return SentencePieceProcessor(model_proto=self.table.tobytes())

    def encode(self, data: bytes, errors: Errors = "strict") -> Ids:
        """See `Tokenizer.encode`. A byte order mark at the start gets no id."""
        encoder = self.encoder(errors)
        starts = range(0, max(len(data), 1), STEP)
        return np.concatenate([encoder.feed(data[at : at + STEP], at + STEP >= len(data)) for at in starts])

    def decode(self, ids: npt.ArrayLike) -> bytes:
        """See `Tokenizer.decode`."""
        wide = np.asarray(ids)
        if wide.size and (wide.min() < 0 or wide.max() >= self.size):
            raise ValueError("an id is not a piece")
        return b"".join([self.token_bytes[each] for each in wide.tolist()])

    def encoder(self, errors: Errors = "strict") -> "SentencePieceEncoder":
        """See `Tokenizer.encoder`."""
        return SentencePieceEncoder(self, errors)

    def encode_texts(self, texts: Sequence[bytes]) -> EncodedTexts | None:
        """See `Tokenizer.encode_texts`."""
        if (decoded := decode_texts(texts)) is None:
            return None
        _, chars, words = decoded
        blocks = [list(_blocks(text.decode())) for text in texts]
        found = self.encode_blocks(list(chain.from_iterable(blocks)))
        sizes = np.append(0, np.cumsum(np.fromiter(map(len, found), np.int64, len(found))))
        ends = np.cumsum(np.fromiter(map(len, blocks), np.int64, len(blocks)))
        tokens = np.diff(sizes[ends], prepend=0)
        return EncodedTexts(np.array(list(chain.from_iterable(found)), self.dtype), tokens, chars, words)

    def encode_blocks(self, blocks: list[str]) -> list[list[int]]:
        """Return the ids of each of strings of at most `LINE` characters, encoded on its own; "\\n" is the newline."""
        texts = [block.removesuffix("\n") for block in blocks]
        escaped = [at for at, text in enumerate(texts) if SPACE in text]
        for at in escaped:
            texts[at] = ""
        found: list[list[int]] = self._library.encode(texts, num_threads=1)
        for at in escaped:
            parts = self._library.encode(blocks[at].removesuffix("\n").split(SPACE), num_threads=1)
            found[at] = parts[0] + [each for part in parts[1:] for each in (*_SPACE_IDS, *part)]
        for ids, block in zip(found, blocks, strict=True):
            if block.endswith("\n"):
                ids.append(NEWLINE)
        return found


_SPACE_IDS = [FIRST_BYTE + byte for byte in SPACE.encode()]
"""Of U+2581 in a text, which never reaches the library."""


class SentencePieceEncoder(CountingDecoder):
    """See `Encoder`. The ids of a line come when it has ended or is long; its characters are counted before."""

    unknowns = 0
    unknown_chars: Mapping[int, int] = {}

    def __init__(self, tokenizer: SentencePieceTokenizer, errors: Errors) -> None:
        super().__init__(errors)
        self._tokenizer = tokenizer
        self._line = ""  # the end of the text so far, less than `LINE` characters of a line

    def feed(self, data: bytes, final: bool = False) -> Ids:
        """See `Encoder.feed`."""
        text = self._line + _string(self.decode(data, final))
        blocks = list(_blocks(text))
        self._line = "" if final or not blocks or blocks[-1].endswith("\n") or len(blocks[-1]) == LINE else blocks.pop()
        found = self._tokenizer.encode_blocks(blocks)
        return np.array(list(chain.from_iterable(found)), self._tokenizer.dtype)


def _blocks(text: str) -> Iterator[str]:
    """Cut a text that begins with a line after newlines and every `LINE` characters of a line."""
    for line in re.findall("[^\n]*\n|[^\n]+", text):
        for at in range(0, len(line), LINE):
            yield line[at : at + LINE]


def _string(points: CodePoints) -> str:
    return points.astype("<u4", copy=False).tobytes().decode("utf-32-le")


def _train(text: str, size: int, kind: str, share: float = 0.75) -> list[tuple[str, float]]:
    """Return pieces and their scores, at most as many as asked for; `share` as for `_lines`."""
    import sentencepiece

    lines = _lines(text, size, share)
    if not lines:
        return []
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            byte_fallback=True,
            max_sentence_length=4 * LINE,
            user_defined_symbols=["\n"],
            unk_id=UNKNOWN,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        largest = re.search(r"value <= ([0-9]+)", str(error))
        if largest is None or int(largest[1]) >= size:
            raise
        return _train(text, int(largest[1]), kind, share)
    found = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return [(found.id_to_piece(each), found.get_score(each)) for each in range(FIXED, found.get_piece_size())]


def _lines(text: str, size: int, share: float) -> list[str]:
    """Return what the library learns from: lines, cut where they are too long for it, without rare characters.

    It gives every character that it sees a piece, a `share` of all at most; those that get none are written as bytes.
    """
    counts = Counter(text)
    for char in ("\n", "\0", SPACE):
        del counts[char]
    common = counts.most_common(max(1, int((size - FIXED) * share)))
    left = sum(counts.values())
    rare = _RARE_SHARE * left
    chosen = set()
    for char, count in common:
        if left <= rare:
            break
        chosen.add(char)
        left -= count
    apart = str.maketrans(dict.fromkeys(set(text) - chosen, "\n"))
    lines = text.translate(apart).split("\n")
    return [line[at : at + LINE] for line in lines for at in range(0, len(line), LINE)]

"""Texts as rows of ids: what the model reads and what it is to predict, chunk by chunk.

A *stream* corpus is one long text, or several one after another, each begun with `<s>`. It is cut
into B contiguous rows that are read side by side, T symbols at a time, with the state carried from
chunk to chunk (truncated backpropagation through time, Williams & Peng 1990). Every epoch the rows
begin at another offset. What a chunk holds is a function of (seed, step) alone.
"""

import codecs
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.corpora import Text
from charrnn.draws import Purpose, generator
from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer, decode_utf8

Ids = npt.NDArray[Any]

START_AFTER_NEWLINE = 0.25
START_ELSEWHERE = 0.01
"""How often `<s>` replaces what a row would read at the first place of a chunk, so that the model
learns to begin from nothing; mostly where a line begins, as texts do."""


@dataclass(frozen=True)
class Stream:
    """Ids of one or more texts, one after another.

    Attributes:
        ids: uint8, uint16 or uint32 of shape (N,), each below V.
        starts: int64, ascending: where texts begin; the first is 0.
    """

    ids: Ids
    starts: Ids

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def join(cls, texts: Sequence[Ids]) -> "Stream":
        """One stream of all texts that have symbols at all."""
        filled = [text for text in texts if len(text)]
        starts = np.cumsum([0, *(len(text) for text in filled[:-1])], dtype=np.int64)
        return cls(np.concatenate(filled) if filled else np.zeros(0, np.uint8), starts[: len(filled)])

    def texts(self, limit: int | None = None) -> list[Ids]:
        """The texts again, cut off after `limit` symbols in all."""
        end = len(self) if limit is None else min(limit, len(self))
        bounds = [int(start) for start in self.starts if start < end] + [end]
        return [self.ids[a:b] for a, b in itertools.pairwise(bounds)]

    def pieces(self, count: int, limit: int) -> list[Ids]:
        """`count` or fewer pieces of equal length from the first `limit` symbols, for a quick look."""
        ids = self.ids[:limit]
        return [piece for piece in np.array_split(ids, min(count, max(1, len(ids)))) if len(piece)]


@dataclass(frozen=True)
class Chunk:
    """What one step learns from: int64 arrays of shape (B, T)."""

    inputs: Ids
    """Ids in [0, V]; V is `<s>`."""
    targets: Ids
    """Ids in [0, V)."""


class Rows:
    """A stream cut into rows, for training.

    Args:
        stream: the text; at least batch * seq_len symbols.
        start: the id of `<s>`.
        newline: the id of a newline, or None.
        batch: B. seq_len: T.
        seed: of the offsets and of where `<s>` is read.

    Raises:
        InputError: the text is too short.
    """

    def __init__(self, stream: Stream, *, start: int, newline: int | None, batch: int, seq_len: int, seed: int) -> None:
        self.steps_per_epoch = len(stream) // (batch * seq_len)
        if self.steps_per_epoch == 0:
            raise InputError(
                f"the text to train on has {len(stream):,} symbols, and --batch {batch} times"
                f" --seq-len {seq_len} needs {batch * seq_len:,}; lower either"
            )
        self.stream, self.start, self.newline = stream, start, newline
        self.batch, self.seq_len, self.seed = batch, seq_len, seed

    def chunk(self, step: int) -> Chunk:
        """The chunk that step number `step` (from 0) learns from."""
        epoch, index = divmod(step, self.steps_per_epoch)
        size, B, T = len(self.stream), self.batch, self.seq_len
        offset = int(generator(self.seed, Purpose.ROWS, epoch).integers(size))
        rows = offset + np.arange(B, dtype=np.int64) * (size // B) + index * T
        places = (rows[:, None] + np.arange(T)) % size  # (B, T)
        targets = self.stream.ids[places].astype(np.int64)
        inputs = self.stream.ids[places - 1].astype(np.int64)
        inputs[np.isin(places, self.stream.starts)] = self.start
        first = inputs[:, 0]
        chance = np.where(first == self.newline, START_AFTER_NEWLINE, START_ELSEWHERE)
        chance[:] = 1.0 if index == 0 else chance  # rows have jumped: what they carry is of elsewhere
        draws = generator(self.seed, Purpose.START, step).random(B)
        first[draws < chance] = self.start
        return Chunk(inputs, targets)


@dataclass(frozen=True)
class Counts:
    """How long a text is. `replaced` counts the invalid pieces of UTF-8 read as U+FFFD."""

    bytes: int = 0
    chars: int = 0
    words: int = 0
    unknowns: int = 0
    replaced: int = 0


@dataclass(frozen=True)
class Split:
    """A corpus ready to learn from.

    Attributes:
        tokenizer: its vocabulary taken from the part to train on.
        train: what to train on. val: what to validate on; may be empty.
        train_counts, val_counts: their lengths.
        val_texts: `val` as it was before encoding.
    """

    tokenizer: Tokenizer
    train: Stream
    val: Stream
    train_counts: Counts
    val_counts: Counts
    val_texts: tuple[bytes, ...]

    def val_head(self, symbols: int) -> list[bytes]:
        """The first symbols of the validation texts."""
        return cut(self.val_texts, symbols, by_char=self.tokenizer.name != "byte")[0]


def prepare(
    texts: Sequence[Text],
    validation: Sequence[Text] | None,
    *,
    tokenizer: str | Tokenizer,
    fraction: float,
    errors: str = "strict",
) -> Split:
    """Split and encode a corpus.

    Args:
        texts: to train on. validation: to validate on; None takes the last `fraction` of `texts`.
        tokenizer: "char" or "byte", made from the part to train on; or one made before.
        fraction: in symbols of that tokenizer. errors: "strict" or "replace", for invalid UTF-8.

    Raises:
        InputError: a text cannot be decoded, or is too short for the split.
    """
    by_char = (tokenizer if isinstance(tokenizer, str) else tokenizer.name) != "byte"
    if by_char and errors == "strict":
        for text in (*texts, *(validation or ())):
            try:
                decode_utf8(text.data)
            except InputError as error:
                raise InputError(f"{quote(text.name)}: {error}") from None
    train, held_out = [text.data for text in texts], [text.data for text in validation or ()]
    if validation is None:
        size = sum(len(_starts(text, by_char)) for text in train)
        train, held_out = split(train, fraction, by_char=by_char)
        if fraction > 0 and not (train and held_out):
            needed = next(count for count in itertools.count(2) if int(count * (1 - fraction)))
            raise InputError(
                f"the text has {size:,} symbols, and --val-fraction {fraction:g} needs {needed:,}, so that some are"
                " left to train on; lower it"
            )
    if isinstance(tokenizer, str):
        tokenizer = ByteTokenizer() if tokenizer == "byte" else _char_tokenizer(train, errors)
    trained, counts = _encode(tokenizer, train, errors)
    val, val_counts = _encode(tokenizer, held_out, errors)
    if not len(trained):
        raise InputError("the text to train on is empty")
    return Split(tokenizer, trained, val, counts, val_counts, tuple(held_out))


def split(texts: Sequence[bytes], fraction: float, *, by_char: bool) -> tuple[list[bytes], list[bytes]]:
    """The first part to train on, and the last `fraction` to validate on.

    A text of N symbols is cut after the first int(N * (1 - fraction)), as nanoGPT cuts it.
    """
    return cut(texts, int(sum(len(_starts(text, by_char)) for text in texts) * (1 - fraction)), by_char=by_char)


def cut(texts: Sequence[bytes], keep: int, *, by_char: bool) -> tuple[list[bytes], list[bytes]]:
    """The first `keep` symbols (characters, or bytes) of texts one after another, and the rest."""
    first, rest = [], []
    for text in texts:
        places = _starts(text, by_char)
        middle = int(places[keep]) if keep < len(places) else len(text)
        first.append(text[:middle])
        rest.append(text[middle:])
        keep = max(0, keep - len(places))
    return [text for text in first if text], [text for text in rest if text]


def _starts(text: bytes, by_char: bool) -> Ids | range:
    """Where in the text its symbols begin; in UTF-8, wherever no continuation byte stands."""
    if not by_char:
        return range(len(text))
    return np.flatnonzero((np.frombuffer(text, np.uint8) & 0xC0) != 0x80)


def _char_tokenizer(texts: Sequence[bytes], errors: str) -> CharTokenizer:
    found = [np.unique(decode_utf8(text.removeprefix(codecs.BOM_UTF8), errors)) for text in texts]
    return CharTokenizer.from_text(np.concatenate(found) if found else np.zeros(0, np.uint32))


def _encode(tokenizer: Tokenizer, texts: Sequence[bytes], errors: str) -> tuple[Stream, Counts]:
    encoders = [tokenizer.encoder(errors) for _ in texts]
    ids = [encoder.feed(text, final=True) for encoder, text in zip(encoders, texts, strict=True)]
    counted = ("bytes", "chars", "words", "unknowns", "replaced")
    return Stream.join(ids), Counts(*(sum(getattr(each, name) for each in encoders) for name in counted))

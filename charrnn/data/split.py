"""From a corpus to what a run learns from: split, vocabulary, ids.

A corpus is read several times, a piece at a time, so that it need not fit into memory. With a store
the ids go into files, and are found there the next time.
"""

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import Bar, no_bar
from charrnn.data.encoding import Counts, encode, make_tokenizer
from charrnn.data.parts import Part, begins, parted, whole
from charrnn.data.store import Entry, Sink, Store
from charrnn.data.stream import Ids, Stream
from charrnn.errors import InputError
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.tokenizer import tokenizer as tokenizer_of
from charrnn.version import __version__

EXACT = 4_000_000
"""Symbols of validation text at most that a finished model is scored on exactly."""

TRAIN_END = 5_000_000
"""Bytes of the text to train on that are kept, for what a trained model is compared with."""

_KEPT = 4 * EXACT  # bytes of validation text that are kept for that
_LAYOUT = 1  # of an entry in the store


@dataclass(frozen=True)
class Split:
    """A corpus ready to learn from.

    Attributes:
        tokenizer: its vocabulary taken from the part to train on.
        train: what to train on. val: what to validate on; may be empty.
        train_counts, val_counts: their lengths.
        train_end: the end of `train` before encoding, and val_texts: the beginning of `val`.
        separator: what ends each record; empty: the texts are no records.
    """

    tokenizer: Tokenizer
    train: Stream
    val: Stream
    train_counts: Counts
    val_counts: Counts
    train_end: bytes
    val_texts: tuple[bytes, ...]
    separator: bytes = b""

    @property
    def exact(self) -> int:
        """How many symbols of `val` can be scored exactly."""
        return min(len(self.val), int(EXACT * min(1.0, len(self.val) / max(1, self.val_counts.chars))))

    def val_head(self, symbols: int) -> list[bytes]:
        """The first symbols of the validation texts, of records the last one whole.

        Exactly so many characters or bytes; where a symbol may be several characters, about so many symbols.
        """
        if symbols >= len(self.val):
            return list(self.val_texts)
        if self.tokenizer.name == "sentencepiece":
            symbols = round(symbols * self.val_counts.chars / len(self.val))
        return head(self.val_texts, symbols, by_char=self.tokenizer.name != "byte", separator=self.separator)


def head(texts: tuple[bytes, ...], symbols: int, *, by_char: bool, separator: bytes = b"") -> list[bytes]:
    """The first symbols (characters, or bytes) of texts one after another, to the end of a record if there are any."""
    found = []
    for text in texts:
        places = begins(text, by_char)
        end = int(places[symbols]) if symbols < len(places) else len(text)
        if separator and 0 < end < len(text):
            end = text.index(separator, max(0, end - len(separator))) + len(separator)
        found.append(text[:end])
        symbols -= len(places)
        if symbols <= 0:
            break
    return found


@dataclass(frozen=True)
class Preparation:
    """How a corpus becomes ids.

    Attributes:
        tokenizer: the name of one to make from the part to train on: "char", "byte", "sentencepiece" or
            "sentencepiece-bpe".
        fraction: the share to validate on, in symbols (characters, where one has several) or in records.
        errors: "strict" or "replace", for invalid UTF-8.
        seed: of the choice of records.
        vocab_size: of a sentencepiece model; None: what suits the text.
        min_count: how often a character must occur to be known.
    """

    tokenizer: str = "char"
    fraction: float = 0.1
    errors: str = "strict"
    seed: int = 0
    vocab_size: int | None = None
    min_count: int = 1


def prepare(
    corpus: Corpus,
    validation: Corpus | None,
    how: Preparation,
    *,
    tokenizer: Tokenizer | None = None,
    store: Store | None = None,
    bar: Bar = no_bar,
) -> Split:
    """Split and encode a corpus.

    Args:
        corpus: to train on. validation: to validate on; None takes a part of `corpus`.
        how: what to make of it.
        tokenizer: made before, by a preparation like this one; None makes one.
        store: where the ids are kept, and looked for; None keeps them in memory.
        bar: shows progress.

    Raises:
        InputError: a text cannot be decoded, or is too short for the split.
        UsageError: the vocabulary cannot have that size. OutputError: the store cannot be written.
    """
    for each in (corpus, validation):
        if each is not None:
            each.read_once(bar)
    if validation is not None:
        parts = whole(corpus), whole(validation)
    else:
        parts = parted(corpus, how.fraction, by_char=how.tokenizer != "byte", seed=how.seed)
    if store is None:
        sinks = dict[str, Sink]()
        document = _fill(parts, how, tokenizer, lambda name: sinks.setdefault(name, Sink()), bar)
        return _split(document, {name: sink.array() for name, sink in sinks.items()}, corpus.form.separator)
    key = _key(corpus, validation, how)
    entry = store.get(key)
    if entry is None or (tokenizer is not None and not np.array_equal(entry["table"], tokenizer.table)):
        with store.making(key) as draft:
            draft.document |= _fill(parts, how, tokenizer, draft.sink, bar)
        entry = draft.entry
    return _split(entry.document, entry, corpus.form.separator)


def _fill(
    parts: tuple[Part, Part], how: Preparation, tokenizer: Tokenizer | None, sink: Callable[[str], Sink], bar: Bar
) -> dict[str, Any]:
    """Put all arrays of a split into sinks; the rest of it is returned."""
    if tokenizer is None:
        tokenizer = make_tokenizer(
            how.tokenizer, parts[0], how.errors, vocab_size=how.vocab_size, min_count=how.min_count, bar=bar
        )
    document: dict[str, Any] = {"tokenizer": tokenizer.name}
    separator = parts[0].corpus.form.separator
    end, beginning = _End(TRAIN_END), _Beginning(_KEPT)
    for name, part, watch in (("train", parts[0], end.add), ("val", parts[1], beginning.add)):
        ids, starts = sink(name), sink(f"{name}.starts")
        ids.add(tokenizer.encode(b""))  # their types, should nothing follow
        starts.add(np.zeros(0, np.int64))
        counts = encode(tokenizer, part, how.errors, ids=ids, starts=starts, watch=watch, bar=bar)
        document[name] = asdict(counts)
        if name == "train" and not ids.size:
            raise InputError("the text to train on is empty")
    val_texts = beginning.texts(separator)
    document["val_texts"] = list(map(len, val_texts))
    document["weighted"] = parts[0].weights is not None
    for name, array in (
        ("table", tokenizer.table),
        ("weights", np.zeros(0, np.int64) if parts[0].weights is None else parts[0].weights),
        ("train_end", np.frombuffer(end.text(), np.uint8)),
        ("val_texts", np.frombuffer(b"".join(val_texts), np.uint8)),
    ):
        sink(name).add(array)
    return document


def _split(document: Mapping[str, Any], arrays: Mapping[str, Ids] | Entry, separator: bytes) -> Split:
    """What `_fill` made."""
    weights = np.array(arrays["weights"]) if document["weighted"] else None
    records, texts = bool(separator), arrays["val_texts"].tobytes()
    bounds = np.cumsum([0, *document["val_texts"]]).tolist()
    return Split(
        tokenizer_of(document["tokenizer"], np.array(arrays["table"])),
        Stream(arrays["train"], arrays["train.starts"], records, weights),
        Stream(arrays["val"], arrays["val.starts"], records),
        Counts(**document["train"]),
        Counts(**document["val"]),
        arrays["train_end"].tobytes(),
        tuple(texts[a:b] for a, b in itertools.pairwise(bounds)),
        separator,
    )


def _key(corpus: Corpus, validation: Corpus | None, how: Preparation) -> str:
    """Of an entry in the store: all that decides what is in it."""
    what = [
        __version__,
        _LAYOUT,
        corpus.sha256,
        None if validation is None else validation.sha256,
        corpus.form.separator.hex(),
        list(asdict(how).values()),
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _last_character(text: bytes) -> int:
    """Where the last character of a text begins, which may be cut; the end, where no character can be told."""
    return next((len(text) - n for n in range(1, min(4, len(text)) + 1) if text[-n] & 0xC0 != 0x80), len(text))


class _End:
    """Keeps the last bytes of a text, whole characters of them."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.pieces: deque[bytes] = deque()

    def add(self, number: int, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)
        while self.size - len(self.pieces[0]) >= self.limit:
            self.size -= len(self.pieces.popleft())

    def text(self) -> bytes:
        data = b"".join(self.pieces)[-self.limit :]
        places = begins(data[:8], by_char=True)
        return data[int(places[0]) :] if len(places) else data


class _Beginning:
    """Keeps the first bytes of texts, of which the last one may end early, but not within a character or a record."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.pieces: dict[int, list[bytes]] = {}
        self.cut = False

    def add(self, number: int, piece: bytes) -> None:
        self.cut = self.cut or len(piece) > self.left
        piece = piece[: self.left]
        self.left -= len(piece)
        if piece:
            self.pieces.setdefault(number, []).append(piece)

    def texts(self, separator: bytes) -> list[bytes]:
        texts = list(map(b"".join, self.pieces.values()))
        if self.cut and texts:
            text = texts.pop()
            end = text.rfind(separator) + len(separator) if separator else _last_character(text)
            texts += [text[:end]] if end > 0 else []
        return texts

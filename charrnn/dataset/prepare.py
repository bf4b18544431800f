"""From a corpus to what a run learns from: split, vocabulary, ids.

A corpus is read several times, a piece at a time, so that it need not fit into memory. With a cache
the ids go into files, and are found there the next time.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory, no_progress
from charrnn.dataset.dataset import MAX_EXACT_CHARS, Dataset, Ids, TextCounts, TokenStream
from charrnn.dataset.encode import encode, make_tokenizer
from charrnn.dataset.excerpts import HeadExcerpt, TailExcerpt
from charrnn.dataset.id_cache import ArrayWriter, Entry, IdCache
from charrnn.dataset.split import CorpusPart, split_corpus, whole
from charrnn.errors import InputError
from charrnn.tokenizers.tokenizer import Tokenizer, tokenizer_from_table
from charrnn.version import __version__

TRAIN_END = 5_000_000
"""Bytes of the text to train on that are kept, for what a trained model is compared with."""


_KEPT = 4 * MAX_EXACT_CHARS  # bytes of validation text that are kept for that


_LAYOUT = 1  # of an entry in the store


@dataclass(frozen=True)
class PrepareOptions:
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
    how: PrepareOptions,
    *,
    tokenizer: Tokenizer | None = None,
    store: IdCache | None = None,
    progress: ProgressFactory = no_progress,
) -> Dataset:
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
            each.scan(progress)
    if validation is not None:
        parts = whole(corpus), whole(validation)
    else:
        parts = split_corpus(corpus, how.fraction, by_char=how.tokenizer != "byte", seed=how.seed)
    if store is None:
        sinks = dict[str, ArrayWriter]()
        document = _fill(parts, how, tokenizer, lambda name: sinks.setdefault(name, ArrayWriter()), progress)
        return _split(document, {name: sink.array() for name, sink in sinks.items()}, corpus.form.separator)
    key = _key(corpus, validation, how)
    entry = store.get(key)
    if entry is None or (tokenizer is not None and not np.array_equal(entry["table"], tokenizer.table)):
        with store.create(key) as draft:
            draft.document |= _fill(parts, how, tokenizer, draft.sink, progress)
        entry = draft.entry
    return _split(entry.document, entry, corpus.form.separator)


def _fill(
    parts: tuple[CorpusPart, CorpusPart],
    how: PrepareOptions,
    tokenizer: Tokenizer | None,
    sink: Callable[[str], ArrayWriter],
    progress: ProgressFactory,
) -> dict[str, Any]:
    """Put all arrays of a split into sinks; the rest of it is returned."""
    if tokenizer is None:
        tokenizer = make_tokenizer(
            how.tokenizer, parts[0], how.errors, vocab_size=how.vocab_size, min_count=how.min_count, progress=progress
        )
    document: dict[str, Any] = {"tokenizer": tokenizer.name}
    separator = parts[0].corpus.form.separator
    tail, head = TailExcerpt(TRAIN_END), HeadExcerpt(_KEPT)
    for name, part, watch in (
        ("train", parts[0], lambda _, chunk: tail.add(chunk)),
        ("val", parts[1], head.add),
    ):
        ids, starts = sink(name), sink(f"{name}.starts")
        ids.add(tokenizer.encode(b""))  # their types, should nothing follow
        starts.add(np.zeros(0, np.int64))
        counts = encode(tokenizer, part, how.errors, ids=ids, starts=starts, watch=watch, progress=progress)
        document[name] = asdict(counts)
        if name == "train" and not ids.size:
            raise InputError("the text to train on is empty")
    val_texts = head.texts(separator)
    document["val_texts"] = list(map(len, val_texts))
    document["weighted"] = parts[0].weights is not None
    for name, array in (
        ("table", tokenizer.table),
        ("weights", np.zeros(0, np.int64) if parts[0].weights is None else parts[0].weights),
        ("train_end", np.frombuffer(tail.text(), np.uint8)),
        ("val_texts", np.frombuffer(b"".join(val_texts), np.uint8)),
    ):
        sink(name).add(array)
    return document


def _split(document: Mapping[str, Any], arrays: Mapping[str, Ids] | Entry, separator: bytes) -> Dataset:
    """What `_fill` made."""
    weights = np.array(arrays["weights"]) if document["weighted"] else None
    records, texts = bool(separator), arrays["val_texts"].tobytes()
    bounds = np.cumsum([0, *document["val_texts"]]).tolist()
    return Dataset(
        tokenizer_from_table(document["tokenizer"], np.array(arrays["table"])),
        TokenStream(arrays["train"], arrays["train.starts"], records, weights),
        TokenStream(arrays["val"], arrays["val.starts"], records),
        TextCounts(**document["train"]),
        TextCounts(**document["val"]),
        arrays["train_end"].tobytes(),
        tuple(texts[a:b] for a, b in itertools.pairwise(bounds)),
        separator,
    )


def _key(corpus: Corpus, validation: Corpus | None, how: PrepareOptions) -> str:
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

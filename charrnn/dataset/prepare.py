"""From a corpus to what a run learns from: split, vocabulary, ids.

Documents are read a chunk at a time, once, so that a corpus need not fit into memory; a tokenizer that has to be
trained reads them once before. With a cache the ids go into files, and are found there the next time.
"""

import functools
import hashlib
import importlib.metadata
import itertools
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory, no_progress
from charrnn.dataset.array_files import ArrayWriter
from charrnn.dataset.dataset import MAX_EXACT_CHARS, Dataset, Ids, TextCounts, TokenStream
from charrnn.dataset.encode import StreamWriter, encode, make_tokenizer, trim_vocabulary
from charrnn.dataset.excerpts import HeadExcerpt, TailExcerpt
from charrnn.dataset.id_cache import Entry, IdCache
from charrnn.dataset.split import Split, WholeSplit, split_corpus
from charrnn.errors import InputError, OutputError
from charrnn.files import error_reason, quote
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer, tokenizer_from_table
from charrnn.version import __version__

MAX_TRAIN_END = 5_000_000
"""Bytes of the text to train on that are kept, for what a trained model is compared with."""

_MAX_VAL_BYTES = 4 * MAX_EXACT_CHARS
"""Bytes of validation text that are kept for that."""

_LAYOUT = 2
"""Of an entry in the cache."""

_ID_TYPES = (np.uint8, np.uint16, np.uint32)


@dataclass(frozen=True)
class PrepareOptions:
    """How a corpus becomes ids.

    Attributes:
        tokenizer: the name of one to make from the part to train on: "char", "byte", "sentencepiece" or
            "sentencepiece-bpe".
        val_fraction: the share to validate on: of the characters (of "byte": of the bytes), or of the records.
        errors: "strict" or "replace", for invalid UTF-8.
        split_seed: of the choice of records. random_split: as `split_corpus` has it.
        vocab_size: how many tokens a sentencepiece model has, or how many characters, the commonest ones, are known;
            None: what suits the text, all of them.
    """

    tokenizer: str = "char"
    val_fraction: float = 0.1
    errors: str = "strict"
    split_seed: int = 0
    random_split: int | None = None
    vocab_size: int | None = None


def prepare(
    corpus: Corpus,
    val: Corpus | None,
    options: PrepareOptions,
    *,
    cache: IdCache | None = None,
    folder: Path | None = None,
    tokenizer: Tokenizer | None = None,
    progress: ProgressFactory = no_progress,
) -> Dataset:
    """Split and encode a corpus.

    Args:
        corpus: to train on. val: to validate on; None takes a part of `corpus`.
        options: how it becomes ids.
        cache: where the ids are kept, and looked for; None keeps them in memory.
        folder: where the ids are in a file without a name if the cache cannot keep them; None: the system's own for
            temporary files.
        tokenizer: made before, by a preparation like this one; None makes one.
        progress: shows progress.

    Raises:
        InputError: a text cannot be decoded, or is too short for the split.
        UsageError: the vocabulary cannot have that size. OutputError: the ids cannot be written.
    """
    separator = corpus.text_format.separator
    fill = functools.partial(_fill, corpus, val, options, tokenizer, progress=progress)
    if cache is None:
        return _uncached(fill, separator, ArrayWriter)
    # a given tokenizer is that of the entry without one, as a rule; an entry made with it is for it alone
    keys = [_key(corpus, val, options, each) for each in ((None,) if tokenizer is None else (None, tokenizer))]
    for key in keys:
        found = cache.get(key, lambda entry: _read(entry, separator, tokenizer))
        if found is not None:
            return found
    try:
        with cache.create(keys[-1]) as pending:
            pending.info |= fill(pending.writer)
        return _dataset(pending.info, pending.arrays, separator)
    except OutputError as error:
        cache.note(f"{error}; they are made again for this run alone")
    try:
        return _uncached(fill, separator, lambda: ArrayWriter(tempfile.TemporaryFile(dir=folder)))
    except OSError as error:
        where = quote(folder or tempfile.gettempdir())
        raise OutputError(f"cannot keep the ids of the text in {where}: {error_reason(error)}") from error


def _uncached(
    fill: Callable[[Callable[[str], ArrayWriter]], dict[str, Any]],
    separator: bytes,
    new_writer: Callable[[], ArrayWriter],
) -> Dataset:
    """Return the dataset that `fill` writes. Raises as `prepare`, and OSError."""
    writers = dict[str, ArrayWriter]()
    try:
        info = fill(lambda name: writers.setdefault(name, new_writer()))
        return _dataset(info, {name: writer.array() for name, writer in writers.items()}, separator)
    finally:
        for writer in writers.values():
            writer.close()


def training_splits(corpus: Corpus, val: Corpus | None, options: PrepareOptions) -> list[tuple[Corpus, Split]]:
    """Return what is to be encoded, and how it is split: first what is trained on.

    Raises:
        InputError: a text cannot be decoded, or is too short for the split.
    """
    if val is None:
        by_char = options.tokenizer != "byte"
        split = split_corpus(
            corpus,
            options.val_fraction,
            by_char=by_char,
            split_seed=options.split_seed,
            random_split=options.random_split,
        )
        found: list[tuple[Corpus, Split]] = [(corpus, split)]
    else:
        found = [(corpus, WholeSplit(corpus, train=True)), (val, WholeSplit(val, train=False))]
    if options.tokenizer != "byte":
        for each, _ in found:
            each.stats.check(options.errors)
    return found


def _fill(
    corpus: Corpus,
    val: Corpus | None,
    options: PrepareOptions,
    tokenizer: Tokenizer | None,
    new_writer: Callable[[str], ArrayWriter],
    progress: ProgressFactory,
) -> dict[str, Any]:
    """Write all arrays of a dataset, and return the rest of it as plain JSON. Raises as `prepare`, and OSError."""
    separator = corpus.text_format.separator
    splits = training_splits(corpus, val, options)
    split = splits[0][1]
    all_known = isinstance(split, WholeSplit) and options.vocab_size is None
    trim = tokenizer is None and options.tokenizer == "char" and not all_known
    if tokenizer is None:
        tokenizer = make_tokenizer(
            options.tokenizer,
            corpus,
            split,
            options.errors,
            vocab_size=options.vocab_size,
            progress=progress,
        )
    tail, head = TailExcerpt(MAX_TRAIN_END), HeadExcerpt(_MAX_VAL_BYTES)
    train_writer, val_writer = (
        StreamWriter(
            tokenizer,
            options.errors,
            new_writer(name),
            new_writer(f"{name}.starts"),
            separator=separator,
            excerpt=excerpt.add,
            count_ids=trim,
        )
        for name, excerpt in (("train", tail), ("val", head))
    )
    with progress("encoding", sum(each.size for each, _ in splits)) as advance:
        for each, side_of in splits:
            encode(each, side_of, train_writer, val_writer, advance)
    if trim:
        assert isinstance(tokenizer, CharTokenizer)
        tokenizer = trim_vocabulary(tokenizer, train_writer, val_writer, separator, options.vocab_size)
    if not train_writer.ids.size:
        raise InputError("the text to train on is empty")
    val_texts, weights = head.texts(separator), split.train_weights
    for name, array in (
        ("table", tokenizer.table),
        ("weights", np.zeros(0, np.int64) if weights is None else weights),
        ("train_end", np.frombuffer(tail.text(), np.uint8)),
        ("val_texts", np.frombuffer(b"".join(val_texts), np.uint8)),
        ("val_texts.sizes", np.array([len(text) for text in val_texts], np.int64)),
    ):
        new_writer(name).add(array)
    return {
        "tokenizer": tokenizer.name,
        "train": _counts_to_json(train_writer.counts),
        "val": _counts_to_json(val_writer.counts),
        "weighted": weights is not None,
    }


def _counts_to_json(counts: TextCounts) -> dict[str, int]:
    return {
        "bytes": counts.bytes,
        "chars": counts.chars,
        "words": counts.words,
        "unknowns": counts.unknowns,
        "replaced": counts.replaced,
    }


def _counts_from_json(stored: Mapping[str, int]) -> TextCounts:
    return TextCounts(
        bytes=stored["bytes"],
        chars=stored["chars"],
        words=stored["words"],
        unknowns=stored["unknowns"],
        replaced=stored["replaced"],
    )


def _read(entry: Entry, separator: bytes, tokenizer: Tokenizer | None) -> Dataset | None:
    """Return the dataset that an entry holds; None: it was made with another tokenizer than the one given.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is not what was written.
    """
    table = entry.array("table", (np.uint32, np.uint8))
    if tokenizer is not None and not np.array_equal(table, tokenizer.table):
        return None
    tokenizer = tokenizer_from_table(entry.info["tokenizer"], np.array(table))
    arrays = {"table": table}
    for name, dtypes, below in (
        ("weights", (np.int64,), None),
        ("train_end", (np.uint8,), None),
        ("val_texts", (np.uint8,), None),
        ("val_texts.sizes", (np.int64,), None),
        ("val.starts", (np.int64,), None),
        ("val", _ID_TYPES, tokenizer.size),
        ("train.starts", (np.int64,), None),
        ("train", _ID_TYPES, tokenizer.size),  # the largest last: what is missing is missed soon
    ):
        arrays[name] = entry.array(name, dtypes, below)
    return _dataset(entry.info, arrays, separator)


def _dataset(info: Mapping[str, Any], arrays: Mapping[str, Ids], separator: bytes) -> Dataset:
    """Return what `_fill` made."""
    weights = np.array(arrays["weights"]) if info["weighted"] else None
    records, texts = bool(separator), arrays["val_texts"].tobytes()
    bounds = [0, *np.cumsum(arrays["val_texts.sizes"]).tolist()]
    return Dataset(
        tokenizer_from_table(info["tokenizer"], np.array(arrays["table"])),
        TokenStream(arrays["train"], arrays["train.starts"], records, weights),
        TokenStream(arrays["val"], arrays["val.starts"], records),
        _counts_from_json(info["train"]),
        _counts_from_json(info["val"]),
        arrays["train_end"].tobytes(),
        tuple(texts[a:b] for a, b in itertools.pairwise(bounds)),
        separator,
    )


def _key(corpus: Corpus, val: Corpus | None, options: PrepareOptions, tokenizer: Tokenizer | None) -> str:
    """Return the key of an entry in the cache: a digest of all that decides what is in it.

    All that `prepare` is given, every field of it, and the constants and libraries by which it becomes ids.
    """
    sentencepiece = options.tokenizer.startswith("sentencepiece")
    what = {
        "version": __version__,
        "layout": _LAYOUT,
        "kept": (MAX_TRAIN_END, _MAX_VAL_BYTES),
        "texts": [each and (each.sha256, asdict(each.text_format)) for each in (corpus, val)],
        "options": asdict(options),
        "tokenizer": tokenizer
        and hashlib.sha256(tokenizer.name.encode() + b"\0" + tokenizer.table.tobytes()).hexdigest(),
        "sentencepiece": importlib.metadata.version("sentencepiece") if sentencepiece else None,
    }
    return hashlib.sha256(json.dumps(what, default=bytes.hex).encode()).hexdigest()[:32]

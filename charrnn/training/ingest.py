"""From sources to a corpus and a dataset: how the text of a run is read, and what a user should know of it."""

import glob
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charrnn.config.train import RANDOM_SPLIT, TrainConfig
from charrnn.corpus import reader
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory, fingerprint
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.sources import Sources
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.files import cache_folder, quote
from charrnn.tokenizers.tokenizer import Tokenizer

LARGE_VOCABULARY = 5000
"""A vocabulary size that is worth a warning."""


_STEP = 1 << 20
"""Ids that are digested at a time."""

TakeNote = Callable[[str, str], None]
"""Takes a sentence for the user, and its level: "debug", "info" or "warning"."""


def read_corpora(
    config: TrainConfig,
    text: Corpus | Sources,
    val: Sources | None,
    *,
    spool: Path | None,
    progress: ProgressFactory,
    note: TakeNote,
) -> tuple[Corpus, Corpus | None]:
    """Read the text to train on, and the one to validate on if it is another.

    Args:
        config: says what of the sources is text.
        text: the sources of the text to train on, or what was read of them.
        val: the sources of the text to validate on; None: a part of `text`.
        spool: the folder where a large text that can be read only once is kept meanwhile; None: the system's own.

    Raises:
        InputError: a source cannot be read or is not of that format, or there is no text in any.
    """
    text_format = TextFormat(config.record_separator, config.jsonl, config.tsv, config.csv, config.counts)

    def read(sources: Sources) -> Corpus:
        corpus = reader.read_corpus(
            sources,
            text_format,
            errors=config.errors,
            is_utf8=config.tokenizer != "byte",
            folder=spool,
            progress=progress,
        )
        for message in corpus.notes:
            note(message, "info")
        for message in corpus.warnings:
            note(message, "warning")
        return corpus

    return text if isinstance(text, Corpus) else read(text), None if val is None else read(val)


def corpus_digest(corpus: Corpus, val: Corpus | None) -> str:
    """Return the digest by which a resumed run knows its text again: the SHA-256 of each corpus, in hex."""
    return corpus.sha256 if val is None else f"{corpus.sha256}+{val.sha256}"


def dataset_digest(dataset: Dataset) -> str:
    """Return the SHA-256, in hex, of a dataset's ids and of where its texts begin; for datasets without a corpus."""
    digest = hashlib.sha256()
    for array in (dataset.train.ids, dataset.train.starts, dataset.train.weights, dataset.val.ids, dataset.val.starts):
        if array is None:
            continue
        digest.update(len(array).to_bytes(8, "little"))
        for begin in range(0, len(array), _STEP):  # an array may be larger than memory
            digest.update(array[begin : begin + _STEP].astype("<i8").tobytes())
    return digest.hexdigest()


def make_dataset(
    corpus: Corpus,
    val: Corpus | None,
    config: TrainConfig,
    tokenizer: Tokenizer | None,
    *,
    spool: Path | None,
    progress: ProgressFactory,
    note: TakeNote,
) -> Dataset:
    """Split and encode a corpus; the ids of a large one are cached.

    Args:
        tokenizer: of the run that is resumed; None makes one.
        spool: the folder where the ids are kept meanwhile if the cache cannot keep them; None: the system's own.

    Raises:
        InputError: the text cannot be decoded, or is too short. UsageError: it cannot have a vocabulary of that size.
        OutputError: the ids cannot be written.
    """
    options = PrepareOptions(
        config.tokenizer,
        config.val_fraction,
        "replace" if config.errors == "replace" else "strict",  # what could be skipped has been
        max(config.split_seed, 0),
        config.seed if config.split_seed == RANDOM_SPLIT else None,
        config.vocab_size,
    )
    large = corpus.size + (val.size if val is not None else 0) > reader.MAX_IN_MEMORY
    cache = IdCache(cache_folder() / "ids", note=lambda message: note(message, "warning")) if large else None
    dataset = prepare(corpus, val, options, cache=cache, folder=spool, tokenizer=tokenizer, progress=progress)
    replaced = dataset.train_counts.replaced + dataset.val_counts.replaced
    if replaced:
        note(f"{replaced:,} invalid pieces of UTF-8 are read as U+FFFD", "warning")
    if dataset.tokenizer.size > LARGE_VOCABULARY:
        note(
            f"{dataset.tokenizer.size:,} different characters make large tables and slow steps; the byte tokenizer"
            " needs 256",
            "warning",
        )
    return dataset


class SourceFiles:
    """The files that corpora were read from.

    A run keeps a copy of its text while it trains; to resume it later the files must be as they were.
    """

    def __init__(self, corpora: tuple[Corpus, Corpus | None] | None = None) -> None:
        self._fingerprints: dict[str, Any] = {}
        for corpus in corpora or ():
            if corpus is not None:
                self._fingerprints |= corpus.fingerprints

    def note_changes(self, note: TakeNote) -> None:
        """Warn of those that have changed since they were read, each once."""
        for path in self.changed():
            note(
                f"{quote(path)} has changed since it was read; this run goes on with what it has read, but it"
                " cannot be resumed with the changed text",
                "warning",
            )

    def changed(self) -> list[str]:
        """Return the paths of those that have changed since they were read, each once."""
        changed = [path for path, before in self._fingerprints.items() if fingerprint(path) != before]
        for path in changed:
            del self._fingerprints[path]
        return changed


def is_found_again(config: TrainConfig) -> bool:
    """Return whether the text can be read once more by the names that a file holds of it: no stdin, no pipe."""

    def is_lasting(name: str) -> bool:
        is_utf_8 = name.encode("utf-8", "ignore") == os.fsencode(name)
        return is_utf_8 and not is_read_once(name)

    return all(map(is_lasting, (*config.corpus, *([config.val_file] if config.val_file is not None else []))))


def is_read_once(name: str) -> bool:
    """Return whether a name of a text is that of stdin or of a pipe."""
    return name == "-" or (os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name))


def absolute(name: str) -> str:
    """Return a path that means the same in every folder; a name that is not a path stays as it is."""
    return os.path.abspath(name) if os.path.exists(name) or glob.has_magic(name) else name

"""From sources to a corpus and a dataset: how the text of a run is read, and what a user should know of it."""

import contextlib
import glob
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from charrnn.config.train import MIX_SHARE, RANDOM_SPLIT, TrainConfig
from charrnn.corpus import reader
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory, fingerprint
from charrnn.corpus.sources import Sources, resolve_sources
from charrnn.dataset.advice import LARGE_VOCABULARY
from charrnn.dataset.dataset import Dataset, Mix
from charrnn.dataset.encode import grow_vocabulary
from charrnn.dataset.id_cache import IdCache
from charrnn.dataset.prepare import PrepareOptions, prepare, training_splits
from charrnn.errors import InputError
from charrnn.files import cache_folder, quote
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.training.text_check import text_format, text_warnings

_MIX_VAL = 0.1
"""The share of a text to mix in that is held out where the text to validate on is one of its own."""


_STEP = 1 << 20
"""Ids that are digested at a time."""

TakeNote = Callable[[str, str], None]
"""Takes a sentence for the user, and its level: "debug", "info" or "warning"."""


class Corpora(NamedTuple):
    """What was read for a run: the text to train on, the one to validate on if it is another, the one to mix in."""

    text: Corpus
    val: Corpus | None = None
    mix: Corpus | None = None

    @property
    def digest(self) -> str:
        """What a resumed run knows its text again by: the SHA-256 of each corpus, in hex."""
        others = (("", self.val), ("mix:", self.mix))
        return "+".join([self.text.sha256, *(f"{name}{each.sha256}" for name, each in others if each is not None)])


class RunSources(NamedTuple):
    """Where the texts of a run come from; `val` and `mix`: None: there is none of its own."""

    text: Sources | Corpus | Dataset
    val: Sources | None
    mix: Sources | None

    @classmethod
    def resolve(cls, config: TrainConfig, text: Corpus | Dataset | None) -> tuple[TrainConfig, "RunSources"]:
        """Resolve what the options name, but for a text that is there; return them with names that mean the same in
        every folder, and with a share of what is mixed in. Raise InputError where they name nothing."""
        val, mix = (None if name is None else resolve_sources([name]) for name in (config.val_file, config.mix))
        sources = cls(resolve_sources(config.corpus) if text is None else text, val, mix)
        config = replace(
            config,
            corpus=tuple(map(absolute, config.corpus)),
            val=config.val if config.val_file is None else absolute(config.val_file),
            mix=config.mix and absolute(config.mix),
            mix_share=None if config.mix is None else config.mix_share or MIX_SHARE,
        )
        return config, sources

    @property
    def name(self) -> str:
        """What a run's folder is called after."""
        return getattr(self.text, "name", "dataset")


def read_corpora(
    config: TrainConfig,
    sources: RunSources,
    *,
    spool: Path | None,
    progress: ProgressFactory,
    note: TakeNote,
) -> Corpora:
    """Read the text to train on, and the ones to validate on and to mix in if there are any.

    Args:
        config: says what of the sources is text.
        sources: of the texts; of a corpus, which has been read, it is that one.
        spool: the folder where a large text that can be read only once is kept meanwhile; None: the system's own.

    Raises:
        InputError: a source cannot be read or is not of that format, or there is no text in any.
    """

    def read(sources: Sources) -> Corpus:
        corpus = reader.read_corpus(
            sources,
            text_format(config),
            errors=config.errors,
            is_utf8=config.tokenizer != "byte",
            folder=spool,
            progress=progress,
        )
        for message in corpus.notes:
            note(message, "info")
        return corpus

    own = read(sources.text) if isinstance(sources.text, Sources) else sources.text
    assert isinstance(own, Corpus)
    corpora = Corpora(own, *(None if each is None else read(each) for each in (sources.val, sources.mix)))
    for message in text_warnings([corpus for corpus in corpora if corpus is not None], config):
        note(message, "warning")
    return corpora


def dataset_digest(dataset: Dataset) -> str:
    """Return the SHA-256, in hex, of a dataset's ids and of where its texts begin; for datasets without a corpus."""
    digest = hashlib.sha256() if dataset.mix is None else hashlib.sha256(dataset_digest(dataset.mix.dataset).encode())
    for array in (dataset.train.ids, dataset.train.starts, dataset.train.weights, dataset.val.ids, dataset.val.starts):
        if array is None:
            continue
        digest.update(len(array).to_bytes(8, "little"))
        for begin in range(0, len(array), _STEP):  # an array may be larger than memory
            digest.update(array[begin : begin + _STEP].astype("<i8").tobytes())
    return digest.hexdigest()


def make_dataset(
    corpora: Corpora,
    config: TrainConfig,
    tokenizer: Tokenizer | None,
    *,
    grows: bool = False,
    spool: Path | None,
    progress: ProgressFactory,
    note: TakeNote,
) -> Dataset:
    """Split and encode the texts of a run; the ids of large ones are cached.

    Args:
        tokenizer: of the run that is resumed, or of the model that is fine-tuned; None makes one.
        grows: whether the characters are added to it that are new in what is trained on.
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
    texts = [(corpora.text, corpora.val, options)]
    if corpora.mix is not None:
        share = options.val_fraction if config.val_file is None else _MIX_VAL
        texts.append((corpora.mix, None, replace(options, val_fraction=share)))
    if grows and isinstance(tokenizer, CharTokenizer):
        for corpus, val, each in texts:
            with _named(corpus is corpora.mix):
                trained = training_splits(corpus, val, each)[0]
                tokenizer = grow_vocabulary(tokenizer, *trained, each.errors, progress)
    made = []
    for corpus, val, each in texts:
        large = corpus.size + (val.size if val is not None else 0) > reader.MAX_IN_MEMORY
        cache = IdCache(cache_folder() / "ids", note=lambda message: note(message, "warning")) if large else None
        with _named(corpus is corpora.mix):
            found = prepare(corpus, val, each, cache=cache, folder=spool, tokenizer=tokenizer, progress=progress)
        made.append(found)
        replaced = found.train_counts.replaced + found.val_counts.replaced
        if replaced:
            note(f"{replaced:,} invalid pieces of UTF-8 are read as U+FFFD", "warning")
    dataset, *others = made
    if others:
        assert config.mix_share is not None
        dataset = replace(dataset, mix=Mix(others[0], config.mix_share))
    if dataset.tokenizer.size > LARGE_VOCABULARY:
        note(
            f"{dataset.tokenizer.size:,} different characters make large tables and slow steps; the byte tokenizer"
            " needs 256",
            "warning",
        )
    return dataset


@contextlib.contextmanager
def _named(is_mix: bool) -> Iterator[None]:
    """Say of what cannot be used that it is the text to mix in, if it is."""
    try:
        yield
    except InputError as error:
        if not is_mix:
            raise
        raise InputError(f"{{mix}}: {error.text}", (*error.fields, "mix")) from None


class SourceFiles:
    """The files that corpora were read from.

    A run keeps a copy of its text while it trains; to resume it later the files must be as they were.
    """

    def __init__(self, corpora: Corpora | None = None) -> None:
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

    others = (name for name in (config.val_file, config.mix) if name is not None)
    return all(map(is_lasting, (*config.corpus, *others)))


def is_read_once(name: str) -> bool:
    """Return whether a name of a text is that of stdin or of a pipe."""
    return name == "-" or (os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name))


def absolute(name: str) -> str:
    """Return a path that means the same in every folder; a name that is not a path stays as it is."""
    return os.path.abspath(name) if os.path.exists(name) or glob.has_magic(name) else name

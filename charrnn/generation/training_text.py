"""The text that models were trained on, read again from the corpora of their runs: what was held out and what was mixed
in included; not that of a model that they were fine-tuned from."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from charrnn.config.options import param_types, read_toml
from charrnn.config.train import TrainConfig
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.formats import TextFormat
from charrnn.corpus.inputs import BOM, split_at
from charrnn.corpus.reader import read_corpus
from charrnn.engines.base import Array, CopyIndex
from charrnn.errors import CharRNNError, UsageError
from charrnn.generation.copies import blocks_of, code_points, copied_chars, copy_index

Run = tuple[Path, object]
"""The `config.toml` of a run, and the digest of its text, as the model's `info` has it."""


STRETCH = 30
"""Characters of a stretch of the training text that is counted as copied."""


_TEXT_OPTIONS = (
    "corpus", "init_from", "mix", "records", "separator", "counts", "jsonl", "tsv", "csv", "errors", "tokenizer",
)  # fmt: skip
"""Options of a run that say what its training text is, and how it was read."""


def training_records(runs: Sequence[Run]) -> Iterator[bytes]:
    """Return the records of the corpora, each without its end.

    Raises:
        UsageError: a corpus cannot be read any more, or is another one than the model was trained on.
    """
    for config, corpus in _corpora(runs, "novel"):
        for document in corpus.documents:
            first = True
            for records in split_at(document.chunks(), config.record_separator):
                for record in records:
                    text = record.removeprefix(BOM) if first else record
                    first = False
                    yield text.decode("utf-8", "replace").encode() if config.errors == "replace" else text


def training_copies(runs: Sequence[Run], length: int, token_bytes: Sequence[bytes]) -> CopyIndex | None:
    """Return the index of the corpora, of which no stretch of more than `length` characters is to be copied; None:
    they have none. Raises as `training_records`."""
    corpora = _corpora(runs, "max_copy")
    size = sum(corpus.size + len(corpus.stats.sizes) for _, corpus in corpora)
    return copy_index(_blocks(corpora, length), length, size, token_bytes)


def copied_share(runs: Sequence[Run], texts: Sequence[bytes]) -> float:
    """Return the share of the characters of texts that lie in stretches of `STRETCH` and more of the corpora; of no
    characters NaN. Raises as `training_records`; the message is the reason alone."""
    decoded = [np.concatenate([*code_points([text])]) for text in texts]
    total = sum(map(len, decoded))
    blocks = _blocks(_corpora(runs), STRETCH - 1)
    return copied_chars(decoded, blocks, STRETCH) / total if total else float("nan")


def _corpora(runs: Sequence[Run], option: str = "") -> list[tuple[TrainConfig, Corpus]]:
    """Return each corpus once, and how it was read; an error names the option for which."""
    found: dict[str, tuple[TrainConfig, Corpus]] = {}
    for config_file, digest in {digest: (file, digest) for file, digest in runs}.values():
        try:
            config = _text_options(config_file)
            text, *others = str(digest).split("+")  # those that have no name are of texts to validate on
            mixed = [each.removeprefix("mix:") for each in others if each.startswith("mix:")]
            names = [config.corpus, *([(config.mix,)] if config.mix is not None and mixed else [])]
            for sources, sha256 in zip(names, [text, *mixed], strict=False):
                called = "it" if sha256 == text else "what was mixed in"
                found[sha256] = config, _corpus(config, sources, sha256, called)
        except CharRNNError as error:
            if not option:
                raise UsageError(error.text, error.fields) from None
            raise UsageError(
                f"{{{option}}} needs the text that the model was trained on: {error.text}; {{exclude}} FILE takes a"
                " list in its place",
                (*error.fields, option, "exclude"),
            ) from None
    return [*found.values()]


def _text_options(config_file: Path) -> TrainConfig:
    values = read_toml(config_file, param_types(TrainConfig), stored=True)
    return TrainConfig(**{name: values[name] for name in _TEXT_OPTIONS if name in values})


def _blocks(corpora: Sequence[tuple[TrainConfig, Corpus]], overlap: int) -> Iterator[Array]:
    """Return their characters: see `blocks_of`."""
    for config, corpus in corpora:
        is_replaced = config.errors == "replace" and config.tokenizer != "byte"
        chunks = (document.chunks() for document in corpus.documents)
        yield from blocks_of(chunks, overlap, "replace" if is_replaced else "surrogateescape")


def _corpus(config: TrainConfig, sources: Sequence[str], sha256: str, called: str) -> Corpus:
    """Read a corpus of this digest again."""
    if "-" in sources:
        raise UsageError(f"{called} came from stdin")
    text_format = TextFormat(config.record_separator, config.jsonl, config.tsv, config.csv, config.counts)
    corpus = read_corpus(sources, text_format, errors=config.errors, is_utf8=config.tokenizer != "byte")
    if sha256 != corpus.sha256:
        raise UsageError(f"{called} has changed since")
    return corpus

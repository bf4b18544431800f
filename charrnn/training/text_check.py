"""What a training says of faults in its text; and a text read with its faults, to be checked."""

from collections.abc import Iterator, Sequence

from charrnn.config.train import TrainConfig
from charrnn.corpus import reader
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import ProgressFactory
from charrnn.corpus.formats import TextFormat
from charrnn.dataset.check import quick_findings

MAX_WARNINGS = 3
"""Lines that a training says about its text, at most."""


def text_warnings(corpora: Sequence[Corpus], config: TrainConfig) -> list[str]:
    """Return what a user should know of texts before a model is trained on them, as sentences; `MAX_WARNINGS` at most.

    Of large ones the first part is checked; of a run that is resumed this was said before.
    """
    found = [each for corpus in corpora for each in _warnings(corpus, config)]
    if len(found) > MAX_WARNINGS:
        rest = len(found) - MAX_WARNINGS + 1
        found[-rest:] = [f"and {rest} more: charrnn check has all, and the commands that mend them"]
    return found


def _warnings(corpus: Corpus, config: TrainConfig) -> Iterator[str]:
    yield from corpus.warnings
    refused = config.errors == "strict" and corpus.stats.faults
    if not (config.resume or config.tokenizer == "byte" or refused):
        for each in quick_findings(corpus):
            yield ": ".join(filter(None, (each.place, each.message, each.option)))


def text_format(config: TrainConfig) -> TextFormat:
    """Return what of the sources is text."""
    return TextFormat(config.record_separator, config.jsonl, config.tsv, config.csv, config.counts)


def read_with_faults(config: TrainConfig, sources: Sequence[str], progress: ProgressFactory) -> Corpus:
    """Return a corpus to be checked: invalid UTF-8 stays in it, lines that are no JSON or no rows are left out.

    Raises:
        InputError: it cannot be read, or there is no text.
    """
    wanted = text_format(config)
    return reader.read_corpus(sources, wanted, errors="skip" if wanted.is_structured else "replace", progress=progress)

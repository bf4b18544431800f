"""Text from a model: ids to texts, in order, cut where they end."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charrnn.config.sample import SamplingParams
from charrnn.corpus.records import SeparatorScanner, insert_bos
from charrnn.engines.base import GenerationRequest, Ids, InferenceEngine, SampledTokens
from charrnn.generation.constraints import token_dfa
from charrnn.generation.sampling import make_sampler
from charrnn.scoring.batching import read_prefix
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import Utf8Splitter

BATCH_SIZE = 64
"""Texts that are generated side by side, at most."""


CHUNK_SECONDS = 0.02
"""How long the sampler runs before what it has drawn is returned."""


@dataclass(frozen=True)
class TextChunk:
    """A part of a text.

    Attributes:
        index: of the text, from 0.
        data: its bytes after those of the chunk before, cut between characters of UTF-8; they may be none.
        tokens: drawn for the text so far, those of its end or stop string included.
        finished: whether the text ends here.
    """

    index: int
    data: bytes
    tokens: int
    finished: bool


def generate(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompt: Ids,
    params: SamplingParams,
    *,
    seed: int,
    stop: bytes = b"",
    separator: bytes = b"",
) -> Iterator[TextChunk]:
    """Generate `params.num` texts side by side, and return their chunks: those of a text as they are drawn, text after
    text.

    Args:
        engine, tokenizer: the model's; `<unk>` is never drawn.
        prompt: ids (T,) below V that the texts continue; T may be 0.
        params: how tokens are drawn, and how many. seed: of all draws.
        stop: a text ends before this string; empty: nowhere.
        separator: what ends a record, not part of its text; empty: the texts are not records.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    if params.length == 0:
        yield from (TextChunk(text, b"", 0, True) for text in range(params.num))
        return
    end = tokenizer.encode(separator)
    if separator:  # where a record ends in the prompt, another one begins
        prompt = insert_bos(prompt, SeparatorScanner(end).feed(prompt), engine.vocabulary)
    request = GenerationRequest(
        *read_prefix(engine, prompt),
        dfa_start=np.zeros(1, np.int32),
        per_prompt=params.num,
        params=params,
        seed=seed,
        dfa=token_dfa(engine.vocabulary, tokenizer.unknown, tuple(end.tolist())),
        batch_size=BATCH_SIZE,
    )
    sampler = make_sampler(engine, request)
    texts: dict[int, _Text] = {}  # those that have begun and are not returned whole
    stops = tuple(filter(None, (stop, separator)))
    due, seconds = 0, 0.0  # the first tokens are returned at once
    while due < params.num:
        for index, ids, finished in _by_text(sampler.advance(seconds)):
            text = texts.setdefault(index, _Text(stops))
            for some in np.split(ids, len(ids)) if stop else [ids]:  # one by one where any may complete the stop string
                text.add(tokenizer.decode(some), len(some))
                if stop and text.stopped:
                    sampler.finish(index)
                    finished = True
                    break
            if finished:
                text.finish()
        seconds = CHUNK_SECONDS / 10 if stop else CHUNK_SECONDS  # what is drawn beyond a stop string is in vain
        while (text_due := texts.get(due)) is not None:
            yield TextChunk(due, text_due.take(), text_due.tokens, text_due.finished)
            if not text_due.finished:
                break
            del texts[due]
            due += 1


def _by_text(sampled: SampledTokens) -> Iterator[tuple[int, Ids, bool]]:
    """Return the index of each text, its ids in order, and whether they are its last."""
    assert len(sampled.ids), "nothing was drawn"
    order = np.argsort(sampled.texts, kind="stable")
    texts = sampled.texts[order]
    starts = np.flatnonzero(np.diff(texts, prepend=-1))
    for text, places in zip(texts[starts].tolist(), np.split(order, starts[1:]), strict=True):
        yield text, sampled.ids[places], bool(sampled.last[places[-1]])


class _Text:
    """A text that is being generated, and what of it may be returned.

    Args:
        stops: strings that end it, before them.
    """

    def __init__(self, stops: tuple[bytes, ...]) -> None:
        self.tokens = 0
        self.stopped = self.finished = False
        self._stops = stops
        self._splitter = Utf8Splitter()
        self._held = b""  # as much of the text's end as may be the beginning of a stop string
        self._ready = bytearray()

    def add(self, data: bytes, tokens: int) -> None:
        """Add the bytes of further tokens, up to where the text stops."""
        self.tokens += tokens
        if self.stopped:
            return
        data = self._held + data
        places = [place for stop in self._stops if (place := data.find(stop)) >= 0]
        held = 0
        if places:
            self.stopped = True
            data = data[: min(places)]
        else:
            held = max((_overlap(data, stop) for stop in self._stops), default=0)
        self._held = data[len(data) - held :]
        self._ready += self._splitter.feed(data[: len(data) - held])

    def finish(self) -> None:
        """End the text: what was held back is part of it."""
        self._ready += self._splitter.feed(self._held) + self._splitter.flush()
        self.finished = True

    def take(self) -> bytes:
        """Return what may be returned by now and has not been."""
        data = bytes(self._ready)
        self._ready.clear()
        return data


def _overlap(data: bytes, stop: bytes) -> int:
    """Return how many of the last bytes may be the beginning of a stop string."""
    longest = min(len(stop) - 1, len(data))
    return next((n for n in range(longest, 0, -1) if data.endswith(stop[:n])), 0)

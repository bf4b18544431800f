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

BATCH = 64
"""Texts written side by side at most."""


PAUSE = 0.02
"""Seconds between two looks at what has been written."""


@dataclass(frozen=True)
class TextChunk:
    """More of a text, as bytes.

    Attributes:
        index: of the text, from 0.
        data: what is written since the part before; it cuts no character of UTF-8. May be empty.
        symbols: all that the model has written of the text so far, those of the stop string included.
        finished: whether the text ends with this part.
    """

    index: int
    data: bytes
    symbols: int
    finished: bool


def generate(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompt: Ids,
    config: SamplingParams,
    *,
    seed: int,
    stop: bytes = b"",
    separator: bytes = b"",
) -> Iterator[TextChunk]:
    """Write `config.num` texts side by side and hand them out one after another.

    The text that is due is handed out as it is written; those after it wait.

    Args:
        engine, tokenizer: the model, whose `<unk>` is never written.
        prompt: ids that the texts go on from.
        config: the controls, `length` and `num`. seed: of all draws.
        stop: a text ends before this string; empty: nowhere.
        separator: what ends a record; it is not handed out. Empty: the texts are no records.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    if config.length == 0:
        yield from (TextChunk(text, b"", 0, True) for text in range(config.num))
        return
    texts: dict[int, _Text] = {}
    stops = tuple(filter(None, (stop, separator)))
    end = tokenizer.encode(separator)
    if separator:  # where a record ends in the prompt, another one begins
        prompt = insert_bos(prompt, SeparatorScanner(end).feed(prompt), engine.vocabulary)
    request = GenerationRequest(
        *read_prefix(engine, prompt),
        dfa_start=np.zeros(1, np.int32),
        per_prompt=config.num,
        params=config,
        seed=seed,
        dfa=token_dfa(engine.vocabulary, tokenizer.unknown, tuple(end.tolist())),
        batch_size=BATCH,
    )
    sampler = make_sampler(engine, request)
    due, pause = 0, 0.0  # the first symbols come at once
    while due < config.num:
        for index, ids, finished in _by_text(sampler.advance(pause)):
            text = texts.setdefault(index, _Text(stops))
            for some in np.split(ids, len(ids)) if stop else [ids]:  # one by one where any may complete the stop
                text.write(tokenizer.decode(some))
                text.symbols += len(some)
                if stop and text.stopped:
                    sampler.finish(index)
                    finished = True
                    break
            if finished:
                text.finish()
        pause = PAUSE / 10 if stop else PAUSE  # what is written beyond a stop is for nothing
        while (ready := texts.get(due)) is not None:
            yield TextChunk(due, ready.take(), ready.symbols, ready.finished)
            if not ready.finished:
                break
            del texts[due]
            due += 1


def _by_text(written: SampledTokens) -> Iterator[tuple[int, Ids, bool]]:
    """Index, symbols, and whether they are the last, of each text."""
    assert len(written.ids), "nothing is written"
    order = np.argsort(written.texts, kind="stable")
    texts = written.texts[order]
    char_starts = np.flatnonzero(np.diff(texts, prepend=-1))
    for text, places in zip(texts[char_starts].tolist(), np.split(order, char_starts[1:]), strict=True):
        yield text, written.ids[places], bool(written.last[places[-1]])


class _Text:
    """One text: what is written of it, and what of that may go out."""

    def __init__(self, stops: tuple[bytes, ...]) -> None:
        self.stops = stops
        self.symbols = 0
        self.stopped = self.finished = False
        self._splitter = Utf8Splitter()
        self._held = b""  # as much of the text's end as may be the beginning of a stop
        self._ready = bytearray()

    def write(self, data: bytes) -> None:
        """Take in more of the text, up to where it stops."""
        if self.stopped:
            return
        data = self._held + data
        places = [place for stop in self.stops if (place := data.find(stop)) >= 0]
        held = 0
        if places:
            self.stopped = True
            data = data[: min(places)]
        else:
            held = max((_begun(data, stop) for stop in self.stops), default=0)
        self._held = data[len(data) - held :]
        self._ready += self._splitter.feed(data[: len(data) - held])

    def finish(self) -> None:
        """Let go of all that was held back."""
        self._ready += self._splitter.feed(self._held) + self._splitter.flush()
        self.finished = True

    def take(self) -> bytes:
        """What may go out by now, handed over once."""
        data = bytes(self._ready)
        self._ready.clear()
        return data


def _begun(data: bytes, stop: bytes) -> int:
    """How many of the last bytes are the beginning of a stop."""
    longest = min(len(stop) - 1, len(data))
    return next((n for n in range(longest, 0, -1) if data.endswith(stop[:n])), 0)

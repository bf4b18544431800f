"""Text from a model: ids to texts, in order, cut where they end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from charrnn.config.sample import DEFAULT_LENGTH, RECORD_LENGTH, SamplingParams
from charrnn.corpus.records import SeparatorScanner, insert_bos
from charrnn.engines.base import GenerationRequest, Ids, InferenceEngine, SampledTokens
from charrnn.generation.constraints import token_dfa
from charrnn.generation.prompts import read_prefix
from charrnn.generation.sampling import make_sampler
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
        finish_reason: why the text ends here: "stop", at a stop string; "length", as it is as long as it may be; "end",
            at the end of a record; empty: it goes on.
    """

    index: int
    data: bytes
    tokens: int
    finish_reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether the text ends here."""
        return bool(self.finish_reason)


def generate(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompt: Ids,
    params: SamplingParams,
    *,
    seed: int,
    stop: Sequence[bytes] = (),
    separator: bytes = b"",
) -> Iterator[TextChunk]:
    """Generate `params.num` texts side by side, and return their chunks: those of a text as they are drawn, text after
    text.

    Args:
        engine, tokenizer: the model's; `<unk>` is never drawn.
        prompt: ids (T,) below V that the texts continue; T may be 0.
        params: how tokens are drawn, and how many; 0 is no limit. Without a `length` it is `DEFAULT_LENGTH`, of records
            `RECORD_LENGTH`.
        seed: of all draws.
        stop: a text ends before the first of these strings that it holds; empty ones do not count.
        separator: what ends a record, not part of its text; empty: the texts are not records.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    if params.length is None:
        params = replace(params, length=RECORD_LENGTH if separator else DEFAULT_LENGTH)
    stops = [(text, "stop") for text in stop if text]
    is_endless = not (params.length or separator or stops)
    end = tokenizer.encode(separator)
    if separator:  # where a record ends in the prompt, another one begins
        prompt = insert_bos(prompt, SeparatorScanner(end).feed(prompt), engine.vocabulary)
    request = GenerationRequest(
        *read_prefix(engine, prompt),
        dfa_start=np.zeros(1, np.int32),
        per_prompt=params.num or None,
        params=params,
        seed=seed,
        dfa=token_dfa(engine.vocabulary, tokenizer.unknown, tuple(end.tolist())),
        batch_size=1 if is_endless else BATCH_SIZE,  # a second text would never be due
    )
    sampler = make_sampler(engine, request)
    texts: dict[int, _Text] = {}  # those that have begun and are not returned whole
    ends = [*stops, (separator, "end")] if separator else stops
    due, seconds = 0, 0.0  # the first tokens are returned at once
    while due < params.num or not params.num:
        for index, ids, finished in _by_text(sampler.advance(seconds)):
            text = texts.setdefault(index, _Text(ends))
            for some in np.split(ids, len(ids)) if stops else [ids]:  # one by one where any may complete a stop string
                text.add(tokenizer.decode(some), len(some))
                if stops and text.end:
                    sampler.finish(index)
                    finished = True
                    break
            if finished:
                text.finish()
        seconds = CHUNK_SECONDS / 10 if stops else CHUNK_SECONDS  # what is drawn beyond a stop string is in vain
        while (text_due := texts.get(due)) is not None:
            yield TextChunk(due, text_due.take(), text_due.tokens, text_due.finish_reason)
            if not text_due.finish_reason:
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
        ends: strings that end it, before them, and the `finish_reason` that each is.

    Attributes:
        end: the reason of the string that was found; empty: none was.
        finish_reason: as in `TextChunk`.
    """

    def __init__(self, ends: Sequence[tuple[bytes, str]]) -> None:
        self.tokens = 0
        self.end = self.finish_reason = ""
        self._ends = ends
        self._splitter = Utf8Splitter()
        self._held = b""  # as much of the text's end as may be the beginning of a stop string
        self._ready = bytearray()

    def add(self, data: bytes, tokens: int) -> None:
        """Add the bytes of further tokens, up to where the text stops."""
        self.tokens += tokens
        if self.end:
            return
        data = self._held + data
        found = [(place, end) for text, end in self._ends if (place := data.find(text)) >= 0]
        held = 0
        if found:
            place, self.end = min(found, key=lambda each: each[0])
            data = data[:place]
        else:
            held = max((_overlap(data, text) for text, _ in self._ends), default=0)
        self._held = data[len(data) - held :]
        self._ready += self._splitter.feed(data[: len(data) - held])

    def finish(self) -> None:
        """End the text: what was held back is part of it."""
        self._ready += self._splitter.feed(self._held) + self._splitter.flush()
        self.finish_reason = self.end or "length"

    def take(self) -> bytes:
        """Return what may be returned by now and has not been."""
        data = bytes(self._ready)
        self._ready.clear()
        return data


def _overlap(data: bytes, stop: bytes) -> int:
    """Return how many of the last bytes may be the beginning of a stop string."""
    longest = min(len(stop) - 1, len(data))
    return next((n for n in range(longest, 0, -1) if data.endswith(stop[:n])), 0)

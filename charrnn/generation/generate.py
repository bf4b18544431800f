"""Text from a model: ids to texts, in order, cut where they end."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from charrnn.config.sample import DEFAULT_LENGTH, RECORD_LENGTH, SamplingParams
from charrnn.corpus.records import SeparatorScanner, insert_bos
from charrnn.engines.base import NOTHING, Array, CopyIndex, GenerationRequest, Ids, InferenceEngine, SampledTokens
from charrnn.generation.constraints import MatchDFA, token_dfa
from charrnn.generation.end_strings import EndStrings
from charrnn.generation.prompts import Prefix, read_prefixes
from charrnn.generation.sampling import make_sampler
from charrnn.rng import RngStream, generator
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import Utf8Splitter

BATCH_SIZE = 64
"""Texts that are generated side by side, at most."""

MIN_BATCH = 8
"""The same where few are wanted, some of which will be thrown away."""


CHUNK_SECONDS = 0.02
"""How long the sampler runs before what it has drawn is returned."""


REJECTED = "rejected"
"""The `finish_reason` of a text that was drawn freely and does not match: see `rejection`."""


@dataclass(slots=True)
class TextChunk:
    """A part of a text.

    Attributes:
        index: of the text among those of its prompt, from 0.
        data: its bytes after those of the chunk before, cut between characters of UTF-8; they may be none.
        tokens: drawn for the text so far, those of its end or stop string included.
        finish_reason: why the text ends here: "stop", at a stop string, or where any token would repeat or copy more
            than may be; "length", as it is as long as it may be; "end",
            at the end of a record, or where the text matches and is not to go on; empty: it goes on.
        nats: -ln p of those tokens together, the model's own: at temperature 1 and whatever could not be drawn. NaN:
            they were not asked for.
        prompt: number of the prompt that it continues, from 0.
        stop: the string that ends it and is not part of it; empty: none does.
        rejected: draws before it that did not match; is_forced: whether it was drawn step by step, after too many of
            them: see `rejection`.
    """

    index: int
    data: bytes
    tokens: int
    finish_reason: str = ""
    nats: float = math.nan
    prompt: int = 0
    stop: bytes = b""
    rejected: int = 0
    is_forced: bool = False

    @property
    def finished(self) -> bool:
        """Whether the text ends here."""
        return bool(self.finish_reason)


def generate(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompts: Sequence[Ids],
    params: SamplingParams,
    *,
    seed: int,
    stop: Sequence[bytes] = (),
    separator: bytes = b"",
    match: MatchDFA | None = None,
    copies: CopyIndex | None = None,
    echo: bool = False,
    contexts: Sequence[Ids] | None = None,
    with_nats: bool = False,
    num: int | None = None,
    batch_size: int | None = None,
    prefix: Prefix | None = None,
) -> Iterator[TextChunk]:
    """Generate `num` texts of each prompt side by side, and return their chunks: those of a text as they are
    drawn, text after text, prompt after prompt. Without a limit of texts the prompts take turns.

    Args:
        engine, tokenizer: the model's; `<unk>` is never drawn.
        prompts: at least one: ids (T,) below V that texts continue; T may be 0.
        params: how tokens are drawn, and how many; 0 is no limit; see `text_length`.
        seed: of all draws.
        stop: a text ends before the first of these strings that it holds; empty ones do not count.
        separator: what ends a record, not part of its text; empty: the texts are not records.
        match: of `match_dfa`, for the same prompts, separator and length; there are no stop strings then.
        copies: no longer stretch of its text is copied; a stretch that begins in the prompt counts. None: it may be.
        echo: whether the prompt, of records the one that it begins, is part of the text: then `params.no_repeat` counts
            it too.
        contexts: of each prompt all that comes before its texts; None: the prompts.
        with_nats: whether `TextChunk.nats` are wanted.
        num: None: `params.num`.
        batch_size: texts side by side, at most; None: `BATCH_SIZE`. The texts do not depend on it.
        prefix: what the model knows after the prompts, where it has read them before.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    num = params.num if num is None else num
    params = replace(params, length=text_length(params, separator))
    stops = [(text, "stop") for text in stop if text]
    is_endless = not (params.length or separator or stops or (match and match.has_end))
    end = tokenizer.encode(separator)
    if separator:  # where a record ends in the prompt, another one begins
        prompts = [insert_bos(ids, SeparatorScanner(end).feed(ids), engine.vocabulary) for ids in prompts]
    contexts = prompts if contexts is None else contexts
    request = GenerationRequest(
        *(prefix or read_prefixes(engine, prompts)),
        dfa_start=match.starts if match else np.zeros(len(prompts), np.int32),
        per_prompt=num or None,
        params=params,
        seed=seed,
        dfa=match.dfa if match else token_dfa(engine.vocabulary, tokenizer.unknown, tuple(end.tolist())),
        batch_size=1 if is_endless else batch_size or BATCH_SIZE,  # a second text would never be due
        with_nats=with_nats,
        copies=copies,
        repeat_context=[_last_record(ids, engine.vocabulary) for ids in contexts] if echo and params.no_repeat else (),
        # a character has four tokens at most
        copy_context=[ids[-4 * (copies.length + 1) :] for ids in contexts] if copies is not None else (),
    )
    sampler = make_sampler(engine, request)
    texts: dict[int, _Text] = {}  # those that have begun and are not returned whole
    strings = EndStrings([*stops, (separator, "end")] if separator else stops)
    due, seconds = 0, 0.0  # the first tokens are returned at once
    while request.num_texts is None or due < request.num_texts:
        sampled = sampler.advance(seconds)
        for number, places, finished in _by_text(sampled):
            if (text := texts.get(number)) is None:
                text = texts[number] = _Text(strings, 0.0 if with_nats else math.nan)
            reason = "length"
            if sampled.ids[places[-1]] == NOTHING:
                places, reason = places[:-1], "stop"
            elif match and (match.whole or not separator):
                text.ids.append(sampled.ids[places])
                ends = finished and match.ends(np.concatenate(text.ids), request.prompt_of(number))
                if ends and not separator:
                    places, reason = places[:-1], "end"  # the last token is not part of the text
                elif finished and not ends and separator:
                    text.end = REJECTED
            # one by one where any token may complete a stop string
            for some in np.split(places, len(places)) if stops and len(places) else [places]:
                text.add(tokenizer.decode(sampled.ids[some]), len(some), sampled.nats[some] if with_nats else None)
                if stops and text.end:
                    sampler.finish(number)
                    finished = True
                    break
            if finished:
                text.finish(reason)
        seconds = CHUNK_SECONDS / 10 if stops else CHUNK_SECONDS  # what is drawn beyond a stop string is in vain
        while (text_due := texts.get(due)) is not None:
            prompt = request.prompt_of(due)
            index = due - prompt * num if num else due // len(prompts)
            yield TextChunk(
                index, text_due.take(), text_due.tokens, text_due.finish_reason, text_due.nats, prompt, text_due.stop
            )
            if not text_due.finish_reason:
                break
            del texts[due]
            due += 1


def _last_record(ids: Ids, bos: int) -> Ids:
    """Return the ids of a prompt behind the last `<s>`."""
    return ids[int((ids == bos).nonzero()[0].max(initial=-1)) + 1 :]


def joined(chunks: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Return each text in a single chunk, once it has ended."""
    data: list[bytes] = []
    for chunk in chunks:
        data.append(chunk.data)
        if chunk.finished:
            yield chunk if len(data) == 1 else replace(chunk, data=b"".join(data))
            data.clear()


def prompt_seed(seed: int, prompt: int) -> int:
    """Return the seed of a prompt whose texts have random numbers of their own."""
    return int(generator(seed, RngStream.SAMPLE, 0, 0, prompt).integers(1 << 63)) if prompt else seed


def text_length(params: SamplingParams, separator: bytes) -> int:
    """Return the most tokens in a text; 0: no limit. Where nothing is said it is `DEFAULT_LENGTH`, of records
    `RECORD_LENGTH`."""
    if params.length is None:
        return RECORD_LENGTH if separator else DEFAULT_LENGTH
    return params.length


def _by_text(sampled: SampledTokens) -> Iterator[tuple[int, Array, bool]]:
    """Return the number of each text, the places of its tokens in order, and whether they are its last."""
    assert len(sampled.ids), "nothing was drawn"
    order = np.argsort(sampled.texts, kind="stable")
    texts = sampled.texts[order]
    starts = np.flatnonzero(np.diff(texts, prepend=-1))
    for text, places in zip(texts[starts].tolist(), np.split(order, starts[1:]), strict=True):
        yield text, places, bool(sampled.last[places[-1]])


class _Text:
    """A text that is being generated, and what of it may be returned.

    Args:
        ends: strings that end it, before them.
        nats: 0, or NaN where they are not wanted.

    Attributes:
        stop, end: the string that was found, and the reason that it is; empty: none was.
        ids: drawn so far, in parts, where they are wanted.
        finish_reason: as in `TextChunk`.
    """

    def __init__(self, ends: EndStrings, nats: float) -> None:
        self.tokens, self.nats = 0, nats
        self.stop, self.end, self.finish_reason = b"", "", ""
        self.ids: list[Ids] = []
        self._ends = ends
        self._splitter = Utf8Splitter()
        self._held = b""  # as much of the text's end as may be the beginning of a stop string
        self._ready = bytearray()

    def add(self, data: bytes, tokens: int, nats: Array | None) -> None:
        """Add the bytes of further tokens, up to where the text stops."""
        self.tokens += tokens
        if nats is not None:
            for each in nats.tolist():  # one after another: the sum is the same wherever the chunks are cut
                self.nats += each
        if self.end:
            return
        data, held = self._held + data, 0
        if found := self._ends.find(data, len(self._held)):
            place, _, self.stop, self.end = found
            data = data[:place]
        else:
            held = self._ends.begun(data)
        self._held = data[len(data) - held :]
        self._ready += self._splitter.feed(data[: len(data) - held])

    def finish(self, reason: str) -> None:
        """End the text, for this reason where no string was found: what was held back is part of it."""
        self._ready += self._splitter.feed(self._held) + self._splitter.flush()
        self.finish_reason = self.end or reason

    def take(self) -> bytes:
        """Return what may be returned by now and has not been."""
        data = bytes(self._ready)
        self._ready.clear()
        return data

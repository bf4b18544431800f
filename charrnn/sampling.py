"""Logits to ids: writing text with a model.

A draw depends on (seed, index of the text, position) alone, so that a text comes out the same
whatever is written beside it. Temperature as in Ackley et al. 1985; top-p (nucleus) as in Holtzman
et al. 2020; min-p as in Nguyen et al. 2024.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from charrnn.config import SampleConfig
from charrnn.corpora.records import Ends
from charrnn.data import Ids
from charrnn.data.stream import with_starts
from charrnn.draws import Purpose, generator
from charrnn.engines import Array, Inference, State
from charrnn.errors import NonFiniteError
from charrnn.tokenizers import Tokenizer, Utf8Splitter

BATCH = 64
"""Texts written side by side at most."""

_DRAWS = 256  # uniforms taken from a text's generator at a time


def distribution(logits: Array, config: SampleConfig, banned: int | None = None) -> Array:
    """What is drawn from, after all controls.

    The controls act one after another: temperature, top-k, top-p, min-p. Among equals the lower id
    comes first, so that top-k never keeps more than k.

    Args:
        logits: (B, V).
        config: its temp, top_k, top_p and min_p. A temperature so low that the likeliest symbol's
            odds overflow is greedy.
        banned: an id that is never drawn, or None.

    Returns:
        Probabilities, float64 (B, V); each row sums to 1.

    Raises:
        NonFiniteError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise NonFiniteError("the model's figures are not finite: its weights are unusable")
    scores = logits.astype(np.float64)
    if banned is not None:
        scores[:, banned] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    if config.temp < 1e-6:
        greedy = np.zeros_like(scores)
        greedy[np.arange(len(scores)), scores.argmax(axis=1)] = 1.0
        return greedy
    probabilities = np.exp(scores / config.temp)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    V = probabilities.shape[1]
    if 0 < config.top_k < V or config.top_p < 1:
        order = np.argsort(-probabilities, axis=1, kind="stable")  # likeliest first
        ranked = np.take_along_axis(probabilities, order, axis=1)
        kept = np.arange(V) < (config.top_k or V)
        before = np.cumsum(np.where(kept, ranked, 0), axis=1)
        before = (before - np.where(kept, ranked, 0)) / before[:, -1:]
        kept = kept & (before < config.top_p)
        np.put_along_axis(probabilities, order, np.where(kept, ranked, 0), axis=1)
    if config.min_p > 0:
        probabilities[probabilities < config.min_p * probabilities.max(axis=1, keepdims=True)] = 0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


def choose(probabilities: Array, uniforms: Array) -> Ids:
    """The inverse of the distribution function, in id order.

    Args:
        probabilities: float64 (B, V). uniforms: float64 (B,) in [0, 1).

    Returns:
        ids (B,): the first whose cumulated probability exceeds the uniform; never one of probability 0.
    """
    cumulated = np.cumsum(probabilities, axis=1)
    cumulated /= cumulated[:, -1:]
    ids: Ids = (cumulated <= uniforms[:, None]).sum(axis=1)
    return ids


@dataclass(frozen=True)
class Piece:
    """A part of a text, as soon as it is written.

    Attributes:
        index: of the text, from 0. ids: the symbols. finished: whether the text ends with them.
    """

    index: int
    ids: Ids
    finished: bool


def read_prompt(engine: Inference, prompt: Ids) -> tuple[Array, State]:
    """Logits (1, V) and state after `<s>` and the prompt."""
    state = engine.zero_state(1)
    read = np.concatenate([[engine.architecture.start], prompt]).astype(np.int64)
    if len(read) > 1:  # by chunks, as one call per symbol would be slow
        for begin in range(0, len(read) - 1, 4096):
            _, state = engine.score(read[None, begin : min(begin + 4096, len(read) - 1)], state)
    return engine.step(read[-1:], state)


class _Row:
    """A text being written: where it is, and what of it has not been handed out."""

    def __init__(self, text: int, seed: int) -> None:
        self.text = text
        self.position = 0
        self.pending: list[int] = []
        self.tail: tuple[int, ...] = ()  # its last symbols, as many as end a record
        self._generator = generator(seed, Purpose.SAMPLE, text)
        self._uniforms: list[float] = []

    def uniform(self) -> float:
        """The draw for the next symbol."""
        place = self.position % _DRAWS
        if place == 0:
            self._uniforms = self._generator.random(_DRAWS).tolist()
        return self._uniforms[place]


def write_ids(
    engine: Inference,
    tokenizer: Tokenizer,
    prompt: Ids,
    config: SampleConfig,
    *,
    seed: int,
    end: tuple[int, ...] = (),
    ends: Callable[[int, Ids], bool] | None = None,
    pace: int = 8,
) -> Iterator[Piece]:
    """Write `config.num` texts, up to `BATCH` side by side; where one ends the next begins.

    Args:
        engine: the model.
        tokenizer: the model's; its `<unk>` is never written.
        prompt: ids that the texts go on from.
        config: the controls, `length` and `num`.
        seed: of all draws.
        end: a text ends with these ids, those of a separator.
        ends: told each text's latest symbol as `(index, ids of shape (1,))`; true ends that text.
        pace: symbols a piece holds at most.

    Yields:
        Pieces, those of one text in order, those of texts written side by side interleaved.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    if config.length == 0:
        yield from (Piece(text, np.zeros(0, np.int64), True) for text in range(config.num))
        return
    first_logits, first_state = read_prompt(engine, prompt)
    rows: list[_Row] = []
    begun = 0
    logits = first_logits[:0]
    state = tuple(layer[:, :0] for layer in first_state)
    while True:
        new = min(BATCH - len(rows), config.num - begun)
        if new:
            rows += [_Row(begun + each, seed) for each in range(new)]
            begun += new
            logits = np.concatenate([logits, np.repeat(first_logits, new, axis=0)])
            state = tuple(
                np.concatenate([layer, np.repeat(first, new, axis=1)], axis=1)
                for layer, first in zip(state, first_state, strict=True)
            )
        if not rows:
            return
        uniforms = np.array([row.uniform() for row in rows])
        ids = choose(distribution(logits, config, tokenizer.unknown), uniforms)
        alive = []
        for number, (row, symbol) in enumerate(zip(rows, ids.tolist(), strict=True)):
            row.position += 1
            row.pending.append(symbol)
            finished = row.position == config.length
            if end:
                row.tail = (*row.tail, symbol)[-len(end) :]
                finished = finished or row.tail == end
            if ends is not None:
                finished = ends(row.text, ids[number : number + 1]) or finished
            if finished or len(row.pending) >= pace:
                yield Piece(row.text, np.array(row.pending, np.int64), finished)
                row.pending = []
            if not finished:
                alive.append(number)
        if len(alive) < len(rows):
            rows, ids = [rows[number] for number in alive], ids[alive]
            state = tuple(layer[:, alive] for layer in state)
            logits = logits[:0]
        if rows:
            logits, state = engine.step(ids, state)


@dataclass(frozen=True)
class Part:
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


def write_texts(
    engine: Inference,
    tokenizer: Tokenizer,
    prompt: Ids,
    config: SampleConfig,
    *,
    seed: int,
    stop: bytes = b"",
    separator: bytes = b"",
) -> Iterator[Part]:
    """Write `config.num` texts side by side and hand them out one after another.

    The text that is due is handed out as it is written; those after it wait.

    Args:
        engine, tokenizer, prompt, config, seed: as in `write_ids`.
        stop: a text ends before this string; empty: nowhere. `config.stop` is not looked at.
        separator: what ends a record; it is not handed out. Empty: the texts are no records.

    Raises:
        NonFiniteError: the model's arithmetic overflows.
    """
    texts: dict[int, _Text] = {}
    stops = tuple(filter(None, (stop, separator)))
    end = tokenizer.encode(separator)
    if separator:  # where a record ends in the prompt, another one begins
        prompt = with_starts(prompt, Ends(end).feed(prompt), engine.architecture.start)

    def text_of(index: int) -> _Text:
        return texts.setdefault(index, _Text(stops))

    def ends(index: int, ids: Ids) -> bool:
        text = text_of(index)
        text.write(tokenizer.decode(ids))
        return text.stopped

    watched = ends if stop else None
    due = 0
    for piece in write_ids(engine, tokenizer, prompt, config, seed=seed, end=tuple(end.tolist()), ends=watched):
        text = text_of(piece.index)
        text.symbols += len(piece.ids)
        if not watched:  # else `ends` has seen each symbol
            text.write(tokenizer.decode(piece.ids))
        if piece.finished:
            text.finish()
        while (ready := texts.get(due)) is not None:
            yield Part(due, ready.take(), ready.symbols, ready.finished)
            if not ready.finished:
                break
            del texts[due]
            due += 1


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

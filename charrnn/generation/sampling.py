"""Sampling by an engine's `step`: one symbol of each text at a time.

Temperature as in Ackley et al. 1985; top-p (nucleus) as in Holtzman et al. 2020; min-p as in Nguyen et
al. 2024. A draw depends on (seed, index of the text, position) alone, so that a text comes out the same
whatever is written beside it.
"""

import time

import numpy as np

from charrnn.config.sample import SamplingParams
from charrnn.engines.base import (
    END,
    FORBIDDEN,
    Array,
    GenerationRequest,
    InferenceEngine,
    SampledTokens,
    Sampler,
    State,
)
from charrnn.errors import NonFiniteError
from charrnn.rng import RngStream, generator

STEPS = 8  # of a call at least


_DRAWS = 256  # uniforms taken from a text's generator at a time


def distribution(logits: Array, config: SamplingParams, never: Array | None = None) -> Array:
    """What is drawn from, after all controls.

    The controls act one after another: temperature, top-k, top-p, min-p. Among equals the lower id
    comes first, so that top-k never keeps more than k.

    Args:
        logits: (B, V).
        config: its temp, top_k, top_p and min_p. A temperature so low that the likeliest symbol's
            odds overflow is greedy.
        never: bool (B, V), what is not drawn; some symbol of each row is. None: everything is.

    Returns:
        Probabilities, float64 (B, V); each row sums to 1.

    Raises:
        NonFiniteError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise NonFiniteError
    scores = logits.astype(np.float64)
    if never is not None:
        scores[never] = -np.inf
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


def inverse_cdf(probabilities: Array, uniforms: Array) -> Array:
    """The inverse of the distribution function, in id order.

    Args:
        probabilities: float64 (B, V). uniforms: float64 (B,) in [0, 1).

    Returns:
        ids (B,): the first whose cumulated probability exceeds the uniform; never one of probability 0.
    """
    cumulated = np.cumsum(probabilities, axis=1)
    cumulated /= cumulated[:, -1:]
    ids: Array = (cumulated <= uniforms[:, None]).sum(axis=1)
    return ids


def sampler_of(engine: InferenceEngine, request: GenerationRequest) -> Sampler:
    """Begin to write texts: by the engine's own loop, or step by step."""
    return engine.sampler(request) or StepSampler(engine, request)


class StepSampler:
    """`Sampler` by `engine.step`."""

    def __init__(self, engine: InferenceEngine, request: GenerationRequest) -> None:
        self._engine, self._request, self._config = engine, request, request.config
        never = request.automaton == FORBIDDEN  # (A, V)
        self._never = never if never.any() else None
        self._begun = 0
        self._rows: list[_Row] = []
        self._ids = np.zeros(0, np.int64)  # (B,) what the rows are to read next
        self._state: State = tuple(layer[:, :0] for layer in request.state)

    def write(self, seconds: float) -> SampledTokens:
        """See `Sampler`."""
        until = time.monotonic() + seconds
        steps = 0
        texts: list[int] = []
        ids: list[int] = []
        last: list[bool] = []
        while self._rows or self._begun < self._config.num:
            drawn = self._draw()
            alive = []
            for number, (row, symbol) in enumerate(zip(self._rows, drawn.tolist(), strict=True)):
                goes_on = row.take(int(self._request.automaton[row.state, symbol]), self._config.length)
                texts.append(row.text)
                ids.append(symbol)
                last.append(not goes_on)
                if goes_on:
                    alive.append(number)
            self._ids = drawn
            self._keep(alive)
            steps += 1
            if steps >= STEPS and time.monotonic() >= until:
                break
        return SampledTokens(np.array(texts, np.int64), np.array(ids, np.int64), np.array(last, np.bool_))

    def finish(self, text: int) -> None:
        """See `Sampler`."""
        self._keep([number for number, row in enumerate(self._rows) if row.text != text])

    def _draw(self) -> Array:
        """The next symbol of each row, those of texts that begin among them."""
        request = self._request
        logits = request.logits[:0]
        if self._rows:
            logits, self._state = self._engine.step(self._ids, self._state)
        new = min(request.batch - len(self._rows), self._config.num - self._begun)
        if new:
            self._rows += [_Row(self._begun + each, request.seed) for each in range(new)]
            self._begun += new
            logits = np.concatenate([logits, np.repeat(request.logits, new, axis=0)])
            self._state = tuple(
                np.concatenate([layer, np.repeat(first, new, axis=1)], axis=1)
                for layer, first in zip(self._state, request.state, strict=True)
            )
        never = None if self._never is None else self._never[[row.state for row in self._rows]]
        uniforms = np.array([row.uniform() for row in self._rows])
        return inverse_cdf(distribution(logits, self._config, never), uniforms)

    def _keep(self, alive: list[int]) -> None:
        if len(alive) < len(self._rows):
            self._rows, self._ids = [self._rows[number] for number in alive], self._ids[alive]
            self._state = tuple(layer[:, alive] for layer in self._state)


class _Row:
    """A text being written, and where it is."""

    def __init__(self, text: int, seed: int) -> None:
        self.text = text
        self.position = self.state = 0
        self._generator = generator(seed, RngStream.SAMPLE, text)
        self._uniforms: list[float] = []

    def uniform(self) -> float:
        """The draw for the next symbol."""
        place = self.position % _DRAWS
        if place == 0:
            self._uniforms = self._generator.random(_DRAWS).tolist()
        return self._uniforms[place]

    def take(self, state: int, length: int) -> bool:
        """A symbol that leads to a state of the automaton. Returns whether the text goes on."""
        self.position += 1
        self.state = state
        return state != END and self.position < length

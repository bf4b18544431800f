"""Logits to one id, and sampling by an engine's `step`: one token of each text at a time.

Temperature as in Ackley et al. 1985; top-p (nucleus) as in Holtzman et al. 2020; min-p as in Nguyen et
al. 2024. A draw depends on (seed, index of the text, position) alone, so that a text comes out the same
whatever is written beside it.
"""

import time
from collections.abc import Sequence
from threading import Lock

import numpy as np

from charrnn.config.sample import SamplingParams
from charrnn.engines.base import (
    END,
    FORBIDDEN,
    NOTHING,
    Array,
    GenerationRequest,
    Ids,
    InferenceEngine,
    SampledTokens,
    Sampler,
    State,
    take_rows,
)
from charrnn.errors import NonFiniteError
from charrnn.generation.guards import CopyGuard, CopyRules, Guard, RepeatGuard
from charrnn.rng import RngStream, generator

MIN_STEPS = 8  # of a call

_UNIFORMS = 256  # taken from a text's generator at a time


def distribution(logits: Array, params: SamplingParams, forbidden: Array | None = None) -> Array:
    """Return the probabilities that ids are drawn with.

    Temperature, top-k, top-p and min-p act one after another. Among equals the lower id comes first, so that top-k
    never keeps more than k.

    Args:
        logits: (B, V).
        params: its temp, top_k, top_p and min_p. A temperature so low that the likeliest token's probability would
            overflow is greedy.
        forbidden: bool (B, V), what is not drawn; some token of each row is allowed. None: all are.

    Returns:
        Probabilities, float64 (B, V); each row sums to 1.

    Raises:
        NonFiniteError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise NonFiniteError
    scores = logits.astype(np.float64)
    if forbidden is not None:
        scores[forbidden] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    if params.temp < 1e-6:
        greedy = np.zeros_like(scores)
        greedy[np.arange(len(scores)), scores.argmax(axis=1)] = 1.0
        return greedy
    probabilities = np.exp(scores / params.temp)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    V = probabilities.shape[1]
    if 0 < params.top_k < V or params.top_p < 1:
        order = np.argsort(-probabilities, axis=1, kind="stable")  # likeliest first
        ranked = np.take_along_axis(probabilities, order, axis=1)
        keep = np.arange(V) < (params.top_k or V)
        before = np.cumsum(np.where(keep, ranked, 0), axis=1)
        before = (before - np.where(keep, ranked, 0)) / before[:, -1:]
        keep = keep & (before < params.top_p)
        np.put_along_axis(probabilities, order, np.where(keep, ranked, 0), axis=1)
    if params.min_p > 0:
        probabilities[probabilities < params.min_p * probabilities.max(axis=1, keepdims=True)] = 0
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


def inverse_cdf(probabilities: Array, uniforms: Array) -> Array:
    """Return the ids (B,) that uniform numbers draw: the first whose cumulated probability exceeds the number.

    Args:
        probabilities: float64 (B, V). uniforms: float64 (B,) in [0, 1).
    """
    cumulated = np.cumsum(probabilities, axis=1)
    cumulated /= cumulated[:, -1:]
    ids: Array = (cumulated <= uniforms[:, None]).sum(axis=1)
    return ids


def make_sampler(engine: InferenceEngine, request: GenerationRequest) -> Sampler:
    """Begin to generate texts: by the engine's own loop, or step by step."""
    return engine.sampler(request) or StepSampler(engine, request)


class StepSampler:
    """`Sampler` by `engine.step`."""

    def __init__(self, engine: InferenceEngine, request: GenerationRequest) -> None:
        if request.logits.shape[1] != engine.vocabulary:
            raise ValueError(f"logits of shape {request.logits.shape} of a model of {engine.vocabulary} tokens")
        self._engine, self._request, self._lock = engine, request, Lock()
        forbidden = request.dfa.next == FORBIDDEN  # (A, V)
        self._forbidden = forbidden if forbidden.any() or request.dfa.distance is not None else None
        self._rules = CopyRules(request.copies) if request.copies is not None else None
        self._is_guarded = bool(request.params.no_repeat or self._rules)
        self._started = 0
        self._rows: list[_Row] = []
        self._ids = np.zeros(0, np.int64)  # (B,) what the rows are to read next
        self._state: State = take_rows(request.state, [])

    def advance(self, seconds: float) -> SampledTokens:
        """See `Sampler`."""
        with self._lock:
            return self._advance(time.monotonic() + seconds)

    def finish(self, text: int) -> None:
        """See `Sampler`."""
        with self._lock:
            self._keep([number for number, row in enumerate(self._rows) if row.text != text])

    def _advance(self, deadline: float) -> SampledTokens:
        dfa, length, steps = self._request.dfa, self._request.length, 0
        texts: list[int] = []
        ids: list[int] = []
        nats: list[Array] = []
        last: list[bool] = []
        while self._rows or self._num_waiting():
            drawn, drawn_nats = self._draw()
            goes_on = []
            for number, (row, token) in enumerate(zip(self._rows, drawn.tolist(), strict=True)):
                ends = token == NOTHING
                if not ends:
                    row.position += 1
                    row.state = int(dfa.next[row.state, token])
                    ends = row.state == END or row.position == length
                texts.append(row.text)
                ids.append(token)
                last.append(ends)
                if not ends:
                    row.add(token)
                    goes_on.append(number)
            nats.append(drawn_nats)
            self._ids = drawn
            self._keep(goes_on)
            steps += 1
            if steps >= MIN_STEPS and time.monotonic() >= deadline:
                break
        return SampledTokens(
            np.array(texts, np.int64),
            np.array(ids, np.int64),
            np.concatenate([np.zeros(0), *nats]),
            np.array(last, np.bool_),
        )

    def _num_waiting(self) -> int:
        """How many texts may begin now."""
        free, texts = self._request.batch_size - len(self._rows), self._request.num_texts
        return free if texts is None else min(free, texts - self._started)

    def _draw(self) -> tuple[Array, Array]:
        """Draw the next id of each row, those of texts that begin among them; and -ln p of it, or NaN."""
        request = self._request
        logits = request.logits[:0]
        if self._rows:
            logits, self._state = self._engine.step(self._ids, self._state)
        if new := self._num_waiting():
            texts = range(self._started, self._started + new)
            prompts = [request.prompt_of(text) for text in texts]
            starts = request.dfa_start[prompts].tolist()
            self._rows += [
                _Row(text, start, request.seed, self._guards(prompt))
                for text, start, prompt in zip(texts, starts, prompts, strict=True)
            ]
            self._started += new
            logits = np.concatenate([logits, request.logits[prompts]])
            self._state = tuple(
                np.concatenate(layers, axis=1)
                for layers in zip(self._state, take_rows(request.state, prompts), strict=True)
            )
        uniforms = np.array([row.uniform() for row in self._rows])
        forbidden = self._not_allowed()
        stuck = np.zeros(len(self._rows), np.bool_)
        if forbidden is not None:
            stuck = np.all(forbidden, axis=1)
            forbidden &= ~stuck[:, None]
        ids = inverse_cdf(distribution(logits, request.params, forbidden), uniforms)
        nats = _nats(logits, ids) if request.with_nats else np.full(len(ids), np.nan)
        nats[stuck & request.with_nats] = 0
        return np.where(stuck, NOTHING, ids), nats

    def _guards(self, prompt: int) -> list[Guard]:
        """Return what watches over a text of a prompt."""
        request = self._request
        guards: list[tuple[Guard, Sequence[Ids]]] = []
        if request.params.no_repeat:
            repeats = RepeatGuard(request.params.no_repeat, self._engine.vocabulary)
            guards.append((repeats, request.repeat_context))
        if self._rules is not None:
            guards.append((CopyGuard(self._rules), request.copy_context))
        for guard, contexts in guards:
            for token in contexts[prompt].tolist() if contexts else ():
                guard.add(token)
        return [guard for guard, _ in guards]

    def _not_allowed(self) -> Array | None:
        """What may not be drawn, bool (B, V): what the automaton forbids, and what leaves a text that could still end
        within its length too little room."""
        dfa, length = self._request.dfa, self._request.length
        states = [row.state for row in self._rows]
        if self._forbidden is None:
            if not self._is_guarded:
                return None
            forbidden: Array = np.zeros((len(states), dfa.next.shape[1]), np.bool_)
        else:
            forbidden = self._forbidden[states]
        if dfa.distance is not None:
            left = np.array([length - row.position for row in self._rows])[:, None]  # (B, 1)
            next_states = dfa.next[states]  # (B, V)
            too_far = (next_states >= 0) & (dfa.distance[np.maximum(next_states, 0)] > left - 1)
            forbidden |= too_far & (dfa.distance[states][:, None] <= left)
        for number, row in enumerate(self._rows):
            for guard in row.guards:
                forbidden[number] |= guard.forbidden() & (dfa.next[row.state] != END)
        return forbidden

    def _keep(self, rows: list[int]) -> None:
        if len(rows) < len(self._rows):
            self._rows, self._ids = [self._rows[number] for number in rows], self._ids[rows]
            self._state = take_rows(self._state, rows)


def _nats(logits: Array, ids: Ids) -> Array:
    """-ln p of an id in each row (B, V), float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(ids)), ids])


class _Row:
    """A text that is being generated, and where it is."""

    def __init__(self, text: int, state: int, seed: int, guards: Sequence[Guard]) -> None:
        self.text, self.position, self.state, self.guards = text, 0, state, guards
        self._generator = generator(seed, RngStream.SAMPLE, text)
        self._uniforms: list[float] = []

    def add(self, token: int) -> None:
        """Let the text go on."""
        for guard in self.guards:
            guard.add(token)

    def uniform(self) -> float:
        """Return the uniform number that draws the next token."""
        place = self.position % _UNIFORMS
        if place == 0:
            self._uniforms = self._generator.random(_UNIFORMS).tolist()
        return self._uniforms[place]

"""A model that scores in one precision and draws in another: what is only drawn from need not be exact to the last bit,
and what is told of it must be."""

from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import numpy as np

from charrnn.engines.base import (
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

TOGETHER = 64
"""Texts that end which are scored side by side."""


MIN_TEMPERATURE = 0.1
"""Below it small differences in the logits are large ones in the probabilities."""


class DrawingEngine(InferenceEngine):
    """Reads and scores with an engine, and draws with another one of the same model.

    Args:
        exact: the engine that scores; it is not adaptive.
        drawing: returns the one that draws; called when texts are first to be drawn.
    """

    def __init__(self, exact: InferenceEngine, drawing: Callable[[], InferenceEngine]) -> None:
        self.exact, self.name, self.vocabulary = exact, exact.name, exact.vocabulary
        self._make_drawing, self._lock = drawing, Lock()
        self._drawing: InferenceEngine | None = None

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return self.exact.zero_state(batch)

    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        return self.exact.score(ids, state)

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        return self.exact.predict(ids, state)

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        return self.exact.step(ids, state)

    def sampler(self, request: GenerationRequest) -> Sampler | None:
        """See `InferenceEngine`; nats are those of the engine that scores. Where the likeliest tokens are taken, or
        next to that, it draws too: they are those that it says are likeliest."""
        if not request.params.is_random or request.params.temp < MIN_TEMPERATURE:
            return self.exact.sampler(request)
        with self._lock:
            if self._drawing is None:
                self._drawing = self._make_drawing()
        sampler = self._drawing.sampler(replace(request, with_nats=False))
        if sampler is None or not request.with_nats:
            return sampler
        return _ScoredSampler(sampler, self.exact, request)


class _ScoredSampler:
    """A sampler whose tokens another engine scores: see `_score`."""

    def __init__(self, sampler: Sampler, exact: InferenceEngine, request: GenerationRequest) -> None:
        self._sampler, self._exact, self._request, self._lock = sampler, exact, request, Lock()
        self._states: dict[int, State] = {}  # of one row, of each text that goes on

    def advance(self, seconds: float) -> SampledTokens:
        """See `Sampler`."""
        with self._lock:
            drawn = self._sampler.advance(seconds)
            return drawn._replace(nats=self._score(drawn))

    def finish(self, text: int) -> None:
        """See `Sampler`."""
        self._sampler.finish(text)
        with self._lock:
            self._states.pop(text, None)

    def _score(self, drawn: SampledTokens) -> Array:
        """Return the nats of tokens. Of the texts that end among them those of about the same length are scored
        together; of those that go on, whose states are kept, those of the same."""
        nats, finished = np.zeros(len(drawn.ids)), set(drawn.texts[drawn.last].tolist())
        order = np.argsort(drawn.texts, kind="stable")
        order = order[drawn.ids[order] != NOTHING]
        starts = np.flatnonzero(np.diff(drawn.texts[order], prepend=-1))
        pieces = sorted(np.split(order, starts[1:]) if len(order) else (), key=len)
        going_on: dict[int, list[Array]] = {}
        ending: list[Array] = []
        for places in pieces:
            is_last = drawn.texts[places[0]] in finished
            (ending if is_last else going_on.setdefault(len(places), [])).append(places)
        batches = [ending[at : at + TOGETHER] for at in range(0, len(ending), TOGETHER)]
        for rows in (*going_on.values(), *batches):
            texts = drawn.texts[[places[0] for places in rows]].tolist()
            states = [self._states.get(text) or self._start(text) for text in texts]
            state = tuple(np.concatenate(layers, axis=1) for layers in zip(*states, strict=True))
            is_drawn = np.arange(len(rows[-1])) < np.array([[len(places)] for places in rows])  # (B, T)
            ids, together = np.zeros(is_drawn.shape, drawn.ids.dtype), np.concatenate(rows)
            ids[is_drawn] = drawn.ids[together]
            found, state = self._exact.score(ids, state)
            nats[together] = found[is_drawn]
            self._states |= {text: take_rows(state, [row]) for row, text in enumerate(texts) if text not in finished}
        for text in finished:
            self._states.pop(text, None)
        if not np.isfinite(nats).all():
            raise NonFiniteError
        return nats

    def _start(self, text: int) -> State:
        return take_rows(self._request.state, [self._request.prompt_of(text)])

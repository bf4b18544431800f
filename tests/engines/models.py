"""Models drawn at random, and what is asked of them, for the tests of every engine. PyTorch is not imported."""

from typing import Any

import numpy as np

from charrnn.config.sample import SampleConfig
from charrnn.engines.base import Array, GenerationRequest, State, TokenDFA
from charrnn.network import cells
from charrnn.network.architecture import Architecture

CELLS = [("rnn", "relu"), ("rnn", "sigmoid"), *((cell, "tanh") for cell in cells.CELLS)]
USUAL = ("rnn", "lstm", "gru")
"""Cells with kernels of their own in every engine; what all cells share is tested with these."""


def drawn(architecture: Architecture, seed: int = 0, scale: float = 0.5) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        key: (scale * random.standard_normal(shape)).astype(np.float32) for key, shape in architecture.shapes().items()
    }


def requested(
    first: tuple[Array, State], config: SampleConfig, *, seed: int, dfa: Array | TokenDFA, batch_size: int, **more: Any
) -> GenerationRequest:
    """A request for `config.num` texts after each prompt, whose logits and state are given; all begin in state 0."""
    logits, state = first
    more = {"dfa_start": np.zeros(len(logits), np.int32), "per_prompt": config.num, **more}
    dfa = dfa if isinstance(dfa, TokenDFA) else TokenDFA(dfa)
    return GenerationRequest(logits, state, params=config, seed=seed, dfa=dfa, batch_size=batch_size, **more)

"""Prompts: the text that a model continues, as ids, and what a model knows after it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from charrnn.engines.base import Array, Ids, InferenceEngine, State
from charrnn.errors import InputError
from charrnn.tokenizers.char import CharTokenizer, describe
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import decode_utf8

MAX_LISTED = 16
"""Unknown characters that a message names."""


_PREFIX_IDS = 4096  # of a prompt, in one call


def encode_prompt(tokenizer: Tokenizer, data: bytes, unknown: str = "error") -> Ids:
    """Return the ids (T,) of a prompt, without `<unk>`, which no model is trained to read.

    Args:
        tokenizer: the model's.
        data: the prompt; it may be empty.
        unknown: what becomes of characters that the model lacks: "error" refuses them, "skip" leaves them out,
            "nearest" takes `CharTokenizer.nearest` in their place.

    Raises:
        InputError: invalid UTF-8, or unknown characters under "error"; the message lists them.
    """
    ids = tokenizer.encode(data)
    if tokenizer.unknown is None:
        return ids
    is_unknown = ids == tokenizer.unknown
    if not is_unknown.any():
        return ids
    if unknown == "skip":
        known: Ids = ids[~is_unknown]
        return known
    assert isinstance(tokenizer, CharTokenizer)
    if unknown == "nearest":
        chars, where = np.unique(decode_utf8(data)[is_unknown], return_inverse=True)
        ids[is_unknown] = np.array([tokenizer.nearest(int(char)) for char in chars])[where]
        return ids
    found = tokenizer.explain(data)
    listed = [f"{describe(char)} @ {offset}" for char, offset in found[:MAX_LISTED]]
    if len(found) > MAX_LISTED:
        listed.append(f"and {len(found) - MAX_LISTED} more")
    raise InputError(
        f"the model has never seen {', '.join(listed)}; {{unknown}} skip leaves such characters out,"
        " {unknown} nearest takes the nearest that it knows",
        ("unknown",),
    )


class Prefix(NamedTuple):
    """What a model knows after it has read P prompts.

    Attributes:
        logits: (P, V), of the next token. state: of P rows.
    """

    logits: Array
    state: State


def read_prefix(engine: InferenceEngine, prompt: Ids) -> Prefix:
    """Read `<s>` and a prompt; P is 1.

    Args:
        prompt: ids (T,) in [0, V]; T may be 0.
    """
    return read_on(engine, engine.zero_state(1), np.concatenate([[engine.vocabulary], prompt]))


def read_on(engine: InferenceEngine, state: State, ids: Ids) -> Prefix:
    """Read further ids (T,), at least one, where a state of one row stands; P is 1."""
    ids = ids.astype(np.int64)
    for begin in range(0, len(ids) - 1, _PREFIX_IDS):  # many in a call, as a call for each would be slow
        _, state = engine.score(ids[None, begin : min(begin + _PREFIX_IDS, len(ids) - 1)], state)
    return Prefix(*engine.step(ids[-1:], state))


def read_prefixes(engine: InferenceEngine, prompts: Sequence[Ids]) -> Prefix:
    """Read several prompts, at least one, each as `read_prefix` does."""
    read = [read_prefix(engine, prompt) for prompt in prompts]
    if len(read) == 1:
        return read[0]
    states = zip(*(each.state for each in read), strict=True)
    return Prefix(np.concatenate([each.logits for each in read]), tuple(np.concatenate(s, axis=1) for s in states))

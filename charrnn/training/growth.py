"""The weights of a model whose vocabulary grows, as a text to fine-tune it on has characters that are new to it."""

from dataclasses import replace

import numpy as np

from charrnn.checkpoint.format import Checkpoint
from charrnn.engines.base import Array
from charrnn.network.head import HeadLayout
from charrnn.rng import RngStream, generator
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer

NOISE = 0.1
"""The standard deviation of a new row around the mean of the rows there are, as a share of theirs."""


def grow(model: Checkpoint, tokenizer: Tokenizer, seed: int) -> dict[str, Array]:
    """Return the weights of a model with the rows of a larger vocabulary of characters.

    Rows of embedding and head are matched by character; `<unk>`, `<s>` and clusters of rare tokens keep theirs. A new
    character begins near the mean of the rows of all characters, in the head of those of `<unk>`'s cluster, which it
    joins: what is known of a character of which nothing is known. If the model has been trained with `<unk>` in the
    place of rare characters, it begins near that one's rows: what they were until now.

    Args:
        model: of which `tokenizer` knows all tokens.
        seed: of the noise, which tells new characters apart.
    """
    weights, rows = dict(model.weights), _old_tokens(model, tokenizer)
    if rows is None:
        return weights
    unknown = int(rows[-1])
    new = np.flatnonzero(rows[:-1] == unknown)
    is_trained = _has_trained_unknown(model)
    old_head = HeadLayout.of(model.architecture)
    clusters = grown_clusters(model, tokenizer)
    head = HeadLayout.of(replace(model.architecture, vocabulary=tokenizer.size, clusters=clusters))
    of_unknown = old_head.level_of[:unknown] == old_head.level_of[unknown]
    for number, name in enumerate(("embedding", "head.weight", "head.bias")):
        is_head = name != "embedding"
        table = weights[name][old_head.row_of] if is_head else weights[name]
        known = table[:unknown][of_unknown] if is_head and of_unknown.any() else table[:unknown]
        begin = table[unknown] if is_trained else known.mean(axis=0)
        extended = table[rows if is_head else np.append(rows, unknown + 1)]
        noise = generator(seed, RngStream.NEW_ROWS, number).standard_normal(extended[new].shape)
        extended[new] = begin + NOISE * known.std(axis=0) * noise
        if is_head:
            of_clusters = weights[name][old_head.entries]
            weights[name] = np.concatenate((extended, of_clusters))  # then in the head's order
            weights[name][head.row_of], weights[name][head.entries] = extended, of_clusters
        else:
            weights[name] = extended
    return weights


def grown_clusters(model: Checkpoint, tokenizer: Tokenizer) -> bytes:
    """Return the clusters of the tokens of a larger vocabulary of characters: new ones join that of `<unk>`."""
    clusters, rows = model.architecture.clusters, _old_tokens(model, tokenizer)
    return clusters if rows is None or not clusters else np.frombuffer(clusters, np.uint8)[rows].tobytes()


def _old_tokens(model: Checkpoint, tokenizer: Tokenizer) -> Array | None:
    """Return the model's token for each of V, `<unk>` for those that are new to it; None: it has the same tokens."""
    old = model.tokenizer
    if not isinstance(old, CharTokenizer) or not isinstance(tokenizer, CharTokenizer) or tokenizer.size == old.size:
        return None
    return np.append(old.ids_of(tokenizer.table), len(old.table)).astype(np.int64)


def _has_trained_unknown(model: Checkpoint) -> bool:
    """Return whether the model's vocabulary left out rare characters of its text."""
    plan = model.info.get("plan")
    config = plan.get("config") if isinstance(plan, dict) else None
    return isinstance(config, dict) and config.get("vocab_size") is not None

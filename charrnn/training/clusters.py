"""Whether a head has two levels, and which tokens are rare: by how often they occur in the text to train on."""

from itertools import pairwise

import numpy as np

from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import Ids
from charrnn.errors import counted

MIN_VOCABULARY = 1000
"""Tokens from which on a head may have two levels: with fewer it costs no more than the layers."""

MIN_SHARE = 0.85
"""Of the text, for the tokens of the first level: with less the loss rises, with more it hardly falls."""

MOST = 4
"""Clusters at most."""

CLUSTER_COST = 0.03
"""Of a batch, so many rows more seem to be in each cluster: its weights are packed, and its gradients written."""

WORTH = 0.6
"""Of the logits of one softmax, those that two levels compute at most: for less gain it is not worth it."""


COUNTED_TOKENS, _PIECES = 1 << 22, 256
"""Tokens that are counted of a text at most; of a longer one in pieces from all over it."""


def token_counts(ids: Ids, vocabulary: int) -> Ids:
    """Return how often each of V tokens occurs in a text, (V,): in all of it, or in `COUNTED_TOKENS` of it."""
    if len(ids) > COUNTED_TOKENS:
        size = COUNTED_TOKENS // _PIECES
        starts = np.linspace(0, len(ids) - size, _PIECES).astype(int).tolist()
        ids = np.concatenate([ids[start : start + size] for start in starts])
    return np.bincount(ids.astype(np.int64), minlength=vocabulary)


def choose_clusters(dataset: Dataset, reasons: list[str]) -> bytes:
    """Return the cluster of each token, as `Architecture.clusters` has it; empty: the head is one softmax.

    Args:
        reasons: a sentence is added to it where the head has two levels.
    """
    V = dataset.tokenizer.size
    clusters = cheapest_clusters(token_counts(dataset.train.ids, V)) if V >= MIN_VOCABULARY else b""
    if clusters:
        tokens, rare = f"{clusters.count(0):,} tokens", counted(max(clusters), "cluster")
        reasons.append(f"head of two levels, which computes less: {tokens}, and {rare} of the others, which are rare")
    return clusters


def cheapest_clusters(counts: Ids) -> bytes:
    """Return the cluster of each token by how often it occurs.

    Tokens are split by frequency where the mean number of logits is least: those of the first level, and of each
    cluster as often as a target is in it.

    Args:
        counts: (V,), how often each token occurs.
    """
    V = len(counts)
    if V < MIN_VOCABULARY or not counts.any():
        return b""
    order = np.argsort(-counts, kind="stable")
    shares = np.append(0, np.cumsum(counts[order]) / counts.sum())  # of the n most frequent tokens
    sizes = np.unique(np.geomspace(64, V - 1, 64).astype(int)).tolist()

    def logits(begin: int, end: int) -> float:
        return float(shares[end] - shares[begin] + CLUSTER_COST) * (end - begin)

    # by where clusters begin: how many logits all of them take, and where they begin and end
    best: dict[int, tuple[float, tuple[int, ...]]] = {V: (0.0, (V,))}
    found = dict(best)
    for _ in range(MOST):
        best = {
            size: min((logits(size, end) + rest, (size, *ends)) for end, (rest, ends) in best.items() if end > size)
            for size in sizes
            if size < max(best)
        }
        found |= {size: each for size, each in best.items() if size not in found or each < found[size]}
    enough = {size: each for size, each in found.items() if shares[size] >= MIN_SHARE}
    first = min(enough, key=lambda size: size + enough[size][0])
    if first + enough[first][0] > WORTH * V:
        return b""
    clusters = np.zeros(V, np.uint8)
    for cluster, (begin, end) in enumerate(pairwise(enough[first][1]), 1):
        clusters[order[begin:end]] = cluster
    return clusters.tobytes()

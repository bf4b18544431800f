"""What was to be expected in the place of a token: its rank, the entropy there, and the likeliest ids."""

from typing import NamedTuple

import numpy as np

from charrnn.engines.base import Array, Ids

_LEAST_LN_P = -1e4  # in the place of -inf, which times a probability of 0 has no value


class Details(NamedTuple):
    """What was to be expected in the place of each of K tokens.

    Attributes:
        ranks: int64 (K,): 1 + how many ids were likelier. entropies: float64 (K,), of the ids' distribution, in bits.
        top_ids, top_nats: (K, top) of the likeliest ids, likeliest first, and their nats.
    """

    ranks: Array
    entropies: Array
    top_ids: Array
    top_nats: Array


def details_of(ln_p: Array, ids: Ids, top: int) -> Details:
    """Return the details of N tokens, given ln p (N, V) of all ids in their places."""
    own = np.take_along_axis(ln_p, ids[:, None].astype(np.int64), 1)  # (N, 1)
    ranks = 1 + np.count_nonzero(ln_p > own, axis=1)
    entropies = -np.einsum("nv,nv->n", np.exp(ln_p), np.maximum(ln_p, _LEAST_LN_P)).astype(np.float64) / np.log(2)
    top = min(top, ln_p.shape[1])
    likeliest = np.argsort(-ln_p, axis=1, kind="stable")[:, :top] if top else np.zeros((len(ids), 0), np.int64)
    return Details(ranks, entropies, likeliest, -np.take_along_axis(ln_p, likeliest, 1))

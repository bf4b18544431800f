"""The head, which makes logits of what the layers put out: a softmax over all tokens, or one of two levels.

Of a large vocabulary most tokens are rare. Then the first level is a softmax over the frequent tokens and over clusters
of rare ones, and each cluster has a softmax of its own: p(token) is p(cluster) p(token | cluster). It is a proper
distribution, and a target costs no more than the first level and its own cluster. This is the adaptive softmax of
Grave et al. 2017, without its projections.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.network.architecture import Architecture

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class HeadLayout:
    """Which of the head's R logits are whose; R is V and one for each cluster.

    Attributes:
        levels: where each softmax begins and ends: the first level, then each cluster. One level: the logits are those
            of the tokens.
        level_of: (V,), the level that has each token's logit.
        row_of: (V,), that logit: within a level the tokens are in order, and behind those of the first level come its
            clusters.
        entry_of: (V,), the logit of each token in the first level: its own or its cluster's.
    """

    levels: tuple[tuple[int, int], ...]
    level_of: Array
    row_of: Array
    entry_of: Array

    @classmethod
    def of(cls, architecture: Architecture) -> "HeadLayout":
        """Return the layout of a model's head."""
        V, C = architecture.vocabulary, architecture.num_clusters
        level_of = np.frombuffer(architecture.clusters or bytes(V), np.uint8).astype(np.int64)
        sizes = np.bincount(level_of, minlength=C + 1)
        frequent = sizes[0]
        sizes[0] += C
        ends = np.cumsum(sizes).tolist()
        order = np.argsort(level_of, kind="stable")
        row_of = np.empty(V, np.int64)
        row_of[order] = np.arange(V) + C * (level_of[order] > 0)
        entry_of = np.where(level_of > 0, frequent + level_of - 1, row_of)
        return cls(tuple(zip([0, *ends[:-1]], ends, strict=True)), level_of, row_of, entry_of)

    @property
    def entries(self) -> slice:
        """The logits of the clusters."""
        end = self.levels[0][1]
        return slice(end - len(self.levels) + 1, end)

    @np.errstate(all="ignore")
    def ln_p(self, logits: Array) -> Array:
        """Return ln p of every token, float64 (N, V), given logits (N, R); where these are not finite, nor is it."""
        levels = [_log_softmax(logits[:, begin:end]) for begin, end in self.levels]
        if len(levels) == 1:
            return levels[0]
        rows = np.concatenate(levels, axis=1)
        return rows[:, self.row_of] + np.where(self.level_of > 0, rows[:, self.entry_of], 0)

    def softmaxes(self, ln_p: Array, tokens: Array) -> Iterator[tuple[Array, Array]]:
        """Yield of each level what N tokens that are its targets have as logits, up to a number in each row, and the
        targets' places among them; from ln p (N, V) of all tokens."""
        rare = [np.flatnonzero(self.level_of == level) for level in range(1, len(self.levels))]
        for level in range(len(self.levels)):
            among, places = self.targets_of(level, tokens)
            if level:
                logits = ln_p[among][:, rare[level - 1]]
                yield logits - _log_sum_exp(logits)[:, None], places  # as large as in a softmax of their own
            elif rare:
                totals = [_log_sum_exp(ln_p[:, each]) for each in rare]
                yield np.column_stack([ln_p[:, self.level_of == 0], *totals]), places
            else:
                yield ln_p, places

    def targets_of(self, level: int, tokens: Array) -> tuple[Any, Array]:
        """Return which of N tokens are targets of a level's softmax, and their places in it: in the first level all
        are, as themselves or as their clusters."""
        if level == 0:
            return slice(None), self.entry_of[tokens]
        among = np.flatnonzero(self.level_of[tokens] == level)
        return among, self.row_of[tokens[among]] - self.levels[level][0]

    def loss_gradient(self, logits: Array, tokens: Array) -> Array:
        """Return the gradient of the mean of -ln p of N tokens by logits (N, R)."""
        gradient = np.zeros_like(logits)
        for level, (begin, end) in enumerate(self.levels):
            among, places = self.targets_of(level, tokens)
            if not len(places):
                continue
            x = logits[among, begin:end]
            exps = np.exp(x - x.max(axis=1, keepdims=True))
            exps /= exps.sum(axis=1, keepdims=True)
            exps[np.arange(len(places)), places] -= 1
            gradient[among, begin:end] = exps / len(tokens)
        return gradient

    def bias_of(self, frequencies: Array) -> Array:
        """Return the biases (R,) that give tokens probabilities in proportion to frequencies (V,), all above 0."""
        rows = np.zeros(self.levels[-1][1])
        rows[self.row_of] = frequencies
        rare = self.level_of > 0
        np.add.at(rows, self.entry_of[rare], frequencies[rare])
        for begin, end in self.levels:
            rows[begin:end] = np.log(rows[begin:end] / rows[begin:end].sum())
        return rows


def _log_sum_exp(logits: Array) -> Array:
    largest = logits.max(axis=1)
    return np.asarray(largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)))


def _log_softmax(logits: Array) -> Array:
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True), dtype=np.float64))

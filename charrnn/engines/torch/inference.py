"""Inference by PyTorch, for CUDA."""

from collections.abc import Mapping
from threading import Lock

import numpy as np
import torch
from torch import Tensor, nn

from charrnn.engines.arrays import zero_state
from charrnn.engines.base import Array, Ids, InferenceEngine, State, tokens_of
from charrnn.engines.torch.layers import matmul_precision, to_device
from charrnn.engines.torch.model import LanguageModel
from charrnn.network.architecture import Architecture

BLOCK = 1 << 24  # most logits that `score` makes at a time


class TorchInference(InferenceEngine):
    """`InferenceEngine` by `charrnn.engines.torch.model.LanguageModel`, for CUDA.

    A row's results may differ in the last bits with its neighbours: the products are BLAS's or cuDNN's.

    Args:
        architecture: the model's sizes.
        weights: arrays named and shaped as `architecture.shapes()`.
        device: "cpu", "cuda" or "cuda:N".
        precision: as for `matmul_precision`.
    """

    name = "torch"

    def __init__(
        self,
        architecture: Architecture,
        weights: Mapping[str, Array],
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.architecture, self.vocabulary, self._lock = architecture, architecture.vocabulary, Lock()
        self.device, self.precision = torch.device(device), precision
        self.model = LanguageModel(architecture)
        self.model.load_weights(weights)
        self.model.to(self.device).eval()

    def zero_state(self, batch: int) -> State:
        """See `InferenceEngine`."""
        return zero_state(self.architecture, batch)

    @torch.no_grad()
    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`. Makes at most 2**24 logits at a time, or one row's."""
        rows = max(1, BLOCK // self.vocabulary)
        with self._lock, matmul_precision(self.precision, self.device):
            features, bos, after = self._read(ids, state)
            tokens = torch.tensor(tokens_of(ids, self.vocabulary), dtype=torch.int64)
            targets = to_device(tokens, self.device).flatten().masked_fill(bos, 0)
            losses = torch.cat(
                [
                    nn.functional.cross_entropy(self.model.head(block), target, reduction="none")
                    for block, target in zip(torch.split(features, rows), torch.split(targets, rows), strict=True)
                ]
            )
            nats = losses.masked_fill(bos, 0).reshape(ids.shape).double().cpu().numpy()
            return nats, self._to_numpy(after)

    @torch.no_grad()
    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`."""
        with self._lock, matmul_precision(self.precision, self.device):
            features, bos, after = self._read(ids, state)
            ln_p = torch.log_softmax(self.model.head(features).float(), dim=-1).masked_fill(bos[:, None], 0)
            return ln_p.reshape(*ids.shape, -1).cpu().numpy(), self._to_numpy(after)

    @torch.no_grad()
    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; rows are the same to about 1e-6, not to the last bit."""
        with self._lock, matmul_precision(self.precision, self.device):
            logits, after = self.model(*self._given(ids[:, None], state))
            return logits[:, 0].float().cpu().numpy(), self._to_numpy(after)

    def _read(self, ids: Ids, state: State) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Return what the head reads before each id, (B*T, F), whether it is BOS, (B*T,), and the state after them."""
        read, before = self._given(np.where(ids > 2 * self.vocabulary, ids, np.minimum(ids, self.vocabulary)), state)
        outputs, after = self.model.outputs(read, before)
        first = self.model.features([h[0] for h in before])[:, None]
        features = torch.cat((first, outputs[:, :-1]), dim=1)
        bos = torch.from_numpy(np.ascontiguousarray(ids == self.vocabulary)).flatten()
        return features.flatten(0, 1), to_device(bos, self.device), after

    def _given(self, ids: Array, state: State) -> tuple[Tensor, tuple[Tensor, ...]]:
        if not ids.size or ids.min() < 0 or ids.max() > self.vocabulary:
            raise ValueError(f"no ids, or one that is out of range 0 to {self.vocabulary}")
        return torch.tensor(ids, dtype=torch.int64), tuple(
            torch.tensor(layer, dtype=torch.float32, device=self.device) for layer in state
        )

    def _to_numpy(self, state: tuple[Tensor, ...]) -> State:
        return tuple(layer.detach().float().cpu().numpy() for layer in state)

"""Scoring and sampling by PyTorch, for CUDA."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from charrnn.engines.base import Array, InferenceEngine, State
from charrnn.engines.torch.layers import matmul_precision, to_device
from charrnn.engines.torch.model import LanguageModel
from charrnn.network.architecture import Architecture

BLOCK = 1 << 24  # most logits that `score` makes at a time


class TorchInference(InferenceEngine):
    """`InferenceEngine` by `charrnn.engines.torch.model.LanguageModel`, for CUDA.

    Unlike the contract, `step` may differ in the last bits with the rows that stand beside a row: the
    products are BLAS's or cuDNN's.

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
        self.architecture = architecture
        self.device, self.precision = torch.device(device), precision
        self.model = LanguageModel(architecture)
        self.model.load_weights(weights)
        self.model.to(self.device).eval()

    @torch.no_grad()
    def score(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`. Makes at most 2**24 logits at a time, or one row's."""
        read, before = self._given(ids, state)
        symbols = to_device(read, self.device)
        starts = symbols.flatten() == self.architecture.bos_id  # (B*T,)
        targets = symbols.flatten().masked_fill(starts, 0)
        rows = max(1, BLOCK // self.architecture.vocabulary)
        with matmul_precision(self.precision, self.device):
            outputs, after = self.model.outputs(read, before)
            first = self.model.features([h[0] for h in before])[:, None]
            features = torch.cat((first, outputs[:, :-1]), dim=1)  # before each symbol
            costs = torch.cat(
                [
                    nn.functional.cross_entropy(self.model.head(block), target, reduction="none")
                    for block, target in zip(
                        torch.split(features.flatten(0, 1), rows), torch.split(targets, rows), strict=True
                    )
                ]
            )
        nats = costs.masked_fill(starts, 0).reshape(ids.shape).double().cpu().numpy()
        return nats, self._to_numpy(after)

    @torch.no_grad()
    def step(self, ids: Array, state: State) -> tuple[Array, State]:
        """See `InferenceEngine`; rows are the same to about 1e-6, not to the last bit."""
        symbols, before = self._given(ids[:, None], state)
        with matmul_precision(self.precision, self.device):
            logits, after = self.model(symbols, before)
        return logits[:, 0].float().cpu().numpy(), self._to_numpy(after)

    def _given(self, ids: Array, state: State) -> tuple[Tensor, tuple[Tensor, ...]]:
        symbols = torch.tensor(ids, dtype=torch.int64)
        return symbols, tuple(torch.tensor(layer, dtype=torch.float32, device=self.device) for layer in state)

    def _to_numpy(self, state: tuple[Tensor, ...]) -> State:
        return tuple(layer.detach().float().cpu().numpy() for layer in state)

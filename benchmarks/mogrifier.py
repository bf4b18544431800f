"""Whether the mogrifier pays (Melis et al. 2020): an LSTM whose input and state gate each other before every step.

    python benchmarks/mogrifier.py tinyshakespeare.txt [--rounds 0,2,5] [--steps 1500]

All by PyTorch, character by character; with no rounds it is `lstm`. The recipe is that of `charrnn train`.
"""

import argparse
import time
from typing import Any

from charrnn.machine import available_cpus, configure_threading

configure_threading()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from charrnn.config.train import TrainConfig  # noqa: E402
from charrnn.corpus.reader import read_corpus  # noqa: E402
from charrnn.corpus.sources import resolve_sources  # noqa: E402
from charrnn.dataset.batches import batch_loader  # noqa: E402
from charrnn.dataset.dataset import Dataset  # noqa: E402
from charrnn.dataset.prepare import PrepareOptions, prepare  # noqa: E402
from charrnn.engines import base as optimizers  # noqa: E402
from charrnn.training.autoconfig import architecture_of  # noqa: E402
from charrnn.training.learner import Learner, training_spec  # noqa: E402
from charrnn.training.plan import make_plan  # noqa: E402
from charrnn.training.schedule import learning_rate  # noqa: E402

State = tuple[Tensor, Tensor]


class Mogrifier(nn.Module):
    """A language model of one layer.

    Args:
        weights: as `Architecture.shapes` names them.
        rounds: how often one of input and state gates the other; the gates begin at 1.
    """

    def __init__(self, weights: Any, rounds: int) -> None:
        super().__init__()
        named = {name.replace(".", "_"): nn.Parameter(torch.from_numpy(value)) for name, value in weights.items()}
        self.own = nn.ParameterDict(named)
        E, H = self.own["layers_0_weight_ih"].shape[1], self.own["layers_0_weight_hh"].shape[1]
        sizes = [(E, H) if number % 2 == 0 else (H, E) for number in range(rounds)]
        self.gates = nn.ParameterList(torch.zeros(size) for size in sizes)

    def forward(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, T, V) after each of ids (B, T); and the state (B, H), (B, H) after them."""
        own, (h, c) = self.own, state
        starts = ids == len(own["embedding"]) - 1
        outputs = []
        for x, start in zip(own["embedding"][ids].unbind(1), starts.unbind(1), strict=True):
            h, c = (each.masked_fill(start[:, None], 0) for each in (h, c))
            for number, gate in enumerate(self.gates):
                if number % 2 == 0:
                    x = 2 * torch.sigmoid(h @ gate.T) * x
                else:
                    h = 2 * torch.sigmoid(x @ gate.T) * h
            a = x @ own["layers_0_weight_ih"].T + h @ own["layers_0_weight_hh"].T
            i, f, g, o = (a + own["layers_0_bias_ih"] + own["layers_0_bias_hh"]).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs, 1) @ own["head_weight"].T + own["head_bias"], (h, c)


def trial(split: Dataset, config: TrainConfig, rounds: int) -> tuple[int, float, float]:
    """Parameters, seconds of training, and nats per character of the validation text, its state carried."""
    assert config.steps is not None
    assert config.lr is not None
    assert config.hidden is not None
    architecture, rows = (
        architecture_of(config, split.tokenizer.size),
        batch_loader(split, batch=config.batch, seq_len=config.seq_len, seed=config.seed),
    )
    learner = Learner(architecture, config, training_spec(config, device="cpu"))  # for the weights that it begins with
    learner.init_output_bias(split.train.ids)
    model = Mogrifier(learner.weights(), rounds)
    lr_multipliers = {
        "embedding": optimizers.LR_MULTIPLIERS["embedding"],
        "head_weight": optimizers.LR_MULTIPLIERS["head.weight"],
    }
    groups = [{"params": [each], "pace": lr_multipliers.get(name, 1.0)} for name, each in model.own.items()]
    groups += [{"params": [each], "pace": 1.0} for each in model.gates]
    optimizer = torch.optim.AdamW(groups, betas=optimizers.BETAS, weight_decay=0.0)

    def zero(B: int) -> State:
        return torch.zeros(B, architecture.hidden[0]), torch.zeros(B, architecture.hidden[0])

    state, begin = zero(rows.batch_size), time.monotonic()
    for step in range(config.steps):
        chunk = rows.batch(step, config.steps)
        logits, state = model(torch.from_numpy(chunk.inputs), state)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(chunk.targets).flatten())
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for group in optimizer.param_groups:
            group["lr"] = group["pace"] * learning_rate(config.schedule, config.lr, step / config.steps)
        optimizer.step()
        state = (state[0].detach(), state[1].detach())
    took = time.monotonic() - begin
    nats, state = 0.0, zero(1)
    val = torch.from_numpy(np.concatenate([[architecture.bos_id], split.val.ids]).astype(np.int64))
    with torch.no_grad():
        for place in range(0, len(val) - 1, 1000):
            ids = val[place : place + 1001]
            logits, state = model(ids[None, :-1], state)
            nats += float(nn.functional.cross_entropy(logits[0], ids[1:], reduction="sum"))
    return sum(each.numel() for each in model.parameters()), took, nats / (len(val) - 1)


def main() -> None:
    """Make the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--rounds", default="0,2,5")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--hidden", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(available_cpus())
    split = prepare(read_corpus(resolve_sources([arguments.corpus])), None, PrepareOptions())
    options = TrainConfig(hidden=(arguments.hidden,), steps=arguments.steps)
    config = make_plan(options, split, spec=training_spec(options, device="cpu"), elapsed=lambda: 0.0).config
    print("| rounds | parameters | seconds | nats per character |\n|---|---|---|---|")
    for rounds in map(int, arguments.rounds.split(",")):
        parameters, took, loss = trial(split, config, rounds)
        print(f"| {rounds} | {parameters:,} | {took:.0f} | {loss:.4f} |", flush=True)


if __name__ == "__main__":
    main()

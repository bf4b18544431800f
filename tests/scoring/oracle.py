"""What a model gives every token, from its weights alone: the equations of PyTorch's documentation in plain float64."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.checkpoint.format import Checkpoint

Array = npt.NDArray[Any]

UNICODE = 1_112_064  # characters: all code points but surrogates


def ln_p(model: Checkpoint, ids: Sequence[int]) -> Array:
    """Return ln p (N, V) of all tokens in the place of each of these, which are read after `<s>`."""
    W = {name: weight.astype(np.float64) for name, weight in model.weights.items()}
    hidden = [np.zeros(size) for size in model.architecture.hidden]
    memory = [np.zeros(size) for size in model.architecture.hidden]  # LSTM's c
    found = np.zeros((len(ids), model.architecture.vocabulary))
    for place, token in enumerate([model.architecture.vocabulary, *ids[:-1]][: len(ids)]):
        x = W["embedding"][token]
        for n, h in enumerate(hidden):
            from_input = W[f"layers.{n}.weight_ih"] @ x + W[f"layers.{n}.bias_ih"]
            from_state = W[f"layers.{n}.weight_hh"] @ h + W[f"layers.{n}.bias_hh"]
            if model.architecture.cell == "rnn":
                x = np.tanh(from_input + from_state)
            elif model.architecture.cell == "lstm":
                i, f, g, o = np.split(from_input + from_state, 4)
                memory[n] = memory[n] / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                x = np.tanh(memory[n]) / (1 + np.exp(-o))
            else:
                (r, z, new), (state_r, state_z, state_new) = np.split(from_input, 3), np.split(from_state, 3)
                update = 1 / (1 + np.exp(-z - state_z))
                x = (1 - update) * np.tanh(new + state_new / (1 + np.exp(-r - state_r))) + update * h
            hidden[n] = x
        logits = W["head.weight"] @ sum(hidden) + W["head.bias"]  # of layers of one size
        found[place] = logits - np.log(np.exp(logits).sum())
    return found


def ids_of(model: Checkpoint, text: bytes) -> list[int]:
    """Return the ids of a text: characters and bytes by hand, pieces as the library cuts them."""
    known = {chr(point): number for number, point in enumerate(model.tokenizer.table.tolist())}
    match model.tokenizer.name:
        case "char":
            return [known.get(char, len(known)) for char in text.decode("utf-8-sig")]
        case "byte":
            return list(text)
        case _:
            return [int(each) for each in model.tokenizer.encode(text)]


def nats_of(model: Checkpoint, ids: Sequence[int], prompt: Sequence[int] = ()) -> Array:
    """Return -ln p (N,) of these tokens, which follow a prompt; an unknown character is one of all that are."""
    found = -ln_p(model, [*prompt, *ids])[np.arange(len(prompt), len(prompt) + len(ids)), ids]
    if model.tokenizer.name == "char":
        found[np.array(ids, int) == len(model.tokenizer.table)] += np.log(UNICODE - len(model.tokenizer.table))
    return np.asarray(found)


def nats(model: Checkpoint, text: bytes, prompt: bytes = b"") -> float:
    """Return the nats of a text after a prompt, which is tokenised apart from it."""
    return float(nats_of(model, ids_of(model, text), ids_of(model, prompt)).sum())

"""Options of earlier versions, and words that other programs use: what each is called here."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Advice(NamedTuple):
    """What to write in the place of a word. Options in `{}` are written as their reader knows them; `{sets}` stands
    between one and its value."""

    text: str
    fields: tuple[str, ...] = ()

    def render(self, name: Callable[[str], str], sets: str = " ") -> str:
        """Return the advice, each option as `name` writes it."""
        return self.text.format(**{field: name(field) for field in self.fields}, sets=sets)


_RENAMED: dict[str, dict[str, Advice]] = {
    "train": {
        "weights": Advice("is now {counts}", ("counts",)),
        "val_fraction": Advice("is now {val}", ("val",)),
        "min_count": Advice("is now {vocab_size}, how many characters are known", ("vocab_size",)),
        "activation": Advice("is now part of {cell}: rnn-relu or rnn-sigmoid", ("cell",)),
        "preset": Advice("is now {time}; {hidden} makes a small model", ("time", "hidden")),
        "val_limit": Advice(
            "is now part of the plan: leave it out, or set eval_tokens in a file (charrnn help config)"
        ),
    },
    "sample": {"raw": Advice("is now a pipe, | cat, which gets control characters as they are")},
    "eval": {
        "metric": Advice("is now {fields}", ("fields",)),
        "dynamic": Advice("is now {adapt}{sets}weights", ("adapt",)),
        "dynamic_rate": Advice("is now set from Python alone"),
        "flush": Advice("is now how output always is: flushed before the program waits"),
        "unknown": Advice("is now the field perplexity_without_oov: {fields}{sets}perplexity_without_oov", ("fields",)),
    },
}
"""Options that earlier versions had, by command."""


_SAMPLE_END = Advice("use | grep, as in charrnn sample -n 1000 | grep -E '^.{{5,}}$' | head")


_TRIED: dict[str, dict[str, Advice]] = {
    "train": {
        "best": Advice("use {time} 15m", ("time",)),
        **dict.fromkeys(("from", "init", "finetune"), Advice("use {init_from} MODEL", ("init_from",))),
    },
    "sample": {
        "temperature": Advice("use {temp}", ("temp",)),
        "max_length": Advice("use {length}", ("length",)),
        "max_tokens": Advice("use {length}", ("length",)),
        "num_samples": Advice("use {num}", ("num",)),
        "greedy": Advice("use {temp} 0", ("temp",)),
        "starts_with": Advice("use {prompt}", ("prompt",)),
        "min_length": _SAMPLE_END,
        "not_in": Advice("use {exclude} FILE", ("exclude",)),
        "between": Advice("use {separator}", ("separator",)),
        "null": Advice("use {separator} '\\0'", ("separator",)),
        "forever": Advice("use {num} 0", ("num",)),
    },
    "eval": {
        "threshold": Advice("use {keep} 'perplexity < 50'", ("keep",)),
        "max_perplexity": Advice("use {keep} 'perplexity < 50'", ("keep",)),
        "fail_above": Advice("use {fail_if} 'perplexity > 50'", ("fail_if",)),
        "context": Advice("use {prompt}, which is read and not scored", ("prompt",)),
        "chars": Advice("use {by} token", ("by",)),
        "words": Advice("use {by} word", ("by",)),
        "html": Advice("use {heat}", ("heat",)),
        "cache": Advice("use {adapt} weights", ("adapt",)),
        "best": Advice("use {model} RUN, which is its best model", ("model",)),
    },
}
"""Options of other programs, by command."""


COMMANDS = {
    "generate": "charrnn sample",
    "score": "charrnn eval",
    "ppl": "charrnn eval -f perplexity",
    "compare": "charrnn eval --compare",
    "classify": "charrnn eval --classify",
    "list": "charrnn runs",
    "ls": "charrnn runs",
    "rm": "rm -r checkpoints/RUN: a run is a folder",
    "mv": "mv checkpoints/RUN checkpoints/NEW: a run is a folder",
    "cache": "charrnn doctor, which names its folder, its size and how to empty it",
    "version": "charrnn --version",
}
"""Commands of other programs, and what to use here."""


def renamed(command: str, name: str) -> Advice | None:
    """Return what has become of an earlier option of a command; None: there was none of that name."""
    return _RENAMED.get(command, {}).get(name)


def tried(command: str, name: str) -> Advice | None:
    """Return what to use instead of an option that other programs have."""
    return _TRIED.get(command, {}).get(name)


def replacement(name: str) -> Advice | None:
    """Return what has become of an earlier option of any command."""
    return next((options[name] for options in _RENAMED.values() if name in options), None)


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `charrnn train` as an earlier version stored them, under their names of today."""
    new = dict(values)
    activation = new.pop("activation", "tanh")
    if activation != "tanh":
        new["cell"] = f"{new.get('cell', 'rnn')}-{activation}"
    for old, now in (("weights", "counts"), ("val_limit", "eval_tokens"), ("val_fraction", "val")):
        if old in new:
            new.setdefault(now, new.pop(old))
    if new.get("records"):
        new.setdefault("split_seed", -1)  # `config.train.RANDOM_SPLIT`
    for name in ("preset", "min_count"):  # what they led to is stored too, or in the checkpoint
        new.pop(name, None)
    return new

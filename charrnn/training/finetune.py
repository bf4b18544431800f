"""Fine-tuning: a run that begins with the weights of a model there is, and what it takes over from it.

The new run has the model's tokenizer and shape. Characters that are new to it get rows of their own in the embedding
and in the head; the optimizer starts afresh, with the learning rate that `autoconfig` chooses.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.checkpoint.header import open_regular
from charrnn.config.params import Escaped, Float, Int, Text, stored_value
from charrnn.config.train import TrainConfig
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import Array
from charrnn.engines.select import EngineSpec, inference_engine
from charrnn.errors import UsageError
from charrnn.files import quote
from charrnn.model import Model
from charrnn.runs.locate import MODEL_FILES, find_model
from charrnn.runs.run_dir import RunDir
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.training.budget import ScoringPlan
from charrnn.training.evaluation import bits_per_char
from charrnn.training.growth import grow, grown_clusters


@dataclass(frozen=True)
class Origin:
    """Where a fine-tuned model came from. Every checkpoint of its run has it; no path is in it.

    Attributes:
        name: of the model's run, or of its file. sha256: the SHA-256 of that file, in hex.
        new_characters: how many characters were new to it.
        tokens: of the validation text, how many at its start are scored; 0: there is none.
        bits_per_char: of the model as it was, on these; None: they have no characters, or others are scored now.
        mix_share: the part of each batch that comes from a text that is mixed in; None: there is none.
        mix_tokens, mix_bits_per_char: as `tokens` and `bits_per_char`, of what is held out of that text.
    """

    name: str
    sha256: str
    new_characters: int = 0
    tokens: int = 0
    bits_per_char: float | None = None
    mix_share: float | None = None
    mix_tokens: int = 0
    mix_bits_per_char: float | None = None

    def scored_on(self, tokens: int) -> "Origin":
        """Return the same, without the figure of the model as it was if it is of other tokens than are scored now."""
        return self if self.tokens == tokens else replace(self, tokens=tokens, bits_per_char=None)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads; its keys are the file format's."""
        return {key: getattr(self, key) for key in _KINDS}

    @classmethod
    def from_json(cls, values: Any) -> "Origin":
        """Read what `to_json` made, every value checked. Raises ValueError where it did not make it."""
        return cls(
            **{key: stored_value(values, key, kind, optional=optional) for key, (kind, optional) in _KINDS.items()}
        )


_KINDS = {
    "name": (Text(), False),
    "sha256": (Text(), False),
    "new_characters": (Int(), False),
    "tokens": (Int(), False),
    "bits_per_char": (Float(-1e9), True),
    "mix_share": (Float(0, 1, open_low=True, open_high=True), True),
    "mix_tokens": (Int(), False),
    "mix_bits_per_char": (Float(-1e9), True),
}
"""What a file stores of an `Origin`: of which type, and whether it may be null."""


@dataclass(frozen=True)
class Parent:
    """A model to start from, read whole.

    Attributes:
        path: of its file, absolute. model: what is in it. origin: what the new run says of it.
    """

    path: str
    model: Checkpoint
    origin: Origin

    @classmethod
    def read(cls, name: str) -> "Parent":
        """Read a model: a file, a run's folder or the name of a run.

        Raises:
            CheckpointError: there is no such model, or its file cannot be used.
        """
        path = Path(os.path.abspath(find_model(name)))
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        called = path.parent.name if path.name in MODEL_FILES else path.name
        return cls(str(path), checkpoint.read(path), Origin(called or "model", digest))

    def check_kept(self, run_dir: RunDir) -> None:
        """Raise UsageError if this is a model of the run to be written, which would be lost before the new one is
        whole."""
        ours = {os.path.realpath(path) for path in (run_dir.model, run_dir.last, run_dir.previous)}
        if os.path.realpath(self.path) in ours:
            raise UsageError(
                f"{{init_from}}: {quote(self.path)} is in the run's own folder, and would be lost before the new model"
                " is whole; {out} names another folder",
                ("init_from", "out"),
            )

    def check_began(self, origin: Origin | None) -> None:
        """Raise UsageError if a run that is resumed began with another model than this one."""
        if origin is None or origin.sha256 != self.origin.sha256:
            began = "no model" if origin is None else f"{quote(origin.name)}, SHA-256 {origin.sha256[:16]}..."
            raise UsageError(
                f"the run began with {began}, not with {quote(self.origin.name)} of {{init_from}}, SHA-256"
                f" {self.origin.sha256[:16]}...",
                ("init_from",),
            )

    def inherit(self, config: TrainConfig, given: frozenset[str]) -> TrainConfig:
        """Return the options with what the model decides: cell, sizes, tokenizer, and whether texts are records.

        Args:
            given: the names of the options that were given.

        Raises:
            UsageError: one of them is otherwise in the model.
        """
        taken = self._options()
        for name in sorted(given & taken.keys()):
            ours, theirs = taken[name], getattr(config, name)
            if name == "hidden" and len(theirs) == 1:
                theirs = theirs * len(ours)
            if name == "separator":
                ours, theirs = self._separator, config.record_separator.decode("utf-8", "surrogateescape")
            if name == "vocab_size" and ours is None:
                ours = self.model.tokenizer.size - (self.model.tokenizer.unknown is not None)
            if ours != theirs:
                raise UsageError(
                    f"{{{name}}} is {_shown(ours)} in the model of {{init_from}} and {_shown(theirs)} in the command;"
                    " fine-tuning keeps the model's",
                    (name, "init_from"),
                )
        if config.counts and not taken["records"]:
            raise UsageError("{counts} is of records, and the model of {init_from} has none", ("counts", "init_from"))
        return replace(config, **taken, init_from=self.path)

    @property
    def _separator(self) -> str:
        return self.model.separator.decode("utf-8", "surrogateescape")

    def _options(self) -> dict[str, Any]:
        """Return the options that the model decides, by name."""
        architecture, tokenizer = self.model.architecture, self.model.tokenizer
        plan = self.model.info.get("plan")
        planned = plan.get("config") if isinstance(plan, dict) else None
        planned = planned if isinstance(planned, dict) else {}
        is_bpe = tokenizer.name == "sentencepiece" and planned.get("tokenizer") == "sentencepiece-bpe"
        return {
            "cell": architecture.cell_name,
            "hidden": architecture.hidden,
            "layers": architecture.num_layers,
            "embedding": architecture.embedding,
            "tokenizer": "sentencepiece-bpe" if is_bpe else tokenizer.name,
            "vocab_size": tokenizer.size if tokenizer.name == "sentencepiece" else None,
            "records": bool(self.model.separator),
            "separator": None if self.model.separator in (b"", b"\n") else self._separator,
        }

    def _check_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Raise UsageError if a text was encoded by a tokenizer that lacks a token of the model."""
        mine = self.model.tokenizer
        if isinstance(mine, CharTokenizer) and isinstance(tokenizer, CharTokenizer):
            same = bool(np.isin(mine.table, tokenizer.table).all())
        else:
            same = mine.name == tokenizer.name and np.array_equal(mine.table, tokenizer.table)
        if not same:
            raise UsageError("the text has been encoded otherwise than the model of {init_from} does", ("init_from",))

    def describe(
        self, dataset: Dataset, scoring: ScoringPlan, spec: EngineSpec, errors: str, check: Callable[[], None]
    ) -> Origin:
        """Return what a run on a dataset says of the model, which is scored on what is held out.

        Args:
            scoring: on how much of it. spec: what runs models. errors: as for `evaluate_exact`.
            check: called now and then; may raise.

        Raises:
            UsageError: the dataset's tokenizer lacks a token of the model's.
        """
        self._check_tokenizer(dataset.tokenizer)
        engine = inference_engine(spec.for_scoring(), self.model.architecture, self.model.weights)
        known, mix = Model(engine, self.model.tokenizer, separator=self.model.separator), dataset.mix

        def bits(part: Dataset, tokens: int) -> float | None:
            return bits_per_char(known, part, tokens, errors, lambda scored: check())

        return replace(
            self.origin,
            new_characters=dataset.tokenizer.size - self.model.tokenizer.size,
            tokens=scoring.exact_tokens,
            bits_per_char=bits(dataset, scoring.exact_tokens),
            mix_share=None if mix is None else mix.share,
            mix_tokens=scoring.mix_tokens,
            mix_bits_per_char=None if mix is None else bits(mix.dataset, scoring.mix_tokens),
        )

    def clusters(self, dataset: Dataset) -> bytes:
        """Return the clusters of the tokens of a dataset: see `grown_clusters`."""
        return grown_clusters(self.model, dataset.tokenizer)

    def weights(self, dataset: Dataset, seed: int) -> dict[str, Array]:
        """Return the weights to begin with, for the tokenizer of a dataset: see `grow`."""
        return grow(self.model, dataset.tokenizer, seed)


def start_from(config: TrainConfig, given: frozenset[str]) -> tuple[TrainConfig, Parent | None]:
    """Return the options with what the model to start from decides, and that model; None: there is none.

    Args:
        given: the names of the options that were given.

    Raises:
        UsageError: as `Parent.inherit`, or the run is to be resumed. CheckpointError: as `Parent.read`.
    """
    if config.init_from is None:
        return config, None
    if config.resume:
        raise UsageError("{resume} and {init_from} cannot be used together", ("resume", "init_from"))
    parent = Parent.read(config.init_from)
    return parent.inherit(config, given), parent


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return (Escaped().write(value) if isinstance(value, str) else str(value)) or "none"

"""Everything that decides how a model is trained, with its defaults and help."""

import os
from dataclasses import dataclass
from typing import Any

from charrnn.config.groups import MAX_SEED, PRECISION, PRECISIONS
from charrnn.config.options import check_fields, option
from charrnn.config.params import Choice, Device, Duration, Escaped, Flag, Float, Int, IntList, PathName, StrList, Text
from charrnn.errors import UsageError
from charrnn.network.architecture import ACTIVATIONS, MAX_LAYERS, MAX_SIZE
from charrnn.network.cells import CELLS

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"time": 15.0, "hidden": (64,)},
    "quick": {"time": 60.0},
    "default": {"time": 300.0},
    "best": {"time": 900.0},
}
"""What holds where the command leaves it open; the time, where it says neither epochs nor steps."""


_MODEL, _LEARN, _LENGTH, _DATA = "Model", "Learning", "How long", "Text"


_VALIDATE, _RUN, _MACHINE = "Validation", "RunDir", "Machine"


_CELL = (
    f"Recurrent cell, one of {', '.join(CELLS)}. The first three are fast, the last five are what some tutorials print."
)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides how a model is trained.

    Raises:
        UsageError: an option is of the wrong type, out of range, or clashes with another.
    """

    corpus: tuple[str, ...] = option(
        StrList("CORPUS"), "Files, directories, globs, - for stdin, or a known corpus.", default=(), group=_DATA
    )

    cell: str = option(Choice(tuple(CELLS), "CELL"), _CELL, default="lstm", group=_MODEL)
    activation: str = option(Choice(ACTIVATIONS), "Nonlinearity of the rnn cell.", default="tanh", group=_MODEL)
    hidden: tuple[int, ...] | None = option(
        IntList(MAX_SIZE), "Units of a layer, or of each: 64,32.", shown="by the time there is", group=_MODEL
    )
    layers: int | None = option(Int(1, MAX_LAYERS), "Layers.", shown="1", group=_MODEL)
    embedding: int | None = option(
        Int(1, MAX_SIZE), "Width of the input table.", shown="by hidden and symbols", group=_MODEL
    )
    tokenizer: str = option(
        Choice(("char", "byte", "sentencepiece", "sentencepiece-bpe")),
        "What a symbol is; a sentencepiece model has common strings for symbols.",
        default="char",
        group=_MODEL,
    )
    vocab_size: int | None = option(
        Int(1, 65536), "Symbols of a sentencepiece model.", shown="by the text", group=_MODEL
    )
    min_count: int = option(
        Int(1), "Characters that occur less often in the text are unknown ones.", default=1, group=_MODEL
    )

    batch: int | None = option(Int(1, 65536), "Rows read side by side.", shown="by the text", group=_LEARN)
    seq_len: int | None = option(
        Int(1, 65536),
        "Symbols between two updates (backpropagation through time).",
        shown="64",
        group=_LEARN,
    )
    optimizer: str = option(Choice(("adamw", "adam", "sgd", "rmsprop")), "Optimizer.", default="adamw", group=_LEARN)
    lr: float | None = option(
        Float(0, 1e9, open_low=True),
        "Learning rate at its highest.",
        shown="by optimizer, cell and hidden",
        group=_LEARN,
    )
    schedule: str = option(
        Choice(("linear", "cosine", "constant")),
        "How the rate falls to zero after its warm-up.",
        default="linear",
        group=_LEARN,
    )
    dropout: float | None = option(
        Float(0, 1, open_high=True), "Share of what passes between layers, and to the head, left out.",
        shown="by how often the text is read", group=_LEARN,
    )  # fmt: skip
    weight_drop: float | None = option(
        Float(0, 1, open_high=True), "Share of the recurrent weights left out of a step.",
        shown="by how often the text is read", group=_LEARN,
    )  # fmt: skip
    clip: float = option(Float(0), "Largest gradient norm; 0: any.", default=1.0, group=_LEARN)
    weight_decay: float = option(Float(0), "Weight decay.", default=0.0, group=_LEARN)

    time: float | None = option(
        Duration(),
        "From the start of the command to the saved model: 90s, 5m, 1h.",
        shown="by preset",
        group=_LENGTH,
    )
    preset: str = option(
        Choice(tuple(PRESETS)),
        "How much to spend: 15s on 64 units, which make a small file; 1m; 5m; 15m.",
        default="default",
        group=_LENGTH,
    )
    epochs: float | None = option(Float(0, 1e9, open_low=True), "Times through the text.", group=_LENGTH)
    steps: int | None = option(Int(1), "Updates.", group=_LENGTH)
    patience: int = option(
        Int(0),
        "Stop after so many evaluations too bad for a falling rate to make up for; 0: never.",
        default=8,
        group=_LENGTH,
    )

    val_fraction: float = option(
        Float(0, 0.9), "Share of the text, at its end, kept for validation.", default=0.1, group=_VALIDATE
    )
    val: str | None = option(PathName("FILE"), "Validate on this text instead.", group=_VALIDATE)
    val_limit: int = option(
        Int(1), "Most symbols of one evaluation while training.", default=1_000_000, group=_VALIDATE
    )
    eval_every: int | None = option(
        Int(0), "Steps between evaluations; 0: only at the end.", shown="by the plan", group=_VALIDATE
    )
    sample_every: int | None = option(Int(0), "Steps between samples; 0: none.", shown="by the plan", group=_VALIDATE)

    records: bool = option(
        Flag(), "The text is many short ones, such as lines: learn each from its start to its end.",
        default=False, group=_DATA,
    )  # fmt: skip
    separator: str | None = option(
        Escaped(), r"What ends a record: \n\n is a blank line.", shown=r"\n with --records", group=_DATA
    )
    weights: bool = option(Flag(), "Each line is a count, a tab and a record.", default=False, group=_DATA)
    jsonl: str | None = option(Text("FIELD"), "The texts are this field of JSON Lines.", group=_DATA)
    tsv: str | None = option(
        Text("COLUMN"), "The texts are this column, a number or a name, of tab-separated lines.", group=_DATA
    )
    errors: str = option(
        Choice(("strict", "replace")),
        "Invalid UTF-8: refuse it, or read U+FFFD in its place.",
        default="strict",
        group=_DATA,
    )

    out: str | None = option(PathName("DIR"), "The run's folder.", shown="checkpoints/NAME", group=_RUN)
    resume: bool = option(Flag(), "Go on with the run in --out.", default=False, group=_RUN)
    auto_resume: bool = option(Flag(), "Go on if there is a run to go on with, else start.", default=False, group=_RUN)
    overwrite: bool = option(Flag(), "Replace the run in --out.", default=False, group=_RUN)
    save_every: int | None = option(
        Int(0),
        "Steps between checkpoints to resume from; 0: only at the end.",
        shown="by the plan",
        group=_RUN,
    )
    seed: int = option(Int(0, MAX_SEED), "Where all random numbers come from.", default=0, group=_RUN)
    dry_run: bool = option(Flag(), "Print the plan and end.", default=False, group=_RUN)
    json: bool = option(Flag(), "Events as JSON Lines on stdout.", default=False, group=_RUN)

    device: str = option(Device(), "Where to train.", default="auto", group=_MACHINE)
    engine: str = option(Choice(("auto", "native", "torch")), "What runs the layers.", default="auto", group=_MACHINE)
    precision: str = option(Choice(PRECISIONS), PRECISION, default="auto", group=_MACHINE)
    threads: int | None = option(Int(1, 1024), "Processor threads.", shown="those there are", group=_MACHINE)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.activation != "tanh" and self.cell != "rnn":
            raise UsageError(f"--activation {self.activation} goes with --cell rnn, not {self.cell}")
        if self.weight_drop and not CELLS[self.cell].recurrent_matmuls:
            raise UsageError(f"--cell {self.cell} has no recurrent weights that --weight-drop could leave out")
        if self.layers and self.hidden and len(self.hidden) not in (1, self.layers):
            raise UsageError(f"--layers {self.layers} and --hidden with {len(self.hidden)} sizes contradict each other")
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite contradict each other")
        spm = self.tokenizer.startswith("sentencepiece")
        if self.vocab_size is not None and not spm:
            raise UsageError("--vocab-size goes with --tokenizer sentencepiece; --min-count shrinks that of char")
        if self.min_count > 1 and self.tokenizer != "char":
            raise UsageError("--min-count goes with --tokenizer char")
        if sum((self.jsonl is not None, self.tsv is not None, self.weights)) > 1:
            raise UsageError("--jsonl, --tsv and --weights contradict each other")
        if self.separator is not None or self.weights:
            object.__setattr__(self, "records", True)
        if spm and self.separator is not None and self.separator.strip("\n"):
            raise UsageError("--separator can only be made of newlines with --tokenizer sentencepiece")

    @property
    def record_separator(self) -> bytes:
        """What ends a record; empty where the text is no records."""
        return os.fsencode(self.separator or "\n") if self.records else b""

"""How a model is trained: the options of `charrnn train`, with their defaults."""

from dataclasses import dataclass, replace
from typing import Any

from charrnn.config.groups import (
    MAX_SEED,
    PRECISIONS,
    RECORDS,
    counts_option,
    csv_option,
    device_option,
    engine_option,
    errors_option,
    jsonl_option,
    precision_option,
    records_option,
    separator_option,
    tsv_option,
    val_option,
)
from charrnn.config.lists import IntList, ReplanList, StrList
from charrnn.config.options import argument, check_fields, check_together, option
from charrnn.config.params import Choice, Duration, Flag, Float, Int, PathName, typed_bytes
from charrnn.errors import UsageError
from charrnn.network.architecture import MAX_LAYERS, MAX_SIZE
from charrnn.network.cells import CELL_NAMES, CELLS, cell_and_activation

DEFAULT_TIME = 300.0
"""Seconds that a training takes where neither time nor epochs nor steps are given."""


MIX_SHARE = 0.2
"""The part of each batch that comes from a text that is mixed in, unless the options say otherwise."""


MAX_EVAL_TOKENS = 1_000_000
"""Tokens that an evaluation during training scores at most."""

RANDOM_SPLIT = -1
"""The `split_seed` of a plan that has none: it is an earlier version's, which held out records at random, by `seed`."""


RESUMABLE = (
    "steps", "lr", "schedule", "dropout", "weight_drop", "weight_decay", "clip", "patience",
    "eval_every", "sample_every", "save_every", "engine", "precision", "threads",
)  # fmt: skip
"""Options that shape a run and may change when it is resumed."""


@dataclass(frozen=True)
class TrainConfig:
    """The options of `charrnn train`.

    Raises:
        UsageError: an option is of the wrong type or out of range, or cannot be used with another.
    """

    corpus: tuple[str, ...] = argument(
        StrList(), "Files, folders, quoted globs, - or a known corpus.", metavar="CORPUS", shown="python-docs"
    )

    cell: str = option(
        Choice(CELL_NAMES),
        "Recurrent cell: lstm, gru or rnn; others: charrnn help cells.",
        metavar="CELL",
        default="lstm",
    )
    hidden: tuple[int, ...] | None = option(
        IntList(MAX_SIZE), "Hidden size of all layers, or of each: 64,32.", shown="from text and time"
    )
    time: float | None = option(
        Duration(), "Time budget, from start to saved model: 90s, 5m, 1h30m.", shown=f"{DEFAULT_TIME / 60:g}m"
    )
    tokenizer: str = option(
        Choice(("char", "byte", "sentencepiece", "sentencepiece-bpe")),
        "Tokens: char, byte, sentencepiece or sentencepiece-bpe.",
        default="char",
    )
    records: bool = records_option(RECORDS)
    jsonl: str | None = jsonl_option()
    val: float | str = val_option()
    init_from: str | None = option(
        PathName(), "Fine-tune: start from MODEL; characters new to it are added.", metavar="MODEL", unless=("resume",)
    )
    resume: bool = option(Flag(), "Continue the run in --out exactly, or take a finished one further.", default=False)
    out: str | None = option(
        PathName(),
        "Folder of the run.",
        metavar="DIR",
        short="o",
        shown="checkpoints/CORPUS-CELL; to resume, the newest",
    )
    seed: int = option(Int(0, MAX_SEED), "Random seed: initial weights, dropout, order.", default=0)
    dry_run: bool = option(Flag(), "Print the plan, and the command that repeats it, and exit.", default=False)
    json: bool = option(Flag(), "Events as JSON Lines on stdout (docs/events.md).", default=False)

    layers: int | None = option(
        Int(1, MAX_LAYERS), "Number of layers.", shown="1, or as many as --hidden has", group="Model"
    )
    embedding: int | None = option(
        Int(1, MAX_SIZE), "Embedding size.", shown="from hidden size and vocabulary", group="Model"
    )
    vocab_size: int | None = option(
        Int(1, 65536),
        "Vocabulary size; of char, the N commonest are known.",
        shown="from the text",
        group="Model",
    )

    batch: int | None = option(
        Int(1, 65536), "Batch size: rows trained side by side.", shown="from the text", group="Training"
    )
    seq_len: int | None = option(
        Int(1, 65536),
        "Sequence length of truncated backpropagation through time.",
        shown="64",
        group="Training",
    )
    optimizer: str = option(
        Choice(("adamw", "adam", "sgd", "rmsprop")), "adamw, adam, sgd or rmsprop.", default="adamw", group="Training"
    )
    lr: float | None = option(
        Float(0, 1e9, open_low=True),
        "Peak learning rate.",
        shown="from optimizer, cell and hidden size",
        group="Training",
    )
    schedule: str = option(
        Choice(("linear", "cosine", "constant")),
        "Decay of the learning rate: linear, cosine or constant.",
        default="linear",
        group="Training",
    )
    dropout: float | None = option(
        Float(0, 1, open_high=True),
        "Dropout between layers and before the head.",
        shown="from epochs",
        group="Training",
    )
    weight_drop: float | None = option(
        Float(0, 1, open_high=True),
        "DropConnect: dropout of recurrent weights.",
        shown="from epochs",
        group="Training",
    )
    weight_decay: float = option(Float(0), "Weight decay.", default=0.0, group="Training")
    clip: float = option(Float(0), "Maximum gradient norm; 0: no clipping.", default=1.0, group="Training")
    mix: str | None = option(
        PathName(), "With --init-from: part of each batch comes from FILE, against forgetting.", group="Training"
    )
    mix_share: float | None = option(
        Float(0, 1, open_low=True, open_high=True), "That part.", shown=f"{MIX_SHARE:g}", group="Training"
    )
    epochs: float | None = option(
        Float(0, 1e9, open_low=True), "Passes over the text.", shown="as --time allows", group="Training"
    )
    steps: int | None = option(Int(1), "Optimizer steps.", shown="as --time allows", group="Training")
    patience: int = option(
        Int(0), "Early stopping: evaluations without improvement; 0: never.", default=8, group="Training"
    )
    split_seed: int = option(
        Int(RANDOM_SPLIT, MAX_SEED), "Random seed of which records are held out.", default=0, group="Training"
    )
    eval_every: int | None = option(
        Int(0), "Steps between evaluations; 0: only at the end.", shown="from the plan", group="Training"
    )
    sample_every: int | None = option(
        Int(0), "Steps between printed samples; 0: none.", shown="from the plan", group="Training"
    )
    eval_tokens: int = option(
        Int(1),
        "Validation tokens that an evaluation during training scores at most.",
        default=MAX_EVAL_TOKENS,
        group="Training",
        has_flag=False,
    )

    replans: tuple[dict[str, Any], ...] | None = option(
        ReplanList(RESUMABLE),
        "What a run changed under way, so that it is repeated.",
        group="Training",
        has_flag=False,
        has_variable=False,
        unless=("steps", "epochs", "time"),
    )

    separator: str | None = separator_option(r"What ends a record, '\n\n': a blank line.")
    counts: bool = counts_option()
    tsv: str | None = tsv_option()
    csv: str | None = csv_option()
    errors: str = errors_option()

    auto_resume: bool = option(
        Flag(), "Continue the run in --out if there is one, else start it.", default=False, group="Run"
    )
    overwrite: bool = option(Flag(), "Replace the run in --out.", default=False, group="Run")
    save_every: int | None = option(
        Int(0), "Steps between checkpoints; 0: only at the end.", shown="from the plan", group="Run"
    )

    device: str = device_option("auto")
    engine: str = engine_option("native", "torch")
    precision: str = precision_option(PRECISIONS)
    threads: int | None = option(Int(1, 1024), "Processor threads.", shown="all there are", group="Machine")

    def __post_init__(self) -> None:
        check_fields(self)
        check_together(self, "jsonl", "tsv", "csv", "counts")
        check_together(self, "resume", "auto_resume", "overwrite")
        for name in ("time", "epochs"):
            check_together(self, name, "replans")
        for each in self.replans or ():
            replace(self, replans=None, **{name: each[name] for name in RESUMABLE if name in each})
        if self.weight_drop and not CELLS[self.base_cell].recurrent_matmuls:
            raise UsageError(
                f"{{weight_drop}} cannot be used with {{cell}} {self.cell}, which has no recurrent weights",
                ("weight_drop", "cell"),
            )
        if self.layers and self.hidden and len(self.hidden) not in (1, self.layers):
            sizes = ",".join(map(str, self.hidden))
            raise UsageError(
                f"{{layers}} {self.layers} and {{hidden}} {sizes} cannot be used together: that is"
                f" {len(self.hidden)} sizes",
                ("layers", "hidden"),
            )
        if self.vocab_size is not None and self.tokenizer == "byte":
            raise UsageError(
                "{vocab_size} cannot be used with {tokenizer} byte: its vocabulary is all 256 bytes",
                ("vocab_size", "tokenizer"),
            )
        if self.mix is not None and not (self.init_from or self.resume or self.auto_resume):
            raise UsageError("{mix} needs {init_from}", ("mix", "init_from"))
        if self.mix_share is not None and self.mix is None:
            raise UsageError("{mix_share} needs {mix}", ("mix_share", "mix"))
        if self.separator is not None or self.counts:
            object.__setattr__(self, "records", True)
        try:
            self.record_separator.decode("latin-1" if self.tokenizer == "byte" else "utf-8")
        except UnicodeError:
            raise UsageError(
                "{separator} is not UTF-8, which {tokenizer} byte does not need", ("separator", "tokenizer")
            ) from None
        if self.tokenizer.startswith("sentencepiece") and self.separator is not None and self.separator.strip("\n"):
            raise UsageError(
                "{separator} can only be made of newlines with {tokenizer} sentencepiece", ("separator", "tokenizer")
            )

    @property
    def base_cell(self) -> str:
        """The cell's name without an activation: rnn of rnn-relu."""
        return cell_and_activation(self.cell)[0]

    @property
    def activation(self) -> str:
        """The cell's activation: relu of rnn-relu, tanh of all that name none."""
        return cell_and_activation(self.cell)[1]

    @property
    def val_file(self) -> str | None:
        """The text to validate on, if it is one of its own."""
        return self.val if isinstance(self.val, str) else None

    @property
    def val_fraction(self) -> float:
        """The share of the corpus that is held out; 0 where the text to validate on is one of its own."""
        return 0.0 if isinstance(self.val, str) else self.val

    @property
    def record_separator(self) -> bytes:
        """What ends a record; empty: the text is not records."""
        return typed_bytes(self.separator or "\n") if self.records else b""


@dataclass(frozen=True)
class ConfigFile:
    """The option that names a file of options."""

    config: str | None = option(PathName(), "Options from a TOML file: charrnn help config.", group="Run")

    def __post_init__(self) -> None:
        check_fields(self)

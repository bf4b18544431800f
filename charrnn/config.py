"""What each command can be told, and what holds where it is told nothing.

Defaults are written here and nowhere else. None means that the plan decides (`training.plan`).
"""

import math
import os
import re
from dataclasses import dataclass
from typing import Any

from charrnn.architecture import ACTIVATIONS, MAX_LAYERS, MAX_SIZE
from charrnn.cells import CELLS
from charrnn.errors import UsageError
from charrnn.options import (
    Choice,
    Duration,
    Escaped,
    Flag,
    Kind,
    Names,
    PathName,
    Real,
    Sizes,
    Text,
    Whole,
    check_fields,
    option,
)

PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"time": 15.0, "hidden": (64,)},
    "quick": {"time": 60.0},
    "default": {"time": 300.0},
    "best": {"time": 900.0},
}
"""What holds where the command leaves it open; the time, where it says neither epochs nor steps."""

MAX_SEED = 2**63 - 1

PRECISIONS = ("auto", "float32", "tf32", "bfloat16", "float16")
_PRECISION = (
    "Of products: 16 bits are less exact, and faster where the processor or GPU has them; auto takes float32, and tf32"
    " to train on a GPU."
)
SAMPLE_PRECISIONS = ("auto", "float32", "bfloat16")

_MODEL, _LEARN, _LENGTH, _DATA = "Model", "Learning", "How long", "Text"
_VALIDATE, _RUN, _MACHINE = "Validation", "Run", "Machine"


class Device(Kind):
    """`auto`, `cpu`, `cuda` or `cuda:N`."""

    metavar = "auto|cpu|cuda[:N]"

    def check(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "auto, cpu, cuda or cuda:N"


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
        Names("CORPUS"), "Files, directories, globs, - for stdin, or a known corpus.", default=(), group=_DATA
    )

    cell: str = option(Choice(tuple(CELLS), "CELL"), _CELL, default="lstm", group=_MODEL)
    activation: str = option(Choice(ACTIVATIONS), "Nonlinearity of the rnn cell.", default="tanh", group=_MODEL)
    hidden: tuple[int, ...] | None = option(
        Sizes(MAX_SIZE), "Units of a layer, or of each: 64,32.", shown="by the time there is", group=_MODEL
    )
    layers: int | None = option(Whole(1, MAX_LAYERS), "Layers.", shown="1", group=_MODEL)
    embedding: int | None = option(
        Whole(1, MAX_SIZE), "Width of the input table.", shown="by hidden and symbols", group=_MODEL
    )
    tokenizer: str = option(
        Choice(("char", "byte", "sentencepiece", "sentencepiece-bpe")),
        "What a symbol is; a sentencepiece model has common strings for symbols.",
        default="char",
        group=_MODEL,
    )
    vocab_size: int | None = option(
        Whole(1, 65536), "Symbols of a sentencepiece model.", shown="by the text", group=_MODEL
    )
    min_count: int = option(
        Whole(1), "Characters that occur less often in the text are unknown ones.", default=1, group=_MODEL
    )

    batch: int | None = option(Whole(1, 65536), "Rows read side by side.", shown="by the text", group=_LEARN)
    seq_len: int | None = option(
        Whole(1, 65536),
        "Symbols between two updates (backpropagation through time).",
        shown="64",
        group=_LEARN,
    )
    optimizer: str = option(Choice(("adamw", "adam", "sgd", "rmsprop")), "Optimizer.", default="adamw", group=_LEARN)
    lr: float | None = option(
        Real(0, 1e9, open_low=True),
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
        Real(0, 1, open_high=True), "Share of what passes between layers, and to the head, left out.",
        shown="by how often the text is read", group=_LEARN,
    )  # fmt: skip
    weight_drop: float | None = option(
        Real(0, 1, open_high=True), "Share of the recurrent weights left out of a step.",
        shown="by how often the text is read", group=_LEARN,
    )  # fmt: skip
    clip: float = option(Real(0), "Largest gradient norm; 0: any.", default=1.0, group=_LEARN)
    weight_decay: float = option(Real(0), "Weight decay.", default=0.0, group=_LEARN)

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
    epochs: float | None = option(Real(0, 1e9, open_low=True), "Times through the text.", group=_LENGTH)
    steps: int | None = option(Whole(1), "Updates.", group=_LENGTH)
    patience: int = option(
        Whole(0),
        "Stop after so many evaluations too bad for a falling rate to make up for; 0: never.",
        default=8,
        group=_LENGTH,
    )

    val_fraction: float = option(
        Real(0, 0.9), "Share of the text, at its end, kept for validation.", default=0.1, group=_VALIDATE
    )
    val: str | None = option(PathName("FILE"), "Validate on this text instead.", group=_VALIDATE)
    val_limit: int = option(
        Whole(1), "Most symbols of one evaluation while training.", default=1_000_000, group=_VALIDATE
    )
    eval_every: int | None = option(
        Whole(0), "Steps between evaluations; 0: only at the end.", shown="by the plan", group=_VALIDATE
    )
    sample_every: int | None = option(Whole(0), "Steps between samples; 0: none.", shown="by the plan", group=_VALIDATE)

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
        Whole(0),
        "Steps between checkpoints to resume from; 0: only at the end.",
        shown="by the plan",
        group=_RUN,
    )
    seed: int = option(Whole(0, MAX_SEED), "Where all random numbers come from.", default=0, group=_RUN)
    dry_run: bool = option(Flag(), "Print the plan and end.", default=False, group=_RUN)
    json: bool = option(Flag(), "Events as JSON Lines on stdout.", default=False, group=_RUN)

    device: str = option(Device(), "Where to train.", default="auto", group=_MACHINE)
    engine: str = option(Choice(("auto", "native", "torch")), "What runs the layers.", default="auto", group=_MACHINE)
    precision: str = option(Choice(PRECISIONS), _PRECISION, default="auto", group=_MACHINE)
    threads: int | None = option(Whole(1, 1024), "Processor threads.", shown="those there are", group=_MACHINE)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.activation != "tanh" and self.cell != "rnn":
            raise UsageError(f"--activation {self.activation} goes with --cell rnn, not {self.cell}")
        if self.weight_drop and not CELLS[self.cell].products:
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


@dataclass(frozen=True)
class SampleConfig:
    """Everything that decides what a model writes.

    Raises:
        UsageError: an option is of the wrong type or out of range.
    """

    temp: float = option(
        Real(0),
        "Temperature: 0 always takes the likeliest, 1 the model's own odds, more is wilder.",
        default=1.0,
    )
    length: int = option(Whole(0), "Symbols to write.", default=500, short="l")
    num: int = option(Whole(1), "Texts to write.", default=1, short="n")
    prompt: str | None = option(Text(), "What the text goes on from (not repeated).", short="p")
    prompt_file: str | None = option(PathName("FILE"), "The same, from a file; - is stdin.")
    seed: int | None = option(Whole(0, MAX_SEED), "The same seed writes the same text.", shown="a new one each time")
    top_k: int = option(Whole(0), "Choose among the K likeliest; 0: all.", default=0)
    top_p: float = option(Real(0, 1, open_low=True), "Choose among the likeliest that make up this share.", default=1.0)
    min_p: float = option(Real(0, 1), "Leave out what is less likely than this share of the likeliest.", default=0.0)
    stop: str | None = option(Text(), "End a text before these characters.")
    unknown: str = option(
        Choice(("error", "skip", "nearest")),
        "A prompt's characters that the model does not know.",
        default="error",
    )
    precision: str = option(
        Choice(SAMPLE_PRECISIONS),
        "Of products: bfloat16 is less exact, and faster where memory is slow; auto takes float32.",
        default="auto",
    )
    json: bool = option(Flag(), "One JSON object a text.", default=False)
    raw: bool = option(Flag(), "Unescaped control characters on a terminal too.", default=False)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.prompt is not None and self.prompt_file is not None:
            raise UsageError("--prompt and --prompt-file contradict each other")


METRICS = (
    "perplexity",
    "bits_per_char",
    "bits_per_byte",
    "nats",
    "tokens",
    "oov",
    "byte_perplexity",
    "word_perplexity",
)


DYNAMIC_RATE = 0.25
"""Of `eval --dynamic`, for a layer of one unit; it falls with the layers' size."""


@dataclass(frozen=True)
class EvalConfig:
    """Everything that decides how a text is scored and told.

    Raises:
        UsageError: an option is of the wrong type, out of range, or clashes with another.
    """

    lines: bool = option(Flag(), "Score each line on its own.", default=False)
    jsonl: str | None = option(Text("FIELD"), 'Score this field of each JSON line; adds "perplexity" to the object.')
    tsv: str | None = option(Text("COLUMN"), "Score this column, a number or a name, of tab-separated lines.")
    metric: str | None = option(Choice(METRICS), "Print this number alone.")
    json: bool = option(Flag(), "One JSON object a row.", default=False)
    window: int = option(Whole(0), "Forget everything each N symbols; 0: never.", default=0)
    streams: int = option(
        Whole(1, 4096), "Cut each text in K pieces scored side by side: fast, approximate.", default=1
    )
    dynamic: bool = option(
        Flag(), "Score also with weights that go on learning from what they have scored; slow.", default=False
    )
    dynamic_rate: float | None = option(Real(0, 1), "How fast they do so.", shown=f"{DYNAMIC_RATE:g} / hidden")
    unknown: str = option(
        Choice(("score", "skip", "error")), "Characters that the model does not know.", default="score"
    )
    errors: str = option(
        Choice(("strict", "replace")),
        "Invalid UTF-8: refuse it, or read U+FFFD in its place.",
        default="strict",
    )
    flush: bool = option(Flag(), "Write each row at once.", default=False)
    device: str = option(Device(), "Where to score.", default="cpu")
    engine: str = option(Choice(("auto", "native", "numpy", "torch")), "What runs the model.", default="auto")
    precision: str = option(Choice(PRECISIONS), _PRECISION, default="auto")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.window and self.streams > 1:
            raise UsageError("--window and --streams contradict each other")
        ways = sum((self.lines, self.jsonl is not None, self.tsv is not None))
        if ways and (self.window or self.streams > 1):
            raise UsageError("--window and --streams do not go with --lines, --jsonl or --tsv")
        if self.dynamic and (ways or self.streams > 1):
            raise UsageError("--dynamic reads whole texts in order: not with --lines, --jsonl, --tsv or --streams")
        if self.dynamic_rate is not None and not self.dynamic:
            raise UsageError("--dynamic-rate goes with --dynamic")
        if ways > 1:
            raise UsageError("--lines, --jsonl and --tsv contradict each other")
        if self.metric is not None and self.json:
            raise UsageError("--metric and --json contradict each other")


def seconds(value: float) -> str:
    """A time as people write it: `45s`, `2m`, `1h30m`; `Duration` reads it back."""
    whole = math.ceil(value)
    parts = [(whole // 3600, "h"), (whole // 60 % 60, "m"), (whole % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"

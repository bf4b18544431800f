"""How a model's text is generated: the sampling parameters, and the other options of `charrnn sample`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from charrnn.config.groups import MAX_SEED, ModelOptions, precision_option, prompt_file_option
from charrnn.config.lists import EscapedList, FieldList, StrList
from charrnn.config.options import check_fields, check_together, option
from charrnn.config.params import Choice, Escaped, Flag, Float, Int, Text
from charrnn.errors import UsageError

SAMPLE_PRECISIONS = ("auto", "float32", "bfloat16", "int8")


FIELDS = ("index", "line", "prompt", "text", "nats", "tokens", "perplexity", "seed", "finish_reason")
"""What is known of a text: the keys of its JSON object, in order."""


DEFAULT_LENGTH = 500
"""Most tokens in a text, unless `length` says otherwise."""


RECORD_LENGTH = 10_000
"""The same of a record: it is to come to its own end."""


@dataclass(frozen=True)
class SamplingParams:
    """Which texts are made: how tokens are drawn, how many, and what of it is wanted. In Python and on the command
    line alike.

    Raises:
        UsageError: an option is of the wrong type or out of range, or cannot be used with another.
    """

    temp: float = option(Float(0), "Temperature: 0 greedy, 1 the model's own, above 1 more random.", default=1.0)
    length: int | None = option(
        Int(0), "Most tokens in a text; 0: no limit.", short="l", shown=f"{DEFAULT_LENGTH}; records: to their end"
    )
    num: int = option(Int(0), "Number of texts (per prompt); 0: no limit.", default=1, short="n")
    stop: Sequence[str] = option(EscapedList(), "End a text before TEXT; several: before any of them.", default=())
    match: str | None = option(
        Text(), "Each text as a whole matches REGEX: 'S[a-z]{4,8}', '[^0-9]*', '.{5,9}'.", metavar="REGEX"
    )
    unique: bool = option(Flag(), "No text twice.", default=False)
    novel: bool = option(Flag(), "No record of the training text (read again from the run's corpus).", default=False)
    rank: bool = option(Flag(), "Likeliest first, printed when all are made.", default=False)
    seed: int | None = option(
        Int(0, MAX_SEED), "Random seed: the same seed, the same text.", shown="a new one, named on stderr"
    )
    top_k: int = option(Int(0), "Only the N likeliest tokens; 0: all.", default=0, group="Sampling")
    top_p: float = option(
        Float(0, 1, open_low=True),
        "Only the likeliest tokens that sum to probability X (nucleus).",
        default=1.0,
        group="Sampling",
    )
    min_p: float = option(
        Float(0, 1), "Only tokens at least X times as likely as the likeliest.", default=0.0, group="Sampling"
    )
    no_repeat: int = option(Int(0), "No sequence of N tokens twice in a text; 0: allowed.", default=0, group="Sampling")
    exclude: Sequence[str] = option(
        StrList(),
        "No text that is a line of FILE; several: of any.",
        metavar="FILE",
        default=(),
        group="Constraints",
    )
    max_copy: int = option(
        Int(0),
        "No stretch of over N characters of the training text; 0: allowed.",
        default=0,
        group="Constraints",
    )
    echo: bool | None = option(
        Flag(), "Print the prompt as part of the text.", shown="of record models", group="Prompts"
    )
    unknown: str = option(
        Choice(("error", "skip", "nearest")),
        "Prompt characters that the model lacks: error, skip or nearest.",
        metavar="HOW",
        default="error",
        group="Prompts",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_together(self, "match", "stop")
        if self.rank and not self.num:
            raise UsageError("{rank} and {num} 0 cannot be used together: no text is the last one", ("rank", "num"))

    @property
    def is_random(self) -> bool:
        """Whether the seed makes a difference."""
        return self.temp > 0 and self.top_k != 1

    @property
    def ended_by(self) -> tuple[str, ...]:
        """Options that may end a text after any token."""
        return tuple(name for name in ("no_repeat", "max_copy") if getattr(self, name))

    @property
    def is_selective(self) -> bool:
        """Whether some texts that are drawn are not wanted."""
        return self.unique or self.novel or bool(self.exclude)


class SamplingOptions(TypedDict, total=False):
    """Keywords that say how a text is made: those of `SamplingParams`."""

    temp: float
    length: int | None
    stop: str | Sequence[str]
    match: str | None
    seed: int | None
    top_k: int
    top_p: float
    min_p: float
    no_repeat: int
    max_copy: int
    echo: bool | None
    unknown: str


class SelectionOptions(SamplingOptions, total=False):
    """The same of several texts, and which of them are wanted."""

    unique: bool
    novel: bool
    rank: bool
    exclude: str | Sequence[str]


@dataclass(frozen=True)
class SampleConfig(SamplingParams, ModelOptions):
    """The options of `charrnn sample`.

    Raises:
        UsageError: an option is of the wrong type or out of range, or cannot be used with another.
    """

    prompt: str | None = option(Escaped(may_be_empty=True), "Text to continue.", short="p", after="num")
    interactive: bool = option(
        Flag(), "Type a prompt, read on, change settings, undo, retry; /help there.", default=False, short="i"
    )
    json: bool = option(Flag(), "One JSON object per text.", default=False)
    precision: str = precision_option(SAMPLE_PRECISIONS, group="Sampling")
    prompt_file: str | None = prompt_file_option("Prompts", after="max_copy")
    lines: bool = option(
        Flag(),
        "Each line of --prompt-file is a prompt, answered in order.",
        default=False,
        group="Prompts",
        after="prompt_file",
    )
    fields: tuple[tuple[str, str], ...] | None = option(
        FieldList(FIELDS),
        "Columns in place of the text, such as nats,text: charrnn help fields.",
        short="f",
        group="Output",
    )
    separator: str | None = option(
        Escaped(may_be_empty=True),
        r"Written after each text; '\0' for xargs -0.",
        shown=r"the model's, else \n",
        group="Output",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for names in (("prompt", "prompt_file"), ("separator", "json"), ("separator", "fields")):
            check_together(self, *names)
        for name in ("json", "fields", "num", "rank", "lines", "separator"):
            check_together(self, "interactive", name)
        if self.lines and self.prompt_file is None:
            raise UsageError("{lines} needs {prompt_file}", ("lines", "prompt_file"))
        if "-" in self.exclude and self.prompt_file == "-":
            raise UsageError("{prompt_file} - and {exclude} - cannot be used together", ("prompt_file", "exclude"))

    @property
    def columns(self) -> tuple[tuple[str, str], ...] | None:
        """The fields of a row, and what each is called; None: the texts themselves are printed."""
        return self.fields or (tuple((name, name) for name in FIELDS) if self.json else None)

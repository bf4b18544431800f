"""Everything that decides how a text is scored, with its defaults and help."""

from dataclasses import dataclass

from charrnn.config.groups import PRECISION, PRECISIONS
from charrnn.config.options import check_fields, option
from charrnn.config.params import Choice, Device, Flag, Float, Int, Text
from charrnn.errors import UsageError

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
    window: int = option(Int(0), "Forget everything each N symbols; 0: never.", default=0)
    streams: int = option(Int(1, 4096), "Cut each text in K pieces scored side by side: fast, approximate.", default=1)
    dynamic: bool = option(
        Flag(), "Score also with weights that go on learning from what they have scored; slow.", default=False
    )
    dynamic_rate: float | None = option(Float(0, 1), "How fast they do so.", shown=f"{DYNAMIC_RATE:g} / hidden")
    errors: str = option(
        Choice(("strict", "replace")),
        "Invalid UTF-8: refuse it, or read U+FFFD in its place.",
        default="strict",
    )
    flush: bool = option(Flag(), "Write each row at once.", default=False)
    device: str = option(Device(), "Where to score.", default="cpu")
    engine: str = option(Choice(("auto", "native", "numpy", "torch")), "What runs the model.", default="auto")
    precision: str = option(Choice(PRECISIONS), PRECISION, default="auto")

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

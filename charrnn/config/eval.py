"""How text is scored and what is printed of it: the options of `charrnn eval`."""

from dataclasses import dataclass

from charrnn.config.groups import (
    ModelOptions,
    device_option,
    engine_option,
    errors_option,
    jsonl_option,
    precision_option,
    tsv_option,
)
from charrnn.config.lists import FieldList, StrList
from charrnn.config.options import argument, check_fields, check_together, is_given, option
from charrnn.config.params import Choice, Flag, Int
from charrnn.errors import UsageError

METRICS = (
    *("nats", "bits", "tokens", "oov", "chars", "bytes", "words", "perplexity", "perplexity_without_oov"),
    *("bits_per_char", "bits_per_byte", "byte_perplexity", "word_perplexity"),
)
"""Fields of a row that are figures of its text."""


ADAPTED = {f"adapted_{name}": name for name in ("perplexity", "bits_per_char", "bits_per_byte")}
"""Fields that `adapt` adds, and the figure that each is."""


PLACES = ("file", "line", "text")
"""Fields that say which text a row is about; the last two where a file has several texts."""


DYNAMIC_RATE = 0.25
"""Learning rate of dynamic evaluation for a hidden size of 1; it falls with the hidden size."""


@dataclass(frozen=True)
class EvalConfig(ModelOptions):
    """The options of `charrnn eval`.

    Raises:
        UsageError: an option is of the wrong type or out of range, or cannot be used with another.
    """

    text: tuple[str, ...] = argument(StrList(), "Files, or - for stdin.", metavar="TEXT", shown="stdin")

    lines: bool = option(Flag(), "Each line is a text, scored from its start to its end.", default=False)
    jsonl: str | None = jsonl_option("; the score is added to the object")
    fields: tuple[tuple[str, str], ...] | None = option(
        FieldList((*METRICS, *ADAPTED, *PLACES)),
        "Columns, in this order; NAME=AS renames one: charrnn help fields.",
        short="f",
    )
    json: bool = option(Flag(), "One JSON object per row.", default=False)

    tsv: str | None = tsv_option()
    errors: str = errors_option()

    adapt: str | None = option(
        Choice(("weights",)), "Score also while learning from what was scored: weights.", metavar="WHAT", group="Method"
    )
    window: int = option(Int(0), "Reset the state every N tokens; 0: never.", default=0, group="Method")
    streams: int = option(
        Int(1, 4096),
        "Score K pieces of a text side by side: faster, approximate.",
        metavar="K",
        default=1,
        group="Method",
    )

    device: str = device_option("cpu")
    engine: str = engine_option("native", "numpy", "torch")
    precision: str = precision_option()

    def __post_init__(self) -> None:
        check_fields(self)
        check_together(self, "lines", "jsonl", "tsv")
        for method in ("adapt", "window", "streams"):
            for within in ("lines", "jsonl", "tsv"):
                check_together(self, method, within)
        check_together(self, "streams", "window")
        check_together(self, "streams", "adapt")
        if self.adapt and len(self.model) > 1:
            raise UsageError("{adapt} learns with one model, and {model} names several", ("adapt", "model"))
        wanted = {field for field, _ in self.fields or ()}
        if not self.adapt and wanted & ADAPTED.keys():
            raise UsageError(f"{{fields}}: {min(wanted & ADAPTED.keys())} needs {{adapt}}", ("fields", "adapt"))
        if not self.within_files and wanted & {"line", "text"}:
            raise UsageError(
                f"{{fields}}: {min(wanted & {'line', 'text'})} needs {{lines}}, {{jsonl}} or {{tsv}}",
                ("fields", "lines", "jsonl", "tsv"),
            )

    @property
    def within_files(self) -> bool:
        """Whether a file has several texts, each scored on its own."""
        return any(is_given(self, name) for name in ("lines", "jsonl", "tsv"))

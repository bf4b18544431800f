"""How text is scored and what is printed of it: the options of `charrnn eval`."""

from dataclasses import dataclass

from charrnn.config.groups import (
    PRECISIONS,
    ModelOptions,
    csv_option,
    device_option,
    engine_option,
    errors_option,
    jsonl_option,
    precision_option,
    prompt_file_option,
    records_option,
    separator_option,
    tsv_option,
)
from charrnn.config.lists import FieldList, StrList
from charrnn.config.options import argument, check_fields, check_together, is_given, option
from charrnn.config.params import Choice, Escaped, Flag, Int, PathName, Text, typed_bytes
from charrnn.errors import UsageError

METRICS = (
    *("nats", "bits", "tokens", "oov", "chars", "bytes", "words", "perplexity", "perplexity_without_oov"),
    *("bits_per_char", "bits_per_byte", "bits_per_byte_se", "byte_perplexity", "word_perplexity"),
)
"""Fields of a row that are figures of its text."""


ADAPTED = {f"adapted_{name}": name for name in ("perplexity", "bits_per_char", "bits_per_byte")}
"""Fields that `adapt` adds, and the figure that each is."""


UNIT_METRICS = ("nats", "bits", "tokens", "oov", "perplexity")
"""Fields of a word's or token's row that are figures."""


PLACES = ("file", "line", "index", "offset", "text")
"""Fields that say which text, word or token a row is about."""


CLASSIFIED = ("model", "margin")
"""Fields that `classify` adds."""


COMPARED = ("bits_per_byte", "other_bits_per_byte", "difference", "low", "high", "texts")
"""Figures of a row of `compare`."""


DYNAMIC_RATE = 0.25
"""Learning rate of dynamic evaluation for a hidden size of 1; it falls with the hidden size."""


_WITHIN = ("lines", "records", "jsonl", "tsv", "csv")
"""Options that say which texts there are within a file."""


_PROMPTS = ("prompt", "prompt_file", "prompt_field")


_TOGETHER = (
    _WITHIN,
    ("separator", "lines"),
    ("separator", "jsonl"),
    ("separator", "tsv"),
    ("separator", "csv"),
    _PROMPTS,
    ("reference", "compare"),
    ("classify", "compare"),
    ("streams", "window"),
    ("streams", "adapt"),
    ("fields", "compare"),
    ("fields", "top_logprobs"),
    ("keep", "compare"),
    *((prompt, method) for prompt in _PROMPTS for method in ("carry", "adapt", "window", "streams")),
    *(("carry", other) for other in ("classify", "compare")),
    *(("by", other) for other in ("classify", "compare", "reference", "adapt", "window", "streams", "keep", "heat")),
    *(("classify", other) for other in ("heat", "adapt")),
    *(("compare", other) for other in ("heat", "adapt")),
    *(("heat", other) for other in ("adapt", "window", "streams", "json", "fields", "keep", "jsonl", "tsv", "csv")),
    *(("heat", other) for other in ("fail_if", "reference")),
    *((method, within) for method in ("adapt", "window", "streams") for within in (*_WITHIN, "separator")),
)
"""Options that cannot be used together."""


@dataclass(frozen=True)
class EvalConfig(ModelOptions):
    """The options of `charrnn eval`.

    Raises:
        UsageError: an option is of the wrong type or out of range, or cannot be used with another.
    """

    text: tuple[str, ...] = argument(
        StrList(), "Files, folders, quoted globs, or - for stdin.", metavar="TEXT", shown="stdin"
    )

    lines: bool = option(Flag(), "Each line is a text, scored from its start to its end.", default=False)
    jsonl: str | None = jsonl_option("; the score is added to the object")
    by: str | None = option(
        Choice(("word", "token")),
        "Rows within each text, state carried: word or token.",
        metavar="UNIT",
        shown="text",
    )
    prompt: str | None = option(
        Escaped(may_be_empty=True),
        "Score each text as the continuation of TEXT, itself not scored.",
        short="p",
    )
    fields: tuple[tuple[str, str], ...] | None = option(
        FieldList((*METRICS, *ADAPTED, "percentile", *CLASSIFIED, "rank", "entropy", *PLACES)),
        "Columns, in this order; NAME=AS renames one: charrnn help fields.",
        short="f",
    )
    keep: str | None = option(Text(), "Print only the texts for which EXPR holds, as they came.", metavar="EXPR")
    fail_if: str | None = option(
        Text(), "Exit with 10 if EXPR holds for a row, or for the total where printed.", metavar="EXPR"
    )
    classify: bool = option(Flag(), "Of several models, name the one with the fewest bits per byte.", default=False)
    compare: bool = option(Flag(), "Of several models, paired differences with 95 % intervals.", default=False)
    heat: bool = option(Flag(), "Print the text coloured by surprise.", default=False)
    json: bool = option(Flag(), "One JSON object per row.", default=False)

    records: bool = records_option("Each record is a text.", "Text")
    separator: str | None = separator_option("What ends a record.", r"the model's, else \n")
    tsv: str | None = tsv_option()
    csv: str | None = csv_option()
    carry: bool = option(
        Flag(),
        "Carry the state from text to text: each row is its share of the whole.",
        default=False,
        group="Text",
    )
    end: bool = option(Flag(), "Leave the end of each line, record or field unscored.", default=True, group="Text")
    prompt_file: str | None = prompt_file_option("Text")
    prompt_field: str | None = option(
        Text(), "Each text's own prompt from this JSON field or column.", metavar="FIELD", group="Text"
    )
    errors: str = errors_option()

    header: bool | None = option(Flag(), "Print column names.", shown="on a terminal", group="Output")
    top_logprobs: int = option(
        Int(0, 1000),
        "With --by token --json: the K likeliest tokens at each place.",
        metavar="K",
        default=0,
        group="Output",
    )
    reference: str | None = option(
        PathName(),
        "Add percentile: the share, in per cent, of FILE's texts that are likelier.",
        group="Output",
    )

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
    precision: str = precision_option((*PRECISIONS, "int8"))

    def __post_init__(self) -> None:
        check_fields(self)
        for names in _TOGETHER:
            check_together(self, *names)
        if self.separator is not None:
            object.__setattr__(self, "records", True)
        self._check_needs()
        self._check_fields()

    def _check_needs(self) -> None:
        """Check options that need another one."""
        if self.adapt and len(self.model) > 1:
            raise UsageError("{adapt} learns with one model, and {model} names several", ("adapt", "model"))
        for name in ("classify", "compare"):
            if getattr(self, name) and len(self.model) < 2:
                raise UsageError(f"{{{name}}} needs two or more {{model}}", (name, "model"))
        for name in ("carry", "end", "reference"):
            if is_given(self, name) and not self.within_files:
                what = "no_end" if name == "end" else name
                raise UsageError(f"{{{what}}} needs {_named(_WITHIN)}", (what, *_WITHIN))
        if self.carry and not self.end:
            raise UsageError("{carry} and {no_end} cannot be used together", ("carry", "no_end"))
        if self.prompt_field is not None and not (self.jsonl or self.tsv or self.csv):
            raise UsageError("{prompt_field} needs {jsonl}, {tsv} or {csv}", ("prompt_field", "jsonl", "tsv", "csv"))
        if self.top_logprobs and not (self.by == "token" and self.json):
            raise UsageError("{top_logprobs} needs {by} token and {json}", ("top_logprobs", "by", "json"))
        if self.prompt_file == self.reference == "-":
            names = ("prompt_file", "reference")
            raise UsageError("{prompt_file} and {reference} cannot both be read from stdin", names)
        for name in ("prompt_file", "reference"):
            if getattr(self, name) == "-" and (not self.text or "-" in self.text):
                raise UsageError(f"{{{name}}} - and the text cannot both be read from stdin: name a TEXT", (name,))

    def _check_fields(self) -> None:
        """Check that the fields chosen are there."""
        wanted = [field for field, _ in self.fields or ()]
        needs = {
            **dict.fromkeys(ADAPTED, ("adapt",)),
            **dict.fromkeys(CLASSIFIED, ("classify",)),
            **dict.fromkeys(("rank", "entropy", "index", "offset"), ("by",)),
            **dict.fromkeys(("line", "text"), (*_WITHIN, "by")),
            "percentile": ("reference",),
        }
        for field in wanted:
            names = needs.get(field, ())
            if names and not any(is_given(self, name) for name in names):
                raise UsageError(f"{{fields}}: {field} needs {_named(names)}", ("fields", *names))
            if self.by and field not in (*UNIT_METRICS, "rank", "entropy", *PLACES):
                raise UsageError(f"{{fields}}: {field} is not of a {self.by}", ("fields",))
            if self.by == "word" and field in ("rank", "entropy"):
                raise UsageError(f"{{fields}}: {field} needs {{by}} token", ("fields", "by"))

    @property
    def within_files(self) -> bool:
        """Whether a file has several texts, each scored on its own."""
        return any(is_given(self, name) for name in _WITHIN)

    @property
    def record_separator(self) -> bytes | None:
        """What ends a record; None: what separates the model's, else a newline."""
        return None if self.separator is None else typed_bytes(self.separator)

    @property
    def expression_fields(self) -> tuple[str, ...]:
        """The fields that conditions may name."""
        if self.compare:
            return (*COMPARED, "model", "other")
        if self.by:
            return (*UNIT_METRICS, *(("rank", "entropy") if self.by == "token" else ()), *PLACES)
        more = (*(ADAPTED if self.adapt else ()), *(("percentile",) if self.reference else ()))
        places = ("file", "line", "text") if self.within_files else ("file",)
        return (*METRICS, *more, *(CLASSIFIED if self.classify else ()), *places)


def _named(names: tuple[str, ...]) -> str:
    """Return options as a message lists them."""
    *rest, last = [f"{{{name}}}" for name in names]
    return f"{', '.join(rest)} or {last}" if rest else last

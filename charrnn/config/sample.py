"""How a model's text is generated: the sampling parameters, and the rest of `charrnn sample`'s options."""

from dataclasses import dataclass

from charrnn.config.groups import MAX_SEED
from charrnn.config.options import check_fields, option
from charrnn.config.params import Choice, Flag, Float, Int, PathName, Text
from charrnn.errors import UsageError

SAMPLE_PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn, and how many.

    Raises:
        UsageError: an option is of the wrong type or out of range.
    """

    temp: float = option(
        Float(0),
        "Temperature: 0 always takes the likeliest, 1 the model's own odds, more is wilder.",
        default=1.0,
    )
    length: int = option(Int(0), "Symbols to write.", default=500, short="l")
    num: int = option(Int(1), "Texts to write.", default=1, short="n")
    top_k: int = option(Int(0), "Choose among the K likeliest; 0: all.", default=0)
    top_p: float = option(
        Float(0, 1, open_low=True), "Choose among the likeliest that make up this share.", default=1.0
    )
    min_p: float = option(Float(0, 1), "Leave out what is less likely than this share of the likeliest.", default=0.0)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class SampleConfig(SamplingParams):
    """Everything that `charrnn sample` takes.

    Raises:
        UsageError: an option is of the wrong type or out of range, or clashes with another.
    """

    prompt: str | None = option(Text(), "What the text goes on from (not repeated).", short="p")
    prompt_file: str | None = option(PathName("FILE"), "The same, from a file; - is stdin.")
    seed: int | None = option(Int(0, MAX_SEED), "The same seed writes the same text.", shown="a new one each time")
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
        super().__post_init__()
        if self.prompt is not None and self.prompt_file is not None:
            raise UsageError("--prompt and --prompt-file contradict each other")

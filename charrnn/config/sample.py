"""How a model's text is generated: the sampling parameters, and the other options of `charrnn sample`."""

from dataclasses import dataclass

from charrnn.config.groups import MAX_SEED, ModelOptions, precision_option, prompt_file_option
from charrnn.config.options import check_fields, check_together, option
from charrnn.config.params import Choice, Flag, Float, Int, Text

SAMPLE_PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class SamplingParams:
    """How tokens are drawn, and how many.

    Raises:
        UsageError: an option is of the wrong type or out of range.
    """

    temp: float = option(Float(0), "Temperature: 0 greedy, 1 the model's own, above 1 more random.", default=1.0)
    length: int = option(Int(0), "Most tokens in a text.", default=500, short="l")
    num: int = option(Int(1), "Number of texts.", default=1, short="n")
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

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class SampleConfig(SamplingParams, ModelOptions):
    """The options of `charrnn sample`.

    Raises:
        UsageError: an option is of the wrong type or out of range, or cannot be used with another.
    """

    prompt: str | None = option(Text(), "Text to continue.", short="p")
    stop: str | None = option(Text(), "End a text before TEXT.")
    seed: int | None = option(
        Int(0, MAX_SEED), "Random seed: the same seed, the same text.", shown="a new one, named on stderr"
    )
    json: bool = option(Flag(), "One JSON object per text.", default=False)
    precision: str = precision_option(SAMPLE_PRECISIONS, group="Sampling")
    prompt_file: str | None = prompt_file_option("Prompts")
    unknown: str = option(
        Choice(("error", "skip", "nearest")),
        "Prompt characters that the model lacks: error, skip or nearest.",
        metavar="HOW",
        default="error",
        group="Prompts",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_together(self, "prompt", "prompt_file")

"""Rows of `charrnn sample`: columns, or JSON objects, in place of the text alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from charrnn.cli.eval_writers import Fields, JsonWriter, TsvWriter
from charrnn.console.streams import Console
from charrnn.generation.generate import TextChunk
from charrnn.scoring.score import Score


@dataclass(frozen=True)
class Sample:
    """A text and what is known of it: the fields of `charrnn help fields`."""

    index: int
    line: int | None
    prompt: bytes
    text: bytes
    nats: float
    tokens: int
    seed: int
    finish_reason: str

    @property
    def perplexity(self) -> float:
        """Of what was generated, by its tokens."""
        return Score(self.nats, self.tokens).perplexity

    @property
    def place(self) -> str:
        """See `eval_writers.Values`."""
        return f"text {self.index}"

    def value(self, field: str) -> Any:
        """See `eval_writers.Values`."""
        return getattr(self, field)


def write_rows(
    console: Console,
    texts: Iterable[TextChunk],
    columns: Fields,
    prompts: Sequence[tuple[bytes, int | None]],
    seed: int,
    *,
    is_json: bool,
) -> None:
    """Write a row for each whole text.

    Args:
        columns: fields, and what each is called. prompts: each with its line, if it has one. seed: of all texts.
    """
    writer = (
        JsonWriter(console, columns)
        if is_json
        else TsvWriter(console, columns, header=console.stdout_is_tty, verbatim=False)
    )
    for text in texts:
        prompt, line = prompts[text.prompt]
        writer.row(Sample(text.index, line, prompt, text.data, text.nats, text.tokens, seed, text.finish_reason))

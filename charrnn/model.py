"""The models that score and write a text."""

import codecs
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.eval import EvalConfig
from charrnn.config.sample import SampleConfig
from charrnn.engines.select import ensemble_engine
from charrnn.errors import UsageError
from charrnn.files import quote
from charrnn.generation.generate import TextChunk, generate
from charrnn.generation.prompts import encode_prompt
from charrnn.network.architecture import Architecture
from charrnn.runs.locate import find_model
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import score_records, score_texts
from charrnn.tokenizers.tokenizer import Tokenizer


def read_models(names: Sequence[str]) -> list[Checkpoint]:
    """Read models, of which each name means one as `runs.find_model` has it; without names, the one it finds.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
        UsageError: their symbols, or what ends their records, are not the same.
    """
    first, *others = [find_model(name) for name in (*names,) or (None,)]
    model = checkpoint.read(first)
    models = [model]
    for path in others:
        other = checkpoint.read(path)
        if (other.tokenizer.name, other.separator) != (model.tokenizer.name, model.separator) or not np.array_equal(
            other.tokenizer.table, model.tokenizer.table
        ):
            raise UsageError(f"{quote(first)} and {quote(path)} cannot speak as one: their symbols are not the same")
        models.append(other)
    return models


class Model:
    """A trained model, or several whose probabilities are averaged. `load` makes one; two threads may not use one at
    the same time.

    Attributes:
        architecture: its sizes; the first one's.
        tokenizer: what turns text into its symbols.
        separator: what ends each record, of a model that was trained on records; empty: it was not.
        info: what its file tells of its training: plain JSON; the first one's.
    """

    architecture: Architecture
    tokenizer: Tokenizer
    separator: bytes
    info: dict[str, Any]

    def __init__(self, *models: Checkpoint) -> None:
        first = models[0]
        self.architecture, self.tokenizer, self.info = first.architecture, first.tokenizer, first.info
        self.separator = first.separator
        self._engine = ensemble_engine([(each.architecture, each.weights) for each in models])

    def sample(
        self,
        prompt: str | bytes = "",
        *,
        length: int = SampleConfig.length,
        temp: float = SampleConfig.temp,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        min_p: float = SampleConfig.min_p,
        seed: int | None = None,
        stop: str | None = None,
        unknown: str = SampleConfig.unknown,
    ) -> str:
        """Write a text, or a record without its separator, as `charrnn sample` does with the options of the same names.

        Args:
            prompt: what the text goes on from; not repeated in it.
            length: symbols to write at most.
            temp: 0 always takes the likeliest symbol, 1 the model's own odds.
            top_k: choose among the k likeliest; 0: all.
            top_p: choose among the likeliest that make up this share.
            min_p: leave out what is less likely than this share of the likeliest.
            seed: equal seeds write equal texts; None takes a new one.
            stop: the text ends before these characters.
            unknown: what becomes of the prompt's characters that the model does not know:
                "error", "skip" or "nearest".

        Raises:
            UsageError: an argument is out of range. InputError: the prompt cannot be used.
            NonFiniteError: the model's arithmetic overflows.
        """
        return "".join(
            self.stream(
                prompt, length=length, temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, stop=stop,
                unknown=unknown,
            )
        )  # fmt: skip

    def samples(
        self,
        num: int,
        prompt: str | bytes = "",
        *,
        length: int = SampleConfig.length,
        temp: float = SampleConfig.temp,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        min_p: float = SampleConfig.min_p,
        seed: int | None = None,
        stop: str | None = None,
        unknown: str = SampleConfig.unknown,
    ) -> list[str]:
        """Write `num` texts side by side; the first is what `sample` writes. The rest as `sample`."""
        config = SampleConfig(
            num=num, length=length, temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, stop=stop,
            unknown=unknown,
        )  # fmt: skip
        texts = [bytearray() for _ in range(num)]
        for part in self._write(prompt, config):
            texts[part.index] += part.data
        return [text.decode("utf-8", "replace") for text in texts]

    def stream(
        self,
        prompt: str | bytes = "",
        *,
        length: int = SampleConfig.length,
        temp: float = SampleConfig.temp,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        min_p: float = SampleConfig.min_p,
        seed: int | None = None,
        stop: str | None = None,
        unknown: str = SampleConfig.unknown,
    ) -> Iterator[str]:
        """What `sample` writes, piece by piece, as it is written. Raises as `sample`; what is wrong with the
        arguments is told at the call."""
        config = SampleConfig(
            length=length, temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, stop=stop, unknown=unknown
        )  # fmt: skip
        return _decoded(self._write(prompt, config))

    def score(self, text: str | bytes, *, unknown: str = EvalConfig.unknown, errors: str = EvalConfig.errors) -> Score:
        """What a text costs, every symbol once, the first included.

        Args:
            text: it may be empty: then there are no tokens, and the perplexity is NaN. For a model of records it
                is a number of them, each scored on its own; the last one need not be ended.
            unknown: what becomes of characters the model does not know: "score", "skip" or "error".
            errors: what becomes of invalid UTF-8: "strict" refuses it, "replace" reads U+FFFD.

        Raises:
            UsageError: an argument is none of these. InputError: the text cannot be used.
            NonFiniteError: the model's arithmetic overflows.
        """
        config = EvalConfig(unknown=unknown, errors=errors)
        if not self.separator:
            return self._score([_bytes(text)], config)[0]
        return score_records(
            self._engine, self.tokenizer, [_bytes(text)], self.separator, unknown=config.unknown, errors=config.errors
        )

    def score_lines(
        self,
        lines: Iterable[str | bytes],
        *,
        unknown: str = EvalConfig.unknown,
        errors: str = EvalConfig.errors,
    ) -> list[Score]:
        """What lines cost, each on its own and ended by a newline, or the model's separator, which is added where
        it is missing.

        Many are scored side by side, faster than one by one. Arguments and errors as `score`.
        """
        end = self.separator or b"\n"
        with_final_separator = (_bytes(line).removesuffix(end) + end for line in lines)
        return self._score(with_final_separator, EvalConfig(unknown=unknown, errors=errors))

    def _score(self, texts: Iterable[bytes], config: EvalConfig) -> list[Score]:
        pieces = ([text] for text in texts)
        return list(score_texts(self._engine, self.tokenizer, pieces, unknown=config.unknown, errors=config.errors))

    def _write(self, prompt: str | bytes, config: SampleConfig) -> Iterator[TextChunk]:
        ids = encode_prompt(self.tokenizer, _bytes(prompt), config.unknown)
        seed = secrets.randbelow(1 << 32) if config.seed is None else config.seed
        stop = _bytes(config.stop or "")
        return generate(self._engine, self.tokenizer, ids, config, seed=seed, stop=stop, separator=self.separator)


def _bytes(text: str | bytes) -> bytes:
    """UTF-8; what no UTF-8 holds is left for the tokenizer to refuse."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _decoded(parts: Iterable[TextChunk]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for part in parts:
        if text := decoder.decode(part.data, part.finished):
            yield text

"""A trained model: what scores and generates text, for the command line, the library and training alike.

This file is long: the signatures are what a user of the library reads.

What only scoring needs is imported when a text is scored: a sample's first character does not wait for it.
"""

import codecs
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.config.eval import EvalConfig
from charrnn.config.sample import SampleConfig, SamplingParams
from charrnn.engines.base import Array, InferenceEngine
from charrnn.engines.select import dynamic_engine, ensemble_engine
from charrnn.errors import UsageError
from charrnn.files import quote
from charrnn.generation.generate import TextChunk, generate
from charrnn.generation.prompts import encode_prompt
from charrnn.network.architecture import Architecture
from charrnn.runs.locate import find_model
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from charrnn.scoring.options import ScoringOptions
    from charrnn.scoring.scorer import Scorer

Network = tuple[Architecture, Mapping[str, Array]]
"""A network's sizes, and its weights: float32, named and shaped as `Architecture.shapes`."""


class Model:
    """A trained model, or several whose probabilities are averaged.

    Several threads may use one: their calls take turns. What `load` returned can be pickled, its weights with it.

    Attributes:
        engine: runs it.
        tokenizer: turns text into token ids and back.
        separator: what ends each record, of a model that was trained on records; empty: it was not.
        info: what its file says about its training: plain JSON; the first one's.
        networks: what `engine` runs, as far as it is known.
        machine: what `load` was told of engine, device and precision.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        tokenizer: Tokenizer,
        *,
        separator: bytes = b"",
        info: Mapping[str, Any] | None = None,
        networks: Sequence[Network] = (),
        machine: Mapping[str, str] | None = None,
    ) -> None:
        self.engine, self.tokenizer, self.separator, self.networks = engine, tokenizer, separator, networks
        self.info, self.machine = dict(info or {}), dict(machine or {})

    def __getstate__(self) -> dict[str, Any]:
        if not self.networks:
            raise TypeError("a model whose networks are not known cannot be pickled")
        return self.__dict__ | {"engine": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self.engine = ensemble_engine(self.networks, **self.machine)

    @classmethod
    def load(
        cls,
        *paths: str | os.PathLike[str] | None,
        device: str = "cpu",
        engine: str = "auto",
        precision: str = "auto",
    ) -> "Model":
        """Read a trained model, or several that are averaged.

        Args:
            paths: each a file, a run's folder or the name of a run under `checkpoints/`; none, or None,
                takes what $CHARRNN_MODEL names, else the run saved last.
            device: "auto", "cpu", "cuda" or "cuda:N".
            engine, precision: what computes, and how exactly; as the options of `charrnn eval`.

        Raises:
            CheckpointError: there is no such model, or its file cannot be used.
            UsageError: several have different vocabularies or separators; device, engine or precision are not here.
        """
        names = [os.fspath(path) for path in paths if path is not None]
        files = [find_model(name) for name in names or (None,)]
        models = [checkpoint.read(file) for file in files]
        first = models[0]
        for file, other in zip(files, models, strict=True):
            if (other.tokenizer.name, other.separator) != (first.tokenizer.name, first.separator) or not np.array_equal(
                other.tokenizer.table, first.tokenizer.table
            ):
                raise UsageError(
                    f"{quote(files[0])} and {quote(file)} cannot be used together: they have different vocabularies"
                )
        networks = [(each.architecture, each.weights) for each in models]
        machine = {"engine": engine, "device": device, "precision": precision}
        found = ensemble_engine(networks, **machine)
        return cls(
            found, first.tokenizer, separator=first.separator, info=first.info, networks=networks, machine=machine
        )

    @property
    def architecture(self) -> Architecture:
        """The sizes of its network; the first one's."""
        return self.networks[0][0]

    def sample(
        self,
        prompt: str | bytes = "",
        *,
        length: int | None = SampleConfig.length,
        temp: float = SampleConfig.temp,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        min_p: float = SampleConfig.min_p,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        unknown: str = SampleConfig.unknown,
    ) -> str:
        """Return a text, or a record without its separator: `charrnn sample` with the options of the same names.

        Args:
            prompt: what the text continues; not repeated in it.
            length: most tokens in the text; 0: no limit. None: 500, of a record 10,000.
            temp: temperature: 0 is greedy, 1 the model's own probabilities.
            top_k: only the k likeliest tokens; 0: all.
            top_p: only the likeliest tokens that sum to this probability.
            min_p: only tokens at least this many times as likely as the likeliest.
            seed: the same seed gives the same text; None takes a new one.
            stop: end the text before these characters; several: before any of them.
            unknown: what becomes of characters of the prompt that the model lacks: "error", "skip" or "nearest".

        Raises:
            UsageError: an argument is out of range, or the text has no end. InputError: the prompt cannot be used.
            NonFiniteError: the model's arithmetic overflows.
        """
        pieces = self.stream(
            prompt, length=length, temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, stop=stop,
            unknown=unknown,
        )  # fmt: skip
        self.check_ends(length, stop)
        return "".join(pieces)

    def stream(
        self,
        prompt: str | bytes = "",
        *,
        length: int | None = SampleConfig.length,
        temp: float = SampleConfig.temp,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        min_p: float = SampleConfig.min_p,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        unknown: str = SampleConfig.unknown,
    ) -> Iterator[str]:
        """Return the text of `sample` piece by piece, as it is generated. Raises as `sample`; what is wrong with an
        argument is raised by the call itself."""
        config = SampleConfig(
            length=length, temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, stop=stop, unknown=unknown
        )  # fmt: skip
        return _decode(self.generate(prompt, config, seed=seed, stop=config.stop, unknown=unknown))

    def samples(
        self,
        num: int,
        prompt: str | bytes = "",
        *,
        length: int | None = SampleConfig.length,
        temp: float = SampleConfig.temp,
        top_k: int = SampleConfig.top_k,
        top_p: float = SampleConfig.top_p,
        min_p: float = SampleConfig.min_p,
        seed: int | None = None,
        stop: str | Sequence[str] = (),
        unknown: str = SampleConfig.unknown,
    ) -> list[str]:
        """Return `num` texts, at least one, generated side by side; the first is that of `sample`. The rest as
        `sample`."""
        config = SampleConfig(
            num=num, length=length, temp=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, stop=stop,
            unknown=unknown,
        )  # fmt: skip
        self.check_ends(length, stop)
        if not num:
            raise UsageError("{num} must be 1 or more: the texts are returned when all are there", ("num",))
        texts = [bytearray() for _ in range(num)]
        for chunk in self.generate(prompt, config, seed=seed, stop=config.stop, unknown=unknown):
            texts[chunk.index] += chunk.data
        return [text.decode("utf-8", "replace") for text in texts]

    def generate(
        self,
        prompt: str | bytes,
        params: SamplingParams,
        *,
        seed: int | None = None,
        stop: str | bytes | Sequence[str | bytes] = (),
        unknown: str = SampleConfig.unknown,
    ) -> Iterator[TextChunk]:
        """Return `params.num` texts as bytes, chunk by chunk and in order: see `generation.generate`.

        Args: as `sample`.

        Raises:
            InputError: the prompt cannot be used; raised by the call itself.
            NonFiniteError: the model's arithmetic overflows.
        """
        ids = encode_prompt(self.tokenizer, _to_bytes(prompt), unknown)
        seed = secrets.randbelow(1 << 32) if seed is None else seed
        stops = [_to_bytes(text) for text in ([stop] if isinstance(stop, str | bytes) else stop)]
        return generate(self.engine, self.tokenizer, ids, params, seed=seed, stop=stops, separator=self.separator)

    def check_ends(self, length: int | None, stop: str | Sequence[str]) -> None:
        """Raise UsageError where a text has no end, so that it cannot be returned whole."""
        if length == 0 and not any(stop) and not self.separator:
            raise UsageError("{length} 0 needs {stop} with this model: the text has no end", ("length", "stop"))

    def score(self, text: str | bytes, *, errors: str = EvalConfig.errors) -> Score:
        """Return the score of a text: every token counts once, the first included.

        Args:
            text: it may be empty: then there are no tokens, and the perplexity is NaN. For a record model it is a
                number of records, each scored on its own; the last one need not be ended.
            errors: what becomes of invalid UTF-8: "strict" refuses it, "replace" reads U+FFFD.

        Raises:
            UsageError: `errors` is neither. InputError: the text cannot be used.
            NonFiniteError: the model's arithmetic overflows.
        """
        from charrnn.corpus.formats import NamedText

        return next(self.scorer(_options(errors)).texts([NamedText([[_to_bytes(text)]])]))

    def score_many(self, texts: Iterable[str | bytes], *, errors: str = EvalConfig.errors) -> list[Score]:
        """Return the score of each text, as `charrnn eval --lines` does: each is scored on its own, with its end, the
        model's separator or a newline, which is added where it is missing. Where a record model's separator stands in
        a text a record ends. Side by side they are faster than one by one. Arguments and errors as `score`.
        """
        from charrnn.corpus.formats import Place, Row

        rows = (Row(_to_bytes(text), b"", Place("", number)) for number, text in enumerate(texts, 1))
        return list(self.scorer(_options(errors)).lines(rows))

    def scorer(
        self,
        options: "ScoringOptions | None" = None,
        *,
        adapt: bool = False,
        adapt_rate: float | None = None,
        check: Callable[[int], None] = lambda tokens: None,
    ) -> "Scorer":
        """Return what scores texts with this model.

        Args:
            options: how; None: whole texts, strictly decoded.
            adapt: by dynamic evaluation (Krause et al. 2018): the weights learn from what has been scored, in each text
                from the trained ones on. adapt_rate: their learning rate; None: by the size of the largest layer.
            check: called with the number of tokens read so far before each call of the engine; may raise.

        Raises:
            UsageError: several models cannot adapt.
        """
        from charrnn.scoring.options import DEFAULT_OPTIONS
        from charrnn.scoring.scorer import Scorer

        engine = self.engine
        if adapt:
            if len(self.networks) != 1:
                raise UsageError("dynamic evaluation is of one model, not of several")
            engine = dynamic_engine(*self.networks[0], rate=adapt_rate)
        return Scorer(engine, self.tokenizer, self.separator, options or DEFAULT_OPTIONS, check=check)


def _options(errors: str) -> "ScoringOptions":
    """Return how texts are scored that all have a score."""
    from charrnn.scoring.options import ScoringOptions

    if EvalConfig(errors=errors).errors == "skip":
        raise UsageError("{errors} must be one of strict, replace, not 'skip': every text has a score", ("errors",))
    return ScoringOptions(errors)


def _to_bytes(text: str | bytes) -> bytes:
    """Return UTF-8; what cannot be UTF-8 is left for the tokenizer to refuse."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _decode(chunks: Iterable[TextChunk]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        if text := decoder.decode(chunk.data, chunk.finished):
            yield text

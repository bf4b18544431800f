"""A trained model: what scores and generates text, for the command line, the library and training alike.

This file is long: the signatures are what a user of the library reads.

What only scoring needs is imported when a text is scored: a sample's first character does not wait for it.
"""

import codecs
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from charrnn.checkpoint import format as checkpoint
from charrnn.config.sample import SamplingOptions, SamplingParams, SelectionOptions
from charrnn.engines.base import Array, CopyIndex, InferenceEngine
from charrnn.engines.select import dynamic_engine, ensemble_engine
from charrnn.errors import NonFiniteError, UsageError
from charrnn.files import quote
from charrnn.generation.generate import TextChunk, joined
from charrnn.generation.novelty import lines_of
from charrnn.generation.prompts import read_prefix
from charrnn.generation.texts import generate_texts
from charrnn.network.architecture import Architecture
from charrnn.runs.locate import find_model
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Tokenizer

if TYPE_CHECKING:
    from charrnn.scoring.options import ScoringOptions
    from charrnn.scoring.scorer import Scorer
    from charrnn.scoring.tokens import TokenScores

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
        files: where it was read from, and what each file says of its training, as `info`; empty: it was not.
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
        files: Sequence[tuple[Path, Mapping[str, Any]]] = (),
        machine: Mapping[str, str] | None = None,
    ) -> None:
        self.files = files
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
            engine, precision: what computes, and how exactly; as the options of `charrnn eval`. With "auto" scores are
                in float32; the compiled core draws a single model's texts in int8, as `charrnn sample` does.

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
            found,
            first.tokenizer,
            separator=first.separator,
            info=first.info,
            networks=networks,
            files=[(file, model.info) for file, model in zip(files, models, strict=True)],
            machine=machine,
        )

    @property
    def architecture(self) -> Architecture:
        """The sizes of its network; the first one's."""
        return self.networks[0][0]

    def sample(self, prompt: str | bytes = "", **options: Unpack[SamplingOptions]) -> str:
        """Return a text, or a record without its separator: `charrnn sample` with the options of the same names.

        Args:
            prompt: what the text continues; a record model's text has it in front, others do not repeat it: see `echo`.
            temp: temperature: 0 is greedy, 1 the model's own probabilities.
            length: most tokens in the text; 0: no limit. None: 500, of a record 10,000.
            stop: end the text before these characters; several: before any of them.
            match: a regular expression (docs/match.md) that the text as a whole matches; it has no `stop` then.
            seed: the same seed gives the same text; None takes a new one.
            top_k: only the k likeliest tokens; 0: all.
            top_p: only the likeliest tokens that sum to this probability.
            min_p: only tokens at least this many times as likely as the likeliest.
            no_repeat: no sequence of so many tokens twice in the text, the prompt counted where it is part of it; 0: it
                may be. Where every token would repeat, the text ends.
            max_copy: no stretch of more than so many characters of the training text, which is read again from the
                run's corpus, the prompt counted always; 0: it may be. Where every token would copy, the text ends.
            echo: whether the prompt is part of the text; None: of record models it is.
            unknown: what becomes of characters of the prompt that the model lacks: "error", "skip" or "nearest".

        Raises:
            UsageError: an argument is out of range, or the text has no end; `max_copy` is asked of a model that was
                trained on records, or whose training text cannot be read any more. InputError: the prompt cannot be
                used.
            NonFiniteError: the model's arithmetic overflows.
        """
        params = _params("sample", SamplingOptions, options)
        self.check_ends(params)
        return "".join(_decode(self.generate(prompt, params)))

    def stream(self, prompt: str | bytes = "", **options: Unpack[SamplingOptions]) -> Iterator[str]:
        """Return the text of `sample` piece by piece, as it is generated; it need not end. Arguments and errors as
        `sample`; what is wrong with an argument is raised by the call itself."""
        return _decode(self.generate(prompt, _params("stream", SamplingOptions, options)))

    def samples(self, num: int, prompt: str | bytes = "", **options: Unpack[SelectionOptions]) -> Iterator[str]:
        """Return `num` texts, generated side by side, each as soon as it is whole; the first is that of `sample`.

        Args:
            num: 0: there is no end of texts.
            unique: no text twice. novel: no record of the training text, which is read again from the run's corpus.
                exclude: files, no line of which is returned. With any of them there are fewer texts where 10,000 draws
                in a row were not new.
            rank: the likeliest first, once all are made. Others as for `sample`.

        Raises: as `sample`; what is wrong with an argument is raised by the call itself. UsageError: `novel` is asked
            of a model that was not trained on records, or whose training text cannot be read any more. InputError: a
            file of `exclude` cannot be read.
        """
        params = _params("samples", SelectionOptions, options, num=num)
        self.check_ends(params)
        return (text.data.decode("utf-8", "replace") for text in joined(self.generate(prompt, params)))

    def generate(
        self,
        prompts: str | bytes | Sequence[str | bytes],
        params: SamplingParams,
        *,
        names: Sequence[str] = (),
        with_nats: bool = False,
        watch: Callable[[TextChunk], None] = lambda chunk: None,
    ) -> Iterator[TextChunk]:
        """Return `params.num` texts of one or several prompts as bytes, in order, chunk by chunk or whole: see
        `generation.texts`.

        Args:
            names: what each prompt is called in messages.
            with_nats: whether `TextChunk.nats` are wanted: what the texts cost this model, whatever they were drawn by.
            watch: called with each chunk as it comes, before the likeliest are put first.

        Raises:
            InputError: a prompt cannot be used, or a file of `params.exclude`. UsageError: `match` or `novel` cannot
                be. Raised by the call itself.
            NonFiniteError: the model's arithmetic overflows.
        """
        several = [prompts] if isinstance(prompts, str | bytes) else prompts
        return generate_texts(
            self.engine,
            self.tokenizer,
            [_to_bytes(prompt) for prompt in several],
            params,
            separator=self.separator,
            known=self.known_texts(params),
            copies=lambda: self.copy_index(params.max_copy),
            names=names,
            with_nats=with_nats,
            watch=watch,
        )

    def known_texts(self, params: SamplingParams) -> Iterator[bytes]:
        """Return the texts that are not wanted."""
        if params.novel:
            yield from self.training_records()
        for name in params.exclude:
            yield from lines_of(name)

    def training_records(self) -> Iterator[bytes]:
        """Return the records that it was trained on, those that were held out among them: read again from the corpus of
        its run, or of each, as they come.

        Raises:
            UsageError: it was not trained on records, or the corpus cannot be read any more, or has changed.
        """
        if not self.separator:
            raise UsageError(
                "{novel} needs a model that was trained on records; {exclude} FILE leaves out the lines of a file",
                ("novel", "exclude"),
            )
        from charrnn.generation.training_text import training_records  # what few texts wait for

        yield from training_records(self._runs("novel"))

    def copy_index(self, max_copy: int) -> CopyIndex | None:
        """Return what of its training text, read again from the corpus of its run, or of each, is not to be copied: its
        stretches of more than `max_copy` characters. None: there are none, or `max_copy` is 0.

        Raises:
            UsageError: it was trained on records, or the corpus cannot be read any more, or has changed.
        """
        if not max_copy:
            return None
        if self.separator:
            raise UsageError(
                "{max_copy} needs a model of text that has no records; {exclude} FILE leaves out the lines of a file",
                ("max_copy", "exclude"),
            )
        from charrnn.generation.training_text import training_copies

        return training_copies(self._runs("max_copy"), max_copy, self.tokenizer.token_bytes)

    def copied_share(self, texts: Sequence[bytes]) -> float:
        """Return the share of the characters of texts that lies in stretches of 30 and more of the training text; of no
        characters NaN.

        Raises:
            UsageError: the run's corpus cannot be read any more, or has changed; the message is the reason alone.
        """
        from charrnn.generation.training_text import copied_share

        return copied_share(self._runs("max_copy"), texts)

    def _runs(self, option: str) -> list[tuple[Path, object]]:
        """Return the `config.toml` of each run, and the digest of its text."""
        if not self.files:
            raise UsageError(f"{{{option}}} needs a model that was read from the folder of its run", (option,))
        from charrnn.runs.run_dir import RunDir

        return [(RunDir(file.parent).config, info.get("corpus_sha256")) for file, info in self.files]

    def check_ends(self, params: SamplingParams) -> None:
        """Raise UsageError where a text has no end, so that it cannot be returned whole."""
        if params.length == 0 and not any(params.stop) and not self.separator and params.match is None:
            raise UsageError("{length} 0 needs {stop} with this model: the text has no end", ("length", "stop"))

    def score(self, text: str | bytes, *, prompt: str | bytes = "", errors: str = "strict") -> Score:
        """Return the score of a text: every token counts once, the first included.

        Args:
            text: it may be empty: then there are no tokens, and the perplexity is NaN. For a record model it is a
                number of records, each scored on its own; the last one need not be ended.
            prompt: what the text continues, tokenised apart from it and not scored: the score is of P(text | prompt).
                Unknown characters in it are read as `<unk>`. Only the first of several records continues it.
            errors: what becomes of invalid UTF-8: "strict" refuses it, "replace" reads U+FFFD.

        Raises:
            UsageError: `errors` is neither. InputError: the text or the prompt cannot be used: invalid UTF-8, or a
                prompt that ends a record. NonFiniteError: the model's arithmetic overflows.
        """
        from charrnn.corpus.formats import NamedText

        return next(self.scorer(_options(errors, prompt)).texts([NamedText([[_to_bytes(text)]])]))

    def score_many(
        self,
        texts: Iterable[str | bytes],
        *,
        prompt: str | bytes = "",
        end: bool = True,
        errors: str = "strict",
    ) -> Iterator[Score]:
        """Return the score of each text, in order, as `charrnn eval --lines` does: each is scored on its own, with its
        end, the model's separator or a newline, which is added where it is missing. Where a record model's separator
        stands in a text a record ends. Side by side they are faster than one by one.

        Args:
            texts: read as the scores are fetched, at most 4,096 ahead; there may be no end of them.
            prompt: what each text continues, as in `score`.
            end: whether the end is added and scored.
            errors: as in `score`.

        Raises:
            TypeError: `texts` is a single text. UsageError, InputError: what is wrong with an argument is raised by the
                call itself, and a text that cannot be used once the scores of those before it have been returned.
                NonFiniteError: the model's arithmetic overflows.
        """
        if isinstance(texts, str | bytes):
            raise TypeError("score_many() takes an iterable of texts, not a single text")
        from charrnn.scoring.rows import row_blocks

        scorer = self.scorer(_options(errors, prompt, end=end))
        return itertools.chain.from_iterable(map(scorer.lines, row_blocks(map(_to_bytes, texts))))

    def score_tokens(self, text: str | bytes, *, prompt: str | bytes = "", errors: str = "strict") -> "TokenScores":
        """Return what each token of a text costs, as arrays (N,): `nats`, which sum to those of `score`; `ranks`, from
        1; `entropies` in bits; `offsets` in characters, from 0; and the N `tokens` as bytes. Arguments and errors as
        `score`; an empty text has N = 0.
        """
        from charrnn.corpus.formats import NamedText
        from charrnn.scoring.tokens import token_scores

        return token_scores(self.scorer(_options(errors, prompt)), NamedText([[_to_bytes(text)]]))

    def next_probabilities(self, prompt: str | bytes = "", *, errors: str = "strict") -> dict[str, float]:
        """Return the probability of each token after a prompt, by the token's text, likeliest first; they sum to 1.

        A token that is not UTF-8 is called `bytes:\\xNN`, with a `\\xNN` for each byte; `<unk>` is all characters
        together that the model lacks. Tokens of the same text, as a letter and its byte, are one.

        Args:
            prompt: as in `score`; empty: the text, or record, begins here.
            errors: as in `score`.

        Raises: as `score`.
        """
        from charrnn.scoring.tokens import token_names

        logits = read_prefix(self.engine, self.scorer(_options(errors, prompt)).rows.prompt).logits[0]  # (V,)
        if not np.isfinite(logits).all():
            raise NonFiniteError
        weights = np.exp(logits.astype(np.float64) - logits.max())
        found = dict.fromkeys(names := token_names(self.tokenizer), 0.0)
        for name, probability in zip(names, (weights / weights.sum()).tolist(), strict=True):
            found[name] += probability
        return dict(sorted(found.items(), key=lambda item: -item[1]))

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


def _params(caller: str, keywords: Any, options: Mapping[str, Any], **more: Any) -> SamplingParams:
    """Return the sampling parameters that keywords give a method.

    Raises:
        TypeError: it does not take one of them. UsageError: a value is out of range.
    """
    for name in options:
        if name not in keywords.__optional_keys__:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")
    return SamplingParams(**options, **more)


def _options(errors: str, prompt: str | bytes = "", *, end: bool = True) -> "ScoringOptions":
    """Return how texts are scored that all have a score."""
    from charrnn.config.eval import EvalConfig
    from charrnn.scoring.options import ScoringOptions

    if EvalConfig(errors=errors).errors == "skip":
        raise UsageError("{errors} must be one of strict, replace, not 'skip': every text has a score", ("errors",))
    return ScoringOptions(errors, prompt=_to_bytes(prompt), end=end)


def _to_bytes(text: str | bytes) -> bytes:
    """Return UTF-8; what cannot be UTF-8 is left for the tokenizer to refuse."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _decode(chunks: Iterable[TextChunk]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        if text := decoder.decode(chunk.data, chunk.finished):
            yield text

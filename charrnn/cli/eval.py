"""`charrnn eval`: score texts with a model, a row a text."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from charrnn.cli.eval_gate import Gate
from charrnn.cli.eval_texts import Texts, read_again
from charrnn.cli.eval_writers import (
    JsonWriter,
    RawWriter,
    Result,
    RowWriter,
    TableWriter,
    TsvWriter,
    Writer,
    has_header,
    named,
)
from charrnn.config.eval import ADAPTED, CLASSIFIED, METRICS, EvalConfig
from charrnn.config.options import merge
from charrnn.console.streams import Console
from charrnn.corpus.formats import Row, whole_text
from charrnn.corpus.inputs import Chunks, display_name, open_chunks
from charrnn.errors import InputError, UsageError
from charrnn.model import Model
from charrnn.scoring.score import Score, total_of

if TYPE_CHECKING:
    from charrnn.scoring.quantiles import Quantiles

_PROGRESS_BYTES = 1 << 12  # between two steps of the progress bar, of a text that is scored slowly


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Score texts and return the exit code.

    Raises:
        CharRNNError: of every kind.
    """
    config, _ = merge(EvalConfig, flags, os.environ)
    if not config.text and console.stdin_is_tty:
        raise UsageError("no text: name a file, or pipe one in: cat FILE | charrnn eval")
    if config.heat and not console.color:
        raise UsageError("{heat} needs colour, which NO_COLOR, {no_color} or TERM=dumb turns off", ("heat", "no_color"))
    gate = Gate(console, config)
    several = [[name] for name in config.model] if config.classify or config.compare else [list(config.model)]
    machine = {"device": config.device, "engine": config.engine, "precision": config.precision}
    models = [Model.load(*names, **machine) for names in several]
    for option, is_given in (("streams", config.streams > 1), ("carry", config.carry)):
        if is_given and any(model.separator for model in models):
            raise UsageError(f"{{{option}}} cannot be used with a model of records", (option,))
    texts = Texts(console, config, models[0])
    if config.compare:
        from charrnn.cli.eval_compare import compare

        compare(console, config, texts, models, gate)
    elif config.by or config.heat:
        from charrnn.cli.eval_units import print_units

        print_units(console, config, texts, models[0], gate)
    else:
        evaluation = _Evaluation(console, config, texts, models, gate)
        if config.within_files:
            evaluation.rows()
        else:
            evaluation.files()
    return gate.finish()


class _Evaluation:
    """Scores texts and writes their rows, each as soon as its score is known."""

    def __init__(self, console: Console, config: EvalConfig, texts: Texts, models: Sequence[Model], gate: Gate) -> None:
        self.console, self.config, self.texts, self.models, self.gate = console, config, texts, models, gate
        self.options = texts.options()
        self.scorers = [model.scorer(self.options) for model in models]
        self._reference = [] if config.reference is None else self._read_reference(config.reference)

    def files(self) -> None:
        """Score whole files: a row each, and their total.

        Raises:
            InputError: a text cannot be used; the rows of those before it have been written.
        """
        config, console = self.config, self.console
        if config.streams > 1:
            console.info(f"scored as {config.streams} separate pieces a text: an approximation")
        writer = self._file_writer()
        results: list[Result] = []
        empty = []
        try:
            with self._progress(writer) as advance:
                for file, outcome in self._score_files(advance):
                    if isinstance(outcome, InputError):
                        self.texts.leave_out("file", outcome)
                    elif not outcome.score.tokens:
                        empty.append(display_name(file))
                    else:
                        results.append(outcome)
                        if self.gate.passes(outcome):
                            writer.row(outcome)
                        console.flush()  # what comes next may be long in coming
            if len(results) > 1 and not config.classify and self.gate.passes(total := _total(results)):
                writer.row(total)
        finally:
            writer.finish()
        console.flush()
        self.texts.check(scored=bool(results))
        if results:
            self._warn(_total(results).score)
        if empty:
            raise InputError(", ".join(empty) + ": no tokens to score")

    def rows(self) -> None:
        """Score each line, record, field or cell on its own, or as its share of the whole: a row each.

        Raises:
            InputError: a line cannot be used; the rows of those before it have been written. Or none can, or no object
                has the field, which is known when all have been read.
        """
        writer, total, scored = self._row_writer(), Score(), False
        with self._progress(writer) as advance:
            for file in self.texts.files:
                for found in self._score_rows(file, advance):
                    scores: list[Score] = []
                    for row, outcome, more in found:
                        if isinstance(outcome, InputError):
                            self.texts.leave_out("line", outcome)
                            continue
                        scored = True
                        scores.append(outcome)
                        if row.replaced:
                            scores.append(Score(replaced=row.replaced))
                        result = Result(outcome, file, row, more=more)
                        if self.gate.passes(result):
                            writer.row(result)
                    self.console.flush()  # what comes next may be long in coming
                    total += total_of(scores)
        self.texts.check(scored=scored)
        if self.console.verbose and total.tokens:
            text = f"perplexity {total.perplexity:.6f}, {total.bits_per_char:.6f} bits per character"
            error = f" (standard error {total.bits_per_byte_se:.6f})" if total.units.num > 1 else ""
            self.console.debug(f"all together: {text}, {total.bits_per_byte:.6f} bits per byte{error}")
        self._warn(total)

    def _score_rows(self, file: str, advance: Callable[[int], None]) -> Iterator[Iterable["_Scored"]]:
        """Return the rows of a file with what came of them, those together that are there."""
        if self.config.carry:
            from charrnn.cli.eval_units import carried_rows

            for row, outcome in carried_rows(self.texts, self.scorers[0], file, advance):
                yield [(row, outcome, self._more(outcome))]
            return
        for rows in self.texts.rows(file, advance):
            if len(self.scorers) > 1:
                found = [list(scorer.line_outcomes(rows)) for scorer in self.scorers]
                yield ((row, *self._likeliest(outcomes)) for row, *outcomes in zip(rows, *found, strict=True))
            else:
                outcomes = self.scorers[0].line_outcomes(rows)
                yield ((row, outcome, self._more(outcome)) for row, outcome in zip(rows, outcomes, strict=True))

    def _likeliest(self, outcomes: Sequence[Score | InputError]) -> tuple[Score | InputError, dict[str, Any]]:
        """Return the best of several models' scores of a text, and which model's it is."""
        scores = []
        for outcome in outcomes:
            if isinstance(outcome, InputError):
                return outcome, {}
            scores.append(outcome)
        best, second = sorted(range(len(scores)), key=lambda n: scores[n].bits_per_byte)[:2]
        if not scores[best].tokens:
            return scores[0], dict.fromkeys(CLASSIFIED)
        margin = scores[second].bits_per_byte - scores[best].bits_per_byte
        return scores[best], {"model": self.config.model[best], "margin": margin} | self._more(scores[best], best)

    def _more(self, outcome: Score | InputError, model: int = 0) -> dict[str, Any]:
        """Return the further fields of a text's row, which a model has scored."""
        if not self._reference or isinstance(outcome, InputError):
            return _NOTHING
        nats = outcome.nats / outcome.tokens if outcome.tokens else None
        return {"percentile": None if nats is None else self._reference[model].share_below(nats)}

    def _read_reference(self, file: str) -> list["Quantiles"]:
        """Score the texts of another file; return each model's nats per token."""
        from charrnn.scoring.quantiles import Quantiles

        found = [Quantiles() for _ in self.models]
        scorers = [model.scorer(self.options) for model in self.models]
        for rows in self.texts.rows(file, lambda count: None, is_reference=True):
            for scorer, quantiles in zip(scorers, found, strict=True):
                for outcome in scorer.line_outcomes(rows):
                    if isinstance(outcome, InputError):
                        self.texts.leave_out("line", outcome)
                    elif outcome.tokens:
                        quantiles.add(outcome.nats / outcome.tokens)
        if not all(quantiles.count for quantiles in found):
            raise InputError(f"{display_name(file)}: no texts to compare with")
        return found

    def _file_writer(self) -> Writer:
        config, console = self.config, self.console
        adapted = ADAPTED if config.adapt else ()
        if config.json:
            fields = ["file", *CLASSIFIED, *METRICS] if config.classify else ["file", *METRICS, *adapted]
            return JsonWriter(console, config.fields or named(fields))
        if config.keep is not None and not config.fields:
            return RawWriter(console)
        default = ["perplexity", "bits_per_char", "bits_per_byte", "tokens", "oov", *adapted, "file"]
        if config.classify:
            default = ["model", "bits_per_byte", "margin", "file"]
        elif console.stdout_is_tty and not config.fields and config.header is None:
            return TableWriter(console)
        return TsvWriter(console, config.fields or named(default), header=has_header(console, config), verbatim=False)

    def _row_writer(self) -> Writer:
        config, console = self.config, self.console
        more = ["percentile"] if config.reference is not None else []
        if config.json:
            classified = CLASSIFIED if config.classify else ()
            return JsonWriter(console, config.fields or named(["file", "line", *classified, *METRICS, *more, "text"]))
        if config.keep is not None and not config.fields:
            return RawWriter(console, self.texts.separator)
        fields = config.fields or named(
            ["model", "bits_per_byte", "margin", *more] if config.classify else ["perplexity", "tokens", "oov", *more]
        )
        if config.jsonl is not None:
            default = ["model", "bits_per_byte", "margin"] if config.classify else ["perplexity"]
            return RowWriter(console, config.fields or named([*default, *more]))
        if config.tsv is not None or config.csv is not None:
            return RowWriter(console, fields, header=has_header(console, config), is_csv=config.csv is not None)
        if not config.fields and config.lines:
            return RowWriter(console, fields, header=has_header(console, config))
        fields = fields if config.fields else [*fields, ("text", "text")]
        return TsvWriter(console, fields, header=has_header(console, config), verbatim=config.lines)

    def _progress(self, writer: Writer) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        return self.texts.progress(wanted=isinstance(writer, TableWriter) or not self.console.stdout_is_tty)

    def _score_files(self, advance: Callable[[int], None]) -> Iterator[tuple[str, Result | InputError]]:
        """Score each file, with --adapt by the trained weights and by weights that learn."""
        files, scorer = self.texts.files, self.scorers[0]
        if self.config.classify:
            for file in files:
                read = read_again(file)
                outcomes = [next(each.text_outcomes([whole_text(file, read())])) for each in self.scorers]
                advance(os.path.getsize(file) if os.path.isfile(file) else 0)
                outcome, more = self._likeliest(outcomes)
                yield file, outcome if isinstance(outcome, InputError) else Result(outcome, file, more=more)
            return
        if not self.config.adapt:
            texts = (whole_text(file, open_chunks(file, advance)) for file in files)
            for file, outcome in zip(files, scorer.text_outcomes(texts), strict=False):  # it ends with an error
                yield file, outcome if isinstance(outcome, InputError) else Result(outcome, file)
            return
        adaptive = self.models[0].scorer(self.options, adapt=True)
        for file in files:
            read = read_again(file)
            [outcome] = scorer.text_outcomes([whole_text(file, read())])
            if isinstance(outcome, InputError) or not outcome.tokens:
                yield file, outcome if isinstance(outcome, InputError) else Result(outcome, file)
                continue
            [adapted] = adaptive.texts([whole_text(file, _small_chunks(read(), advance))])
            yield file, Result(outcome, file, adapted=adapted)

    def _warn(self, total: Score) -> None:
        unknown = self.scorers[0].rows.unknown_chars if len(self.scorers) == 1 else {}  # several know others
        self.texts.warn(total, unknown)


_Scored = tuple[Row, Score | InputError, dict[str, Any]]
"""A row, what came of it, and further fields."""


_NOTHING: dict[str, Any] = {}


def _total(results: list[Result]) -> Result:
    """Return the row of all files together."""
    adapted = [result.adapted for result in results if result.adapted is not None]
    score = sum((result.score for result in results), Score())
    return Result(score, "total", adapted=sum(adapted, Score()) if adapted else None, is_total=True)


def _small_chunks(chunks: Chunks, advance: Callable[[int], None]) -> Iterator[bytes]:
    """Return the bytes of a text little by little; `advance` gets the size of each chunk once it has been read."""
    for data in chunks:
        for begin in range(0, len(data), _PROGRESS_BYTES):
            chunk = data[begin : begin + _PROGRESS_BYTES]
            yield chunk
            advance(len(chunk))

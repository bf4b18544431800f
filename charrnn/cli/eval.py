"""`charrnn eval`: score texts with a model, a row a text."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from charrnn.cli.eval_writers import JsonWriter, Result, RowWriter, TableWriter, TsvWriter, Writer, named
from charrnn.config.eval import ADAPTED, METRICS, EvalConfig
from charrnn.config.options import merge
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.corpus.faults import LATIN1_ADVICE, LeftOut
from charrnn.corpus.formats import Row, read_rows, whole_text
from charrnn.corpus.inputs import PACKED, Chunks, display_name, open_blocks, open_chunks
from charrnn.corpus.json_lines import Field
from charrnn.errors import InputError, UsageError, counted
from charrnn.model import Model
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.score import Score

_MAX_IN_MEMORY = 8 << 20  # bytes of a text that is read twice, from where it can be read only once


_PROGRESS_BYTES = 1 << 12  # between two steps of the progress bar, of a text that is scored slowly


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Score texts and return the exit code.

    Raises:
        CharRNNError: of every kind.
    """
    config, _ = merge(EvalConfig, flags, os.environ)
    if not config.text and console.stdin_is_tty:
        raise UsageError("no text: name a file, or pipe one in: cat FILE | charrnn eval")
    model = Model.load(*config.model, device=config.device, engine=config.engine, precision=config.precision)
    if config.streams > 1 and model.separator:
        raise UsageError("{streams} cannot be used with a model of records", ("streams",))
    files = list(config.text or ("-",))
    evaluation = _Evaluation(console, config, model)
    if config.within_files:
        evaluation.rows(files)
    else:
        evaluation.files(files)
    return 0


class _Evaluation:
    """Scores texts and writes their rows, each as soon as its score is known."""

    def __init__(self, console: Console, config: EvalConfig, model: Model) -> None:
        self.console, self.config, self.model = console, config, model
        self.options = ScoringOptions(config.errors, config.window, config.streams)
        self._left_out = LeftOut(config.errors)

    def files(self, files: list[str]) -> None:
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
            with self._progress(files, isinstance(writer, TableWriter) or not console.stdout_is_tty) as advance:
                for file, outcome in self._score_files(files, advance):
                    if isinstance(outcome, InputError):
                        self._left_out.add("file", outcome, _advice(outcome, several=len(files) > 1))
                    elif not outcome.score.tokens:
                        empty.append(display_name(file))
                    else:
                        results.append(outcome)
                        writer.row(outcome)
                        console.flush()  # what comes next may be long in coming
            if len(results) > 1:
                writer.row(_total(results))
        finally:
            writer.finish()
        console.flush()
        if results:
            self._warn(_total(results).score)
        elif self._left_out.first is not None:
            raise self._left_out.first
        if empty:
            raise InputError(", ".join(empty) + ": no tokens to score")

    def rows(self, files: list[str]) -> None:
        """Score each line on its own, or of JSON Lines and tables what --jsonl or --tsv names: a row each.

        Raises:
            InputError: a line cannot be used; the rows of those before it have been written. Or none can, or no object
                has the field, which is known when all have been read.
        """
        config = self.config
        field = Field(config.jsonl) if config.jsonl is not None else None
        scorer, writer, total, scored = self.model.scorer(self.options), self._row_writer(), Score(), False
        with self._progress(files, not self.console.stdout_is_tty) as advance:
            for file in files:
                for rows in self._read_rows(file, advance, field, several=len(files) > 1):
                    for row, outcome in zip(rows, scorer.line_outcomes(rows), strict=True):
                        if isinstance(outcome, InputError):
                            self._left_out.add("line", outcome, _advice(outcome))
                            continue
                        scored = True
                        total += outcome
                        if row.replaced:
                            total += Score(replaced=row.replaced)
                        writer.row(Result(outcome, file, row))
                    self.console.flush()  # what comes next may be long in coming
        if self._left_out.first is not None and not scored:
            raise self._left_out.first
        self._warn(total)
        if field is not None:
            field.check()
            if field.missing:
                self.console.warn(
                    f"{field.missing:,} of {field.objects:,} objects have no text in the field {field.name!r}, or no"
                    " string: their score is null"
                )

    def _read_rows(
        self, file: str, advance: Callable[[int], None], field: Field | None, *, several: bool
    ) -> Iterator[list[Row]]:
        """Return the rows of a file; one that cannot be read any further is left out from there on."""
        found = False
        try:
            for rows in read_rows(
                open_blocks(file, advance), file, field=field, column=self.config.tsv, errors=self.config.errors
            ):
                yield rows
                found = True
        except InputError as error:
            self._left_out.add("rest of a file" if found else "file", error, _advice(error, several=several))

    def _file_writer(self) -> Writer:
        config, console = self.config, self.console
        adapted = ADAPTED if config.adapt else ()
        if config.json:
            return JsonWriter(console, config.fields or named(["file", *METRICS, *adapted]))
        if config.fields:
            return TsvWriter(console, config.fields)
        if console.stdout_is_tty:
            return TableWriter(console)
        return TsvWriter(
            console, named(["perplexity", "bits_per_char", "bits_per_byte", "tokens", "oov", *adapted, "file"])
        )

    def _row_writer(self) -> Writer:
        config, console = self.config, self.console
        if config.json:
            return JsonWriter(console, config.fields or named(["file", "line", *METRICS, "text"]))
        if config.jsonl is not None:
            return RowWriter(console, config.fields or named(["perplexity"]))
        if config.fields and config.lines:
            return TsvWriter(console, config.fields)
        return RowWriter(console, config.fields or named(["perplexity", "tokens", "oov"]))

    def _score_files(
        self, files: list[str], advance: Callable[[int], None]
    ) -> Iterator[tuple[str, Result | InputError]]:
        """Score each file, with --adapt by the trained weights and by weights that learn."""
        scorer = self.model.scorer(self.options)
        if not self.config.adapt:
            texts = (whole_text(file, open_chunks(file, advance)) for file in files)
            for file, outcome in zip(files, scorer.text_outcomes(texts), strict=False):  # it ends with an error
                yield file, outcome if isinstance(outcome, InputError) else Result(outcome, file)
            return
        adaptive = self.model.scorer(self.options, adapt=True)
        for file in files:
            read = _read_again(file)
            [outcome] = scorer.text_outcomes([whole_text(file, read())])
            if isinstance(outcome, InputError) or not outcome.tokens:
                yield file, outcome if isinstance(outcome, InputError) else Result(outcome, file)
                continue
            [adapted] = adaptive.texts([whole_text(file, _small_chunks(read(), advance))])
            yield file, Result(outcome, file, adapted=adapted)

    def _warn(self, total: Score) -> None:
        if total.oov > 0.01 * total.tokens:
            self.console.warn(f"unknown to the model: {total.oov:,} of {counted(total.tokens, 'token')}")
        if total.replaced:
            self.console.warn(f"places with invalid UTF-8, read as U+FFFD: {total.replaced:,}")
        if self._left_out.warning:
            self.console.warn(self._left_out.warning)

    @contextlib.contextmanager
    def _progress(self, files: list[str], wanted: bool) -> Iterator[Callable[[int], None]]:
        """Show a progress bar in bytes on a terminal."""
        if not wanted:
            yield lambda count: None
            return
        plain = all(os.path.isfile(file) and os.path.splitext(file)[1].lower() not in PACKED for file in files)
        total = sum(map(os.path.getsize, files)) if plain else None
        with progress_bar(self.console, "scoring", total) as advance:
            yield advance


def _advice(error: InputError, *, several: bool = True) -> str | None:
    """Return what to do about a text that cannot be used; None: leave it out, unless it is the only one."""
    if "invalid UTF-8" in error.text:
        return LATIN1_ADVICE
    return None if several else ""


def _total(results: list[Result]) -> Result:
    """Return the row of all files together."""
    adapted = [result.adapted for result in results if result.adapted is not None]
    score = sum((result.score for result in results), Score())
    return Result(score, "total", adapted=sum(adapted, Score()) if adapted else None, is_total=True)


def _read_again(file: str) -> Callable[[], Chunks]:
    """Return what reads a file from its start, however often it is called. What can be read only once is kept: a long
    text in a file without a name, not in memory."""
    if os.path.isfile(file):
        return lambda: open_chunks(file)
    from charrnn.corpus.documents import Spool, SpooledDocument  # its import takes a while

    spool = Spool(_MAX_IN_MEMORY)

    def read() -> Iterator[bytes]:
        if spool.size:
            yield from SpooledDocument(file, spool, 0, spool.size).chunks()
            return
        for chunk in open_chunks(file):
            spool.write(chunk)
            yield chunk

    return read


def _small_chunks(chunks: Chunks, advance: Callable[[int], None]) -> Iterator[bytes]:
    """Return the bytes of a text little by little; `advance` gets the size of each chunk once it has been read."""
    for data in chunks:
        for begin in range(0, len(data), _PROGRESS_BYTES):
            chunk = data[begin : begin + _PROGRESS_BYTES]
            yield chunk
            advance(len(chunk))

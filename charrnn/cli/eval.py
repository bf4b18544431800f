"""`charrnn eval`: what texts cost under a model, a row a text."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from typing import Any

from charrnn.checkpoint.format import Checkpoint
from charrnn.cli.eval_writers import finite, format_number, metrics_of
from charrnn.config.eval import EvalConfig
from charrnn.config.options import merge
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.corpus.formats import fasta, field_of, is_fasta, json_object, lines
from charrnn.corpus.inputs import PACKED, open_chunks, split_chunks
from charrnn.corpus.records import with_final_separator
from charrnn.corpus.tables import Column
from charrnn.engines.base import InferenceEngine
from charrnn.engines.select import choose_device, ensemble_engine
from charrnn.errors import InputError, UsageError
from charrnn.files import quote
from charrnn.model import read_models
from charrnn.scoring.batching import BATCH_SLOTS
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import score_records, score_streams, score_texts, score_windows


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CharRNNError for the user's faults."""
    names = flags.pop("model") or []
    files = flags.pop("text") or ["-"]
    config, _ = merge(EvalConfig, flags, os.environ)
    if "-" in files and console.stdin_is_tty:
        raise UsageError("no text: name a file, or pipe one in: cat FILE | charrnn eval")
    if config.dynamic and len(names) > 1:
        raise UsageError("--dynamic follows one model, and --model names several")
    models = read_models(names)
    device, _ = choose_device(config.device)
    engine = ensemble_engine(
        [(each.architecture, each.weights) for each in models],
        name=config.engine,
        device=device,
        precision=config.precision,
    )
    evaluation = _Evaluation(console, config, engine, models[0], device)
    if config.lines or config.jsonl is not None or config.tsv is not None:
        evaluation.lines(files)
    else:
        evaluation.files(files)
    return 0


class _Evaluation:
    """Scores texts and puts out what they cost, each as soon as it is known."""

    def __init__(
        self, console: Console, config: EvalConfig, engine: InferenceEngine, model: Checkpoint, device: str
    ) -> None:
        self.console, self.config, self.engine, self.model, self.device = console, config, engine, model, device
        self.tokenizer, self.separator = model.tokenizer, model.separator
        self.terminal = console.terminal_text()

    def files(self, files: list[str]) -> None:
        """Score whole files: a row each, and their total.

        Raises:
            InputError: a text cannot be used; the rows of those before it have been put out.
        """
        config, console = self.config, self.console
        if config.streams > 1:
            console.info(f"scored as {config.streams} separate pieces a text: an approximation")
        table = console.stdout_is_tty and not (config.json or config.metric)
        rows: list[tuple[str, list[Score]]] = []
        empty = []
        try:
            with self._bar(files, table or not console.stdout_is_tty) as advance:
                for file, scores in zip(files, self._scores(files, advance), strict=True):
                    if scores[0].tokens == 0:
                        empty.append(_called(file))
                        continue
                    rows.append((file, scores))
                    if not (table or config.metric):
                        self._put_out(file, scores)
            total = [sum(ways, Score()) for ways in zip(*(scores for _, scores in rows), strict=True)]
            if config.metric and rows:
                console.write(b"\t".join(format_number(getattr(score, config.metric)) for score in total) + b"\n")
            elif len(rows) > 1:
                rows.append(("total", total))
                if not table:
                    self._put_out("total", total)
        finally:
            if table and rows:
                from charrnn.cli.eval_writers import show_scores

                show_scores(console, rows)
        console.flush()
        if rows:
            self._warn(total[0])
        if empty:
            raise InputError(", ".join(empty) + ": no tokens to score")

    def _warn(self, total: Score) -> None:
        if total.oov > 0.01 * total.tokens:
            symbols = total.tokens - total.oov_tokens + total.oov
            self.console.warn(f"{total.oov:,} of {symbols:,} symbols are unknown to the model")
        if total.replaced:
            self.console.warn(f"places with invalid UTF-8, read as U+FFFD: {total.replaced:,}")

    def _scores(self, files: list[str], advance: Callable[[int], None]) -> Iterator[list[Score]]:
        """Of each file: its score, and with --dynamic the one of weights that learn."""
        config, engine, tokenizer = self.config, self.engine, self.tokenizer
        if config.dynamic:
            from charrnn.engines.dynamic import DynamicEngine

            for file in files:  # each begins with the trained weights
                texts = [[*text] for text in self._texts(file, lambda count: None)]
                known = self._score(engine, texts, file)
                learning = DynamicEngine(self.model.architecture, self.model.weights, rate=config.dynamic_rate)
                slowly = (split_chunks(text, advance) for text in texts)
                yield [known, self._score(learning, slowly, file, slots=1)] if known.tokens else [known]
        elif self.separator or config.window or config.streams > 1 or any(map(is_fasta, files)):
            for file in files:
                yield [self._score(engine, self._texts(file, advance), file)]
        else:  # side by side
            whole_files = (open_chunks(file, advance) for file in files)
            scores = score_texts(
                engine, tokenizer, whole_files, unknown=config.unknown, errors=config.errors,
                name=lambda index: _called(files[index]),
            )  # fmt: skip
            yield from ([score] for score in scores)

    def _score(
        self, engine: InferenceEngine, texts: Iterable[Iterable[bytes]], file: str, slots: int = BATCH_SLOTS
    ) -> Score:
        """What the texts of one file cost together, as many side by side at most."""
        config, tokenizer, name = self.config, self.tokenizer, _called(file)
        how: Any = {"unknown": config.unknown, "errors": config.errors}
        if self.separator:  # records are scored side by side as it is, whatever --streams says
            records = chain.from_iterable(with_final_separator(text, self.separator) for text in texts)
            return score_records(
                engine, tokenizer, records, self.separator, window=config.window, slots=slots, name=name, **how
            )
        scores: Iterator[Score]
        if config.streams > 1:
            scores = (score_streams(engine, tokenizer, text, config.streams, name=name, **how) for text in texts)
        elif config.window:
            how |= {"slots": slots, "name": name}
            scores = (score_windows(engine, tokenizer, text, config.window, **how) for text in texts)
        else:
            scores = score_texts(engine, tokenizer, texts, slots=slots, name=partial(_always, name), **how)
        return sum(scores, Score())

    def _texts(self, file: str, advance: Callable[[int], None]) -> Iterator[Iterable[bytes]]:
        """The sequences of a FASTA file; any other is one text."""
        pieces = open_chunks(file, advance)
        if is_fasta(file):
            yield from ([sequence] for _, sequence in fasta(pieces, _called(file)))
        else:
            yield pieces

    def _put_out(self, file: str, scores: list[Score]) -> None:
        """A row: what a text costs, and with --dynamic what it costs weights that learn."""
        known, *learning = scores
        if self.config.json:
            more = {"dynamic": metrics_of(learning[0])} if learning else {}
            self.console.write_json({"file": file, **metrics_of(known), **more}, flush=self.config.flush)
        else:
            figures: list[float] = [known.perplexity, known.bits_per_char, known.bits_per_byte, known.tokens, known.oov]
            for score in learning:
                figures += [score.perplexity, score.bits_per_char, score.bits_per_byte]
            row = b"\t".join([*map(format_number, figures), os.fsencode(file)]) + b"\n"
            self.console.write(row, flush=self.config.flush)

    def lines(self, files: list[str]) -> None:
        """Score each line on its own: its end included, or of JSON and tables what --jsonl or --tsv names.

        Raises:
            InputError: a line cannot be used; the rows of those before it have been put out.
        """
        total = Score()
        with self._bar(files, not self.console.stdout_is_tty) as advance:
            for file in files:
                number = 0
                column = Column(self.config.tsv) if self.config.tsv is not None else None
                for block in lines(open_chunks(file, advance)):
                    total += self._score_lines(block, file, number, column)
                    number += len(block)
                    self.console.flush()  # what comes next may be long in coming
        self._warn(total)

    def _score_lines(self, lines: list[bytes], file: str, before: int, column: Column | None) -> Score:
        """Score some lines side by side and put out their rows; `before` counts those before them."""
        config = self.config
        objects: dict[int, dict[str, Any]] = {}
        headings: set[int] = set()

        def name(index: int) -> str:
            return f"{_called(file)}, line {before + index + 1}"

        def text(index: int) -> Iterator[bytes]:
            line = lines[index]
            if config.jsonl is not None:
                objects[index] = json_object(line, name(index))
                field = field_of(objects[index], config.jsonl)
                yield field + self.separator if field else b""
            elif column is not None:
                cell = column.of(line.removesuffix(b"\r"), name(index))
                if cell is None:
                    headings.add(index)
                else:
                    yield cell + (self.separator or b"\n")
            else:
                yield line + (self.separator or b"\n")

        scores = score_texts(
            self.engine, self.tokenizer, map(text, range(len(lines))),
            unknown=config.unknown, errors=config.errors, name=name,
        )  # fmt: skip
        total = Score()
        for index, score in enumerate(scores):
            total += score
            if index in headings:
                self._put_out_heading(lines[index])
            elif config.metric is not None:
                self._write(format_number(getattr(score, config.metric)))
            elif config.jsonl is not None:
                perplexity = finite(score.perplexity) if score.tokens else None
                self.console.write_json({**objects.pop(index), "perplexity": perplexity}, flush=config.flush)
            elif config.json:
                self.console.write_json({"line": before + index + 1, **metrics_of(score)}, flush=config.flush)
            else:
                figures = (score.perplexity, score.tokens, score.oov)
                self._write(b"\t".join([*map(format_number, figures), lines[index]]))
        return total

    def _put_out_heading(self, line: bytes) -> None:
        """The line with the names of columns, so that a table stays a table."""
        if self.config.metric is not None:
            self._write(self.config.metric.encode())
        elif not self.config.json:
            self._write(b"perplexity\ttokens\toov\t" + line)

    def _write(self, row: bytes) -> None:
        data = row + b"\n"
        self.console.write(self.terminal.feed(data, final=True) if self.terminal else data, flush=self.config.flush)

    @contextlib.contextmanager
    def _bar(self, files: list[str], wanted: bool) -> Iterator[Callable[[int], None]]:
        """A progress bar in bytes for what takes more than a moment, on a terminal."""
        if not wanted:
            yield lambda count: None
            return
        plain = all(os.path.isfile(file) and os.path.splitext(file)[1].lower() not in PACKED for file in files)
        total = sum(map(os.path.getsize, files)) if plain else None
        with progress_bar(self.console, "scoring", total) as advance:
            yield advance


def _always(name: str, index: int) -> str:
    return name


def _called(file: str) -> str:
    return "stdin" if file == "-" else quote(file)

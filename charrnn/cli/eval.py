"""`charrnn eval`: what texts cost under a model, a row a text."""

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from charrnn import checkpoint
from charrnn.config import EvalConfig
from charrnn.console import Console
from charrnn.console.progress import progress
from charrnn.engines import Inference, inference
from charrnn.engines.devices import choose_device
from charrnn.errors import InputError, UsageError
from charrnn.files import PACKED, open_source, quote, read_pieces
from charrnn.options import merge
from charrnn.runs import find_model
from charrnn.scoring import Score, score_streams, score_texts, score_windows
from charrnn.tokenizers import Tokenizer

_PIECE = 1 << 16  # bytes read at a time

FIGURES = (
    "nats",
    "tokens",
    "oov",
    "chars",
    "bytes",
    "words",
    "perplexity",
    "perplexity_without_oov",
    "bits_per_char",
    "bits_per_byte",
    "byte_perplexity",
    "word_perplexity",
)


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CharRNNError for the user's faults."""
    name = flags.pop("model")
    files = flags.pop("text") or ["-"]
    config, _ = merge(EvalConfig, flags, os.environ)
    if "-" in files and console.typed_at:
        raise UsageError("no text: name a file, or pipe one in: cat FILE | charrnn eval")
    model = checkpoint.read(find_model(name))
    device, _ = choose_device(config.device)
    engine = inference(model.architecture, model.weights, name=config.engine, device=device)
    evaluation = _Evaluation(console, config, engine, model.tokenizer)
    if config.lines or config.jsonl is not None:
        evaluation.lines(files)
    else:
        evaluation.files(files)
    return 0


class _Evaluation:
    """Scores texts and puts out what they cost, each as soon as it is known."""

    def __init__(self, console: Console, config: EvalConfig, engine: Inference, tokenizer: Tokenizer) -> None:
        self.console, self.config, self.engine, self.tokenizer = console, config, engine, tokenizer
        self.terminal = console.text()

    def files(self, files: list[str]) -> None:
        """Score whole files: a row each, and their total.

        Raises:
            InputError: a text cannot be used; the rows of those before it have been put out.
        """
        config, console = self.config, self.console
        if config.streams > 1:
            console.tell(f"scored as {config.streams} separate pieces a text: an approximation")
        table = console.reader_is_terminal and not (config.json or config.metric)
        rows: list[tuple[str, Score]] = []
        empty = []
        try:
            with self._bar(files, table or not console.reader_is_terminal) as advance:
                for file, score in zip(files, self._scores(files, advance), strict=True):
                    if score.tokens == 0:
                        empty.append(_called(file))
                        continue
                    rows.append((file, score))
                    if not (table or config.metric):
                        self._put_out(file, score)
            total = sum((score for _, score in rows), Score())
            if config.metric and rows:
                console.write(_number(getattr(total, config.metric)) + b"\n")
            elif len(rows) > 1:
                rows.append(("total", total))
                if not table:
                    self._put_out("total", total)
        finally:
            if table and rows:
                from charrnn.console.tables import show_scores

                show_scores(console, rows)
        console.flush()
        self._warn(total)
        if empty:
            raise InputError(", ".join(empty) + ": no tokens to score")

    def _warn(self, total: Score) -> None:
        if total.oov > 0.01 * total.tokens:
            symbols = total.tokens - total.oov_tokens + total.oov
            self.console.warn(f"{total.oov:,} of {symbols:,} symbols are unknown to the model")
        if total.replaced:
            self.console.warn(f"places with invalid UTF-8, read as U+FFFD: {total.replaced:,}")

    def _scores(self, files: list[str], advance: Callable[[int], None]) -> Iterator[Score]:
        config = self.config
        if config.window or config.streams > 1:
            score_one, size = (score_windows, config.window) if config.window else (score_streams, config.streams)
            for file in files:
                yield score_one(
                    self.engine, self.tokenizer, _pieces(file, advance), size,
                    unknown=config.unknown, errors=config.errors, name=_called(file),
                )  # fmt: skip
        else:
            yield from score_texts(
                self.engine, self.tokenizer, (_pieces(file, advance) for file in files),
                unknown=config.unknown, errors=config.errors, name=lambda index: _called(files[index]),
            )  # fmt: skip

    def _put_out(self, file: str, score: Score) -> None:
        if self.config.json:
            self.console.write_json({"file": file, **_figures(score)}, flush=self.config.flush)
        else:
            figures = (score.perplexity, score.bits_per_char, score.bits_per_byte, score.tokens, score.oov)
            row = b"\t".join([*map(_number, figures), os.fsencode(file)]) + b"\n"
            self.console.write(row, flush=self.config.flush)

    def lines(self, files: list[str]) -> None:
        """Score each line on its own, its newline included.

        Raises:
            InputError: a line cannot be used; the rows of those before it have been put out.
        """
        total = Score()
        with self._bar(files, not self.console.reader_is_terminal) as advance:
            for file in files:
                number = 0
                for lines in _lines(_pieces(file, advance)):
                    total += self._score_lines(lines, file, number)
                    number += len(lines)
                    self.console.flush()  # what comes next may be long in coming
        self._warn(total)

    def _score_lines(self, lines: list[bytes], file: str, before: int) -> Score:
        """Score some lines side by side and put out their rows; `before` counts those before them."""
        config = self.config
        objects: dict[int, dict[str, Any]] = {}

        def name(index: int) -> str:
            return f"{_called(file)}, line {before + index + 1}"

        def text(index: int) -> Iterator[bytes]:
            if config.jsonl is None:
                yield lines[index] + b"\n"
            else:
                objects[index] = _object(lines[index], name(index))
                yield _field(objects[index], config.jsonl)

        scores = score_texts(
            self.engine, self.tokenizer, map(text, range(len(lines))),
            unknown=config.unknown, errors=config.errors, name=name,
        )  # fmt: skip
        total = Score()
        for index, score in enumerate(scores):
            total += score
            if config.metric is not None:
                self._write(_number(getattr(score, config.metric)))
            elif config.jsonl is not None:
                perplexity = _finite(score.perplexity) if score.tokens else None
                self.console.write_json({**objects.pop(index), "perplexity": perplexity}, flush=config.flush)
            elif config.json:
                self.console.write_json({"line": before + index + 1, **_figures(score)}, flush=config.flush)
            else:
                figures = (score.perplexity, score.tokens, score.oov)
                self._write(b"\t".join([*map(_number, figures), lines[index]]))
        return total

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
        with progress(self.console, "scoring", total) as advance:
            yield advance


def _called(file: str) -> str:
    return "stdin" if file == "-" else quote(file)


def _pieces(file: str, advance: Callable[[int], None]) -> Iterator[bytes]:
    """The bytes of a source, opened when they are first asked for; `advance` is told how many have come."""
    with open_source(file) as stream:
        for piece in read_pieces(stream, _PIECE, file):
            advance(len(piece))
            yield piece


def _lines(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The lines that each piece completes, without their newlines; at the end one that has none."""
    held: list[bytes] = []
    for piece in pieces:
        first, newline, rest = piece.partition(b"\n")
        held.append(first)
        if newline:
            lines = [b"".join(held), *rest.split(b"\n")]
            held = [lines.pop()]
            yield lines
    if last := b"".join(held):
        yield [last]


def _object(line: bytes, name: str) -> dict[str, Any]:
    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is out of range")
        return value

    try:
        value = json.loads(line, parse_float=finite, parse_constant=finite)
    except ValueError as error:
        raise InputError(f"{name}: no JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{name}: no JSON that can be read: it is nested too deeply") from None
    if not isinstance(value, dict):
        raise InputError(f"{name}: no JSON object")
    return value


def _field(value: dict[str, Any], name: str) -> bytes:
    text = value.get(name)
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else b""


def _figures(score: Score) -> dict[str, Any]:
    return {name: _finite(getattr(score, name)) for name in FIGURES}


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None


def _number(value: float) -> bytes:
    if isinstance(value, int):
        return str(value).encode()
    return (f"{value:.6f}" if abs(value) < 1e15 else f"{value:.6e}").encode()

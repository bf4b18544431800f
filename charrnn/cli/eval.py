"""`charrnn eval`: what texts cost under a model, a row a text."""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from charrnn import checkpoint
from charrnn.config import EvalConfig
from charrnn.console import Console
from charrnn.engines import Inference, inference
from charrnn.engines.devices import choose_device
from charrnn.errors import InputError, UsageError
from charrnn.files import open_source, read_pieces
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
    if "-" in files and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("no text: name a file, or pipe one in: cat FILE | charrnn eval")
    model = checkpoint.read(find_model(name))
    device, _ = choose_device(config.device)
    engine = inference(model.architecture, model.weights, name=config.engine, device=device)
    evaluation = _Evaluation(console, config, engine, model.tokenizer)
    if config.lines or config.jsonl is not None:
        for file in files:
            evaluation.lines(file)
        return 0
    return evaluation.files(files)


class _Evaluation:
    def __init__(self, console: Console, config: EvalConfig, engine: Inference, tokenizer: Tokenizer) -> None:
        self.console, self.config, self.engine, self.tokenizer = console, config, engine, tokenizer

    def files(self, files: list[str]) -> int:
        """Score whole files: a row each, and their total."""
        if self.config.streams > 1:
            self.console.tell(f"scored as {self.config.streams} separate pieces a text: an approximation")
        rows: list[tuple[str, Score]] = []
        empty = []
        with self._bar(files) as check:
            for file, score in zip(files, self._scores(files, check), strict=True):
                if score.tokens == 0:
                    empty.append(file)
                    continue
                rows.append((file, score))
                if len(files) == 1 and score.oov > 0.01 * score.tokens:
                    self.console.warn(f"{score.oov:,} of {score.tokens:,} symbols are unknown to the model")
        if len(rows) > 1:
            rows.append(("total", sum((score for _, score in rows), Score())))
        if rows:
            self._put_out(rows)
        if empty:
            self.console.flush()
            raise InputError(", ".join(f"'{file}'" for file in empty) + ": no tokens to score")
        return 0

    def _scores(self, files: list[str], check: Callable[[int], None]) -> Iterator[Score]:
        config = self.config
        with contextlib.ExitStack() as opened:

            def pieces() -> Iterator[Iterator[bytes]]:
                for file in files:
                    stream = opened.enter_context(open_source(file))
                    yield read_pieces(stream, _PIECE, file)

            if config.window or config.streams > 1:
                score_one, size = (score_windows, config.window) if config.window else (score_streams, config.streams)
                for text in pieces():
                    yield score_one(
                        self.engine, self.tokenizer, text, size,
                        unknown=config.unknown, errors=config.errors, check=check,
                    )  # fmt: skip
            else:
                yield from score_texts(
                    self.engine, self.tokenizer, pieces(), unknown=config.unknown, errors=config.errors, check=check
                )

    def _put_out(self, rows: list[tuple[str, Score]]) -> None:
        config, console = self.config, self.console
        if config.metric is not None:
            console.write(_number(getattr(rows[-1][1], config.metric)) + b"\n")
        elif config.json:
            for file, score in rows:
                console.write_json({"file": file, **_figures(score)})
        elif console.reader_is_terminal:
            from charrnn.console.tables import show_scores

            show_scores(console, rows)
        else:
            for file, score in rows:
                figures = (score.perplexity, score.bits_per_char, score.bits_per_byte, score.tokens, score.oov)
                console.write(b"\t".join([*map(_number, figures), os.fsencode(file)]) + b"\n")

    def lines(self, file: str) -> None:
        """Score each line on its own, its newline included."""
        number = 0
        with open_source(file) as stream:
            held: list[bytes] = []
            for piece in read_pieces(stream, _PIECE, file):
                first, newline, rest = piece.partition(b"\n")
                if not newline:
                    held.append(first)
                    continue
                lines = [b"".join([*held, first]), *rest.split(b"\n")]
                held = [lines.pop()]
                self._score_lines(lines, number)
                number += len(lines)
            last = b"".join(held)
            if last:
                self._score_lines([last], number)

    def _score_lines(self, lines: list[bytes], before: int) -> None:
        """Score some lines side by side and put out their rows; `before` counts those before them."""
        config, console = self.config, self.console
        objects: list[dict[str, Any]] = []
        texts = [line + b"\n" for line in lines]
        if config.jsonl is not None:
            objects = [_object(line, before + n) for n, line in enumerate(lines, 1)]
            texts = [_field(value, config.jsonl) for value in objects]
        scores = score_texts(
            self.engine, self.tokenizer, _told_apart(texts), unknown=config.unknown, errors=config.errors
        )
        for n, line in enumerate(lines):
            try:
                score = next(scores)
            except InputError as error:
                raise InputError(f"in line {before + 1} or later: {error}") from None
            if config.metric is not None:
                console.write(_number(getattr(score, config.metric)) + b"\n")
            elif objects:
                console.write_json({**objects[n], "perplexity": _finite(score.perplexity) if score.tokens else None})
            elif config.json:
                console.write_json({"line": before + n + 1, **_figures(score)})
            else:
                console.write(b"\t".join([*map(_number, (score.perplexity, score.tokens, score.oov)), line]) + b"\n")
        if config.flush or console.reader_is_terminal:
            console.flush()

    @contextlib.contextmanager
    def _bar(self, files: list[str]) -> Iterator[Callable[[int], None]]:
        """A progress bar for what takes more than a moment, on a terminal."""
        if not self.console.interactive:
            yield lambda tokens: None
            return
        from tqdm import tqdm

        sizes = [os.path.getsize(file) if os.path.isfile(file) else None for file in files]
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) else None
        done = 0
        with tqdm(total=total, unit="B", unit_scale=True, delay=1.0, leave=False, desc="scoring") as bar:

            def check(tokens: int) -> None:
                nonlocal done
                bar.update(max(0, tokens - done))
                done = max(done, tokens)

            yield check


def _told_apart(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    for text in texts:
        yield [text]


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InputError(f"line {number} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"line {number} is no JSON object")
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
    return (str(value) if isinstance(value, int) else f"{value:.6f}").encode()

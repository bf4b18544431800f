"""Rows within texts: `charrnn eval --by word` and `--by token`; the share of each line, --carry; and --heat."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from charrnn.cli.eval_gate import Gate
from charrnn.cli.eval_texts import Texts
from charrnn.cli.eval_writers import JsonWriter, TsvWriter, has_header, named
from charrnn.config.eval import PLACES, UNIT_METRICS, EvalConfig
from charrnn.console.streams import Console
from charrnn.corpus.formats import Row, is_fasta, whole_text
from charrnn.corpus.inputs import Chunks, begun_bytes, display_name, open_blocks, open_chunks
from charrnn.errors import InputError
from charrnn.model import Model
from charrnn.scoring.carried import carried_outcomes
from charrnn.scoring.parts import parts_of_row, parts_of_text, share_of_row
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import Scorer
from charrnn.scoring.tokens import token_name, token_names
from charrnn.scoring.units import TextEnd, Unit, UnitText, score_units


class _Source:
    """A text whose units are printed: a file, or a row of one.

    Attributes:
        units: how many have come.
    """

    def __init__(self, file: str, row: Row | None = None) -> None:
        self.file, self.row, self.units = file, row, 0


class _UnitRow:
    """What the row of a word or token has; see `Values`."""

    def __init__(self, unit: Unit[_Source]) -> None:
        self._unit, self._index = unit, unit.where.units
        unit.where.units += 1

    def value(self, field: str) -> Any:
        """See `Values`."""
        unit = self._unit
        match field:
            case "file":
                return unit.where.file
            case "index":
                return self._index
            case "line":
                return unit.line if unit.where.row is None else unit.where.row.place.line
            case "bits":
                return unit.nats / math.log(2)
            case "perplexity":
                return Score(unit.nats, unit.tokens).perplexity
            case _:
                return getattr(unit, field)

    @property
    def place(self) -> str:
        """Where it stands, in messages."""
        return f"{display_name(self._unit.where.file)}, line {self.value('line')}"


def print_units(console: Console, config: EvalConfig, texts: Texts, model: Model, gate: Gate) -> None:
    """Print a row for each word or token of the texts, or the texts themselves in colours.

    Raises:
        InputError: a text cannot be used; what comes before it has been written.
    """
    scorer = model.scorer(texts.options())
    writer: _Writer = _HeatText(console) if config.heat else _unit_writer(console, config, model)
    top = config.top_logprobs if config.by == "token" else None
    total, scored = Score(), False
    try:
        with texts.progress(wanted=not (console.stdout_is_tty or config.heat)) as advance:
            for file in texts.files:
                for sources in _sources(texts, scorer, file, advance, console.flush):
                    by, is_live = config.by or "token", _is_live(file)
                    units = score_units(scorer, sources, by, top=top, carry=config.carry, one_by_one=is_live)
                    for unit in units:
                        if isinstance(unit, TextEnd):
                            if unit.failure is None:
                                writer.end(unit.where)
                            else:
                                writer.drop()
                                texts.leave_out("file" if unit.where.row is None else "line", unit.failure)
                            continue
                        scored = True
                        total += Score(unit.nats, unit.tokens, unit.oov)
                        writer.unit(unit, gate)
                    console.flush()  # what comes next may be long in coming
    finally:
        writer.finish()
    texts.check(scored=scored)
    total += Score(replaced=scorer.rows.replaced)
    texts.warn(total, scorer.rows.unknown_chars)
    if not scored and not config.within_files:
        raise InputError(", ".join(map(display_name, texts.files)) + ": no tokens to score")


def carried_rows(
    texts: Texts, scorer: Scorer, file: str, advance: Callable[[int], None]
) -> Iterator[tuple[Row, Score | InputError]]:
    """Return the rows of a file with their shares of the whole's score."""
    return carried_outcomes(scorer, (each for block in _with_ends(texts, file, advance) for each in (*block, None)))


def _with_ends(texts: Texts, file: str, advance: Callable[[int], None]) -> Iterator[list[tuple[Row, bytes]]]:
    """Return the rows of a file with what ends them there: the last one of a file may have no end, or only the
    beginning of one."""
    is_read, tail, end = False, b"", texts.separator or b"\n"

    def watched(chunks: Chunks) -> Iterator[bytes]:
        nonlocal is_read, tail
        for chunk in chunks:
            tail = (tail + chunk)[-len(end) :]
            yield chunk
        is_read = True
        tail = end[: begun_bytes(tail, end)]

    of_lines = texts.config.lines or texts.config.records
    if texts.config.records and is_fasta(file):
        message = f"{display_name(file)}: the state is not carried from sequence to sequence; leave {{carry}} out"
        raise InputError(message, ("carry",))
    for rows in texts.rows(file, advance, chunks=watched(open_blocks(file, advance))):
        yield [(row, tail if is_read and of_lines else end) for row in rows]


def _is_live(file: str) -> bool:
    """Return whether a file may be long in coming: a pipe."""
    return not os.path.isfile(file)


def _live_chunks(file: str, advance: Callable[[int], None], flush: Callable[[], None]) -> Iterator[bytes]:
    """Return the bytes of a pipe, an empty chunk after what has come together; `flush` is called before it waits."""
    for block in open_blocks(file, advance):
        yield block
        yield b""
        flush()


def _sources(
    texts: Texts, scorer: Scorer, file: str, advance: Callable[[int], None], flush: Callable[[], None]
) -> Iterator[Iterable[UnitText[_Source] | None]]:
    """Return the texts of a file: those together that are there. `flush` is called before more is waited for."""
    if not texts.config.within_files:
        chunks = _live_chunks(file, advance, flush) if _is_live(file) else open_chunks(file, advance)
        yield parts_of_text(_Source(file), whole_text(file, chunks), scorer)
    elif texts.config.carry:
        yield _shares(file, _with_ends(texts, file, advance), flush)
    else:
        for rows in texts.rows(file, advance):
            yield itertools.chain.from_iterable(parts_of_row(_Source(file, row), row, scorer) for row in rows)


def _shares(
    file: str, blocks: Iterable[list[tuple[Row, bytes]]], flush: Callable[[], None]
) -> Iterator[UnitText[_Source] | None]:
    """Return the rows of a file as parts of the whole, and None after those that are there together; then `flush` is
    called, as more may be waited for."""
    for block in blocks:
        yield from (share_of_row(_Source(file, row), row, end) for row, end in block)
        yield None
        flush()


class _Writer(Protocol):
    """Puts units on stdout, and what a text is that has come to its end."""

    def unit(self, unit: Unit[_Source], gate: Gate) -> None:
        """Write a unit, or keep it until its text ends."""

    def end(self, source: _Source) -> None:
        """Write what was kept of a text."""

    def drop(self) -> None:
        """Drop what was kept of a text that cannot be used."""

    def finish(self) -> None:
        """Write what comes at the end, also when an error ends the texts."""


def _unit_writer(console: Console, config: EvalConfig, model: Model) -> _Writer:
    if config.json and config.by == "token" and not config.fields:
        return _LogprobsWriter(console, config, model)
    of_tokens = ("rank", "entropy") if config.by == "token" else ()
    fields = config.fields or named(("bits", *of_tokens, "line", "index", "text"))
    if config.json:
        default = [*PLACES[:-1], *of_tokens, *UNIT_METRICS, "text"]
        return _RowsWriter(JsonWriter(console, config.fields or named(default)))
    return _RowsWriter(TsvWriter(console, fields, header=has_header(console, config), verbatim=False))


class _RowsWriter:
    """See `_Writer`: a row for each unit."""

    def __init__(self, writer: TsvWriter | JsonWriter) -> None:
        self._writer = writer

    def unit(self, unit: Unit[_Source], gate: Gate) -> None:
        """See `_Writer`."""
        row = _UnitRow(unit)
        if gate.passes(row):
            self._writer.row(row)

    def end(self, source: _Source) -> None:
        """See `_Writer`."""

    def drop(self) -> None:
        """See `_Writer`: rows before a fault stay."""

    def finish(self) -> None:
        """See `_Writer`."""
        self._writer.finish()


class _LogprobsWriter:
    """See `_Writer`: an object for each text, in the shape of the log-probabilities of OpenAI's completions."""

    def __init__(self, console: Console, config: EvalConfig, model: Model) -> None:
        self._console, self._top, self._names = console, config.top_logprobs, token_names(model.tokenizer)
        self._units: list[Unit[_Source]] = []

    def unit(self, unit: Unit[_Source], gate: Gate) -> None:
        """See `_Writer`."""
        gate.passes(_UnitRow(unit))
        self._units.append(unit)

    def drop(self) -> None:
        """See `_Writer`."""
        self._units = []

    def end(self, source: _Source) -> None:
        """See `_Writer`."""
        units, self._units = self._units, []
        top = [self._likeliest(unit) for unit in units]
        logprobs = {
            "tokens": [token_name(unit.text) for unit in units],
            "token_logprobs": [-unit.nats for unit in units],
            "top_logprobs": top if self._top else None,
            "text_offset": [unit.offset for unit in units],
            "ranks": [unit.rank for unit in units],
            "entropies": [unit.entropy for unit in units],
        }
        place = {"file": source.file, **({"line": source.row.place.line} if source.row is not None else {})}
        self._console.write_json(place | {"logprobs": logprobs})

    def _likeliest(self, unit: Unit[_Source]) -> dict[str, float]:
        found: dict[str, float] = {}
        for token, nats in unit.top or ():
            found.setdefault(self._names[token], -nats)  # of several of one name the likeliest
        return found

    def finish(self) -> None:
        """See `_Writer`."""


class _HeatText:
    """See `_Writer`: the text in colours."""

    def __init__(self, console: Console) -> None:
        from charrnn.console.heat import HeatWriter

        self._writer = HeatWriter(console)
        self._pieces: list[tuple[bytes, float]] = []  # of a line
        self._has_lines = False  # whether lines of the text have been written
        if console.stdin_is_tty:
            self._writer.print_legend()

    def unit(self, unit: Unit[_Source], gate: Gate) -> None:
        """See `_Writer`."""
        self._pieces.append((unit.text, unit.nats / math.log(2)))
        if unit.text.endswith(b"\n"):
            self._writer.write(self._pieces)
            self._pieces, self._has_lines = [], True

    def end(self, source: _Source) -> None:
        """See `_Writer`."""
        if self._pieces or not (self._has_lines or source.row is None):
            self._writer.write(self._pieces)
        self._pieces, self._has_lines = [], False

    def drop(self) -> None:
        """See `_Writer`: lines before a fault stay."""
        self._pieces, self._has_lines = [], False

    def finish(self) -> None:
        """See `_Writer`."""
        self._writer.finish()

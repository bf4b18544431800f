"""`charrnn eval --compare`: by how much models differ on the same texts, with intervals."""

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from charrnn.cli.eval_gate import Gate
from charrnn.cli.eval_texts import Texts, read_again
from charrnn.cli.eval_writers import JsonWriter, TsvWriter, has_header, named
from charrnn.config.eval import COMPARED, EvalConfig
from charrnn.console.streams import Console
from charrnn.corpus.formats import whole_text
from charrnn.corpus.inputs import display_name
from charrnn.engines.base import Array
from charrnn.errors import InputError
from charrnn.model import Model
from charrnn.scoring.compare import Difference, paired_difference
from charrnn.scoring.score import Score


def compare(console: Console, config: EvalConfig, texts: Texts, models: Sequence[Model], gate: Gate) -> None:
    """Print a row for each pair of models.

    Raises:
        InputError: a text cannot be used, or nothing is there to be scored.
    """
    boundary = max((model.separator for model in models), key=len)
    comparison = _Comparison(texts, models, boundary)
    with texts.progress(wanted=not console.stdout_is_tty) as advance:
        for file in texts.files:
            (comparison.add_rows if config.within_files else comparison.add_file)(file, advance)
    texts.check(scored=bool(comparison.units))
    if not comparison.units:
        raise InputError(", ".join(map(display_name, texts.files)) + ": no tokens to score")
    fields = named(("model", "other", *COMPARED))
    if config.streams > 1:
        console.info(f"scored as {config.streams} separate pieces a text: an approximation")
    if comparison.units < 2:
        console.info("no interval: there is only one unit, a text or a block of its lines")
    header = has_header(console, config)
    writer = JsonWriter(console, fields) if config.json else TsvWriter(console, fields, header=header, verbatim=False)
    for one, other in itertools.combinations(range(len(models)), 2):
        pair = _Pair(config.model[one], config.model[other], comparison.difference(one, other))
        gate.passes(pair)
        writer.row(pair)
    texts.warn(comparison.total, comparison.scorers[0].rows.unknown_chars)


class _Pair:
    """What the row of two models has; see `Values`."""

    def __init__(self, model: str, other: str, difference: Difference) -> None:
        self._values = {"model": model, "other": other, **asdict(difference)}
        self.place = f"{model} and {other}"

    def value(self, field: str) -> Any:
        """See `Values`."""
        return self._values[field]


class _Comparison:
    """The scores of all models of the same units: rows, or blocks of a file's lines.

    Attributes:
        units: how many there are. total: the first model's score of all.
    """

    def __init__(self, texts: Texts, models: Sequence[Model], boundary: bytes) -> None:
        self.texts = texts
        options = texts.options(boundary=boundary)
        self.scorers = [model.scorer(options) for model in models]
        self.units = 0
        self.total = Score()
        self._found: list[list[tuple[Array, Array]]] = [[] for _ in models]  # nats and bytes of units, by model

    def add_file(self, file: str, advance: Callable[[int], None]) -> None:
        """Score the blocks of a file, cut where the tokens of all models end."""
        read = read_again(file)
        try:
            scored = [scorer.blocks(whole_text(file, read())) for scorer in self.scorers]
        except InputError as error:
            self.texts.leave_out("file", error)
            return
        advance(os.path.getsize(file) if os.path.isfile(file) else 0)
        found = [(nats, sizes) for _, nats, sizes in scored]
        if len({len(nats) for nats, _ in found}) > 1:  # not all of them could be cut alike
            found = [(nats.sum(keepdims=True), sizes.sum(keepdims=True)) for nats, sizes in found]
        if all(score.tokens for score, _, _ in scored):
            self.total += scored[0][0]
            self._add(found)

    def add_rows(self, file: str, advance: Callable[[int], None]) -> None:
        """Score the rows of a file."""
        for rows in self.texts.rows(file, advance):
            scored: list[list[Score]] = []
            for outcomes in zip(*(scorer.line_outcomes(rows) for scorer in self.scorers), strict=True):
                failure = next((each for each in outcomes if isinstance(each, InputError)), None)
                if failure is not None:
                    self.texts.leave_out("line", failure)
                elif all(isinstance(each, Score) and each.tokens for each in outcomes):
                    scored.append([each for each in outcomes if isinstance(each, Score)])
            self.total += Score(replaced=sum(row.replaced for row in rows))
            if scored:
                self.total = sum((scores[0] for scores in scored), self.total)
                self._add([_arrays(column) for column in zip(*scored, strict=True)])

    def _add(self, found: list[tuple[Array, Array]]) -> None:
        self.units += len(found[0][0])
        for each, arrays in zip(self._found, found, strict=True):
            each.append(arrays)

    def difference(self, one: int, other: int) -> Difference:
        """Return by how much two models differ."""
        (nats, sizes), (other_nats, other_sizes) = (
            tuple(map(np.concatenate, zip(*self._found[each], strict=True))) for each in (one, other)
        )
        return paired_difference(nats / math.log(2), sizes, other_nats / math.log(2), other_sizes)


def _arrays(scores: Sequence[Score]) -> tuple[Array, Array]:
    return np.array([score.nats for score in scores]), np.array([score.bytes for score in scores])

"""Which rows of `charrnn eval` are printed (--keep), and whether a condition makes it fail (--fail-if)."""

import math
from typing import Any

from charrnn.cli.eval_writers import Result, Values
from charrnn.config.eval import EvalConfig
from charrnn.console.streams import Console
from charrnn.errors import counted
from charrnn.scoring.expression import Expression, parse_expression

CONDITION_HOLDS = 10
"""The exit code where --fail-if holds."""

_QUANTILES = (5, 25, 50, 75, 95)


class Gate:
    """The conditions of a command.

    Raises:
        UsageError: one of them is not valid.
    """

    def __init__(self, console: Console, config: EvalConfig) -> None:
        self._console = console
        self._keep, self._fail_if = (
            None if text is None else parse_expression(text, config.expression_fields, option)
            for option, text in (("keep", config.keep), ("fail_if", config.fail_if))
        )
        self._kept = self._dropped = self._unscored = self._failing = self._seen = 0
        self._first = ""  # row that makes it fail
        numbers = self._keep.fields - {"file", "line", "text", "model"} if self._keep is not None else ()
        self._quantiles: dict[str, Any] = dict.fromkeys(sorted(numbers))
        if numbers:
            from charrnn.scoring.quantiles import Quantiles

            self._quantiles = {name: Quantiles() for name in self._quantiles}

    def passes(self, values: Values) -> bool:
        """Return whether a row is to be printed; it is counted."""
        row = values.row if isinstance(values, Result) else None
        if row is not None and (row.heading or row.is_blank):
            return self._keep is None or row.heading
        if self._keep is not None and isinstance(values, Result) and values.is_total:
            return False  # it is no text
        if self._fail_if is not None:
            self._check(values, self._fail_if)
        if self._keep is None:
            return True
        for name, quantiles in self._quantiles.items():
            value = values.value(name)
            if value is not None and not math.isnan(value):
                quantiles.add(value)
        keeps = self._keep(values.value)
        is_unscored = row is not None and row.text is None
        self._kept += keeps
        self._unscored += is_unscored and not keeps
        self._dropped += not is_unscored and not keeps
        return keeps

    def _check(self, values: Values, fail_if: Expression) -> None:
        self._seen += 1
        if fail_if(values.value):
            self._failing += 1
            self._first = self._first or values.place

    def finish(self) -> int:
        """Print what came of the conditions, and return the exit code."""
        if self._keep is not None:
            unscored = f", unscored {self._unscored:,}" if self._unscored else ""
            self._console.info(f"kept {self._kept:,}, dropped {self._dropped:,}{unscored}")
            for name, quantiles in self._quantiles.items():
                if quantiles.count:
                    shown = ", ".join(f"{share} %: {quantiles.quantile(share):.6g}" for share in _QUANTILES)
                    self._console.info(f"{name}: {shown}")
        if not self._failing:
            return 0
        seen = counted(self._seen, "row")
        self._console.info(f"--fail-if holds for {self._failing:,} of {seen}; the first: {self._first}")
        return CONDITION_HOLDS

"""EXPR, the condition of `--keep` and `--fail-if`: Python's grammar cut down to comparisons, and never run as Python.

What is allowed is listed node by node. Values are numbers, texts, or missing, by these rules:

    missing      what the row lacks, nan, x / 0, and arithmetic on what is missing or is text; a comparison with it is
                 false, `!=` too, and so `not (x < 3)` is true where x is missing
    arithmetic   is float64's: what is too large is inf
    comparisons  of text with a number: `!=` is true, all others are false; of two texts: by code points
    bytes        are text in UTF-8; those that are not, surrogates (PEP 383), as in the arguments of a program
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from charrnn.errors import UsageError, did_you_mean

MAX_CHARS = 10_000


MAX_DEPTH = 100
"""Operations within one another, at most; a sum of n terms is n - 1 of them, `and` and `or` of n conditions are one."""


ALLOWED = "fields, numbers, 'strings', < <= > >= == != + - * / ( ) and or not"


_MAX_SHOWN = 40  # characters of what is refused


Values = Callable[[str], object]
"""From a field's name to its value: a float, an int, a str, bytes, or None where it is missing."""


_Condition = Callable[[Values], bool]


_Value = Callable[[Values], Any]  # float, int, str or None


_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


_SIGNS: dict[type[ast.unaryop], float] = {ast.UAdd: 1.0, ast.USub: -1.0}


_OTHER_LANGUAGES = {"=": "==", "<>": "!=", "&&": "and", "||": "or", "!": "not"}


_FOREIGN = re.compile(r"<>|&&|\|\||!(?!=)|(?<![<>=!])=(?!=)")  # a key of those


@dataclass(frozen=True)
class Expression:
    """A condition that holds for a row or does not.

    Attributes:
        fields: the names in it.
    """

    fields: frozenset[str]
    _holds: _Condition

    def __call__(self, values: Values) -> bool:
        """Return whether it holds for the row with these values."""
        return bool(self._holds(values))


def parse_expression(text: str, fields: Collection[str], option: str) -> Expression:
    """Return the condition that a text says.

    Args:
        text: EXPR. fields: the names that may stand in it. option: the option it was given to, as "keep".

    Raises:
        UsageError: it is not a condition; the message has what is wrong and the column, from 1.
    """
    return _Parser(text, fields, option).parse()


class _Parser:
    """From the syntax tree to nested functions; what is not listed here is refused."""

    def __init__(self, text: str, fields: Collection[str], option: str) -> None:
        self._text = text.lstrip()
        self._indent = len(text) - len(self._text)  # Python wants none
        self._fields = fields
        self._option = option
        self._used: set[str] = set()
        self._encoded = b""  # what the tree's columns count in

    def parse(self) -> Expression:
        body = self._tree()
        holds = self._condition(body, 0)
        return Expression(frozenset(self._used), holds)

    def _tree(self) -> ast.expr:
        if len(self._text) > MAX_CHARS:
            raise self._error(f"longer than {MAX_CHARS:,} characters")
        if not self._text:
            raise self._error("no condition, as perplexity < 20")
        if "\0" in self._text:
            raise self._error("NUL character", self._text.index("\0"))
        source = self._text.replace("\r", " ").replace("\n", " ")
        try:
            self._encoded = source.encode()
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # '\d', 1or: Python warns today and will refuse; nothing may be printed
                body = ast.parse(source, mode="eval").body
        except UnicodeEncodeError as error:
            raise self._error("not valid UTF-8", error.start) from None
        except SyntaxError as error:
            raise self._syntax_error(error) from None
        except (RecursionError, MemoryError):
            raise self._too_deep() from None
        end = body.end_col_offset or 0
        if b"#" in self._encoded[end:]:  # would hide the lines after it, which are one with it here
            raise self._error("'#' is not allowed", self._char(self._encoded.index(b"#", end)))
        return body

    def _condition(self, node: ast.expr, depth: int) -> _Condition:
        if depth > MAX_DEPTH:
            raise self._too_deep()
        if isinstance(node, ast.BoolOp):
            tests = [self._condition(each, depth + 1) for each in node.values]
            return _all(tests) if isinstance(node.op, ast.And) else _any(tests)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            test = self._condition(node.operand, depth + 1)
            return lambda values: not test(values)
        if isinstance(node, ast.Compare) and _is_condition(node):
            terms = [self._value(each, depth + 1) for each in (node.left, *node.comparators)]
            operations = [_COMPARISONS[type(each)] for each in node.ops]
            pairs = [_comparison(*each) for each in zip(operations, terms[:-1], terms[1:], strict=True)]
            return pairs[0] if len(pairs) == 1 else _all(pairs)
        self._value(node, depth)
        raise self._error(f"{self._source(node)} is no condition", node, "; it is compared with nothing")

    def _value(self, node: ast.expr, depth: int) -> _Value:
        if depth > MAX_DEPTH:
            raise self._too_deep()
        if isinstance(node, ast.Name):
            return self._field(node)
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
            return self._literal(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            operands = self._number(node.left, depth + 1), self._number(node.right, depth + 1)
            return _arithmetic(_ARITHMETIC[type(node.op)], *operands)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
            sign = _SIGNS[type(node.op)]
            return _arithmetic(operator.mul, lambda values: sign, self._number(node.operand, depth + 1))
        if _is_condition(node):
            raise self._error(f"{self._source(node)} is a condition, not a value,", node)
        raise self._error(f"{self._source(node)} is not allowed", node, f"; {ALLOWED} are")

    def _number(self, node: ast.expr, depth: int) -> _Value:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            raise self._error(f"no arithmetic with the text {self._source(node)}", node)
        return self._value(node, depth)

    def _field(self, node: ast.Name) -> _Value:
        name = node.id
        if name not in self._fields:
            hint = did_you_mean(name, self._fields)
            raise self._error(f"unknown field {name!r}", node, hint)
        self._used.add(name)

        def field(values: Values) -> Any:
            value = values(name)
            if isinstance(value, bytes):
                return value.decode("utf-8", "surrogateescape")
            return value if value == value else None  # nan

        return field

    def _literal(self, node: ast.Constant) -> _Value:
        value = node.value
        if isinstance(value, str):
            begin, end = self._char(node.col_offset), self._char(node.end_col_offset or 0)
            if self._text[begin] not in "'\"":
                raise self._error(f"{self._source(node)} is not allowed", node, "; 'strings' have no prefix")
            if any(each in self._text[begin:end] for each in "\r\n"):
                raise self._error("line break in a string", node, r"; write \n")
            return lambda values: value
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = float("inf")  # as 1e999 is
        return lambda values: number

    def _syntax_error(self, error: SyntaxError) -> UsageError:
        unquoted = re.sub("""'[^']*'|"[^"]*\"""", lambda found: " " * len(found[0]), self._text)
        if foreign := _FOREIGN.search(unquoted):
            return self._error(f"{foreign[0]!r}", foreign.start(), f"; write {_OTHER_LANGUAGES[foreign[0]]}")
        what = re.split(r" \(|\. |: |;", error.msg)[0]  # what follows is advice on Python
        return self._error(what, max((error.offset or 1) - 1, 0))

    def _too_deep(self) -> UsageError:
        return self._error(f"more than {MAX_DEPTH} operations within one another")

    def _error(self, what: str, place: ast.expr | int | None = None, hint: str = "") -> UsageError:
        """Return the error; `place` is a node or how many characters of the text are before it."""
        char = self._char(place.col_offset) if isinstance(place, ast.expr) else place
        column = "" if char is None else f" at column {self._indent + char + 1}"
        return UsageError(f"{{{self._option}}}: {what}{column}{hint}", (self._option,))

    def _char(self, column: int) -> int:
        return len(self._encoded[:column].decode())

    def _source(self, node: ast.expr) -> str:
        source = self._encoded[node.col_offset : node.end_col_offset].decode()
        return repr(source if len(source) <= _MAX_SHOWN else source[: _MAX_SHOWN - 3] + "...")


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.Compare):
        return all(type(each) in _COMPARISONS for each in node.ops)
    return isinstance(node, ast.BoolOp) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def _all(tests: Sequence[_Condition]) -> _Condition:
    def holds(values: Values) -> bool:
        for test in tests:  # noqa: SIM110 (a generator takes twice the time)
            if not test(values):
                return False
        return True

    return holds


def _any(tests: Sequence[_Condition]) -> _Condition:
    def holds(values: Values) -> bool:
        for test in tests:  # noqa: SIM110
            if test(values):
                return True
        return False

    return holds


def _comparison(operation: Callable[[Any, Any], bool], left: _Value, right: _Value) -> _Condition:
    def holds(values: Values) -> bool:
        x, y = left(values), right(values)
        if x is None or y is None:
            return False
        try:
            return operation(x, y)
        except TypeError:  # a text is neither less nor greater than a number
            return False

    return holds


def _arithmetic(operation: Callable[[float, float], float], left: _Value, right: _Value) -> _Value:
    def result(values: Values) -> float | None:
        x, y = left(values), right(values)
        if x is None or y is None or isinstance(x, str) or isinstance(y, str):
            return None
        try:
            found = operation(float(x), float(y))
        except ZeroDivisionError:
            return None
        return found if found == found else None  # inf - inf

    return result

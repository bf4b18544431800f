"""JSON Lines: an object a line, and the text in one of its fields."""

import json
import math
from collections.abc import Iterator
from typing import Any

from charrnn.corpus.inputs import Chunks, TakeFault, numbered_lines, raise_fault
from charrnn.errors import InputError, nearest
from charrnn.tokenizers.utf8 import Errors

MAX_JSON_LINE = 64 << 20
"""Bytes of a line of JSON Lines."""

_ARRAY_ADVICE = "jq -c '.[]' writes each object of an array on a line"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is out of range")
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def json_object(line: bytes, place: object, errors: Errors = "strict") -> tuple[dict[str, Any], int]:
    """Return the object that a line of JSON Lines is, and how many places of it with invalid UTF-8 became U+FFFD.

    Args:
        errors: with "replace" some may, otherwise none does.

    Raises:
        InputError: the line is not a JSON object, or too long; the message begins with `place`.
    """
    if len(line) > MAX_JSON_LINE:
        raise InputError(f"{place}: a line of JSON longer than {MAX_JSON_LINE >> 20} MB; {_ARRAY_ADVICE}")
    replaced = 0
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        if errors != "replace":
            raise InputError(f"{place}: invalid UTF-8 at byte {error.start}") from None
        text = line.decode("utf-8", "replace")
        replaced = text.count("\ufffd") - line.count(b"\xef\xbf\xbd")

    try:
        value, end = _DECODER.raw_decode(text) if text.startswith("{") else (None, -1)
        if end != len(text):  # there is white space around it, which takes longer to read, or more
            value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: not valid JSON at column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise InputError(f"{place}: not valid JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{place}: JSON nested too deeply to be read") from None
    if not isinstance(value, dict):
        advice = f"; {_ARRAY_ADVICE}" if isinstance(value, list) else ""
        raise InputError(f"{place}: not a JSON object{advice}")
    return value, replaced


class Field:
    """A field of JSON objects. `a.b` is b of the object a, unless a key is named `a.b`.

    Attributes:
        objects, missing: how many were asked for it, and how many have no text there: nothing, or no string.
        replaced: places of the objects with invalid UTF-8 that became U+FFFD, where they are counted.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects = self.missing = self.replaced = 0
        self._names: dict[str, None] = {}  # of fields that are text, in order

    def of(self, value: dict[str, Any]) -> bytes | None:
        """Return the text of an object; None where it has none."""
        self.objects += 1
        text = _value(value, self.name)
        if isinstance(text, str):
            return text.encode("utf-8", "surrogatepass")
        self.missing += 1
        if self.missing == self.objects and len(self._names) < _MAX_NAMES:
            self._names.update(dict.fromkeys(_text_names(value)))
        return None

    def check(self) -> None:
        """Check that one of the objects, where there are any, has text.

        Raises:
            InputError: none has; the message says which fields are text.
        """
        if not self.objects or self.missing < self.objects:
            return
        names = list(self._names)
        within = next((name for name in names if name.endswith(f".{self.name}")), None)
        near = within or nearest(self.name, names)
        hint = f"did you mean {near!r}? " if near else ""
        there = f"there is text in {', '.join(map(repr, names))[:200]}" if names else "no field of theirs is text"
        raise InputError(f"no object has text in the field {self.name!r}; {hint}{there}")


def read_json_lines(
    chunks: Chunks, field: Field, name: str, errors: Errors = "strict", fault: TakeFault = raise_fault
) -> Iterator[tuple[int, bytes]]:
    """Return the field of each object that has text there; blank lines are left out.

    Args:
        errors: as for `json_object`. fault: takes the lines that are no JSON objects.
    """
    for number, line in numbered_lines(chunks, MAX_JSON_LINE):
        if not line.strip():
            continue
        try:
            value, replaced = json_object(line, f"{name}, line {number}", errors)
        except InputError as error:
            fault(error)
            continue
        field.replaced += replaced
        if text := field.of(value):
            yield number, text


_MAX_NAMES = 100


def _value(value: Any, name: str) -> Any:
    """Return what an object has at a, or at a.b of the object a; None where there is nothing."""
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    head, dot, rest = name.partition(".")
    return _value(value.get(head), rest) if dot else None


def _text_names(value: dict[str, Any], depth: int = 3) -> Iterator[str]:
    """Return the names of an object's fields that are strings, those of objects in it as a.b."""
    for name, each in value.items():
        if isinstance(each, str):
            yield name
        elif isinstance(each, dict) and depth > 1:
            yield from (f"{name}.{inner}" for inner in _text_names(each, depth - 1))

"""The options of `charrnn eval`: what excludes what, and what needs what."""

import itertools
from typing import Any

import pytest

from charrnn.config.eval import EvalConfig
from charrnn.config.options import flag
from charrnn.errors import UsageError

VALUES: dict[str, Any] = {
    **dict.fromkeys(("lines", "records", "carry", "classify", "compare", "heat", "json"), True),
    **dict.fromkeys(("jsonl", "csv", "prompt", "prompt_file", "prompt_field", "reference"), "x"),
    "separator": "|",
    "tsv": "2",
    "by": "token",
    "fields": "nats",
    "end": False,
    "adapt": "weights",
    "keep": "nats < 1",
    "fail_if": "nats < 1",
    "top_logprobs": 2,
    "window": 9,
    "streams": 2,
    "header": True,
    "errors": "skip",
    "text": "a.txt",
}

WITHIN = ("lines", "records", "separator", "jsonl", "tsv", "csv")
PROMPTS = ("prompt", "prompt_file", "prompt_field")
METHODS = ("adapt", "window", "streams")

PAIRS = {
    *itertools.combinations(WITHIN, 2),
    *itertools.combinations(PROMPTS, 2),
    *itertools.product(PROMPTS, ("carry", *METHODS)),
    ("carry", "end"),
    ("reference", "compare"),
    *itertools.product(["by"], ("classify", "compare", "reference", "adapt", "streams", "keep")),
    *itertools.product(("classify", "compare"), ("heat", "adapt", "by")),
    ("classify", "compare"),
    *itertools.product(
        ["heat"], ("classify", "compare", "adapt", "json", "fields", "keep", "by", "jsonl", "tsv", "csv")
    ),
    *itertools.product(METHODS, WITHIN),
    ("streams", "adapt"),
    ("streams", "window"),
} - {("records", "separator")}
"""Pairs that cannot be used together: section 4 of the command surface."""

UNUSED = {
    *itertools.product(["carry"], ("classify", "compare")),
    *itertools.product(["heat"], ("window", "streams", "fail_if", "reference")),
    ("by", "window"),
    *itertools.product(["compare"], ("fields", "keep")),
    ("fields", "top_logprobs"),
}
"""Pairs of which one would have no effect."""


def needed(names: tuple[str, ...]) -> dict[str, Any]:
    """Return what options need besides."""
    more: dict[str, Any] = {}
    if {"classify", "compare"}.intersection(names):
        more["model"] = ("a", "b")
    if "prompt_field" in names and not {"jsonl", "tsv", "csv"}.intersection(names):
        more["jsonl"] = "x"
    if {"carry", "end", "reference"}.intersection(names) and not {*WITHIN, *more}.intersection((*names, *more)) - {
        "model"
    }:
        more["lines"] = True
    if "top_logprobs" in names:
        more |= {"by": "token", "json": True}
    return more


def refused(values: dict[str, Any]) -> UsageError | None:
    try:
        EvalConfig(**values)
    except UsageError as error:
        return error
    return None


@pytest.mark.parametrize("name", [*VALUES])
def test_each_pair_of_options(name: str) -> None:
    """Refused are those of the table and no others; the message names both, as the command line has them."""
    excluded = {frozenset(pair) for pair in PAIRS | UNUSED}
    for other in (each for each in VALUES if each != name):
        more = needed((name, other))
        given = {**more, name: VALUES[name], other: VALUES[other]}
        error = refused(given)
        clashes = [set(pair) for pair in itertools.combinations(given, 2) if frozenset(pair) in excluded]
        assert (error is not None) == bool(clashes), (name, other, error)
        if error is not None and {name, other} in clashes and len(clashes) == 1:
            message = error.render(flag)
            assert all((flag("no_end") if each == "end" else flag(each)) in message for each in (name, other)), message
            assert message.endswith(" cannot be used together")


NEEDS = [
    ({"prompt_field": "p"}, "--prompt-field needs --jsonl, --tsv or --csv"),
    ({"prompt_field": "p", "lines": True}, "--prompt-field needs --jsonl, --tsv or --csv"),
    ({"carry": True}, "--carry needs --lines, --records, --jsonl, --tsv or --csv"),
    ({"end": False}, "--no-end needs --lines, --records, --jsonl, --tsv or --csv"),
    ({"end": False, "carry": True, "lines": True}, "--carry and --no-end cannot be used together"),
    ({"reference": "f"}, "--reference needs --lines, --records, --jsonl, --tsv or --csv"),
    ({"top_logprobs": 1}, "--top-logprobs needs --by token and --json"),
    ({"top_logprobs": 1, "by": "token"}, "--top-logprobs needs --by token and --json"),
    ({"top_logprobs": 1, "by": "word", "json": True}, "--top-logprobs needs --by token and --json"),
    ({"classify": True}, "--classify needs two or more --model"),
    ({"compare": True, "model": ("a",)}, "--compare needs two or more --model"),
    ({"adapt": "weights", "model": ("a", "b")}, "--adapt learns with one model, and --model names several"),
    ({"prompt_file": "-"}, "--prompt-file - and the text cannot both be read from stdin: name a TEXT"),
    ({"prompt_file": "-", "text": ("a", "-")}, "--prompt-file - and the text cannot both be read from stdin"),
    ({"reference": "-", "lines": True}, "--reference - and the text cannot both be read from stdin: name a TEXT"),
    ({"fields": "percentile", "lines": True}, "--fields: percentile needs --reference"),
    ({"fields": "margin"}, "--fields: margin needs --classify"),
    ({"fields": "rank"}, "--fields: rank needs --by"),
    ({"fields": "rank", "by": "word"}, "--fields: rank needs --by token"),
    ({"fields": "chars", "by": "token"}, "--fields: chars is not of a token"),
    ({"fields": "index", "lines": True}, "--fields: index needs --by"),
]


@pytest.mark.parametrize(("values", "message"), NEEDS, ids=str)
def test_what_an_option_needs(values: dict[str, Any], message: str) -> None:
    error = refused(values)
    assert error is not None
    assert error.exit_code == 2
    assert error.render(flag).startswith(message)


FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "nats bits_per_byte_se file", "line text percentile model rank index adapted_perplexity total"),
    ({"lines": True}, "nats chars file line text", "percentile model index low"),
    ({"csv": "x", "reference": "f"}, "percentile line text", "margin"),
    ({"classify": True, "model": ("a", "b")}, "model margin nats file", "line other low"),
    ({"adapt": "weights"}, "adapted_perplexity adapted_bits_per_char adapted_bits_per_byte nats", "line"),
    ({"by": "word"}, "nats bits tokens oov perplexity file line index offset text", "rank entropy chars words"),
    ({"by": "token"}, "nats rank entropy index", "bytes bits_per_char"),
    ({"compare": True, "model": ("a", "b")}, "model other difference low high texts bits_per_byte", "nats file text"),
]


@pytest.mark.parametrize(("values", "there", "missing"), FIELDS, ids=str)
def test_what_a_condition_may_name(values: dict[str, Any], there: str, missing: str) -> None:
    fields = {*EvalConfig(**values).expression_fields}
    assert fields.issuperset(there.split())
    assert not fields.intersection(missing.split())

"""EXPR: what holds, what is missing, and that nothing but its grammar is taken."""

import math
import re
import warnings

import pytest

from charrnn.errors import UsageError
from charrnn.scoring.expression import MAX_CHARS, MAX_DEPTH, Expression, parse_expression

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
FIELDS = ("perplexity", "bits", "chars", "tokens", "oov", "text", "file", "percentile")
ROW = {
    "perplexity": 12.5,
    "bits": math.nan,
    "chars": 40,
    "tokens": 0,
    "oov": 2,
    "text": "naïve \udcff".encode("utf-8", "surrogateescape"),
    "file": "a.txt",
}
"""A row without `percentile`; its bits are not a number."""


def parse(text: str) -> Expression:
    return parse_expression(text, FIELDS, "keep")


def refusal(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.fields == ("keep",)
    assert caught.value.text.startswith("{keep}: ")
    return caught.value.render(lambda field: f"--{field}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # each comparison, on both sides of its bound
        *[(f"perplexity {each} 12.5", each in ("<=", ">=", "==")) for each in COMPARISONS],
        *[(f"perplexity {each} 13", each in ("<", "<=", "!=")) for each in COMPARISONS],
        ("perplexity > 1.2e1", True),
        ("1 < oov < 3", True),
        ("1 < oov < 2", False),
        ("3 > oov < 1", False),
        ("file == 'a.txt'", True),
        ('file == "b.txt"', False),
        ("'a' < file < 'b'", True),
        # arithmetic, precedence, signs
        ("chars - 10 - 10 == 20", True),
        ("2 + oov * 3 == 8", True),
        ("(2 + oov) * 3 == 12", True),
        ("oov / chars == .05", True),
        ("-oov < +1", True),
        ("- -oov == 2", True),
        # and, or, not
        ("oov == 2 and chars == 40 and tokens == 0", True),
        ("oov == 2 and chars == 40 and tokens == 1", False),
        ("oov == 1 or chars == 1 or tokens == 0", True),
        ("oov == 1 or chars == 1 or tokens == 1", False),
        ("oov == 2 or chars == 40 and tokens == 1", True),
        ("(oov == 2 or chars == 40) and tokens == 1", False),
        ("not oov == 2", False),
        ("not not oov == 2", True),
        # missing: absent, nan, division by zero, arithmetic with one of these or with text
        *[(f"percentile {each} 30", False) for each in COMPARISONS],
        *[(f"percentile + 1 {each} 30", False) for each in COMPARISONS],
        ("percentile == percentile", False),
        ("bits != bits", False),
        ("bits != 1", False),
        ("-percentile < 1", False),
        ("0 < 1 < percentile", False),
        ("not (percentile < 30)", True),
        ("percentile < 30 or oov == 2", True),
        ("oov / tokens > 0", False),
        ("oov / tokens != 0", False),
        ("file + 1 != 0", False),
        ("file * 2 == 'a.txta.txt'", False),
        ("-file != 0", False),
        # too large is inf, and inf - inf no number
        ("1e308 * 10 > 1e308", True),
        ("chars * 1e999 > 1e308", True),
        ("1e999 - 1e999 != 0", False),
        ("1" + "0" * 400 + " > 1e308", True),
        # text and number
        ("file == 3", False),
        ("file != 3", True),
        ("file < 3", False),
        ("file >= 3", False),
        ("'a' < 3", False),
        ("'3' == 3", False),
        # bytes
        ("text > 'naïve'", True),
        (r"text == 'naïve \udcff'", True),
        ("text == 'naïve'", False),
        (r"'\x41\n' == 'A\n'", True),
        # white space
        ("  oov\n==\r\n\t2\n", True),
    ],
)
def test_what_holds(text: str, expected: bool) -> None:
    assert parse(text)(ROW.get) is expected


def test_its_fields() -> None:
    assert parse("not (perplexity < chars / 2) or 'oov' == text or perplexity > 3").fields == {
        "perplexity",
        "chars",
        "text",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("perplexty < 20", "unknown field 'perplexty' at column 1; did you mean 'perplexity'?"),
        ("oov < 1 and x1 < 2", "unknown field 'x1' at column 13"),
        ("file == 'né' and\n  y9 > 1", "unknown field 'y9' at column 20"),
        ("  \n q7 > 1", "unknown field 'q7' at column 5"),
        ("perplexity", "'perplexity' is no condition at column 1; it is compared with nothing"),
        ("oov < 1 and not chars", "'chars' is no condition at column 17; it is compared with nothing"),
        ("3 or oov < 1", "'3' is no condition at column 1; it is compared with nothing"),
        ("(oov < 1) + 2 > 3", "'oov < 1' is a condition, not a value, at column 2"),
        ("(oov < 1) == (chars < 1)", "'oov < 1' is a condition, not a value, at column 2"),
        ("-(not oov < 1) > 2", "'not oov < 1' is a condition, not a value, at column 3"),
        ("oov + 'a' < 2", "no arithmetic with the text \"'a'\" at column 7"),
        ("-'a' < 2", "no arithmetic with the text \"'a'\" at column 2"),
        ("oov = 2", "'=' at column 5; write =="),
        ("oov < 2 && chars > 3", "'&&' at column 9; write and"),
        ("oov < 2 || chars > 3", "'||' at column 9; write or"),
        ("file != '!' and !(oov > 3)", "'!' at column 17; write not"),
        ("oov <> 2", "'<>' at column 5; write !="),
        ("(oov < 2", "'(' was never closed at column 1"),
        ("oov < 2) or (oov > 3", "unmatched ')' at column 8"),
        ("file == 'a", "unterminated string literal at column 9"),
        ("file == 'a\nb'", r"line break in a string at column 9; write \n"),
        ("oov < 2 # and so on", "'#' is not allowed at column 9"),
        ("(oov < 2 # few\n) and chars > 3", "'(' was never closed at column 1"),
        ("oov < 2\0", "NUL character at column 8"),
        ("é == '\ud800'", "not valid UTF-8 at column 7"),
        ("", "no condition, as perplexity < 20"),
        (" \n", "no condition, as perplexity < 20"),
        ("oov < 1 " + " " * MAX_CHARS, "longer than 10,000 characters"),
        ("1" * 5000 + " < oov", "Exceeds the limit at column 1"),
    ],
)
def test_what_is_wrong_and_where(text: str, message: str) -> None:
    assert refusal(text) == f"--keep: {message}"


@pytest.mark.parametrize(
    "refused",
    """
    True; False; None; ...; abs(oov); text.upper; text[0]; oov ** 2; oov % 2; oov // 2; oov @ 2; oov << 2; oov | 2;
    oov ^ 2; ~oov; lambda: oov; f'{oov}'; b'a'; r'a'; u'a'; 2j; [oov]; (oov, 2); {oov}; {oov: 2}; oov if oov else 2;
    [x for x in text]; (x for x in text); (x := oov); __import__('os'); *oov
    """.replace("\n", " ").split(";"),
)
def test_nothing_else_is_taken(refused: str) -> None:
    for text in (refused.strip(), f"{refused.strip()} < 3", f"1 + ({refused.strip()}) == 3"):
        assert "at column" in refusal(text)


@pytest.mark.parametrize("text", ["oov in text", "oov not in text", "oov is 2", "oov is not 2", "oov < 2 in text"])
def test_nor_other_comparisons(text: str) -> None:
    assert f"{text!r} is not allowed at column 1" in refusal(text)


@pytest.mark.parametrize("text", [r"file == 'a\d'", "oov == 1or oov == 2"])
def test_what_python_warns_of_is_refused(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert "invalid" in refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4990 + "oov < 2",
        "(" * 250 + "oov < 2" + ")" * 250,
        "-" * 9980 + "oov < 2",
        "not " * 2490 + "oov < 2",
        "0+" * 4990 + "oov < 2",
    ],
    ids=["open", "parentheses", "signs", "not", "sum"],
)
def test_the_too_deep_is_refused(text: str) -> None:
    assert re.search(f"more than {MAX_DEPTH} operations|too many nested parentheses|was never closed", refusal(text))


@pytest.mark.parametrize("text", ["oov" + "<1" * 4990, "oov < 2" + " or oov < 2" * 900], ids=["chain", "or"])
def test_the_long_is_taken(text: str) -> None:
    assert parse(text)(ROW.get) is False


@pytest.mark.parametrize(("terms", "taken"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_the_deepest(terms: int, taken: bool) -> None:
    text = "+".join(["oov"] * terms) + f" == {2 * terms}"
    if taken:
        assert parse(text)(ROW.get)
    else:
        assert f"more than {MAX_DEPTH} operations" in refusal(text)


def test_a_refusal_shows_little() -> None:
    assert len(refusal("abs(" + "oov + " * 500 + "oov) < 3")) < 200

"""The dialect of `--match`: what is accepted is what Python's `re` matches, and all else is refused with its place."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import CharRNNError, UsageError
from charrnn.generation import regex_dfa
from charrnn.generation.regex import all_points, plain_regex
from charrnn.generation.regex_dfa import ByteDFA, byte_dfa

SAME = [
    *("", "a", "abc", ".", "a.c", "a|ab", "ab|a", "|a", "a||b", "(a|b)*", "(?:a|b)+", "(?P<x>a|b)?c", "()", "(|a)b"),
    *("a*", "a+", "a?", "a*?b", "a+?", "a??b", "a{2}", "a{2,}", "a{,2}", "a{1,3}", "a{1,3}?b", "a{0}b", "a{,}"),
    *("a{", "a{}", "a{x}", "a{1", "a{1,", "{", "{1", "}", "]", "a]", "(ab?)*", "((a|b)c){2}", "(a*)*", "(a*b*){2,3}"),
    *("[ab]", "[^ab]", "[a-c]", "[]a]", "[^]a]", "[a-]", "[-a]", "[a\\-c]", "[\\]]", "[.]", "[^\\n]", "[(]", "[a|b]"),
    *("\\d", "\\D", "\\w", "\\W", "\\s", "\\S", "[\\d\\s]", "[^\\w]", "[\\W\\d]", "\\.", "\\\\", "\\(", "\\-", "\\ "),
    *("\\t", "\\n", "\\r", "\\f", "\\v", "\\a", "[\\b]", "\\0", "\\012", "[\\0-\\x07]"),
    *("\\x41", "\\u00e9", "\\U0001F600", "[é-\\u00ff]", "😀", ".*[äöü].*", "日|\\u65e5a", "[^a]{2}", "[\\s\\S]*"),
    *("a\nb", "a#b", "a b", "~", "&&", "[a&b]", "\u2028", "[\u0000-\uffff]", "[\ud7ff-\ue000]", "[^\ud7ff]"),
]
"""Patterns that mean what they mean to `re`."""

TEXTS = [
    *("", "a", "b", "c", "ab", "ba", "abc", "aa", "aaa", "aab", "abab", "acbc", "bc", "ac", "a-c", "-", "]", "a]", "."),
    *("\n", "\t", "\r", "\x0b", "\x0c", "\x07", "\x08", "\0", "a\nb", " ", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"),
    *("0", "7", "٣", "²", "_", "A", "é", "Ä", "xäy", "日", "日a", "😀", "a{", "a{}", "a{x}", "a{1", "a{1,"),
    *("{", "{1", "}", "\\", "(", "|", "#", "a#b", "a b", "~", "&&", "&", "\ue000", "\ud7ff", "\uffff", "\U0010fffd"),
    *("aaaa", "aabb"),
]


def accepts(dfa: ByteDFA, text: bytes) -> bool:
    state = 1
    for byte in text:
        state = int(dfa.next[state, byte])
    return bool(dfa.accepting[state])


def dfa_of(pattern: str) -> ByteDFA:
    plain = plain_regex(pattern, all_points())
    assert plain is not None
    return byte_dfa(plain)


@pytest.mark.parametrize("pattern", SAME)
def test_what_matches_is_what_python_matches(pattern: str) -> None:
    dfa, known = dfa_of(pattern), re.compile(pattern)
    for text in TEXTS:
        assert accepts(dfa, text.encode()) == bool(known.fullmatch(text)), text


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "\\w", "\\n"])
QUANTIFIERS = ["*", "+", "?", "{2}", "{,2}", "{1,}", "*?"]
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join).map("({})".format),
        st.tuples(inner, st.sampled_from(QUANTIFIERS)).map(lambda two: "({}){}".format(*two)),
    ),
    max_leaves=6,
)


@settings(max_examples=40, deadline=None)
@given(pattern=PATTERNS, texts=st.lists(st.text("ab\n", max_size=6), max_size=30))
def test_any_pattern(pattern: str, texts: list[str]) -> None:
    dfa = dfa_of(pattern)
    for text in texts:
        assert accepts(dfa, text.encode()) == bool(re.fullmatch(pattern, text))


@pytest.mark.parametrize("letter", "dws")
def test_classes_are_unicode_s(letter: str) -> None:
    """Of every character but the last two; and nothing that is not UTF-8 is accepted."""
    dfa = dfa_of(f"\\{letter}")
    found = [chr(point) for point in all_points()[::7].tolist()]
    assert [accepts(dfa, char.encode()) for char in found] == [bool(re.match(f"\\{letter}", char)) for char in found]
    for invalid in (b"\x80", b"\xc3", b"\xff", b"\xed\xa0\x80", b"\xc1\x81", b"\xf4\x8f\xbf\xbe", b"\xf4\x8f\xbf\xbf"):
        assert not accepts(dfa_of("[\\s\\S]*"), invalid)


def test_only_what_can_be_written() -> None:
    """A class has the characters that there are; what has others matches nothing."""
    points = np.array([ord(char) for char in "abz日"], np.uint32)
    assert plain_regex("[^a]", points) == "[\\x{62}-\\x{65E5}]"
    assert plain_regex("c|a", points) == "\\x{61}"
    assert plain_regex("c*a", points) == "\\x{61}"
    assert plain_regex("(c|d)?", points) == ""
    for nothing in ("c", "ac", "c|d", "[c-y]+", "\\d"):
        assert plain_regex(nothing, points) is None


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("a(b", "column 2: there is no ) for this ("),
        ("(a))b", "column 4: there is no ( before this )"),
        ("a[b", "column 2: there is no ] for this ["),
        ("[]", "column 1: there is no ] for this ["),
        ("*a", "column 1: there is nothing to repeat"),
        ("a|+", "column 3: there is nothing to repeat"),
        ("({2})", "column 2: there is nothing to repeat"),
        ("a**", "column 3: what is repeated is repeated again without a group"),
        ("a{2}{3}", "column 5: what is repeated is repeated again"),
        ("ab{3,2}", "column 3: the least number of times is above the most"),
        ("a{10001}", "column 2: nothing can be repeated more than 10,000 times"),
        ("[z-a]", "column 2: z-a is no range of characters"),
        ("[\\d-z]", "column 2: \\d-z is no range of characters"),
        ("ab\\", "column 3: nothing follows the backslash"),
        ("\\q", "column 1: \\q means nothing"),
        ("[\\B]", "column 2: \\B means nothing"),
        ("\\x4", "column 1: 2 hexadecimal digits of a code point must follow \\x"),
        ("\\U00110000", "column 1: 8 hexadecimal digits of a code point must follow \\U"),
        *((each, "the text as a whole is matched, so that there are no") for each in ("^a", "a$", "\\bx", "\\Z")),
        *((each, "column 4: there are no backreferences") for each in ("(a)\\1", "(a)(?P=x)")),
        *((each, "column 2: there is no lookahead") for each in ("a(?=b)", "a(?!b)")),
        *((each, "column 2: there is no lookbehind") for each in ("a(?<=b)", "a(?<!b)")),
        ("(?i)a", "column 1: there is no such group: flags are not known"),
        ("(?>a)", "column 1: there are no atomic groups"),
        ("(?#a)", "column 1: there are no comments"),
        ("(a)(?(1)b)", "column 4: there are no conditions"),
        ("a*+", "column 3: there are no possessive quantifiers"),
        ("(" * 101 + ")" * 101, "column 101: more than 100 groups are in one another"),
    ],
)
def test_what_is_refused(pattern: str, complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        plain_regex(pattern, all_points())
    assert complaint in error.value.render(lambda name: f"--{name}")
    assert str(error.value).startswith("match, column ")


def test_the_examples_of_the_page() -> None:
    """docs/match.md has a table of patterns, texts that match and texts that do not."""
    page = (Path(__file__).parents[2] / "docs" / "match.md").read_text(encoding="utf-8")
    dialect = page.partition("## What is drawn")[0].replace("\\|", "\0")
    rows = re.findall(r"^\| `(.+?)` \| (.+?) \| (.+?) \|$", dialect, re.MULTILINE)
    assert len(rows) > 10
    for pattern, matching, other in rows:
        dfa = dfa_of(pattern.replace("\0", "|"))
        for texts, expected in ((matching, True), (other, False)):
            for text in re.findall("`(.*?)`", texts):
                assert accepts(dfa, text.replace("\0", "|").encode()) is expected, (pattern, text)


def test_groups_in_one_another() -> None:
    assert accepts(dfa_of("(" * 100 + "a" + ")*" * 100), b"aaa")


@pytest.mark.parametrize("pattern", ["\\w{40}", "[ab]*a[ab]{13}"])
def test_too_many_states(pattern: str) -> None:
    with pytest.raises(UsageError, match="match needs more than 10,000 states"):
        dfa_of(pattern)
    assert len(dfa_of("a{1500}").next) > 1500


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [".*a.{25}", "((a{100}){100}){100}", "(((a{1000}){1000}){1000}){1000}"])
def test_a_pattern_that_cannot_be_built(pattern: str) -> None:
    """However large it would be: its memory and time are limited."""
    with pytest.raises(UsageError, match=r"match (needs more than 10,000 states|takes more than 5 s to build)"):
        dfa_of(pattern)


def test_a_pattern_that_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex_dfa, "BUILD_SECONDS", 0.2)
    with pytest.raises(UsageError, match=r"match takes more than 0\.2 s to build"):
        dfa_of(".*a.{25}")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex_dfa, "find_spec", lambda name: None)
    with pytest.raises(CharRNNError, match="match needs the package outlines-core: pip install outlines-core"):
        dfa_of("without the library")


def test_a_pattern_that_can_begin_within_itself() -> None:
    """The library looked for matches anywhere: a beginning that comes again took 2**20 states."""
    dfa = dfa_of("R.{20,60}\n")
    assert len(dfa.next) < 1000
    assert accepts(dfa, b"R" * 40 + b"\n")
    assert not accepts(dfa, b"R" * 20 + b"\n")
    assert not accepts(dfa, b"R" * 70 + b"\n")

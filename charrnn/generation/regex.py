r"""Regular expressions as `--match` takes them, written anew for the library that makes automata of them.

The dialect is the part of Python's `re` that means a set of texts and nothing else: whatever matches here is what
`re.fullmatch` matches. docs/match.md is its page. What is returned is plain: literals and classes by code point,
groups, `|` and `{m,n}`, of characters that the model can write only, so that the automaton has no states in vain.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from charrnn.errors import UsageError

Points = npt.NDArray[np.uint32]

Mask = npt.NDArray[np.bool_]
"""A set of characters: of each of a writer's whether it is one of them."""

START_MARK, END_MARK = 0x10FFFE, 0x10FFFF
"""Stand before and after every text, and in none: the last code points, which will never be characters."""

MAX_REPEAT = 10_000
MAX_NESTING = 100
"""Groups in one another."""

_SIMPLE_ESCAPES = {"a": 7, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}

_QUANTIFIER = re.compile(r"[*+?]|\{([0-9]*)(,?)([0-9]*)\}")

_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}

_WHOLE = "the text as a whole is matched, so that there are no anchors"

_REFUSED_GROUPS = {
    "(?=": "there is no lookahead",
    "(?!": "there is no lookahead",
    "(?<=": "there is no lookbehind",
    "(?<!": "there is no lookbehind",
    "(?P=": "there are no backreferences",
    "(?>": "there are no atomic groups",
    "(?(": "there are no conditions",
    "(?#": "there are no comments",
}


@cache
def all_points() -> Points:
    """Return all characters of Unicode but the last two, which are none."""
    return np.concatenate([np.arange(0xD800), np.arange(0xE000, START_MARK)]).astype(np.uint32)


def plain_regex(pattern: str, points: Points) -> str | None:
    """Return a pattern in the syntax that most libraries share. None: no text matches it.

    Args:
        pattern: as docs/match.md has it.
        points: characters that may stand in a text, ascending, without `START_MARK` and `END_MARK`.

    Raises:
        UsageError: it is not a regular expression, or has what is not of the dialect; the message names the column.
    """
    parser = _Parser(pattern, points)
    found = parser.alternatives()
    if parser.at < len(pattern):
        parser.fail("there is no ( before this )")
    return found


def check_regex(pattern: str) -> None:
    """Raise as `plain_regex` where a pattern is none."""
    plain_regex(pattern, np.zeros(0, np.uint32))


def literal(point: int) -> str:
    """Return a character as `plain_regex` writes it."""
    return f"\\x{{{point:X}}}"


@dataclass
class _Parser:
    """Reads a pattern from left to right. What a method returns is plain, or None where nothing matches it.

    Attributes:
        at: the place of the next character.
    """

    pattern: str
    points: Points
    at: int = 0
    nesting: int = 0
    categories: dict[str, Mask] = field(default_factory=dict)

    def fail(self, reason: str, at: int | None = None) -> NoReturn:
        """Refuse the pattern for what stands at a place; None: at the next character."""
        column = (self.at if at is None else at) + 1
        raise UsageError(f"{{match}}, column {column}: {reason}", ("match",))

    def take(self, text: str) -> bool:
        """Return whether `text` comes next, and go on after it if it does."""
        found = self.pattern.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def alternatives(self) -> str | None:
        """Read what `|` separates, up to the end of the group or pattern."""
        found = [self.sequence()]
        while self.take("|"):
            found.append(self.sequence())
        possible = [each for each in found if each is not None]
        return "|".join(possible) if possible else None

    def sequence(self) -> str | None:
        """Read what stands one after another."""
        found = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            found.append(self.repeated())
        return None if None in found else "".join(each for each in found if each is not None)

    def repeated(self) -> str | None:
        """Read one thing, and how often it stands there."""
        begin = self.at
        if self.quantifier() is not None:
            self.fail("there is nothing to repeat", begin)
        found = self.atom()
        begin = self.at
        if (counts := self.quantifier()) is None:
            return found
        quantifier_end = self.at
        least, most = counts
        if max(least, most or 0) > MAX_REPEAT:
            self.fail(f"nothing can be repeated more than {MAX_REPEAT:,} times", begin)
        if most is not None and most < least:
            self.fail("the least number of times is above the most", begin)
        if self.take("+"):
            self.fail("there are no possessive quantifiers", quantifier_end)
        self.take("?")  # a lazy one matches the same texts
        if self.quantifier() is not None:
            self.fail("what is repeated is repeated again without a group", quantifier_end)
        if found is None:
            return None if least else ""
        return f"{found}{{{least},{'' if most is None else most}}}"

    def quantifier(self) -> tuple[int, int | None] | None:
        """Look for a quantifier, and go on after it; return the least and the most times. None: there is none here."""
        found = _QUANTIFIER.match(self.pattern, self.at)
        if found is None or found[0] == "{}":
            return None
        self.at = found.end()
        if found[0] in "*+?":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[0]]
        least, comma, most = found.groups()
        first = int(least[:9] or 0)
        return first, (int(most[:9]) if most else None) if comma else first

    def atom(self) -> str | None:
        """Read a group, a class or a character."""
        begin, char = self.at, self.pattern[self.at]
        if char == "(":
            return self.group()
        self.at += 1
        if char == "[":
            return self.written(self.char_class(begin))
        if char == ".":
            return self.written(self.points != 10)
        if char in "^$":
            self.fail(_WHOLE, begin)
        if char == "\\":
            found = self.escape(begin, in_class=False)
            return self.written(found) if isinstance(found, np.ndarray) else self.character(found)
        return self.character(ord(char))

    def group(self) -> str | None:
        """Read a group; what it is called does not matter."""
        begin = self.at
        for opening, reason in _REFUSED_GROUPS.items():
            if self.pattern.startswith(opening, begin):
                self.fail(reason, begin)
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.fail(f"more than {MAX_NESTING} groups are in one another", begin)
        named = re.compile(r"\(\?P<[^\W\d]\w*>").match(self.pattern, begin)
        if named:
            self.at = named.end()
        elif not self.take("(?:"):
            if self.pattern.startswith("(?", begin):
                self.fail("there is no such group: flags are not known, and names are written (?P<name>...)", begin)
            self.take("(")
        found = self.alternatives()
        if not self.take(")"):
            self.fail("there is no ) for this (", begin)
        self.nesting -= 1
        return None if found is None else f"(?:{found})"

    def char_class(self, begin: int) -> Mask:
        """Read a class, whose `[` is read."""
        is_negated = self.take("^")
        found, first = np.zeros(len(self.points), np.bool_), True
        while first or not self.take("]"):
            first = False
            at = self.at
            low = self.class_item(begin)
            if self.pattern.startswith("-", self.at) and not self.pattern.startswith("-]", self.at):
                self.at += 1
                high = self.class_item(begin)
                if isinstance(low, np.ndarray) or isinstance(high, np.ndarray) or high < low:
                    self.fail(f"{self.pattern[at : self.at]} is no range of characters", at)
                found |= (self.points >= low) & (self.points <= high)
            else:
                found |= low if isinstance(low, np.ndarray) else self.points == low
        return ~found if is_negated else found

    def class_item(self, begin: int) -> int | Mask:
        """Read a character, or a class without brackets, within those that begin at a place."""
        if self.at == len(self.pattern):
            self.fail("there is no ] for this [", begin)
        at = self.at
        self.at += 1
        return self.escape(at, in_class=True) if self.pattern[at] == "\\" else ord(self.pattern[at])

    def escape(self, begin: int, *, in_class: bool) -> int | Mask:
        r"""Read what follows a backslash at a place: the code point that it means, or a class as \d."""
        if self.at == len(self.pattern):
            self.fail("nothing follows the backslash", begin)
        char = self.pattern[self.at]
        self.at += 1
        if char in "dws":
            return self.category(char)
        if char in "DWS":
            return ~self.category(char.lower())
        if char in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[char]
        if char == "0":
            octal = re.compile("[0-7]{0,2}").match(self.pattern, self.at)
            assert octal is not None
            self.at = octal.end()
            return int("0" + octal[0], 8)
        if char in _HEX_DIGITS:
            count = _HEX_DIGITS[char]
            digits = re.compile(f"[0-9A-Fa-f]{{{count}}}").match(self.pattern, self.at)
            if digits is None or int(digits[0], 16) > END_MARK:
                self.fail(f"{count} hexadecimal digits of a code point must follow \\{char}", begin)
            self.at = digits.end()
            return int(digits[0], 16)
        if char == "b" and in_class:
            return 8
        if char in "AZbB" and not in_class:
            self.fail(_WHOLE, begin)
        if char in "123456789":
            self.fail("there are no backreferences", begin)
        if char.isascii() and char.isalnum():
            self.fail(f"\\{char} means nothing", begin)
        return ord(char)

    def category(self, letter: str) -> Mask:
        r"""Return the characters of \d, \w or \s, as Python knows them in a `str`."""
        if letter not in self.categories:
            chars = self.points.astype("<u4").tobytes().decode("utf-32-le")
            found = np.zeros(len(self.points), np.bool_)
            for run in re.finditer(f"\\{letter}+", chars):
                found[run.start() : run.end()] = True
            self.categories[letter] = found
        return self.categories[letter]

    def character(self, point: int) -> str | None:
        place = int(np.searchsorted(self.points, point))
        return literal(point) if place < len(self.points) and self.points[place] == point else None

    def written(self, chars: Mask) -> str | None:
        """Return a class of characters. What lies between two of them that follow one another among `points` is part
        of it: it is never written, and makes for fewer states."""
        edges = np.flatnonzero(np.diff(chars, prepend=False, append=False))
        if not len(edges):
            return None
        runs = zip(self.points[edges[::2]].tolist(), self.points[edges[1::2] - 1].tolist(), strict=True)
        return "[" + "".join(f"{literal(low)}-{literal(high)}" for low, high in runs) + "]"

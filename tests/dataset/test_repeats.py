"""Stretches that occur more than once, against counting them one by one."""

import itertools

import numpy as np
import pytest

from charrnn.dataset.repeats import LENGTH, MAX_STRETCHES, Stretches, sampling
from charrnn.tokenizers.utf8 import CodePoints


def points(text: str) -> CodePoints:
    return np.array([ord(char) for char in text], np.uint32)


def stretches(text: str, one_in: int = 1, separator: str = "", cuts: tuple[int, ...] = ()) -> Stretches:
    """The stretches of a text that arrives cut at these places."""
    made = Stretches(one_in, points(separator))
    bounds = [0, *cuts, len(text)]
    for begin, end in itertools.pairwise(bounds):
        made.add(points(text[begin:end]))
    return made


def places(text: str, separator: str = "") -> dict[int, str]:
    """Every stretch of a text that is within a record, by where it begins."""
    found: dict[int, str] = {}
    begin = 0
    for record in text.split(separator) if separator else [text]:
        end = min(len(text), begin + len(record) + len(separator))
        found |= {at: text[at : at + LENGTH] for at in range(begin, end - LENGTH + 1)}
        begin = end
    return found


def covered(starts: list[int]) -> int:
    return len({place for at in starts for place in range(at, at + LENGTH)})


def repeated(text: str, separator: str = "") -> int:
    seen: set[str] = set()
    again = []
    for at, stretch in places(text, separator).items():
        if stretch in seen:
            again.append(at)
        seen.add(stretch)
    return covered(again)


def patchwork(seed: int, size: int, separator: str = "") -> str:
    """A text that is made of passages, some of which come again, and of characters of three and four bytes too."""
    rng = np.random.default_rng(seed)
    passages = [drawn(rng, "abcdefgé日😀", int(rng.integers(10, 200))) for _ in range(40)]
    text = ""
    while len(text) < size:
        text += passages[rng.integers(40)] + (drawn(rng, "xyz", 7) if rng.integers(2) else "") + separator
    return text


def drawn(rng: np.random.Generator, letters: str, count: int) -> str:
    return "".join(rng.choice([*letters], count))


@pytest.mark.parametrize("separator", ["", "\n", "\n\n"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_repeated(seed: int, separator: str) -> None:
    """Wherever the text is cut."""
    text = patchwork(seed, 4000, separator)
    cuts = np.sort(np.random.default_rng(seed).integers(len(text), size=30)).tolist()
    wanted = repeated(text, separator)
    assert 0 < wanted < len(text)
    found = stretches(text, separator=separator, cuts=(*cuts, cuts[-1], len(text) - 1))
    assert (found.chars, found.repeated()) == (len(text), wanted)


@pytest.mark.parametrize("separator", ["", "\n"])
def test_what_another_text_has(separator: str) -> None:
    text, other = patchwork(1, 3000, separator), patchwork(2, 500, separator) + patchwork(1, 900, separator)
    known = set(places(text, separator).values())
    wanted = covered([at for at, stretch in places(other, separator).items() if stretch in known])
    assert 0 < wanted < len(other)
    assert stretches(other, separator=separator).found_in(stretches(text, separator=separator)) == wanted


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a" * 49, 0), ("a" * 50, 0), ("a" * 51, 50), ("ab" * 50, 98)])
def test_short_texts(text: str, count: int) -> None:
    assert stretches(text).repeated() == count
    assert stretches(text).found_in(stretches("")) == 0
    assert stretches("").found_in(stretches(text)) == 0


def test_a_large_text_is_sampled() -> None:
    """Not more is found than there is, and of long passages nearly all."""
    rng = np.random.default_rng(3)
    passage = drawn(rng, "abcdefgh", 30_000)
    text = passage + drawn(rng, "abcdefgh", 50_000) + passage
    assert stretches(text).repeated() == len(passage)
    for one_in in (2, 4, 8, 16):
        assert 0.9 * len(passage) < stretches(text, one_in).repeated() <= len(passage)


def test_what_is_kept_is_bounded() -> None:
    assert [sampling(chars) for chars in (0, MAX_STRETCHES - 1, MAX_STRETCHES, 100 << 20)] == [1, 1, 2, 16]
    assert all(chars / sampling(chars) < 2 * MAX_STRETCHES for chars in (10**7, 10**8, 10**9, 10**11))

"""What simpler models make of a text: proper distributions, and the same as plain loops find."""

import lzma
import math
from collections import Counter, defaultdict
from pydoc_data.topics import topics

import numpy as np
import pytest

from charrnn.baselines import ORDER, Baselines, first, interpolated, last, measure

DOCS = "\n".join(topics[topic] for topic in sorted(topics))
REST = 1_112_064


def slow(train: str, val: str, order: int = ORDER) -> tuple[float, float, float]:
    """Uniform, unigram and n-gram by dictionaries, in bits per character."""
    known = set(train)
    follows: dict[str, Counter[str]] = defaultdict(Counter)
    for place, char in enumerate(train):
        for length in range(min(order, place + 1)):
            follows[train[place - length : place]][char] += 1

    def chance(context: str, char: str) -> float:
        lower = 1 / (len(known) + 1) if context == "" else chance(context[1:], char)
        seen = follows.get(context)
        return lower if seen is None else (seen[char] + len(seen) * lower) / (seen.total() + len(seen))

    text, bits = train + val, [0.0, 0.0, 0.0]
    for place in range(len(train), len(text)):
        char = text[place]
        spread = 0.0 if char in known else math.log2(REST - len(known))
        longest = text[max(0, place - order + 1) : place]
        for number, p in enumerate((1 / (len(known) + 1), chance("", char), chance(longest, char))):
            bits[number] += spread - math.log2(p)
    return bits[0] / len(val), bits[1] / len(val), bits[2] / len(val)


def check(train: str, val: str) -> Baselines:
    found = measure(train.encode(), val.encode())
    assert found is not None
    assert (found.uniform, found.unigram, found.ngram) == pytest.approx(slow(train, val), rel=1e-9)
    return found


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (DOCS[:5000], DOCS[5000:5600]),
        (DOCS[:5000], "Größe, naïve 日本 and more of the same\n" * 3),
        ("".join(RNG.choice(list("abc"), 2000)), "".join(RNG.choice(list("abcd"), 200))),
        ("aaaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaa"),
        ("ab", "ab"),
        ("a", "a"),
        ("a", "b"),
        ("abc", "c"),
    ],
)
def test_the_same_as_plain_loops(train: str, val: str) -> None:
    check(train, val)


def test_by_hand() -> None:
    found = measure(b"aaab", b"ab")
    assert found is not None
    assert found.uniform == pytest.approx(math.log2(3))
    a, b = (3 + 2 / 3) / (4 + 2), (1 + 2 / 3) / (4 + 2)
    assert found.unigram == pytest.approx(-(math.log2(a) + math.log2(b)) / 2)
    assert found.xz == 8 * (len(lzma.compress(b"aaabab")) - len(lzma.compress(b"aaab"))) / 2
    assert (found.train_bytes, found.val_bytes) == (4, 2)


@pytest.mark.parametrize("context", ["the ", "zzzz", "", "th", "qu"])
def test_probabilities_add_up(context: str) -> None:
    """Over all known symbols and `<unk>`, after contexts that were and were not seen."""
    known = sorted(set(DOCS[:3000]))
    ids = {char: number for number, char in enumerate(known)}
    learned = [ids[char] for char in DOCS[:3000]]
    before = [ids.get(char, len(known)) for char in context]
    for order in range(ORDER):
        total = 0.0
        for symbol in range(len(known) + 1):
            symbols = np.array([*learned, *before, symbol], np.int64)
            # what is learned must stay the same, so the context is predicted too, and left out of the sum
            found = interpolated(symbols, len(learned), np.full(len(before) + 1, 1 / (len(known) + 1)))
            total += found[order][-1]
        assert total == pytest.approx(1.0)


def test_better_models_do_better() -> None:
    found = measure(DOCS[:200_000].encode(), DOCS[200_000:220_000].encode())
    assert found is not None
    assert found.uniform > found.unigram > found.ngram > 1
    assert found.uniform > found.xz > 0.5
    shuffled = "".join(np.random.default_rng(0).permutation(list(DOCS[200_000:220_000])))
    worse = measure(DOCS[:200_000].encode(), shuffled.encode())
    assert worse is not None
    assert worse.unigram == pytest.approx(found.unigram, rel=1e-9)
    assert worse.ngram > 1.5 * found.ngram


def test_bytes_where_it_is_no_utf_8() -> None:
    found = measure(b"\xff\xfe\x00abc" * 20, b"\xff\xfe\x00abc")
    assert found is not None
    assert found.uniform == pytest.approx(math.log2(7))
    strange = measure(b"\xffa" * 20, b"zz")
    assert strange is not None
    assert strange.uniform == pytest.approx(math.log2(3) + math.log2(256 - 2))


def test_many_symbols() -> None:
    """Contexts are numbered anew at each length: no number overflows."""
    points = [chr(0x4E00 + n) if n < 20_000 else chr(0x20000 + n) for n in range(60_000)]
    found = measure("".join(points).encode(), "".join(points[:500]).encode())
    assert found is not None
    assert found.uniform == pytest.approx(math.log2(60_001))
    assert found.ngram < found.unigram


@pytest.mark.parametrize(("train", "val"), [(b"", b"a"), (b"a", b""), (b"", b""), ("\ufeff".encode(), b"a")])
def test_nothing_to_compare(train: bytes, val: bytes) -> None:
    assert measure(train, val) is None


def test_it_can_be_ended() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(b"abc", b"abc", stop)


@pytest.mark.parametrize("limit", range(1, 12))
def test_ends_of_texts(limit: int) -> None:
    """At most so many bytes, none of a character that is cut."""
    text = "aé日😀z".encode()
    for part in (first(text, limit), last(text, limit)):
        assert len(part) <= limit
        part.decode()
    assert text.startswith(first(text, limit))
    assert text.endswith(last(text, limit))
    assert limit - len(first(text, limit)) < 4
    assert limit - len(last(text, limit)) < 4 or len(text) < limit

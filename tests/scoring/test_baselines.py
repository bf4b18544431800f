"""Baselines: proper distributions, the same as slow versions, and in the same units as scores."""

import lzma
import math
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from charrnn.scoring import baselines
from charrnn.scoring.baselines import Baselines, measure
from charrnn.scoring.kneser_ney import kneser_ney, unigram_probabilities
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.utf8 import decode_utf8, head_bytes, tail_bytes

SCALARS = 0x110000 - 0x800


def docs(begin: int, end: int) -> str:
    """English prose with some code, a part of what every Python carries."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))[begin:end]


def measured(train: str | bytes, val: str | bytes, **options: Any) -> Baselines:
    known, wanted = (text.encode() if isinstance(text, str) else text for text in (train, val))
    found = measure(known, wanted, **options)
    assert found is not None
    return found


def slow_ngram(train: list[int], size: int, order: int) -> Callable[[tuple[int, ...], int], float]:
    """p(token | context) by modified Kneser-Ney, with dictionaries. `<s>` is -1."""
    text = (-1,) * (order - 1) + tuple(train)
    tables = {order: Counter(text[end - order : end] for end in range(order, len(text) + 1))}
    for length in range(order - 1, 0, -1):
        tables[length] = Counter(gram[1:] for gram in tables[length + 1])
    followers: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
    taken = {}
    for length, table in tables.items():
        n = Counter(table.values())
        cut = [0.5, 1.0, 1.5]
        if n[1] and n[2] and n[3]:
            y = n[1] / (n[1] + 2 * n[2])
            found = [count - (count + 1) * y * n[count + 1] / n[count] for count in (1, 2, 3)]
            cut = found if min(found) > 0 else cut
        taken[length] = cut
        for gram, times in table.items():
            followers[gram[:-1]][gram[-1]] = times
    totals = {context: sum(after.values()) for context, after in followers.items()}
    lefts = {
        context: sum(taken[len(context) + 1][min(times, 3) - 1] for times in after.values())
        for context, after in followers.items()
    }

    def probability(context: tuple[int, ...], token: int) -> float:
        lower = probability(context[1:], token) if context else 1 / size
        after = followers.get(context)
        if not after:
            return lower
        cut = taken[len(context) + 1]
        here = after.get(token, 0)
        return ((here - cut[min(here, 3) - 1] if here else 0) + lefts[context] * lower) / totals[context]

    return probability


def slow(train: str, val: str, order: int = 5) -> dict[str, float]:
    """All but xz, one character after another."""
    known = sorted(set(train))
    ids = {char: place for place, char in enumerate(known)}
    size = len(known) + 1
    given, wanted = [ids[char] for char in train], [ids.get(char, len(known)) for char in val]
    counts = Counter(given)
    probability = slow_ngram(given, size, order)
    padded = [-1] * (order - 1) + wanted
    bits = {"uniform": 0.0, "unigram": 0.0, "ngram": 0.0}
    for place, token in enumerate(wanted):
        unknown_bits = math.log2(SCALARS - len(known)) if token == len(known) else 0.0
        alone = (counts[token] + len(known) / size) / (len(given) + len(known))
        after = probability(tuple(padded[place : place + order - 1]), token)
        for name, p in (("uniform", 1 / size), ("unigram", alone), ("ngram", after)):
            bits[name] += unknown_bits - math.log2(p)
    return {name: value / len(val) for name, value in bits.items()}


def drawn(seed: int, alphabet: str, count: int) -> str:
    """Random text in which some characters are rare and some contexts common."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(alphabet) + 1)
    words = ["".join(generator.choice([*alphabet], 3, p=weights / weights.sum())) for _ in range(12)]
    return "".join(generator.choice([*words, *alphabet], count))[:count]


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("ab", "ba"),
        ("x", "x"),
        ("x", "y"),
        ("x" * 500, "x" * 100),
        ("x" * 500, "xxxxyxxxx"),
        ("abc", "abcabcabc" * 20),
        ("the cat sat on the mat\n" * 3, "the rat sat on the hat; ÿ中\U0010ffff\n"),
        ("\0\r\n é中", "\0\0e\u0301\u2028"),
        *[(drawn(seed, "abcdefgh ", 300), drawn(seed + 1, "abcdefghij ", 200)) for seed in range(0, 20, 2)],
        (docs(0, 20_000), docs(20_000, 24_000)),
        (docs(300_000, 330_000), docs(100_000, 103_000)),
    ],
)
def test_as_slow_versions_have_it(train: str, val: str) -> None:
    """Unknown characters, texts shorter than a context and single tokens included."""
    found = measured(train, val)
    for name, bits in slow(train, val).items():
        assert getattr(found, name) == pytest.approx(bits, rel=1e-9), name
    assert (found.train_bytes, found.val_bytes) == (len(train.encode()), len(val.encode()))


@pytest.mark.parametrize("order", [1, 2, 3, 4, 7])
def test_other_orders(order: int) -> None:
    train, val = docs(0, 6000), docs(6000, 7000)
    assert measured(train, val, order=order).ngram == pytest.approx(slow(train, val, order)["ngram"], rel=1e-9)


def test_many_tokens() -> None:
    """60,000 characters, so that n-grams packed into one integer would not fit."""
    chars = [chr(0x10000 + place) for place in np.random.default_rng(1).permutation(60_000)]
    train, val = "".join(chars[:59_000] * 2), "".join(chars[10:2000] + chars[-500:] + chars[30_000:31_000])
    found = measured(train, val)
    assert found.uniform == pytest.approx(slow(train, val, 1)["uniform"])
    assert found.ngram == pytest.approx(slow(train, val)["ngram"], rel=1e-9)


TEXTS = {
    "english": [*np.frombuffer(docs(5000, 8000).encode(), np.uint8) % 32],
    "one token": [0] * 50,
    "one of one": [0],
    "even": [*np.random.default_rng(1).integers(0, 31, 4000)],
    "steep": [*np.minimum(np.random.default_rng(2).geometric(0.3, 3000), 31)],
}


@pytest.mark.parametrize("name", TEXTS)
def test_distributions_sum_to_one(name: str) -> None:
    """After contexts that are seen, partly seen, unseen, shorter than four tokens, with `<unk>` (32) in them."""
    train, size = np.array(TEXTS[name], np.int64), 33
    contexts: list[Any] = [[], [0], [32], train[:3], train[:4], train[-4:], train[40:45], [7, 7, 7, 7]]
    contexts += [[32, 32, *train[:2]], [5, *train[10:12], 5], [*train[:2], 32, 0]]
    for context in contexts:
        after = [kneser_ney(train, np.array([*context, token], np.int64), size)[-1] for token in range(size)]
        assert min(after) > 0
        assert math.fsum(after) == pytest.approx(1, abs=1e-12), context
    assert unigram_probabilities(train, np.arange(size), size).sum() == pytest.approx(1, abs=1e-12)
    assert unigram_probabilities(train, np.arange(size), size).min() > 0


@pytest.mark.parametrize("name", ["uniform", "unigram", "ngram"])
def test_the_rest_of_unicode_is_counted(name: str) -> None:
    """Over every character there is, of which all unknown ones are alike, probabilities sum to 1."""
    train = "the cat\n"
    known = [2 ** -getattr(measured(train, char), name) for char in sorted(set(train))]
    unknown = {2 ** -getattr(measured(train, char), name) for char in "z中\U0010ffff"}
    assert len(unknown) == 1
    assert math.fsum(known) + unknown.pop() * (SCALARS - len(known)) == pytest.approx(1, abs=1e-9)


def test_by_hand() -> None:
    """N(a) = 3, N(b) = 1, so N = 4, T = 2 and V = 3 with `<unk>`."""
    found = measured("aaba", "ab")
    assert found.uniform == pytest.approx(math.log2(3))
    a, b = (3 + 2 / 3) / 6, (1 + 2 / 3) / 6
    assert found.unigram == pytest.approx(-math.log2(a * b) / 2)
    unknown = measured("aaba", "c")
    assert unknown.uniform == pytest.approx(math.log2(3) + math.log2(SCALARS - 2))
    assert unknown.unigram == pytest.approx(-math.log2(2 / 3 / 6) + math.log2(SCALARS - 2))


def test_unknown_characters_cost_what_the_tokenizer_says() -> None:
    """So that a baseline compares with a model's score of the same text."""
    train, val = docs(0, 3000), "é中" * 10
    char = CharTokenizer.from_text(decode_utf8(train.encode()))
    assert measured(train, val).uniform == pytest.approx(math.log2(char.size) + char.unknown_cost / math.log(2))


@pytest.mark.parametrize(("train", "val"), [(docs(0, 400_000), docs(400_000, 430_000)), ("中文" * 500, "中" * 300)])
def test_xz(train: str, val: str) -> None:
    """What xz's own file grows by, per character and not per byte."""
    alone, both = (len(lzma.compress(text.encode())) for text in (train, train + val))
    assert measured(train, val).xz == 8 * (both - alone) / len(val)


def test_without_xz(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some Pythons are built without it."""
    monkeypatch.setitem(sys.modules, "lzma", None)
    found = measured("abc", "abc")
    assert found.xz is None
    assert found.uniform == 2


def test_order_of_english() -> None:
    found = measured(docs(0, 300_000), docs(300_000, 330_000))
    assert found.uniform > found.unigram > found.ngram > 1
    assert found.xz is not None
    assert found.unigram > found.xz > 0.5  # these pages repeat whole sentences
    orders = [measured(docs(0, 300_000), docs(300_000, 330_000), order=order).ngram for order in (1, 2, 3, 4, 5)]
    assert orders == sorted(orders, reverse=True)


def test_other_ids_for_tokens() -> None:
    """Nothing but xz depends on which character is which."""
    train, val = docs(0, 20_000), docs(20_000, 24_000)
    letters = sorted(set(train + val))
    others = [chr(0x4E00 + place) for place in np.random.default_rng(1).permutation(len(letters))]
    renamed = str.maketrans(dict(zip(letters, others, strict=True)))
    found, again = measured(train, val), measured(train.translate(renamed), val.translate(renamed))
    for name in ("uniform", "unigram", "ngram"):
        assert getattr(again, name) == pytest.approx(getattr(found, name), rel=1e-9)


def test_shuffled_text() -> None:
    """Without order there is nothing to be had beyond frequencies, which stay what they are."""
    train, val = docs(0, 100_000), docs(100_000, 110_000)
    mixed = ["".join(np.random.default_rng(1).permutation([*text])) for text in (train, val)]
    found, shuffled = measured(train, val), measured(mixed[0], mixed[1])
    assert shuffled.unigram == pytest.approx(found.unigram, rel=1e-12)
    assert shuffled.ngram > shuffled.unigram > found.ngram


@pytest.mark.parametrize("which", [0, 1])
def test_bytes_that_are_not_utf8(which: int) -> None:
    """Where either text is not UTF-8, 256 bytes are known; divided by those that begin a character."""
    texts = [docs(0, 3000).encode(), "é 中".encode() * 50]
    texts[which] = texts[which] + b"\xff\x80\x80"
    chars = sum(byte & 0xC0 != 0x80 for byte in texts[1])
    found = measured(texts[0], texts[1])
    assert found.uniform == pytest.approx(8 * len(texts[1]) / chars)
    probability = slow_ngram([*texts[0]], 256, 5)
    padded = [-1] * 4 + [*texts[1]]
    bits = -sum(math.log2(probability(tuple(padded[at : at + 4]), padded[at + 4])) for at in range(len(texts[1])))
    assert found.ngram == pytest.approx(bits / chars, rel=1e-9)


def test_byte_order_mark() -> None:
    """IN-05: at the start it is no character, as for the tokenizers."""
    found, plain = measured("\ufeffabcab", "\ufeffcab"), measured("abcab", "cab")
    assert (found.uniform, found.unigram, found.ngram) == (plain.uniform, plain.unigram, plain.ngram)


@pytest.mark.parametrize(
    ("train", "val"), [(b"", b""), (b"abc", b""), (b"", b"abc"), (b"abc", b"\x80\x80"), (b"abc", b"\xef\xbb\xbf")]
)
def test_nothing_to_measure(train: bytes, val: bytes) -> None:
    assert measure(train, val) is None


class SignalHandler(Exception):  # noqa: N818
    pass


def test_check_ends_it() -> None:
    """Whenever it is called, and no thread goes on."""
    train, val = docs(0, 30_000).encode(), docs(30_000, 33_000).encode()
    threads = threading.active_count()
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    measure(train, val, count)
    assert calls >= 6  # before every order at least
    for last_call in range(1, 7):
        left: Iterator[int] = iter(range(1, last_call))

        def stop(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise SignalHandler

        with pytest.raises(SignalHandler):
            measure(train, val, stop)
        assert threading.active_count() == threads


def test_xz_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """When `check` raises, compression ends at the next piece."""
    pieces = 0

    class Slow:
        def compress(self, data: bytes) -> bytes:
            nonlocal pieces
            pieces += 1
            time.sleep(0.01)
            return b""

    def stop() -> None:
        raise SignalHandler

    monkeypatch.setattr(lzma, "LZMACompressor", Slow)
    monkeypatch.setattr(baselines, "_CHUNK_BYTES", 10)
    with pytest.raises(SignalHandler):
        measure(b"x" * 3000, b"x", stop)
    assert pieces < 300


CUTS = "aé中\U0001f600" * 3


@pytest.mark.parametrize("limit", range(len(CUTS.encode()) + 2))
def test_cuts_keep_characters_whole(limit: int) -> None:
    """As much as fits, from the beginning or the end."""
    text = CUTS.encode()
    fits = [length for length in range(len(CUTS) + 1) if len(CUTS[:length].encode()) <= limit]
    assert head_bytes(text, limit) == CUTS[: fits[-1]].encode()
    fits = [length for length in range(len(CUTS) + 1) if len(CUTS[len(CUTS) - length :].encode()) <= limit]
    assert tail_bytes(text, limit) == CUTS[len(CUTS) - fits[-1] :].encode()


def test_cuts_of_what_is_not_utf8() -> None:
    """Three bytes are lost at most."""
    for limit in range(20):
        for cut in (head_bytes, tail_bytes):
            assert limit - 3 <= len(cut(b"\x80" * 30, limit)) <= limit
    assert head_bytes(b"ab\xe4\xb8", 9) == b"ab\xe4\xb8"
    assert tail_bytes(b"\xb8ab", 3) == b"\xb8ab"

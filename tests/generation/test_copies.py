"""`--no-repeat` and `--max-copy`: what is drawn does neither, found by searching the text itself; by each engine that
samples on the CPU the same."""

import codecs
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.engines.base import CopyIndex
from charrnn.engines.native import lib as core
from charrnn.errors import UsageError
from charrnn.generation import copies
from charrnn.generation.copies import blocks_of, copied_chars, copy_index, window_hashes
from charrnn.generation.generate import TextChunk, generate, joined
from charrnn.generation.guards import CopyGuard, CopyRules, RepeatGuard
from charrnn.generation.match import match_dfa
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny

ENGINES = ["numpy", *(["native"] if core.library() else [])]

TEXT = "the cat sat on the mat. é日😀日é the dog ran at the cat that sat there, then\nthe end.\n"

KINDS: Mapping[str, Tokenizer] = {"char": tiny.char(), "byte": ByteTokenizer(), "sentencepiece": tiny.pieces()}


def index_of(tokenizer: Tokenizer, text: bytes, length: int) -> CopyIndex | None:
    """What `--max-copy` of this length knows."""
    return copy_index(blocks_of([[text]], length), length, len(text) + 1, tokenizer.token_bytes)


def longest_copy(text: str, other: str) -> int:
    """Characters of the longest stretch of a text that stands in the other."""
    best = 0
    for begin in range(len(text)):
        while begin + best < len(text) and text[begin : begin + best + 1] in other:
            best += 1
    return best


def partly_decoded(data: bytes) -> str:
    """The characters that are complete."""
    return codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(data)


def has_repeat(ids: Sequence[int], length: int) -> bool:
    grams = [tuple(ids[begin : begin + length]) for begin in range(len(ids) - length + 1)]
    return len(set(grams)) < len(grams)


def reciting(tokenizer: Tokenizer, strength: float = 9.0) -> Checkpoint:
    """Writes `TEXT` over and over, with slips; the weaker the more."""
    return tiny.reciting(tokenizer, TEXT.encode(), strength)


def texts_of(
    engine: str, model: Checkpoint, prompt: str = "", *, index: CopyIndex | None = None, echo: bool = False,
    separator: bytes = b"", batch_size: int | None = None, **options: object,
) -> list[TextChunk]:  # fmt: skip
    ids = [model.tokenizer.encode(prompt.encode())]
    params = SampleConfig(**{"num": 6, "length": 150, **options})  # type: ignore[arg-type]
    return list(
        joined(
            generate(
                tiny.engine_of(model, engine), model.tokenizer, ids, params, seed=3, copies=index, echo=echo,
                separator=separator, batch_size=batch_size,
            )
        )
    )  # fmt: skip


def test_window_hashes_are_what_they_are_said_to_be() -> None:
    points = np.random.default_rng(1).integers(0, 1 << 21, 40).astype(np.uint32)
    for length in (1, 2, 3, 7, 8, 31, 40):
        expected = [
            sum(int(c) * pow(CopyIndex.base, length - n, 1 << 64) for n, c in enumerate(points[at : at + length]))
            for at in range(len(points) - length + 1)
        ]
        assert window_hashes(points, length).tolist() == [value % (1 << 64) for value in expected]


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_an_index_has_every_window(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the text is cut into chunks and blocks; each once, of invalid UTF-8 too."""
    monkeypatch.setattr(copies, "_BLOCK", block)
    data = TEXT.encode() + b"\xff\xe4\xb8 a \xed\xa0\x80" + TEXT.encode() + b"\xe6\x97"
    points = [ord(char) for char in data.decode("utf-8", "surrogateescape")] + [0x110000]
    for length in (1, 4, 30):
        hashes = window_hashes(np.array(points, np.uint32), length)
        mask = (1 << 21) - 1
        expected = sorted({int(h) & ~mask | c for h, c in zip(hashes, points[length:], strict=False)})
        for size in (1, 5, 1000):
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            index = copy_index(blocks_of([chunks], length), length, len(data) + 1, [])
            assert index is not None
            assert index.keys.tolist() == expected
    assert copy_index(blocks_of([[b"abc"], [b"d"]], 6), 6, 6, []) is None
    assert copy_index(blocks_of([], 6), 6, 0, []) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 3, 8, 20])
def test_no_longer_stretch_is_copied(kind: str, length: int) -> None:
    """Searched for in the text itself; without it there are far longer ones."""
    model = reciting(KINDS[kind])
    index = index_of(model.tokenizer, TEXT.encode(), length)
    found = [texts_of(engine, model, index=index) for engine in ENGINES]
    free = texts_of("auto", model)
    assert found == [found[0]] * len(found)
    copied = [longest_copy(text.data.decode("utf-8", "surrogateescape"), TEXT) for text in found[0]]
    assert length - 3 * (kind == "sentencepiece") <= max(copied) <= length  # a piece has several characters
    assert max(longest_copy(text.data.decode("utf-8", "surrogateescape"), TEXT) for text in free) > 20
    assert all(each.tokens == 150 for each in found[0] if each.finish_reason == "length")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_text_is_the_same_in_any_company(engine: str) -> None:
    """CL-26."""
    model = reciting(KINDS["char"])
    index = index_of(model.tokenizer, TEXT.encode(), 6)
    for options in ({"index": index}, {"no_repeat": 3}, {"index": index, "no_repeat": 4, "top_p": 0.9, "top_k": 5}):
        many = texts_of(engine, model, num=8, length=90, **options)
        assert many == texts_of(engine, model, num=8, length=90, batch_size=3, **options)
        assert many[:1] == texts_of(engine, model, num=1, length=90, **options)


def test_masks_come_before_the_other_controls() -> None:
    """Of the two likeliest one is a copy, so that with `top_k` 1 it is the other; nothing else changes."""
    model = tiny.unigram(tiny.char("abc"), {b"a": 2.0, b"b": 1.0})
    index = index_of(model.tokenizer, b"aa bb", 1)
    for engine in ENGINES:
        [text] = texts_of(engine, model, index=index, num=1, length=6, top_k=1)
        assert text.data == b"ababab"
        [text] = texts_of(engine, model, num=1, no_repeat=2, temp=0)
        assert (text.data, text.finish_reason) == (b"aabaca", "stop")
    model = tiny.drawn(tiny.char())
    assert texts_of("auto", model, index=index_of(model.tokenizer, TEXT.encode() * 9, 60)) == texts_of("auto", model)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_text_ends_where_nothing_may_follow(engine: str) -> None:
    """Which is a stop: also before its first token; and at its length it is cut."""
    model = tiny.unigram(tiny.char("ab"))
    every_pair = index_of(model.tokenizer, b"aabba", 1)
    ends = [(text.data, text.tokens, text.finish_reason) for text in texts_of(engine, model, index=every_pair)]
    assert {each[1:] for each in ends} == {(1, "stop")}
    assert {each[0] for each in ends} == {b"a", b"b"}
    [text] = texts_of(engine, model, "b", index=every_pair, num=1)
    assert (text.data, text.tokens, text.finish_reason) == (b"", 0, "stop")
    assert {text.finish_reason for text in texts_of(engine, model, index=every_pair, length=1)} == {"length"}
    for text in texts_of(engine, model, no_repeat=2, length=0):
        assert (text.tokens <= 5, text.finish_reason) == (True, "stop")
        assert not has_repeat(text.data, 2)
        assert all(has_repeat([*text.data, ord(char)], 2) for char in "ab")


def test_a_stretch_may_begin_in_the_prompt() -> None:
    model = reciting(KINDS["char"], 60.0)
    index = index_of(model.tokenizer, TEXT.encode(), 8)
    for size, copied in ((0, 8), (6, 2), (8, 0), (20, 0)):
        for engine in ENGINES:
            text = texts_of(engine, model, TEXT[:size], index=index, num=1, temp=0)[0].data.decode()
            assert text[:copied] == TEXT[size : size + copied]
            assert text[copied] != TEXT[size + copied]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2, 4])
def test_no_sequence_comes_twice(kind: str, length: int) -> None:
    model = reciting(KINDS[kind])
    found = [texts_of(engine, model, no_repeat=length, length=400) for engine in ENGINES]
    assert found == [found[0]] * len(found)
    if kind != "sentencepiece":  # whose text may be cut into other pieces
        assert not any(has_repeat(model.tokenizer.encode(text.data).tolist(), length) for text in found[0])
    assert {text.tokens for text in found[0]} <= {*range(1, 401)}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_prompt_is_repeated_where_it_is_part_of_the_text(engine: str) -> None:
    model = tiny.unigram(tiny.char("abcdefgh"))
    free = texts_of(engine, model, "abcd", no_repeat=1, num=50)
    echoed = texts_of(engine, model, "abcd", no_repeat=1, num=50, echo=True)
    assert {text.tokens for text in free} == {8}
    assert {text.tokens for text in echoed} == {4}
    assert all(not set(text.data) & set(b"abcd") for text in echoed)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_ends_a_record_is_no_part_of_it(engine: str) -> None:
    """It may come again, and the prompt's earlier records do not count."""
    model = tiny.unigram(tiny.char("abcd\n"))
    for separator in (b"\n", b"\n\n"):
        found = texts_of(engine, model, "ab\ncd" if separator == b"\n" else "ab\n\ncd", no_repeat=1, num=99, echo=True,
                         separator=separator)  # fmt: skip
        assert {text.finish_reason for text in found} == ({"end"} if separator == b"\n" else {"end", "stop"})
        assert {text.data.replace(b"\n", b"") for text in found} == {b"", b"a", b"b", b"ab", b"ba"}


def test_guards_forget_nothing() -> None:
    """Against a search of all that has been added, over many random tokens."""
    random = np.random.default_rng(4)
    for length in (1, 2, 3, 5):
        guard, ids = RepeatGuard(length, 3), list[int]()
        for token in random.integers(0, 3, 400).tolist():
            guard.add(token)
            ids.append(token)
            context = tuple(ids[len(ids) - length + 1 :])
            grams = {tuple(ids[at : at + length]) for at in range(len(ids) - length + 1)}
            assert guard.forbidden().tolist() == [(*context, other) in grams for other in range(3)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_forbidden_is_what_would_copy(kind: str) -> None:
    """Token by token, against a search; with bytes that are no characters too."""
    tokenizer, text = KINDS[kind], TEXT.encode() + b"\xe6\x97 \xff\x80"
    decoded = text.decode("utf-8", "surrogateescape")
    random = np.random.default_rng(5)
    for length in (2, 6):
        index = index_of(tokenizer, text, length)
        assert index is not None
        guard, data = CopyGuard(CopyRules(index)), b""
        ids = tokenizer.encode(TEXT.encode()).tolist()
        if kind == "byte":
            ids += [*b"\xe6\x97 \xff\x80\xe6\xff"]
        for token in ids:
            if random.random() < 0.1:
                token = int(random.integers(2, tokenizer.size))
            guard.add(token)
            data += tokenizer.token_bytes[token]
            expected = []
            for other in tokenizer.token_bytes:
                so_far, then = (partly_decoded(each) for each in (data, data + other))
                windows = (then[at - length : at + 1] for at in range(max(length, len(so_far)), len(then)))
                expected.append(any(len(window) > length and window in decoded for window in windows))
            assert guard.forbidden().tolist() == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("separator", [b"", b"\n"], ids=repr)
def test_with_a_pattern_that_any_beginning_matches(engine: str, separator: bytes) -> None:
    """A text that ends where nothing may follow matches too; other patterns are refused."""
    model = tiny.unigram(tiny.char("abcd\n"))
    match = match_dfa(model.tokenizer, "[abc]*", separator, 60, ended_by=["no_repeat"])
    params = SampleConfig(num=40, length=60, no_repeat=2)
    ids = [model.tokenizer.encode(b"")]
    engine_ = tiny.engine_of(model, engine)
    found = joined(generate(engine_, model.tokenizer, ids, params, seed=1, match=match, separator=separator))
    texts = list(found)
    assert len(texts) == 40
    assert all(re.fullmatch("[abc]*", text.data.decode()) and not has_repeat(text.data, 2) for text in texts)
    for pattern in ("[abc]+", "a|bc", "(ab)*"):
        with pytest.raises(UsageError, match="match and no_repeat cannot be used together with this pattern"):
            match_dfa(model.tokenizer, pattern, separator, 60, ended_by=["no_repeat"])


def test_how_much_is_copied() -> None:
    """Characters, each once, however many stretches it lies in; none that goes on in another text or document."""
    other = [[b"0123456789"], ["日本語のテキスト".encode()]]
    for texts, length, expected in (
        (["0123x456789"], 4, 10),
        (["0123x456789"], 5, 6),
        (["0123x456789"], 7, 0),
        (["x0123456789", "本語の"], 3, 13),
        (["01", "23456", "9日本語"], 4, 5),
        (["012"], 4, 0),
        ([], 4, 0),
    ):
        points = [np.array([ord(char) for char in text], np.uint32) for text in texts]
        assert copied_chars(points, blocks_of(other, length - 1), length) == expected

"""`--match`: every text matches, and is drawn as the model would, were all draws that cannot match left out."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.engines import base
from charrnn.engines.base import END, TokenDFA
from charrnn.engines.native import lib as core
from charrnn.engines.select import ensemble_engine
from charrnn.errors import UsageError
from charrnn.generation import match, rejection
from charrnn.generation.generate import generate
from charrnn.generation.match import match_dfa
from charrnn.model import Model
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny

ENGINES = ["numpy", *(["native"] if core.library() else [])]

PATTERNS = [
    *("[a-z]{4,8}", ".*[éö].*", r"\w{2,5}", "[^0-9]*", "a|ab", "(cat|dog)( (ran|sat)){,3}", "", r"(\w+ ?)+\."),
    *(r"the [^\W\d_]{3}", "(a|日)*😀?", r"[\s\S]*", "(ab|cd)*"),
]

KINDS: Mapping[str, Tokenizer] = {"char": tiny.char(), "byte": ByteTokenizer(), "sentencepiece": tiny.pieces()}


@pytest.fixture(autouse=True)
def _rarely_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of records whatever matches is rare here, and NumPy draws slowly."""
    monkeypatch.setattr(rejection, "MAX_REJECTED", 50)
    monkeypatch.setattr(rejection, "MAX_TOKENS", 0)


@cache
def checkpoint(kind: str, separator: bytes) -> Checkpoint:
    return tiny.drawn(KINDS[kind], separator=separator)


def model_of(*checkpoints: Checkpoint, engine: str = "auto") -> Model:
    first = checkpoints[0]
    networks = [(each.architecture, each.weights) for each in checkpoints]
    found = ensemble_engine(networks, engine=engine, precision="float32")  # in int8 the core alone draws
    return Model(found, first.tokenizer, separator=first.separator, networks=networks)


FORMS = [*itertools.product(KINDS, (b"", b"\n")), ("char", b"\n\n"), ("char", b"a.a"), ("sentencepiece", b"at")]


@pytest.mark.parametrize(("kind", "separator"), FORMS)
def test_every_text_matches(kind: str, separator: bytes) -> None:
    """None has more tokens than its length, and none of a record has its end in it. NumPy draws the same ones: each
    pattern's of some forms."""
    model, slow = (model_of(checkpoint(kind, separator), engine=engine) for engine in ("auto", "numpy"))
    for number, pattern in enumerate(PATTERNS, FORMS.index((kind, separator))):
        texts = list(model.samples(12, match=pattern, seed=3, length=24, temp=1.2))
        if number % 3 == 0:
            assert list(slow.samples(3, match=pattern, seed=3, length=24, temp=1.2)) == texts[:3]
        for text in texts:
            assert re.fullmatch(pattern, text), (pattern, text)
            assert len(KINDS[kind].encode(text.encode())) <= 24
            assert not separator or separator.decode() not in text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("separator", [b"", b"\n"], ids=repr)
def test_what_matches_everything_changes_nothing(separator: bytes, engine: str) -> None:
    """Not a byte: neither `<unk>` nor a mask takes part."""
    model = model_of(checkpoint("char", separator), engine=engine)
    assert list(model.samples(20, match=r"(.|\n)*", seed=5)) == list(model.samples(20, seed=5))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_text_does_not_depend_on_those_beside_it(engine: str) -> None:
    for separator in (b"", b"\n"):
        model = model_of(checkpoint("char", separator), engine=engine)
        many = list(model.samples(70, "the ", match=r"[a-z]+( [a-z]+)*", seed=9))
        assert list(model.samples(3, "the ", match=r"[a-z]+( [a-z]+)*", seed=9)) == many[:3]
        assert model.sample("the ", match=r"[a-z]+( [a-z]+)*", seed=9) == many[0]
        assert "".join(model.stream("the ", match=r"[a-z]+( [a-z]+)*", seed=9)) == many[0]
        assert len(set(many)) > 20


@pytest.mark.parametrize("engine", ENGINES)
def test_a_text_without_end(engine: str) -> None:
    """Comes as it is drawn: nothing can end it, so that there is none beside it."""
    model = model_of(checkpoint("char", b""), engine=engine)
    assert not match_dfa(model.tokenizer, r"[\s\S]*", b"", 0).has_end
    assert match_dfa(model.tokenizer, "[^a]*", b"", 0).has_end
    endless = model.stream(match=r"[\s\S]*", length=0, seed=5)
    assert "".join(itertools.islice(endless, 20)).startswith(model.sample(length=20, seed=5))


def test_several_models() -> None:
    other = tiny.drawn(KINDS["char"], "lstm", seed=2)
    texts = list(model_of(checkpoint("char", b""), other).samples(30, match="[a-m]{3,6}[^a-m]", seed=1))
    assert len(texts) == 30
    assert all(re.fullmatch("[a-m]{3,6}[^a-m]", text) for text in texts)
    assert texts != list(model_of(other).samples(30, match="[a-m]{3,6}[^a-m]", seed=1))


def allowed(dfa: TokenDFA, length: int) -> dict[tuple[int, ...], set[int]]:
    """The tokens that may be drawn after each text that can be, by the contract of `TokenDFA`; ends among them."""
    assert dfa.distance is not None
    found: dict[tuple[int, ...], set[int]] = {}
    waiting: list[tuple[tuple[int, ...], int]] = [((), 0)]
    for read, state in waiting:
        left = length - len(read)
        row = dfa.next[state].tolist()
        fits = [to == END or (to >= 0 and dfa.distance[to] <= left - 1) for to in row]
        found[read] = {token for token, fit in enumerate(fits) if fit}
        if left > 1:
            waiting += [((*read, token), row[token]) for token in found[read] if row[token] >= 0]
    return found


@pytest.mark.parametrize(
    "pattern", ["a*", "(ab|ba)*", "a|ab", "(a|b)*b", "ab?a?", "[^.]*", "(..)*", "", "(aab)*(b|)", "a(bbb)?"]
)
@pytest.mark.parametrize("length", [3, 5])
def test_masks_are_exact(pattern: str, length: int) -> None:
    """A token can be drawn just where a text that matches goes on with it within its length; or where the text matches
    and none goes on with it at any length: that ends it. `<unk>` does so where nothing else ends it and everything else
    may be too long. Found by trying all texts."""
    tokenizer = tiny.char("ab.")
    names = [*".ab", "<unk>"]
    texts = ["".join(each) for n in range(length + 1) for each in itertools.product(".ab", repeat=n)]
    matching = {text for text in texts if re.fullmatch(pattern, text)}
    reachable = {text[:n] for text in texts if text in matching for n in range(len(text) + 1)}
    longer = {text[:n] for text in map("".join, itertools.product(".ab", repeat=length + 3)) for n in range(length + 4)}
    alive = {text[:n] for text in longer if re.fullmatch(pattern, text) for n in range(len(text) + 1)}
    for read, tokens in allowed(match_dfa(tokenizer, pattern, b"", length).dfa, length).items():
        text = "".join(names[token] for token in read)
        expected = {name for name in ".ab" if text + name in reachable}
        if text in matching:
            expected |= (leaving := {name for name in ".ab" if text + name not in alive})
            if not leaving and not any(re.fullmatch(pattern, text + name) for name in ".ab"):
                expected.add("<unk>")
        assert {names[token] for token in tokens} == expected, text


@pytest.mark.parametrize("pattern", ["a*", "(ab|ba)*", "a|ab", "(a|b)*b", "(a.)*"])
@pytest.mark.parametrize("separator", [".", "..", ".a."])
def test_masks_of_records_are_exact(pattern: str, separator: str) -> None:
    """A token can be drawn just where some record that matches goes on with it, its end within its length."""
    length, names = 6, [*".ab", "<unk>"]
    texts = ["".join(each) for n in range(length + 1) for each in itertools.product(".ab", repeat=n)]
    whole = {text for text in texts if text.find(separator) == len(text) - len(separator) >= 0}
    matching = {text for text in whole if re.fullmatch(pattern, text.removesuffix(separator))}
    reachable = {text[:n] for text in matching for n in range(len(text) + 1)}
    for read, tokens in allowed(match_dfa(tiny.char("ab."), pattern, separator.encode(), length).dfa, length).items():
        text = "".join(names[token] for token in read)
        assert {names[token] for token in tokens} == {name for name in ".ab" if text + name in reachable}, text


@pytest.mark.parametrize("engine", ENGINES)
def test_draws_are_the_model_s_renormalised(engine: str) -> None:
    """Step by step, as rejection of single tokens would have it: by Pearson's chi-squared, which another distribution
    does not pass."""
    logits = {b"a": 0.0, b"b": 1.0, b"c": 2.0, b".": 0.5}
    model = model_of(tiny.unigram(tiny.char("abc."), logits), engine=engine)
    weight = {char.decode(): np.exp(logit) for char, logit in logits.items()}
    count = 4000
    first = Counter(model.samples(count, match="[abc]", seed=1))
    total = weight["a"] + weight["b"] + weight["c"]
    expected = {char: count * weight[char] / total for char in "abc"}
    assert sum((first[char] - expected[char]) ** 2 / expected[char] for char in "abc") < 13.8
    assert sum((first[char] - count / 3) ** 2 * 3 / count for char in "abc") > 13.8
    # which is not the model's distribution given the match: freely it writes b three times as often as aa
    either = Counter(model_of(tiny.unigram(tiny.char("abc")), engine=engine).samples(count, match="aa|b", seed=3))
    assert (either["aa"] - count / 2) ** 2 * 4 / count < 10.8
    # a text ends where the model's own draw would leave the pattern
    lengths = Counter(map(len, model.samples(count, match="[abc]*", seed=2)))
    goes_on = total / (total + weight["."])
    shares = {n: count * goes_on**n * (1 - goes_on) for n in range(6)}
    assert sum((lengths[n] - shares[n]) ** 2 / shares[n] for n in range(6)) < 22.5


@pytest.mark.parametrize("engine", ENGINES)
def test_why_a_text_ends(engine: str) -> None:
    """And what was drawn to end it is neither part of the text nor counted, nor are its nats."""
    checkpoint = tiny.unigram(tiny.char("ab"), {b"a": 30.0})

    def ends(pattern: str, separator: bytes = b"", length: int = 5) -> tuple[bytes, int, str, float]:
        params = SampleConfig(length=length)
        dfa = match_dfa(checkpoint.tokenizer, pattern, separator, length)
        ids = np.zeros(0, np.int64)
        found = list(
            generate(
                tiny.engine_of(checkpoint, engine), checkpoint.tokenizer, [ids], params, seed=1, separator=separator,
                match=dfa, with_nats=True,
            )
        )  # fmt: skip
        return b"".join(each.data for each in found), found[-1].tokens, found[-1].finish_reason, found[-1].nats

    assert ends("a*")[:3] == (b"aaaaa", 5, "length")
    assert ends("aa?")[:3] == (b"aa", 2, "end")
    assert ends("aa")[3] == pytest.approx(0, abs=1e-6)
    assert ends("b{2,}a*")[:3] == (b"bbaaa", 5, "length")
    assert ends("b{2,}a*")[3] == pytest.approx(60)
    assert ends("a{5}")[:3] == (b"aaaaa", 5, "length")
    assert ends("a{5}", length=0)[:3] == (b"aaaaa", 5, "end")
    assert ends("b*")[:3] == (b"", 0, "end")
    assert ends("")[:3] == (b"", 0, "end")
    assert ends("a+", b"b")[:3] == (b"aaaa", 5, "end")


def test_a_text_that_must_not_go_on_ends() -> None:
    """Where everything goes on and nothing could end in time, `<unk>` ends the text; it is never written."""
    model = model_of(tiny.unigram(tiny.char("ab")))
    for text in model.samples(200, match="([ab][ab])*", length=5, seed=1):
        assert len(text) in (0, 2, 4)


@pytest.mark.parametrize(
    ("kind", "pattern", "separator", "length", "complaint"),
    [
        ("char", "ß+", b"", 5, "no text of the characters that the model can write matches"),
        ("char", "a{6}", b"", 5, "the shortest text that matches has 6 tokens, above length 5"),
        ("char", "a{5}", b"\n", 5, "the shortest text that matches has 6 tokens, its end among them, above length 5"),
        ("byte", "日日", b"", 5, "the shortest text that matches has 6 tokens, above length 5"),
        ("char", "a\nb", b"\n", 50, "no text that the model can write matches"),
        ("byte", "a", b"\xff", 50, "match cannot be used: what ends the model's records is not UTF-8"),
        ("char", "(", b"", 50, "match, column 1: there is no ) for this ("),
    ],
)
def test_what_cannot_be(kind: str, pattern: str, separator: bytes, length: int, complaint: str) -> None:
    """At once, by the call that makes the iterator too."""
    with pytest.raises(UsageError) as error:
        model_of(tiny.drawn(KINDS[kind], separator=separator)).stream(match=pattern, length=length)
    assert str(error.value).removeprefix("match: ") == complaint
    if "above" in complaint:
        assert model_of(tiny.drawn(KINDS[kind], separator=separator)).sample(match=pattern, length=6)


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of transitions, as any automaton's; and of the time that walking the tokens takes."""
    monkeypatch.setattr(base, "MAX_DFA_SIZE", 370)
    assert match_dfa(tiny.char(), "a{9}", b"", 0).dfa.next.shape == (10, 37)
    with pytest.raises(UsageError, match="needs 11 states for 37 tokens: more than 370 transitions"):
        match_dfa(tiny.char(), "a{10}", b"", 0)
    monkeypatch.setattr(match, "BUILD_SECONDS", -1)
    with pytest.raises(UsageError, match="takes more than 5 s to build"):
        match_dfa(tiny.char(), "a", b"", 0)


@pytest.mark.parametrize("separator", [b"", b"\n", b"at"], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_part_of_the_match(kind: str, separator: bytes) -> None:
    """Of each prompt what stands before its texts, though the model may not know it."""
    model = model_of(checkpoint(kind, separator))
    echoes = [b"", b"S", "Sß".encode(), b"", b"Sab", b"S"]
    for pattern in ("(Sß?[a-z]{2,4})?", "S?ß?[^0-9S]{2,9}"):
        dfa = match_dfa(model.tokenizer, pattern, separator, 20, echoes)
        prompts = [np.zeros(0, np.int64)] * len(echoes)
        params = SampleConfig(num=20, length=20)
        texts = [[b""] * 20 for _ in echoes]
        for chunk in generate(
            model.engine, model.tokenizer, prompts, params, seed=3, separator=separator, match=dfa
        ):  # fmt: skip
            texts[chunk.prompt][chunk.index] += chunk.data
        for echo, continued in zip(echoes, texts, strict=True):
            for text in continued:
                assert re.fullmatch(pattern, (echo + text).decode()), (echo, text)
            assert len(set(continued)) > 3 or pattern.endswith("?")


@pytest.mark.parametrize(
    ("echo", "complaint"),
    [
        (b"X", "no text that begins with 'X' and that the model can write matches"),
        (b"aaaa", "no text that begins with 'aaaa' and that the model can write matches"),
        (b"a", "the shortest text that begins with 'a' and matches has 2 tokens after it, above {length} 1"),
    ],
)
def test_what_cannot_go_on(echo: bytes, complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        match_dfa(tiny.char(), "a{3}", b"", 1, [b"aa", echo])
    assert error.value.text == "{match}: " + complaint


def test_stop_strings_have_no_place() -> None:
    with pytest.raises(UsageError, match="match and stop cannot be used together"):
        model_of(checkpoint("char", b"")).sample(match="a", stop="b")

"""Scores from Python: of tokens, of many texts, of what comes next, and the difference of two models."""

import itertools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.errors import CheckpointError, InputError, NonFiniteError, UsageError
from charrnn.scoring.rows import MAX_TEXTS
from charrnn.scoring.tokens import token_name
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny

TEXT = "the cat sat.\nné 日 Ü\n\nfin"
BOM = "\ufeff"


def loaded(kind: str) -> charrnn.Model:
    """A model of the kind: its tokenizer, and whether it is of records or the mean of two."""
    tokenizers: dict[str, Tokenizer] = {"char": tiny.char(), "byte": ByteTokenizer(), "pieces": tiny.pieces()}
    separator = b"\n" if "records" in kind else b""
    drawn = [tiny.drawn(tokenizers[kind.split()[0]], separator=separator, seed=seed) for seed in (1, 2)]
    names = [tiny.saved(Path(f"{kind}{seed}"), model) for seed, model in enumerate(drawn, 1)]
    return charrnn.load(*names[: 2 if "mean" in kind else 1])


KINDS = ("char", "char records", "char mean", "byte", "byte records", "pieces", "pieces records")


@pytest.mark.parametrize("text", [TEXT, BOM + "a\n" + BOM + "b\n", "a", ""], ids=["text", "marks", "letter", "empty"])
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_add_up_to_the_text(kind: str, text: str) -> None:
    """Nats, count and bytes; each stands where its offset says, and what is unknown has its own characters."""
    model = loaded(kind)
    found, score = model.score_tokens(text), model.score(text)
    assert [each.dtype.name for each in found[:4]] == ["float64", "int64", "float64", "int64"]
    assert [len(each) for each in found] == [score.tokens] * 5
    assert found.nats.sum() == pytest.approx(score.nats, rel=1e-6)
    whole = text if kind.startswith("byte") else text.removeprefix(BOM)
    if model.separator and whole and not whole.endswith("\n"):
        whole += "\n"
    assert b"".join(found.tokens).decode() == whole
    dropped = len(text) - len(whole.removesuffix("\n")) - text.endswith("\n")  # a byte order mark
    chars = [index for index, char in enumerate(whole, dropped) for _ in char.encode()]  # of each byte
    starts = itertools.accumulate(map(len, found.tokens[:-1]), initial=0)
    assert found.offsets.tolist() == [chars[start] for start, _ in zip(starts, found.tokens, strict=False)]


@pytest.mark.parametrize("kind", ["char", "char mean", "byte", "pieces"])
def test_ranks_and_entropies_are_of_the_distribution(kind: str) -> None:
    model = loaded(kind)
    ids = model.tokenizer.encode(TEXT.encode()).astype(np.int64)
    V = model.engine.vocabulary
    ln_p, _ = model.engine.predict(np.append(V, ids)[None], model.engine.zero_state(1))
    ln_p = ln_p[0, 1:].astype(np.float64)  # (T, V)
    found = model.score_tokens(TEXT)
    own = ln_p[np.arange(len(ids)), ids]
    assert found.ranks.tolist() == (1 + (ln_p > own[:, None]).sum(1)).tolist()
    assert found.entropies == pytest.approx(-(np.exp(ln_p) * ln_p).sum(1) / math.log(2), rel=1e-5)
    unknown = model.tokenizer.unknown_cost * (ids == model.tokenizer.unknown)
    assert found.nats == pytest.approx(unknown - own, rel=1e-6)


@pytest.mark.parametrize("prompt", ["", "the ", "né Ü"])
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_what_comes_next(kind: str, prompt: str) -> None:
    """They are a distribution, likeliest first: the softmax of what the engine has after the prompt."""
    model = loaded(kind)
    found = model.next_probabilities(prompt)
    assert sum(found.values()) == pytest.approx(1, abs=1e-12)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    V = model.engine.vocabulary
    ids = np.append(V, model.tokenizer.encode(prompt.encode())).astype(np.int64)
    state = model.engine.zero_state(1)
    if len(ids) > 1:
        _, state = model.engine.score(ids[None, :-1], state)
    logits, _ = model.engine.step(ids[-1:], state)
    expected = np.exp(logits[0].astype(np.float64))
    expected /= expected.sum()
    names: dict[str, float] = {}
    for token, data in enumerate(model.tokenizer.token_bytes):
        name = "<unk>" if token == model.tokenizer.unknown else token_name(data)
        names[name] = names.get(name, 0) + expected[token]
    assert found == pytest.approx(names, rel=1e-9)
    if not kind.startswith("pieces"):  # two of its tokens may be one text
        given = model.score_tokens("t", prompt=prompt)
        assert found["t"] == pytest.approx(math.exp(-given.nats[0]), rel=1e-5)
        assert given.ranks[0] == 1 + list(found).index("t")


@pytest.mark.parametrize("kind", ["char", "char mean", "byte", "pieces"])
def test_the_score_after_a_prompt(kind: str) -> None:
    """P(prompt + text) = P(prompt) P(text | prompt), of a text that is tokenised alike alone."""
    model = loaded(kind)
    before, text = "the cat\n", "sat on\n"
    expected = model.score(before + text).nats - model.score(before).nats
    given = model.score(text, prompt=before)
    assert given.nats == pytest.approx(expected, rel=1e-5)
    assert given.bytes == len(text)
    assert model.score_tokens(text, prompt=before.encode()).nats.sum() == pytest.approx(expected, rel=1e-5)
    for end in (True, False):
        [many] = model.score_many([text.removesuffix("\n")], prompt=before, end=end)
        whole = text if end else text.removesuffix("\n")
        assert many.nats == pytest.approx(model.score(whole, prompt=before).nats, rel=1e-5)
        assert many.bytes == len(whole)


def test_the_score_of_a_record_after_a_prompt() -> None:
    """The first record continues it, the others begin anew."""
    model = loaded("char records")
    first, both = model.score("na\n", prompt="an"), model.score("na\nemma\n", prompt="an")
    assert first.nats == pytest.approx(model.score("anna\n").nats - model.score_tokens("an").nats[:2].sum(), rel=1e-5)
    assert both.nats == pytest.approx(first.nats + model.score("emma\n").nats, rel=1e-6)
    assert model.score_tokens("na\nemma", prompt="an").nats.sum() == pytest.approx(both.nats, rel=1e-6)
    for call in (model.score, model.score_tokens, lambda text, prompt: model.score_many([text], prompt=prompt)):
        with pytest.raises(InputError, match="which ends a record of this model"):
            call("na", prompt="an\n")
    with pytest.raises(InputError, match="which ends a record of this model"):
        model.next_probabilities("an\n")


def test_many_texts_are_read_as_their_scores_are_fetched() -> None:
    """There may be no end of them."""
    model = loaded("char")
    fetched = 0

    def endless() -> Iterator[str]:
        nonlocal fetched
        for n in itertools.count():
            fetched += 1
            yield "the cat"[: n % 7]

    scores = model.score_many(endless())
    assert fetched == 0
    for n, score in enumerate(itertools.islice(scores, 2 * MAX_TEXTS + 3)):
        assert score.tokens == n % 7 + 1
        assert n < fetched <= n + MAX_TEXTS


def test_long_texts_are_fetched_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.scoring.rows._MAX_BYTES", 1000)
    texts = iter(["the cat sat\n" * 3] * 100)
    assert len(list(itertools.islice(loaded("char").score_many(texts), 1))) == 1
    assert len(list(texts)) == 100 - 64


@pytest.mark.parametrize("kind", KINDS)
def test_many_texts_have_each_its_own_score(kind: str) -> None:
    model = loaded(kind)
    texts = [TEXT[n : n + n % 9] for n in range(len(TEXT))]
    whole = [text if text.endswith("\n") else text + "\n" for text in texts]
    found = list(model.score_many(texts))
    assert [each.nats for each in found] == pytest.approx([model.score(text).nats for text in whole], rel=1e-5)
    assert [each.bytes for each in found] == [len(text.encode()) for text in whole]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model: model.score_tokens(b"a\xff"), InputError, "^invalid UTF-8 at byte 1"),
        (lambda model: model.score_tokens("a", errors="skip"), UsageError, "^errors must be one of strict, replace"),
        (lambda model: model.score("a", prompt=b"\xff"), InputError, "invalid UTF-8 at byte 0"),
        (lambda model: model.score_many(["a"], prompt=b"\xff"), InputError, "invalid UTF-8 at byte 0"),
        (lambda model: model.score_many(["a"], errors="skip"), UsageError, "^errors must be one of strict, replace"),
        (lambda model: model.score_many("abc"), TypeError, "an iterable of texts, not a single text"),
        (lambda model: model.next_probabilities(b"\xff"), InputError, "invalid UTF-8 at byte 0"),
        (lambda model: model.next_probabilities(errors="no"), UsageError, "^errors must be one of strict, replace"),
        (lambda model: charrnn.compare(model, model, "abc"), TypeError, "an iterable of texts, not a single text"),
        (lambda model: charrnn.compare(model, model, []), InputError, "^no texts to compare the models on$"),
        (lambda model: charrnn.compare(model, model, ["a", b"\xff"]), InputError, r"^texts\[1\]: invalid UTF-8"),
        (lambda model: charrnn.compare(model, "gone", ["a"]), CheckpointError, "no model 'gone'"),
    ],
)
def test_faults(call: Callable[[charrnn.Model], Any], error: type[Exception], message: str) -> None:
    """What is wrong with an argument is raised by the call itself."""
    with pytest.raises(error, match=message):
        call(loaded("char"))


def test_a_text_that_cannot_be_used() -> None:
    """The scores of those before it come first; with "replace" it has one."""
    texts: list[str | bytes] = ["the", "cat", b"sat\n\xff", "on"]
    scores = loaded("char").score_many(texts)
    assert [next(scores).tokens, next(scores).tokens] == [4, 4]
    with pytest.raises(InputError, match=r"^texts\[2\]: invalid UTF-8 at byte 4"):
        next(scores)
    assert [each.replaced for each in loaded("char").score_many(texts, errors="replace")] == [0, 0, 1, 0]
    assert loaded("char").score_tokens(b"a\xff", errors="replace").tokens == [b"a", "\ufffd".encode()]


def test_weights_that_are_not_finite() -> None:
    """NU-06."""
    broken = charrnn.load(tiny.poisoned(Path("m"), tiny.drawn(tiny.char()), float("nan")))
    for call in (broken.score_tokens, broken.next_probabilities, lambda text: list(broken.score_many([text]))):
        with pytest.raises(NonFiniteError):
            call("abc")


def test_threads_share_a_model() -> None:
    model = loaded("char mean")
    texts = [TEXT[n:] for n in range(24)]
    alone = [(model.score_tokens(each).nats.tolist(), model.next_probabilities(each)) for each in texts]
    many = list(model.score_many(texts))
    with ThreadPoolExecutor(4) as pool:
        together = [pool.submit(lambda: list(model.score_many(texts))) for _ in range(2)]
        tokens = pool.map(lambda each: (model.score_tokens(each).nats.tolist(), model.next_probabilities(each)), texts)
        assert list(tokens) == alone
        assert [each.result() for each in together] == [many, many]


LINES = [f"the cat {'sat on the mat'[: n % 15]}" for n in range(300)]


def test_a_model_does_not_differ_from_itself() -> None:
    model = loaded("char")
    found = charrnn.compare(model, model, LINES)
    assert (found.difference, found.low, found.high, found.texts) == (0, 0, 0, 300)


@pytest.mark.parametrize(("one", "other"), [("char", "byte"), ("byte", "char records"), ("char", "char mean")])
def test_the_difference_is_that_of_the_command(
    one: str, other: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `charrnn eval --lines --compare`; read once, from models or the paths of models."""
    loaded(one), loaded(other)
    texts: list[str | bytes] = [*LINES, b"n\xc3\xa9"]
    found = charrnn.compare(f"{one}1", charrnn.load(f"{other}1"), iter(texts))
    text = "".join(line + "\n" for line in [*LINES, "né"]).encode()
    flags = ["-m", f"{one}1", "-m", f"{other}1", "--lines", "--compare"]
    ran = tiny.Program(capfdbinary, monkeypatch)("eval", *flags, stdin=text)
    assert ran.code == 0
    expected = [float(cell) for cell in ran.out.split(b"\t")[2:]]
    assert list(astuple(found)) == pytest.approx(expected, abs=1e-6)
    assert found.bits_per_byte == pytest.approx(
        sum(charrnn.load(f"{one}1").score_many([*LINES, "né"]), charrnn.Score()).bits_per_byte
    )

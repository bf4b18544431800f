"""What texts cost: every token once, exactly, however they are cut and whatever stands beside them."""

import ast
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.corpus.formats import NamedText, Place, Row
from charrnn.engines.base import Array, Ids, InferenceEngine, State
from charrnn.errors import InputError, NonFiniteError
from charrnn.scoring import scorer as scoring
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import Scorer
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny

RNG = np.random.default_rng(0)
TEXT = "".join(RNG.choice(list(tiny.TEXT), 700)).encode()
WORDS = "the  cat sat.\non the\tmat, né 日\r\n".encode()

TOKENIZERS: list[Tokenizer] = [tiny.char(), ByteTokenizer(), tiny.pieces()]
tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.name)
plain = pytest.mark.parametrize("tokenizer", TOKENIZERS[:2], ids=lambda each: each.name)  # of which texts can be cut


def scorer(model: Checkpoint, window: int = 0, streams: int = 1) -> Scorer:
    engine = tiny.engine_of(model)
    return Scorer(engine, model.tokenizer, model.separator, ScoringOptions(window=window, streams=streams))


def text(data: bytes, size: int = 1 << 16, name: str = "") -> NamedText:
    """A text, read so many bytes at a time."""
    return NamedText([(data[at : at + size] for at in range(0, len(data), size))], name)


def score(model: Checkpoint, *datas: bytes, size: int = 1 << 16) -> list[Score]:
    return list(scorer(model).texts(text(data, size) for data in datas))


@tokenizers
@pytest.mark.parametrize("data", [b"a", WORDS, TEXT], ids=["letter", "words", "long"])
def test_equal_probabilities_have_the_vocabulary_s_size_as_perplexity(tokenizer: Tokenizer, data: bytes) -> None:
    """EV-01."""
    model = tiny.unigram(tokenizer)
    [found] = score(model, data)
    assert found.oov == 0
    assert found.perplexity == pytest.approx(tokenizer.size, rel=1e-6)


def test_equal_probabilities_of_65_tokens() -> None:
    """EV-01."""
    model = tiny.unigram(tiny.char("".join(map(chr, range(60, 124)))))
    assert model.architecture.vocabulary == 65
    assert f"{score(model, bytes(range(60, 124)))[0].perplexity:.6f}" == "65.000000"


@tokenizers
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_neither_cuts_nor_neighbours_matter(tokenizer: Tokenizer, cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """EV-03."""
    model = tiny.drawn(tokenizer, cell)
    [alone] = score(model, TEXT)
    assert alone.tokens == len(tokenizer.encode(TEXT))
    others = [TEXT[: 8 * n].decode(errors="ignore").encode() for n in range(63)]
    for size in (1, 7, 64, 4096):
        [found] = score(model, TEXT, size=size)
        assert found.nats == pytest.approx(alone.nats, rel=1e-6)
        assert (found.tokens, found.bytes, found.words) == (alone.tokens, alone.bytes, alone.words)
    for slots in (1, 5, 64):
        monkeypatch.setattr(scoring, "BATCH_SLOTS", slots)
        found = score(model, *others[:20], TEXT, *others[20:], size=100)[20]
        assert found.nats == pytest.approx(alone.nats, rel=1e-6)
        assert found.tokens == alone.tokens


@tokenizers
def test_every_text_gets_its_own_score_in_order(tokenizer: Tokenizer) -> None:
    """EV-12: what a text costs does not depend on its place."""
    model = tiny.drawn(tokenizer)
    texts = [
        TEXT[n : n + length].decode(errors="ignore").encode() for n, length in enumerate([0, 1, 500, 0, 3, 7] * 40)
    ]
    expected = [score(model, text)[0] for text in texts[:24]]
    order = RNG.permutation(24)
    found = score(model, *(texts[n] for n in order))
    for place, n in enumerate(order):
        assert found[place].nats == pytest.approx(expected[n].nats, rel=1e-6)
        assert found[place].tokens == expected[n].tokens
        assert found[place].bytes == len(texts[n])
    assert len(score(model, *texts)) == len(texts)


def test_nothing_is_scored_for_nothing() -> None:
    model = tiny.drawn(tiny.char())
    assert score(model) == []
    assert score(model, b"", "\ufeff".encode()) == [Score(), Score(bytes=3)]


def test_the_formulas() -> None:
    """EV-04: each figure by its definition, the lengths counted on the original text."""
    model = tiny.drawn(tiny.char())
    text = "\ufeff".encode() + WORDS
    [found] = score(model, text)
    plain = text.decode("utf-8-sig")
    assert (found.tokens, found.chars, found.bytes, found.words) == (
        len(plain), len(plain), len(text), len(plain.split())
    )  # fmt: skip
    assert found.perplexity == pytest.approx(math.exp(found.nats / found.tokens))
    assert found.bits_per_char == pytest.approx(found.nats / math.log(2) / found.chars)
    assert found.bits_per_byte == pytest.approx(found.nats / math.log(2) / found.bytes)
    assert found.byte_perplexity == pytest.approx(2**found.bits_per_byte)
    assert found.word_perplexity == pytest.approx(math.exp(found.nats / found.words))


def test_bits_and_perplexity_agree() -> None:
    """EV-05."""
    [found] = score(tiny.drawn(ByteTokenizer()), bytes(range(256)))
    assert found.bits_per_byte == pytest.approx(math.log2(found.perplexity))
    [found] = score(tiny.drawn(tiny.char()), b"plain text, in ascii.\n")
    assert found.bits_per_char == found.bits_per_byte == pytest.approx(math.log2(found.perplexity))


def test_unknown_characters() -> None:
    """EV-13."""
    [found] = score(tiny.unigram(tiny.char("ab")), "aÜbÜa".encode())
    assert (found.tokens, found.oov, found.chars, found.bytes) == (5, 2, 5, 7)
    nats = 5 * math.log(3) + 2 * math.log(1_112_064 - 2)
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(nats / 5), rel=1e-6)
    assert found.perplexity_without_oov == pytest.approx(3, rel=1e-6)


def test_scores_add_up() -> None:
    """EV-06: a total is weighted by tokens."""
    model = tiny.drawn(tiny.char())
    parts = score(model, b"a", "bé Ü\n".encode(), b"ccc cc")
    total = sum(parts, Score())
    assert total.nats == pytest.approx(sum(part.nats for part in parts))
    assert (total.tokens, total.oov, total.bytes, total.chars, total.words) == (12, 1, 14, 12, 5)
    assert total.perplexity == pytest.approx(math.exp(total.nats / 12))


def test_a_figure_that_is_no_float_is_infinite() -> None:
    """EV-15."""
    huge = Score(nats=1e5, tokens=100, chars=100, bytes=100, words=10)
    assert huge.perplexity == huge.byte_perplexity == huge.word_perplexity == math.inf
    assert huge.bits_per_byte == pytest.approx(1000 / math.log(2))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite(value: float) -> None:
    """NU-06."""
    model = tiny.drawn(tiny.char())
    model.weights["head.bias"][3] = value
    with pytest.raises(NonFiniteError):
        score(model, b"abc")


@pytest.mark.parametrize("slots", [1, 3, 64])
@pytest.mark.parametrize("window", [0, 2])
def test_texts_before_a_bad_one_are_scored_whatever_is_read_side_by_side(
    slots: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.drawn(tiny.char())
    monkeypatch.setattr(scoring, "BATCH_SLOTS", slots)
    fetched = 0

    def texts() -> Iterator[NamedText]:
        nonlocal fetched
        for n, chunks in enumerate([[b"a" * 9000], [b"b"], [b"c", b"\xff", b"c"], [b"d"], [b"\xff"], *[[b"e"]] * 9999]):
            fetched += 1
            yield NamedText([chunks], f"text {n}")

    expected = [next(scorer(model, window=window).texts([text(data)])) for data in (b"a" * 9000, b"b")]
    found: list[Score] = []
    with pytest.raises(InputError, match=r"^text 2: invalid UTF-8 at byte 1 \(line 1\)"):
        found.extend(scorer(model, window=window).texts(texts()))
    assert [each.nats for each in found] == pytest.approx([each.nats for each in expected], rel=1e-6)
    assert fetched < 2000  # what a call of the engine takes


def test_a_text_of_several_parts_is_scored_as_one() -> None:
    """As a FASTA file is: each part from `<s>`, also an empty one."""
    model = tiny.drawn(tiny.char())
    parts = [b"the cat", b"", b"sat"]
    [found, after] = scorer(model).texts([NamedText([[part] for part in parts]), text(b"mat")])
    assert found.nats == pytest.approx(sum(each.nats for each in score(model, *parts)), rel=1e-6)
    assert (found.tokens, found.bytes, found.words, after.bytes) == (10, 10, 3, 3)


def test_lines() -> None:
    """EV-08: each with its end; what has no text has no tokens."""
    model = tiny.drawn(tiny.char())
    texts = [b"the cat", None, b"", b"sat"]
    rows = [Row(data, b"", Place("f", number)) for number, data in enumerate(texts, 1)]
    found = list(scorer(model).lines(rows))
    assert [each.tokens for each in found] == [8, 0, 1, 4]
    alone = score(model, *(data + b"\n" for data in texts if data is not None))
    assert [each.nats for each in found if each.tokens] == pytest.approx([each.nats for each in alone], rel=1e-6)
    with pytest.raises(InputError, match=r"^'f', line 3: invalid UTF-8 at byte 1"):
        list(scorer(model).lines([Row(b"a\xff", b"", Place("f", 3))]))


@pytest.mark.parametrize("separator", [b"\n", b"\n\n", b"; ", b"aa"])
@tokenizers
def test_lines_of_a_record_model(tokenizer: Tokenizer, separator: bytes) -> None:
    """EV-08: as a file of records is scored: a separator inside ends one, what is missing of the last is added."""
    model = tiny.drawn(tokenizer, separator=separator)
    texts = [b"the cat", b"a; b; c; ", b"a\n\nb\n\n\n", b"a\n", b"b;", b"aaaaa", b"aa", b"a", "日\né".encode()]
    for window in (0, 2):
        made = scorer(model, window=window)
        found = list(made.lines(Row(data, b"", Place("f", 1)) for data in texts))
        whole = list(made.texts(text(data) for data in texts))
        assert [each.nats for each in found] == pytest.approx([each.nats for each in whole], rel=1e-6)
        assert [each.tokens for each in found] == [each.tokens for each in whole]
        [empty] = made.lines([Row(b"", b"", Place("f", 1))])
        [end] = made.texts([text(separator)])
        assert empty == end


@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_what_cannot_be_used_may_be_left_out(separator: bytes) -> None:
    """Its fault is in the place of its score, and what comes after is scored."""
    model = tiny.drawn(tiny.char(), separator=separator)
    skipping = Scorer(tiny.engine_of(model), model.tokenizer, separator, ScoringOptions("skip"))
    datas = [b"\xff", b"the", b"a" * 9000 + b"\xff", b"sat", b"on\xff"]
    found = list(skipping.text_outcomes(text(data) for data in datas))
    assert [isinstance(each, InputError) for each in found] == [True, False, True, False, True]
    assert [each for each in found if isinstance(each, Score)] == score(model, b"the", b"sat")
    rows = [Row(data, b"", Place("f", line)) for line, data in enumerate(datas, 1)]
    rows.insert(2, Row(None, b"", Place("f", 9), fault=InputError("no text")))
    outcomes = list(skipping.line_outcomes(rows))
    assert [str(each) for each in outcomes if isinstance(each, InputError)] == [
        *("'f', line 1: invalid UTF-8 at byte 0", "no text", "'f', line 3: invalid UTF-8 at byte 9000"),
        "'f', line 5: invalid UTF-8 at byte 2",
    ]
    assert [each.tokens for each in outcomes if isinstance(each, Score)] == [4, 4]


def test_texts_are_fetched_when_they_are_needed() -> None:
    """EV-16: a text of any length, or any number of them, takes bounded memory."""
    model = tiny.drawn(ByteTokenizer())
    fetched = 0

    def endless() -> Iterator[NamedText]:
        nonlocal fetched
        while True:
            fetched += 1
            yield text(b"abc\n")

    scores = scorer(model).texts(endless())
    assert next(scores).tokens == 4
    assert fetched < 20_000
    before = fetched
    assert [next(scores).tokens for _ in range(10)] == [4] * 10
    assert fetched == before


def test_check_is_called_and_may_end_it() -> None:
    model = tiny.drawn(ByteTokenizer())
    read = []

    def check(tokens: int) -> None:
        read.append(tokens)
        if tokens > 8000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Scorer(scorer(model).engine, model.tokenizer, check=check).texts([text(bytes(100_000), 5000)]))
    assert read[0] == 0
    assert read == sorted(read)


@plain
@pytest.mark.parametrize("window", [1, 5, 100, 10_000])
@pytest.mark.parametrize("size", [3, 1 << 16])
def test_windows_reset_the_state(tokenizer: Tokenizer, window: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = TEXT[:300].decode(errors="ignore").encode()
    model = tiny.drawn(tokenizer)
    ids = tokenizer.encode(data)
    parts = [tokenizer.decode(ids[at : at + window]) for at in range(0, len(ids), window)]
    expected = sum(score(model, *parts), Score())
    for most in (1, 1 << 24):  # ids read side by side: bounded, and of no effect
        monkeypatch.setattr(scoring, "_MAX_WINDOW_IDS", most)
        [found, after] = scorer(model, window=window).texts([text(data, size), text(b"a")])
        assert found.nats == pytest.approx(expected.nats, rel=1e-6)
        assert (found.tokens, found.bytes, found.chars) == (len(ids), len(data), len(data.decode()))
        assert after.bytes == 1


@plain
@pytest.mark.parametrize("streams", [2, 3, 50, 4096])
def test_streams_are_pieces_of_equal_length(tokenizer: Tokenizer, streams: int) -> None:
    data = TEXT[:100].decode(errors="ignore").encode()
    model = tiny.drawn(tokenizer)
    ids = tokenizer.encode(data)
    parts = [tokenizer.decode(part) for part in np.array_split(ids, streams) if len(part)]
    [nothing, found, again] = scorer(model, streams=streams).texts([text(b""), text(data, 7), text(data)])
    assert nothing == Score()
    assert found.nats == pytest.approx(sum(score(model, *parts), Score()).nats, rel=1e-6)
    assert again.nats == pytest.approx(found.nats, rel=1e-6)
    assert found.tokens == again.tokens == len(ids)


class _Counting(InferenceEngine):
    """Learns how much it has read: every token costs one nat more than the one before."""

    name = "counting"
    adaptive = True

    def __init__(self, vocabulary: int) -> None:
        self.vocabulary, self.read = vocabulary, 0

    def fresh(self) -> "_Counting":
        return _Counting(self.vocabulary)

    def zero_state(self, batch: int) -> State:
        return (np.zeros((1, batch, 1)),)

    def score(self, ids: Ids, state: State) -> tuple[Array, State]:
        assert len(ids) == 1, "one row at a time"
        nats = np.zeros(ids.shape)
        for t in np.flatnonzero(ids[0] != self.vocabulary):
            self.read += 1
            nats[0, t] = self.read
        return nats, state

    def predict(self, ids: Ids, state: State) -> tuple[Array, State]:
        raise NotImplementedError

    def step(self, ids: Ids, state: State) -> tuple[Array, State]:
        raise NotImplementedError


def test_an_adaptive_engine_reads_texts_one_after_another_each_afresh() -> None:
    """But the parts of one text without a break."""
    tokenizer = tiny.char()
    adaptive = Scorer(_Counting(tokenizer.size), tokenizer)
    texts = [text(b"aaa"), NamedText([[b"a"], [b"a", b"a"]]), text(b"a"), text(b"")]
    assert [found.nats for found in adaptive.texts(texts)] == [6, 6, 1, 0]
    records = Scorer(_Counting(tokenizer.size), tokenizer, b"\n")
    assert [found.nats for found in records.texts([text(b"a\na\n"), text(b"a")])] == [10, 3]


def test_scoring_never_formats() -> None:
    """What is computed here is written elsewhere: no formats of numbers, no JSON, no console."""
    for path in Path(scoring.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FormattedValue):
                spec = node.format_spec
                assert spec is None or ast.unparse(spec) in ("f','", 'f","'), f"{path}, line {node.lineno}"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"json", "logging", "string", "textwrap"}, path
            elif isinstance(node, ast.Call):
                assert ast.unparse(node.func).rpartition(".")[2] not in {"format", "print", "round"}, path

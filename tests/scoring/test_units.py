"""Words and tokens: their nats, places and details, and that they add up to the text."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.corpus.formats import NamedText
from charrnn.engines.select import ensemble_engine
from charrnn.errors import InputError
from charrnn.scoring import batching
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.parts import parts_of_row, parts_of_text
from charrnn.scoring.scorer import Scorer
from charrnn.scoring.units import TextEnd, Unit, UnitText, score_units
from tests.scoring import oracle
from tests.scoring.models import cells, close, drawn, engines, ln_p, nats, rows_of, scorer, token_nats, tokenizers

TEXT = "the cat\u2028 sat;\n\n on  the Uß\u00a0mat\tnear né 日\r\n\x1cthat there ran\n ".encode()


def chunks_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def units_of(
    model: Checkpoint, texts: Sequence[UnitText[int]], by: str, engine: str = "auto", *, top: int | None = None
) -> list[list[Unit[int]]]:
    """The units of each text, which have to come in order, each before the end of its text."""
    found: list[list[Unit[int]]] = [[]]
    for each in score_units(scorer(model, engine), texts, by, top=top):
        assert each.where == len(found) - 1
        if isinstance(each, TextEnd):
            assert each.failure is None
            found.append([])
        else:
            found[-1].append(each)
    assert found.pop() == []
    return found


@tokenizers
@cells
@engines
def test_tokens_one_by_one(tokenizer: str, cell: str, engine: str) -> None:
    """EV-02: nats, ranks, entropies and the likeliest, by the distributions in float64."""
    model = drawn(tokenizer, cell)
    ids = oracle.ids_of(model, TEXT)
    distributions, expected = ln_p(model, TEXT), token_nats(model, TEXT)
    [units] = units_of(model, [UnitText(0, [TEXT])], "token", engine, top=3)
    assert [unit.nats for unit in units] == pytest.approx(expected, rel=1e-6)
    assert [unit.tokens for unit in units] == [1] * len(ids)
    assert [unit.oov for unit in units] == [tokenizer == "char" and token == model.tokenizer.unknown for token in ids]
    own = distributions[np.arange(len(ids)), ids]
    assert [unit.rank for unit in units] == (1 + (distributions > own[:, None]).sum(axis=1)).tolist()
    entropies = -(np.exp(distributions) * distributions).sum(axis=1) / math.log(2)
    assert [unit.entropy for unit in units] == pytest.approx(entropies, rel=1e-6)
    likeliest = np.argsort(-distributions, axis=1)[:, :3]
    assert [[token for token, _ in unit.top or ()] for unit in units] == likeliest.tolist()
    top_nats = [nats for unit in units for _, nats in unit.top or ()]
    assert top_nats == pytest.approx(-np.take_along_axis(distributions, likeliest, 1).ravel(), rel=1e-6)
    assert b"".join(unit.text for unit in units) == TEXT


@tokenizers
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("by", ["word", "token"])
def test_places(tokenizer: str, size: int, by: str) -> None:
    """Offsets are those of Python's characters and lines those of its newlines, wherever the text is cut."""
    model = drawn(tokenizer)
    [units] = units_of(model, [UnitText(0, chunks_of(TEXT, size), line=5, offset=100)], by)
    text, at = TEXT.decode(), 0
    for unit in units:
        begin = TEXT.index(unit.text, at)
        assert unit.offset == 100 + len(TEXT[:begin].decode(errors="ignore"))
        assert unit.line == 5 + TEXT[:begin].count(b"\n")
        at = begin + len(unit.text)
    if by == "word":
        words = TEXT.split() if tokenizer == "byte" else [word.encode() for word in text.split()]
        assert [unit.text for unit in units] == words
    whole = nats(model, TEXT)
    assert sum(unit.nats for unit in units) == close(whole)
    assert sum(unit.tokens for unit in units) == len(oracle.ids_of(model, TEXT))


@tokenizers
def test_words_have_the_nats_of_their_tokens(tokenizer: str) -> None:
    """EV-02: white space belongs to the word after it, what ends the text to the last one."""
    model = drawn(tokenizer)
    ids = oracle.ids_of(model, TEXT)
    costs = token_nats(model, TEXT)
    sizes = [len(model.tokenizer.token_bytes[token]) for token in ids]
    if tokenizer == "char":  # `<unk>` stands for some
        sizes = [len(char.encode()) for char in TEXT.decode()]
    starts = np.cumsum(sizes) - sizes
    [units] = units_of(model, [UnitText(0, [TEXT])], "word")
    ends, at = [], 0
    for unit in units:
        at = TEXT.index(unit.text, at) + len(unit.text)
        ends.append(at)
    ends[-1] = len(TEXT)
    firsts = np.searchsorted(starts, [0, *ends])
    expected = [costs[a:b].sum() for a, b in itertools.pairwise(firsts)]
    assert [unit.nats for unit in units] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("by", ["word", "token"])
@tokenizers
def test_texts_side_by_side(tokenizer: str, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each its own units, in order, also one without any; however the calls of the engine cut them."""
    model = drawn(tokenizer)
    monkeypatch.setattr(batching, "_CALL_IDS", 1 << 10)
    datas = [b"the cat sat " * 30, b"", b"a", b" ", b"\n\nmat", "日 né".encode(), b"x" * 50]
    prompt = model.tokenizer.encode(b"on the ")
    for prompted in (False, True):
        texts = [UnitText(n, [data], prompt=prompt if prompted else prompt[:0]) for n, data in enumerate(datas)]
        found = units_of(model, texts, by)
        expected = [nats(model, data, b"on the " * prompted) for data in datas]
        assert [sum(unit.nats for unit in units) for units in found] == close(expected)
        if by == "word":
            assert [len(units) for units in found] == [90, 0, 1, 1, 1, 2, 1]


def test_a_text_of_white_space_is_one_unit() -> None:
    """So that units add up to the text."""
    model = drawn("char")
    [[unit]] = units_of(model, [UnitText(0, [b" \n "])], "word")
    assert (unit.text, unit.offset, unit.line, unit.tokens) == (b"", 0, 1, 3)
    assert unit.nats == close(nats(model, b" \n "))


def test_a_byte_order_mark_is_no_unit() -> None:
    """But offsets are those of the text as it came."""
    for by, texts in (("word", [b"the", b"cat"]), ("token", [b"%c" % byte for byte in b"the cat"])):
        [units] = units_of(drawn("char"), [UnitText(0, ["\ufeffthe cat".encode()])], by)
        assert [unit.text for unit in units] == texts
        assert units[-1].offset == (5 if by == "word" else 7)


def test_bytes_that_are_no_utf_8_have_the_place_of_the_character_before() -> None:
    [units] = units_of(drawn("byte"), [UnitText(0, [b"\x80\xe6", b"\x97a\x97"])], "token")
    assert [unit.offset for unit in units] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("tokenizer", ["char", "sentencepiece"])
def test_invalid_utf_8(tokenizer: str) -> None:
    """What comes before it is returned, and so are the texts after it; or it is replaced."""
    model = drawn(tokenizer)
    texts = [UnitText(n, [data], f"text {n}") for n, data in enumerate([b"the cat\n sat\xff mat", b"mat"])]
    found = list(score_units(scorer(model), texts, "word"))
    failures = [str(each.failure) for each in found if isinstance(each, TextEnd) and each.failure is not None]
    assert failures == ["text 0: invalid UTF-8 at byte 12 (line 2)"]
    assert [each.text for each in found if isinstance(each, Unit)][-1] == b"mat"
    replacing = list(score_units(scorer(model, errors="replace"), texts[:1], "word"))
    words = [each.text.decode() for each in replacing if isinstance(each, Unit)]
    assert words == ["the", "cat", "sat\ufffd", "mat"]


def test_a_fault_after_some_chunks() -> None:
    """The words that have been completed are scored."""
    model = drawn("char")
    chunks = [b"the cat sat o", b"n the \xff"]
    found = list(score_units(scorer(model), [UnitText(0, chunks, "it")], "word"))
    assert [each.text for each in found[:-1] if isinstance(each, Unit)] == [b"the", b"cat", b"sat"]
    assert isinstance(found[-1], TextEnd)
    assert isinstance(found[-1].failure, InputError)
    assert sum(each.nats for each in found[:-1] if isinstance(each, Unit)) == close(nats(model, b"the cat sat"))


@tokenizers
@pytest.mark.parametrize("by", ["word", "token"])
def test_units_add_up_to_what_the_scorer_says(tokenizer: str, by: str) -> None:
    model = drawn(tokenizer, "lstm")
    [whole] = scorer(model).texts([NamedText([[TEXT]])])
    [units] = units_of(model, [UnitText(0, [TEXT])], by)
    assert sum(unit.nats for unit in units) == close(whole.nats)
    assert (sum(unit.tokens for unit in units), sum(unit.oov for unit in units)) == (whole.tokens, whole.oov)


def test_a_large_vocabulary_is_read_in_small_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 texts as of one: an engine's call has no more probabilities than are allowed."""
    model = drawn("byte")
    for most in (255, 256 * 40, 1 << 23):
        monkeypatch.setattr(batching, "_CALL_PROBABILITIES", most)
        made = scorer(model)
        predict = made.engine.predict
        sizes: list[int] = []

        def counted(ids, state, predict=predict, sizes=sizes):  # type: ignore[no-untyped-def]
            sizes.append(ids.size)
            return predict(ids, state)

        monkeypatch.setattr(made.engine, "predict", counted)
        found = list(score_units(made, [UnitText(n, [b"the cat"]) for n in range(70)], "token", top=0))
        assert max(sizes) <= max(1, most // 256)
        assert [each.nats for each in found if isinstance(each, Unit)] == close(
            oracle.nats_of(model, list(b"the cat")).tolist() * 70
        )


@tokenizers
@pytest.mark.parametrize("separator", [b"", b"\n", b"\n\n"])
@pytest.mark.parametrize("prompt", [b"", b"on the"])
def test_parts_of_a_text_add_up_to_it(tokenizer: str, separator: bytes, prompt: bytes) -> None:
    """Sequences of a FASTA file, records, and records within a row; the first continues the prompt."""
    made = scorer(drawn(tokenizer, separator=separator), prompt=prompt)
    for parts in ([[b"the cat\n\nsat\n\n"]], [[b"the"], [b"cat", b" sat"], [b"mat\n\nran\nnear"]]):
        [whole] = made.texts([NamedText(parts)])
        units = list(score_units(made, parts_of_text(0, NamedText(parts), made), "word"))
        assert sum(each.nats for each in units if isinstance(each, Unit)) == close(whole.nats)
    [row] = rows_of([b"the cat\n\nsat\nmat"])
    [score] = made.lines([row])
    units = list(score_units(made, parts_of_row(0, row, made), "word"))
    assert sum(each.nats for each in units if isinstance(each, Unit)) == close(score.nats)


@pytest.mark.parametrize("tokenizer", ["char", "sentencepiece"])
def test_offsets_of_records_in_which_invalid_utf_8_is_replaced(tokenizer: str) -> None:
    made = scorer(drawn(tokenizer, separator=b"\n"), errors="replace")
    data = b"a\x80\xff cat\nsat\n\xffmat"
    text = data.decode("utf-8", "replace")
    for parts in (parts_of_text(0, NamedText([[data]]), made), parts_of_row(0, rows_of([data])[0], made)):
        units = [each for each in score_units(made, parts, "word") if isinstance(each, Unit)]
        assert [unit.offset for unit in units] == [text.index(word) for word in text.split()]


@tokenizers
def test_the_mean_of_models(tokenizer: str) -> None:
    """Of their probabilities: rows, tokens and their details alike."""
    models = drawn(tokenizer), drawn(tokenizer, "lstm")
    engine = ensemble_engine([(model.architecture, model.weights) for model in models])
    made = Scorer(engine, models[0].tokenizer)
    ids = oracle.ids_of(models[0], b"the cat")
    mean = np.logaddexp(*(ln_p(model, b"the cat") for model in models)) - math.log(2)
    expected = -mean[np.arange(len(ids)), ids]
    without_end = Scorer(engine, models[0].tokenizer, options=ScoringOptions(end=False))
    found = list(without_end.lines(rows_of([b"the cat"] * 30)))
    assert [score.nats for score in found] == close([float(expected.sum())] * 30)
    units = [each for each in score_units(made, [UnitText(0, [b"the cat"])], "token", top=1) if isinstance(each, Unit)]
    assert [unit.nats for unit in units] == close(expected.tolist())
    assert [unit.entropy for unit in units] == close((-(np.exp(mean) * mean).sum(axis=1) / math.log(2)).tolist())
    assert [unit.top[0][0] for unit in units if unit.top] == mean.argmax(axis=1).tolist()


FAULTY = [[b"the cat\nsa"], [b"t\nma\xfft\n", b"on", b"\xff\n"], [b"ran\n"] * 9]


@pytest.mark.parametrize("separator", [b"", b"\n"])
@pytest.mark.parametrize("by", ["word", "token"])
def test_nothing_is_returned_of_a_text_after_its_fault(separator: bytes, by: str) -> None:
    """Though its other parts can be read; the fault is where `Scorer.texts` finds it."""
    made = scorer(drawn("char", separator=separator), errors="skip")
    texts = [NamedText(FAULTY, "it"), NamedText([[b"mat"]], "other")]
    parts = itertools.chain.from_iterable(parts_of_text(n, text, made) for n, text in enumerate(texts))
    found = list(score_units(made, parts, by))
    end = next(n for n, each in enumerate(found) if isinstance(each, TextEnd))
    [expected, _] = made.text_outcomes(texts)
    assert found[end] == TextEnd(0, found[end].failure)  # type: ignore[union-attr]
    assert str(found[end].failure) == str(expected)  # type: ignore[union-attr]
    assert {each.where for each in found[:end]} == {0}
    assert {each.where for each in found[end + 1 :]} == {1}
    assert b"".join(each.text for each in found[end + 1 :] if isinstance(each, Unit)).strip() == b"mat"


@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_a_text_that_cannot_be_read_to_its_end(separator: bytes) -> None:
    """Its error names it already."""

    def chunks() -> Iterator[bytes]:
        yield b"the cat\nsat"
        raise InputError("cannot read it")

    made = scorer(drawn("char", separator=separator))
    *_, end = score_units(made, parts_of_text(0, NamedText([chunks()], "it"), made), "token")
    assert isinstance(end, TextEnd)
    assert str(end.failure) == "cannot read it"

"""Rows, short ones read together and others alone: each costs what the oracle says, whoever computes it."""

import pytest

from charrnn.corpus.formats import NamedText
from charrnn.errors import InputError
from charrnn.scoring import batching, rows
from charrnn.scoring.score import Score
from tests.scoring import oracle
from tests.scoring.models import cells, close, drawn, engines, nats, rows_of, scorer, tokenizers

LONG = b"the cat sat on the mat; " * 6 + "né 日\tUß ".encode() * 5

TEXTS = [
    *(b"", b"the cat", b"sat there\n", "Uß né 日".encode(), LONG, b"", b"a\0b", "\ufeffthe mat".encode()),
    *(b"  two  words ", b"\n", b"\n\n", "日".encode(), "the\u2581cat".encode(), b"at"),
]


def costs(scores: list[Score]) -> list[float]:
    return [each.nats for each in scores]


@tokenizers
@cells
@engines
def test_rows_and_whole_texts(tokenizer: str, cell: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """EV-02, EV-08."""
    monkeypatch.setattr(rows, "_SHORT", 160)
    model = drawn(tokenizer, cell)
    with_ends = [text if text.endswith(b"\n") else text + b"\n" for text in TEXTS]
    expected = [nats(model, text) for text in with_ends]
    found = list(scorer(model, engine).lines(rows_of(TEXTS)))
    assert costs(found) == close(expected)
    assert [each.tokens for each in found] == [len(oracle.ids_of(model, text)) for text in with_ends]
    assert [each.bytes for each in found] == [len(text) for text in with_ends]
    whole = NamedText([[b"".join(with_ends)]])
    assert costs(list(scorer(model, engine).texts([whole]))) == close([nats(model, b"".join(with_ends))])


@tokenizers
@cells
@engines
def test_rows_after_a_prompt(tokenizer: str, cell: str, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """P(text | prompt): the prompt is read from `<s>` and tokenised apart from the text."""
    monkeypatch.setattr(rows, "_SHORT", 160)
    model = drawn(tokenizer, cell)
    prompt = "on the né c".encode()
    expected = [nats(model, text, prompt) for text in TEXTS]
    found = list(scorer(model, engine, prompt=prompt, end=False).lines(rows_of(TEXTS)))
    assert costs(found) == close(expected)
    assert [each.tokens for each in found] == [len(oracle.ids_of(model, text)) for text in TEXTS]
    assert all(isinstance(each.tokens, int) for each in found)
    assert costs(list(scorer(model, engine, prompt=prompt).texts([NamedText([[LONG]])]))) == close(
        [nats(model, LONG, prompt)]
    )


@tokenizers
def test_rows_with_prompts_of_their_own(tokenizer: str) -> None:
    model = drawn(tokenizer)
    prompts = [b"the", b"", None, "né U".encode(), b"cat\n"]
    texts = [b" cat", b"sat", b"mat", b"", "日".encode()]
    expected = [nats(model, text + b"\n", prompt or b"") for text, prompt in zip(texts, prompts, strict=True)]
    assert costs(list(scorer(model).lines(rows_of(texts, prompts)))) == close(expected)


@tokenizers
@pytest.mark.parametrize("short", [20, 200], ids=["long", "short"])
def test_many_rows_after_a_prompt(tokenizer: str, short: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the calls of the engine cut prompts and texts. A long prompt is not copied for each row."""
    monkeypatch.setattr(batching, "_CALL_IDS", 1 << 10)
    monkeypatch.setattr(rows, "_SHORT", short)
    model = drawn(tokenizer)
    prompt = b"the cat sat on the mat and " * 3
    texts = [b"cat"[: 1 + n % 3] * (1 + n % 7) for n in range(300)]
    expected = {text: nats(model, text + b"\n", prompt) for text in set(texts)}
    assert costs(list(scorer(model, prompt=prompt).lines(rows_of(texts)))) == close([expected[each] for each in texts])


@pytest.mark.parametrize("tokenizer", ["char", "sentencepiece"])
@pytest.mark.parametrize("errors", ["replace", "skip"])
def test_rows_with_invalid_utf_8(tokenizer: str, errors: str) -> None:
    """Among others that are read together."""
    model = drawn(tokenizer)
    texts = [b"the cat", b"a\xffb", b"mat", b"\xe6\x97", b"\xa5", b"on the\xc3", b"sat"]
    found = list(scorer(model, errors=errors).line_outcomes(rows_of(texts)))
    for text, outcome in zip(texts, found, strict=True):
        plain = text.decode("utf-8", "replace").encode()
        if errors == "skip" and plain != text:
            assert isinstance(outcome, InputError)
        else:
            assert isinstance(outcome, Score)
            assert outcome.nats == close(nats(model, plain + b"\n"))
            assert (outcome.bytes, outcome.replaced) == (len(text) + 1, plain.count("\ufffd".encode()))


def test_a_row_that_is_really_long() -> None:
    """Over 16 KB, among short ones."""
    model = drawn("char", "rnn", (4,))
    long = ("the cat sat on the mat; " * 400 + "日" * 3000).encode()
    assert len(long) > rows._SHORT
    texts = [b"the", long, b"cat"]
    assert costs(list(scorer(model).lines(rows_of(texts)))) == close([nats(model, text + b"\n") for text in texts])


@tokenizers
@cells
@pytest.mark.parametrize("separator", [b"\n", b"\n\n"])
def test_records(tokenizer: str, cell: str, separator: bytes) -> None:
    """EV-08: a record model's, in rows and in whole texts; a separator in the text of a row ends one."""
    model = drawn(tokenizer, cell, separator=separator)
    records = [b"the cat", b"", "né U 日".encode(), b"sat on the mat", b"a"] * 3
    each = {record: nats(model, record + separator) for record in records}
    expected = [each[record] for record in records]
    assert costs(list(scorer(model).lines(rows_of(records)))) == close(expected)
    texts = [separator.join(records[:4]), separator.join([*records, b""]), separator, b""]
    sums = [sum(expected[:4]), sum(expected), each[b""], each[b""]]
    assert costs(list(scorer(model).lines(rows_of(texts)))) == close(sums)
    whole = [NamedText([[text]]) for text in texts[:3]]
    assert costs(list(scorer(model).texts(whole))) == close(sums[:3])


@tokenizers
@pytest.mark.parametrize("separator", [b"\n", b"\n\n"])
def test_records_after_a_prompt(tokenizer: str, separator: bytes) -> None:
    """It is the first record of a row that continues it; without its end, the last one's separator is not scored."""
    model = drawn(tokenizer, separator=separator)
    prompt = b"the ca"
    texts = [b"t", separator.join([b"t", b"mat", b"sat"]), b"", b"t\n"]
    ends = [b"t" + separator, b"t" + separator, separator, b"t" + separator]
    rest = [0, nats(model, b"mat" + separator) + nats(model, b"sat" + separator), 0, 0]
    expected = [nats(model, end, prompt) + more for end, more in zip(ends, rest, strict=True)]
    assert costs(list(scorer(model, prompt=prompt).lines(rows_of(texts)))) == close(expected)
    without_end = [nats(model, b"t", prompt), nats(model, b"t" + separator, prompt), 0.0]
    without_end[1] += nats(model, b"mat" + separator) + nats(model, b"sat")
    assert costs(list(scorer(model, prompt=prompt, end=False).lines(rows_of(texts[:3])))) == close(without_end)
    with pytest.raises(InputError, match="the prompt holds"):
        scorer(model, prompt=b"the" + separator)
    with pytest.raises(InputError, match=r"^'f', line 1: the prompt holds"):
        list(scorer(model).lines(rows_of([b"a"], [b"the" + separator])))


def test_a_bad_prompt_is_one_row_s_fault() -> None:
    model = drawn("char")
    found = list(scorer(model, errors="skip").line_outcomes(rows_of([b"a", b"a", b"a"], [b"t", b"\xff", b""])))
    assert str(found[1]) == "'f', line 2: invalid UTF-8 at byte 0"
    assert [each.nats for each in found if isinstance(each, Score)] == close(
        [nats(model, b"a\n", b"t"), nats(model, b"a\n")]
    )

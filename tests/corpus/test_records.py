"""Records: found, split, shuffled, packed; and what a model of them is for."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.corpus.records import SeparatorScanner, insert_bos, with_final_separator
from charrnn.dataset import batches as rows
from charrnn.dataset.batches import BatchLoader
from charrnn.dataset.dataset import TokenStream
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.dataset.split import RecordSplit
from charrnn.errors import InputError
from charrnn.tokenizers.byte import ByteTokenizer
from tests.trainings import corpus_of, split_of

SEPARATORS = [b"\n", b"a", b"ab", b"aa", b"aba", b"\n\n", b"aab"]

texts = st.lists(st.sampled_from(b"ab\n"), max_size=40).map(bytes)
separators = st.sampled_from(SEPARATORS)
seeds = st.integers(0, 9)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def records_of(text: bytes, separator: bytes) -> list[bytes]:
    """The records of a text that is ended, each with its separator, as `bytes.split` finds them."""
    *records, rest = text.split(separator)
    assert rest == b""
    return [record + separator for record in records]


# --- finding them ----------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(text=texts, separator=separators, size=st.integers(1, 9))
def test_ends_are_where_split_finds_them(text: bytes, separator: bytes, size: int) -> None:
    """From left to right, without overlap, wherever the text is cut."""
    parts = text.split(separator)
    expected = list(itertools.accumulate(len(part) + len(separator) for part in parts[:-1]))
    finder, found, begin = SeparatorScanner(np.frombuffer(separator, np.uint8)), [], 0
    for chunk in cut(text, size):
        found += [begin + int(end) for end in finder.feed(np.frombuffer(chunk, np.uint8))]
        begin += len(chunk)
    assert found == expected
    assert finder.open == len(parts[-1])


@settings(max_examples=400, deadline=None)
@given(text=texts, separator=separators, size=st.integers(1, 9))
def test_the_last_record_is_ended(text: bytes, separator: bytes, size: int) -> None:
    """With as much of the separator as is missing; a text that is ended is left as it is."""
    whole = b"".join(with_final_separator(cut(text, size), separator))
    assert whole.startswith(text)
    assert whole.split(separator)[-1] == b""
    assert len(whole) - len(text) <= len(separator)
    assert b"".join(with_final_separator([whole], separator)) == whole
    if len(separator) == 1 and text and not text.endswith(separator):
        assert whole == text + separator


def test_a_newline_is_half_a_blank_line() -> None:
    for text in (b"a\nb\n\nc", b"a\nb\n\nc\n", b"a\nb\n\nc\n\n"):
        assert b"".join(with_final_separator([text], b"\n\n")) == b"a\nb\n\nc\n\n"


@settings(max_examples=300, deadline=None)
@given(held=st.lists(texts, min_size=1, max_size=3), separator=separators, size=st.integers(1, 9), seed=seeds)
def test_records_are_chosen_whole(held: list[bytes], separator: bytes, size: int, seed: int) -> None:
    """Wherever the texts are cut, and each on one side alone."""
    corpus = corpus_of(*held, separator=separator)
    found = [b"".join(document.chunks()) for document in corpus.documents]
    records = [record for text in found for record in records_of(text, separator)]
    assert corpus.stats.records.sum() == len(records)
    chosen = np.random.default_rng(seed).random(len(records)) < 0.5
    if not records:
        return
    split = RecordSplit(corpus, chosen)
    sides = [b"", b""]
    for number, text in enumerate(found):
        cut_chunk = split.cut(number)
        for chunk in cut(text, size):
            sides = [side + part for side, part in zip(sides, cut_chunk(chunk), strict=True)]
    for side, wanted in zip(sides, (chosen, ~chosen), strict=True):
        assert side == b"".join(record for record, keep in zip(records, wanted, strict=True) if keep)


# --- splitting them --------------------------------------------------------------------------------

NAMES = b"".join(b"name%d\n" % (n * n) for n in range(200))


@pytest.mark.parametrize("tokenizer", ["char", "byte", "sentencepiece"])
@pytest.mark.parametrize("separator", [b"\n", b"\n\n"])
def test_records_are_held_out_at_random(tokenizer: str, separator: bytes) -> None:
    text = NAMES.replace(b"\n", separator)
    made = split_of(text, tokenizer=tokenizer, separator=separator, seed=5)
    parts = {}
    for name, stream in (("train", made.train), ("val", made.val)):
        assert stream.records
        parts[name] = [made.tokenizer.decode(ids) for ids in stream.texts()]
        assert all(record.endswith(separator) and record.count(separator) == 1 for record in parts[name])
    assert len(parts["val"]) == 20
    assert sorted(parts["train"] + parts["val"]) == sorted(records_of(text, separator))
    assert b"".join(made.val_texts) == b"".join(parts["val"])
    again = split_of(text, tokenizer=tokenizer, separator=separator, seed=5)
    assert np.array_equal(again.val.ids, made.val.ids)
    other = split_of(text, tokenizer=tokenizer, separator=separator, seed=6)
    assert b"".join(other.val_texts) != b"".join(made.val_texts)
    assert parts["val"] != records_of(text, separator)[-20:]


def test_records_of_several_texts() -> None:
    """A record ends with its text; a byte order mark is that of a text, not of a record."""
    for seed in range(8):
        made = split_of(b"a\naa", "\ufeffaaa\naaaa\n".encode(), b"aaaaa", separator=b"\n", fraction=0.4, seed=seed)
        both = sorted(made.tokenizer.decode(ids) for ids in (*made.train.texts(), *made.val.texts()))
        assert both == sorted(b"a" * n + b"\n" for n in range(1, 6))
        assert len(made.val.starts) == 2


def test_too_few_records() -> None:
    """IN-10."""
    with pytest.raises(InputError, match=r"has 1 record, and val 0.1 needs 2,"):
        split_of(b"alone\n", separator=b"\n")
    made = split_of(b"one\ntwo\n", separator=b"\n")
    assert (len(made.train.starts), len(made.val.starts)) == (1, 1)
    assert len(split_of(b"alone", separator=b"\n", fraction=0).train) == 6


def test_ev_20_records() -> None:
    """EV-20: the vocabulary is that of the records to train on; the separator is always known."""
    text = "".join(f"{chr(0x100 + n)}\n" for n in range(50)).encode()
    made = split_of(text, separator=b"\n", fraction=0.2)
    assert made.tokenizer.size == 40 + 1 + 1
    assert made.val_counts.unknowns == 10
    assert made.train_counts.unknowns == 0
    rare = split_of(b"aaaa|bbbb|aabb", separator=b"|", fraction=0, vocab_size=2)
    assert rare.tokenizer.newline is None
    assert rare.train_counts.unknowns == 6
    assert rare.tokenizer.encode(b"|").tolist() == [1]
    assert rare.tokenizer.decode([1]) == b"|"


# --- rows ------------------------------------------------------------------------------------------


def stream_of(lengths: list[int], weights: list[int] | None = None) -> TokenStream:
    """Records whose symbols are their places."""
    ids = np.arange(sum(lengths), dtype=np.uint16)
    starts = np.cumsum([0, *lengths[:-1]], dtype=np.int64)
    return TokenStream(ids, starts, True, None if weights is None else np.array(weights, np.int64))


def rows_of(stream: TokenStream, batch: int = 3, seq_len: int = 5, seed: int = 0) -> BatchLoader:
    return BatchLoader(stream, bos_id=1000, newline=None, batch_size=batch, seq_len=seq_len, seed=seed)


def read_in(made: BatchLoader, epoch: int) -> tuple[list[int], list[int]]:
    """All inputs and targets of an epoch, row after row."""
    chunks = [made.batch(epoch * made.steps_per_epoch + index, 1000) for index in range(made.steps_per_epoch)]
    inputs, targets = (
        np.concatenate([getattr(each, name) for each in chunks], axis=1) for name in ("inputs", "targets")
    )
    return inputs.ravel().tolist(), targets.ravel().tolist()


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=4, max_size=30),
    batch=st.integers(1, 4),
    seq_len=st.integers(1, 9),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 3),
)
def test_every_record_is_read_once_an_epoch(
    lengths: list[int], batch: int, seq_len: int, seed: int, epoch: int
) -> None:
    """But for a remainder smaller than a chunk; from `<s>` on, symbol after symbol, in an order of its own."""
    stream = stream_of(lengths)
    if len(stream) < batch * seq_len:
        return
    made = rows_of(stream, batch, seq_len, seed)
    inputs, targets = read_in(made, epoch)
    counts = collections.Counter(targets)
    assert set(counts.values()) == {1}
    assert len(stream) - len(counts) < batch * seq_len
    starts = set(stream.starts.tolist())
    for before, symbol in zip(inputs, targets, strict=True):
        assert before == (1000 if symbol in starts else symbol - 1)
    row = len(targets) // batch
    for place in range(len(targets) - 1):
        if (place + 1) % row and targets[place + 1] not in starts:
            assert targets[place + 1] == targets[place] + 1  # a record is never torn


def test_the_order_is_new_every_epoch_and_the_same_every_time() -> None:
    stream = stream_of([7] * 40)
    orders = [read_in(rows_of(stream, seed=seed), epoch)[1] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert read_in(rows_of(stream), 1)[1] == orders[1]
    made = rows_of(stream)
    steps = [made.batch(step, 50).targets.tolist() for step in range(50)]
    assert [made.batch(step, 50).targets.tolist() for step in reversed(range(50))] == steps[::-1]


def test_weighted_records_come_as_often_as_they_weigh() -> None:
    weights = [1, 5, 2, 9, 1, 3]
    stream = stream_of([4] * 6, weights)
    made = rows_of(stream, batch=1, seq_len=4)
    assert made.steps_per_epoch == sum(weights)
    for epoch in (0, 1):
        _, targets = read_in(made, epoch)
        found = collections.Counter(symbol // 4 for symbol in targets)
        assert [found[n] for n in range(6)] == [4 * weight for weight in weights]


def test_weights_too_large_to_be_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are drawn: chi-squared against their weights."""
    monkeypatch.setattr(rows, "SHUFFLE_BLOCK", 2000)
    weights = [10**6, 4 * 10**6, 3 * 10**6, 2 * 10**6, 123]
    made = rows_of(stream_of([3] * 5, weights), batch=1, seq_len=3)
    assert made.steps_per_epoch == 2000
    found = collections.Counter(symbol // 3 for symbol in read_in(made, 0)[1])
    expected = [2000 * weight / sum(weights) for weight in weights]
    assert sum((found[n] / 3 - expected[n]) ** 2 / expected[n] for n in range(4)) < 20
    assert read_in(made, 0)[1] != read_in(made, 1)[1]


def test_neighbours_go_together_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SHUFFLE_BLOCK", 10)
    _, targets = read_in(rows_of(stream_of([2] * 40), batch=1, seq_len=4), 0)
    assert sorted(targets) == list(range(80))
    assert all(targets[at : at + 8] == list(range(targets[at], targets[at] + 8)) for at in range(0, 80, 8))
    assert targets != sorted(targets)


@pytest.mark.parametrize(("count", "limit"), [(1, 100), (3, 100), (64, 100), (4, 20), (2, 1), (5, 10**6)])
def test_a_quick_look_takes_whole_records(count: int, limit: int) -> None:
    stream = stream_of([3, 1, 7, 2, 2, 9, 4, 1, 1, 6] * 4)
    chunks = stream.segments(count, limit, 1000)
    assert 0 < len(chunks) <= count
    seen: list[int] = []
    for chunk in chunks:
        assert chunk[0] in stream.starts
        for before, symbol in itertools.pairwise(chunk.tolist()):
            assert symbol == 1000 or symbol in (before + 1, *stream.starts)
            assert (symbol == 1000) == (before + 1 in stream.starts and before != 1000)
        seen += [symbol for symbol in chunk.tolist() if symbol != 1000]
    assert seen == list(range(len(seen)))
    assert min(limit, len(stream)) <= len(seen) < limit + 9
    assert len(seen) == len(stream) or len(seen) in stream.starts


def test_the_start_is_put_in() -> None:
    assert insert_bos(np.array([5, 6, 7], np.uint8), np.array([1, 3]), 300).tolist() == [5, 300, 6, 7, 300]


def test_weights_are_of_the_records_to_train_on() -> None:
    corpus = corpus_of(b"a\nb\nc\nd\n", separator=b"\n", weights=[1, 20, 300, 4000])
    made = prepare(corpus, None, PrepareOptions("byte", val_fraction=0.25, seed=1))
    assert made.train.weights is not None
    catalog = {b"a\n": 1, b"b\n": 20, b"c\n": 300, b"d\n": 4000}
    read = [ByteTokenizer().decode(ids) for ids in made.train.texts()]
    assert [catalog[record] for record in read] == made.train.weights.tolist()
    assert len(made.val.starts) == 1
    assert made.val.weights is None

"""Texts as rows: every token once an epoch, `<s>` where texts begin, nothing drawn twice."""

import collections
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.config.train import TrainConfig
from charrnn.dataset import batches as rows
from charrnn.dataset.batches import (
    BOS_AFTER_NEWLINE,
    BOS_ELSEWHERE,
    Batch,
    BatchLoader,
    Loader,
    batch_loader,
    mixed_rows,
)
from charrnn.dataset.dataset import Dataset, Mix, TextCounts, TokenStream
from charrnn.errors import InputError, UsageError
from charrnn.network.architecture import Architecture
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.training.learner import Learner, training_spec
from tests.tiny import COMMAND
from tests.trainings import TEXT, arguments

V = 1000  # the id of `<s>` in tests of rows


def numbered(*lengths: int) -> TokenStream:
    """Texts whose tokens are their places."""
    ids = np.arange(sum(lengths), dtype=np.uint16)
    return TokenStream.join(np.split(ids, np.cumsum(lengths)[:-1]))


def rows_of(
    stream: TokenStream, batch: int = 3, seq_len: int = 5, seed: int = 0, newline: int | None = None
) -> BatchLoader:
    return BatchLoader(stream, bos_id=V, newline=newline, batch_size=batch, seq_len=seq_len, seed=seed)


EPOCHS = 8  # of a run


def epoch_of(rows: BatchLoader, number: int) -> list[Batch]:
    steps = rows.steps_per_epoch
    return [rows.batch(number * steps + index, EPOCHS * steps) for index in range(steps)]


# --- two texts -------------------------------------------------------------------------------------


def mixed(own: TokenStream, other: TokenStream, **options: Any) -> Loader:
    """Batches of two texts of one vocabulary."""
    data: dict[str, Any] = {"train_counts": TextCounts(), "val_counts": TextCounts(), "train_end": b"", "val_texts": ()}
    tokenizer, none = ByteTokenizer(), TokenStream.join([])
    mix = Mix(Dataset(tokenizer, other, none, **data), 0.4)
    dataset = Dataset(tokenizer, own, none, mix=mix, **data)
    return batch_loader(dataset, **{"batch": 5, "seq_len": 4, "seed": 7, **options})


@pytest.mark.parametrize("records", [False, True])
def test_the_last_rows_are_of_the_text_mixed_in(records: bool) -> None:
    """In every batch, each as if its text were alone; an epoch is one of the first text, which may be the shorter."""
    starts = np.arange(0, 120, 6)
    own = TokenStream(np.arange(120, dtype=np.uint8), starts, records)
    other = TokenStream(np.arange(130, 250, dtype=np.uint8), starts, records)
    loader = mixed(own, other)
    assert (loader.batch_size, loader.seq_len, loader.steps_per_epoch) == (5, 4, 120 // 12)
    alone = BatchLoader(own, bos_id=256, newline=10, batch_size=3, seq_len=4, seed=7)
    seen = set()
    for step in range(25):
        batch = loader.batch(step, 25)
        assert batch.inputs.shape == batch.targets.shape == (5, 4)
        assert (batch.targets[:3] == alone.batch(step, 25).targets).all()
        assert (batch.inputs[:3] == alone.batch(step, 25).inputs).all()
        assert batch.targets[3:].min() >= 130
        seen |= set(batch.targets[3:].ravel().tolist())
    assert len(seen) > 100


@pytest.mark.parametrize("begin", range(5))
def test_a_row_is_a_function_of_its_number(begin: int) -> None:
    """Whatever other rows are wanted: processes share them out."""
    own, other = (TokenStream.join([np.arange(a, a + 100, dtype=np.uint8)]) for a in (0, 110))
    whole = mixed(own, other)
    for end in range(begin + 1, 6):
        part = mixed(own, other, rows=slice(begin, end))
        for step in (0, 3, 11):
            assert (part.batch(step, 12).inputs == whole.batch(step, 12).inputs[begin:end]).all()
            assert (part.batch(step, 12).targets == whole.batch(step, 12).targets[begin:end]).all()


def test_too_little_to_mix_in() -> None:
    own, other = (TokenStream.join([np.zeros(size, np.uint8)]) for size in (100, 7))
    with pytest.raises(InputError, match="the text to mix in has 7 tokens, and batch 2 times seq_len 4 needs 8"):
        mixed(own, other)
    with pytest.raises(UsageError, match="mix needs a batch of 2 or more, not 1"):
        mixed(own, own, batch=1)
    assert [mixed_rows(*each) for each in ((2, 0.01), (2, 0.99), (16, 0.2), (10, 0.5))] == [1, 1, 3, 5]


# --- streams ---------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    batch=st.integers(1, 5),
    seq_len=st.integers(1, 9),
    seed=st.integers(0, 2**63 - 1),
    number=st.integers(0, 3),
)
def test_every_token_is_predicted_once_an_epoch(
    lengths: list[int], batch: int, seq_len: int, seed: int, number: int
) -> None:
    """But for a remainder smaller than a chunk; each after the one before it, or after `<s>`."""
    stream, size = numbered(*lengths), sum(lengths)
    if size < batch * seq_len:
        with pytest.raises(InputError, match=f"has {size} tokens?, and batch {batch} times seq_len {seq_len}"):
            rows_of(stream, batch, seq_len, seed)
        return
    rows = rows_of(stream, batch, seq_len, seed)
    chunks = epoch_of(rows, number)
    seen = collections.Counter(int(token) for chunk in chunks for token in chunk.targets.flat)
    assert set(seen.values()) == {1}
    assert size - len(seen) < batch * seq_len
    for chunk in chunks:
        assert chunk.inputs.shape == chunk.targets.shape == (batch, seq_len)
        assert chunk.inputs.dtype == chunk.targets.dtype == np.int64
        for (_, column), read in np.ndenumerate(chunk.inputs):
            place = int(chunk.targets[_, column])
            if place in stream.starts:
                assert read == V  # nothing of the text before is seen
            elif column > 0:
                assert read == place - 1
            else:
                assert read in (place - 1, V)


def test_rows_go_on_from_chunk_to_chunk() -> None:
    """What a row carries is of what it reads next: only an epoch's first chunk jumps, and there all read `<s>`."""
    rows = rows_of(numbered(200, 150))
    for number in range(3):
        chunks = epoch_of(rows, number)
        assert (chunks[0].inputs[:, 0] == V).all()
        for before, after in itertools.pairwise(chunks):
            assert ((after.targets[:, 0] - before.targets[:, -1]) % 350 == 1).all()


def test_every_epoch_begins_elsewhere_and_every_seed_too() -> None:
    def offsets(seed: int) -> list[int]:
        rows = rows_of(numbered(1000), seq_len=16, seed=seed)
        return [int(epoch_of(rows, number)[0].targets[0, 0]) for number in range(EPOCHS)]

    assert len(set(offsets(0))) > 4
    assert offsets(0) == offsets(0)
    assert offsets(0) != offsets(1)


@pytest.mark.parametrize("steps", [1, 66, 67, 150, 700])
def test_a_run_ends_where_the_text_ends(steps: int) -> None:
    """With a whole epoch, if it has as many steps; what it began with is the end of one."""
    rows = rows_of(numbered(1000))
    assert rows.steps_per_epoch == 66
    assert (rows.batch(0, steps).inputs[:, 0] == V).all()
    assert rows.batch(steps - 1, steps).targets[:, -1].tolist() == [333, 666, 999]
    last = [rows.batch(step, steps).targets for step in range(max(0, steps - 66), steps)]
    read = sorted(np.concatenate(last, axis=None).tolist())
    assert read == [place for end in (334, 667, 1000) for place in range(end - 5 * len(last), end)]


def test_a_run_may_be_longer_than_planned() -> None:
    """Then it begins another epoch."""
    rows = rows_of(numbered(1000))
    chunks = [rows.batch(step, 10) for step in range(10, 10 + 66)]
    assert (chunks[0].inputs[:, 0] == V).all()
    assert len({int(place) for chunk in chunks for place in chunk.targets.flat}) == 66 * 15


def test_no_token_is_passed_over_for_ever() -> None:
    """Rows of 14 tokens are read 2 chunks of 5 at a time: what is left over in one epoch is read in another."""
    rows = rows_of(numbered(42))
    seen = {int(place) for number in range(EPOCHS) for chunk in epoch_of(rows, number) for place in chunk.targets.flat}
    assert seen == set(range(42))


def test_a_chunk_depends_on_its_step_alone() -> None:
    """And on the last one, in whatever order they are asked for: resuming needs no more than two numbers."""
    forth, back = rows_of(numbered(300)), rows_of(numbered(300))
    steps = list(range(50))
    wanted = {step: forth.batch(step, 50) for step in steps}
    for step in reversed(steps):
        chunk = back.batch(step, 50)
        assert (chunk.inputs == wanted[step].inputs).all()
        assert (chunk.targets == wanted[step].targets).all()


def test_the_start_is_read_now_and_then_mostly_after_newlines() -> None:
    """So that the model learns to begin from nothing."""
    ids = np.tile(np.array([1, 2, 3, 4, 0], np.uint8), 1500)  # 0 is a newline
    rows = rows_of(TokenStream.join([ids]), batch=50, seq_len=1, newline=0)
    replaced: dict[bool, list[bool]] = {True: [], False: []}
    for number in range(4):
        for chunk in epoch_of(rows, number)[1:]:
            for read, target in zip(chunk.inputs[:, 0], chunk.targets[:, 0], strict=True):
                replaced[bool(target == 1)].append(bool(read == V))
    assert np.mean(replaced[True]) == pytest.approx(BOS_AFTER_NEWLINE, abs=0.03)
    assert np.mean(replaced[False]) == pytest.approx(BOS_ELSEWHERE, abs=0.004)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_state_is_reset_by_the_start_and_by_nothing_else(cell: str) -> None:
    """Several texts in one chunk: what stood before `<s>` changes nothing after it, all else does."""
    architecture = Architecture(cell, 9, (6,), 4)
    config = TrainConfig(cell=cell, batch=2, seq_len=8, hidden=(6,), lr=0.1, optimizer="sgd")
    inputs = np.array([[1, 2, 3, 9, 4, 5, 6, 7], [1, 2, 3, 8, 4, 5, 6, 7]])

    def ends(first: int) -> Any:
        learner = Learner(architecture, config, training_spec(config, device="cpu"))
        changed = inputs.copy()
        changed[:, 0] = first
        learner.step(Batch(changed, inputs % 9), 0, 0.1)
        return learner.state[0][0]

    one, other = ends(1), ends(2)
    assert (one[0] == other[0]).all()  # the row with `<s>`, id 9, in its middle
    assert (one[1] != other[1]).any()


def test_the_state_is_carried_across_chunks_and_epochs(tmp_path: Path) -> None:
    config = TrainConfig(cell="gru", batch=1, seq_len=2, hidden=(6,), lr=1e-9, optimizer="sgd")
    learner = Learner(Architecture("gru", 9, (6,), 4), config, training_spec(config, device="cpu"))
    states = []
    for first in (1, 1, 9):
        learner.step(Batch(np.array([[first, 2]]), np.array([[2, 3]])), 0, 1e-9)
        states.append(learner.state[0].copy())
    fresh = Learner(learner.architecture, learner.config, training_spec(learner.config, device="cpu"))
    fresh.step(Batch(np.array([[9, 2]]), np.array([[2, 3]])), 0, 1e-9)
    assert not np.allclose(states[0], states[1], atol=1e-4)
    assert states[2] == pytest.approx(fresh.state[0], abs=1e-6)


# --- splitting -----------------------------------------------------------------------------------


def test_in_10_too_little_for_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IN-10: one token fewer than a chunk has is refused; as many are enough."""
    monkeypatch.chdir(tmp_path)
    for size, code in ((31, 4), (32, 0)):
        Path("short.txt").write_bytes(TEXT[:size])
        assert main(arguments("short.txt", f"run-{size}", "--val", "0", steps=2)) == code


# --- records ---------------------------------------------------------------------------------------------


def stream_of(lengths: list[int], weights: list[int] | None = None) -> TokenStream:
    """Records whose tokens are their places."""
    ids = np.arange(sum(lengths), dtype=np.uint16)
    starts = np.cumsum([0, *lengths[:-1]], dtype=np.int64)
    return TokenStream(ids, starts, True, None if weights is None else np.array(weights, np.int64))


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
    """But for a remainder smaller than a chunk; from `<s>` on, token after token, in an order of its own."""
    stream = stream_of(lengths)
    if len(stream) < batch * seq_len:
        return
    made = rows_of(stream, batch, seq_len, seed)
    inputs, targets = read_in(made, epoch)
    counts = collections.Counter(targets)
    assert set(counts.values()) == {1}
    assert len(stream) - len(counts) < batch * seq_len
    starts = set(stream.starts.tolist())
    for before, token in zip(inputs, targets, strict=True):
        assert before == (1000 if token in starts else token - 1)
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
        found = collections.Counter(token // 4 for token in targets)
        assert [found[n] for n in range(6)] == [4 * weight for weight in weights]


def test_weights_too_large_to_be_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are drawn: chi-squared against their weights."""
    monkeypatch.setattr(rows, "SHUFFLE_BLOCK", 2000)
    weights = [10**6, 4 * 10**6, 3 * 10**6, 2 * 10**6, 123]
    made = rows_of(stream_of([3] * 5, weights), batch=1, seq_len=3)
    assert made.steps_per_epoch == 2000
    found = collections.Counter(token // 3 for token in read_in(made, 0)[1])
    expected = [2000 * weight / sum(weights) for weight in weights]
    assert sum((found[n] / 3 - expected[n]) ** 2 / expected[n] for n in range(4)) < 20
    assert read_in(made, 0)[1] != read_in(made, 1)[1]


def test_neighbours_go_together_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "SHUFFLE_BLOCK", 10)
    _, targets = read_in(rows_of(stream_of([2] * 40), batch=1, seq_len=4), 0)
    assert sorted(targets) == list(range(80))
    assert all(targets[at : at + 8] == list(range(targets[at], targets[at] + 8)) for at in range(0, 80, 8))
    assert targets != sorted(targets)


# --- corpora that try a program's patience -------------------------------------------------------


def test_a_corpus_of_several_texts(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """`<s>` in the middle of chunks: what never follows in a text is not learnt to follow."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:02}.txt").write_bytes((b"abcd", b"xyz")[number % 2])
    command = ["train", str(folder), "--val", "0", "--hidden", "16", "--batch", "2", "--seq-len", "15"]
    assert main([*command, "--steps", "100", "--lr", "0.03", "--seed", "1", "--out", str(tmp_path / "run")]) == 0
    capfdbinary.readouterr()
    texts = [str(folder / name) for name in ("00.txt", "01.txt")]
    assert main(["eval", "-m", str(tmp_path / "run"), "--json", *texts]) == 0
    rows = [json.loads(row) for row in capfdbinary.readouterr().out.splitlines()]
    for row in rows[:2]:  # which of the two texts it is is all there is to guess
        assert row["nats"] == pytest.approx(np.log(2), abs=0.5)


@pytest.mark.parametrize("count", [6_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_in_12_a_large_vocabulary_is_announced(
    count: int, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """IN-12: a warning; trains; the memory announced follows from V and H."""
    points = [point for point in range(0x4E00, 0x4E00 + 2 * count) if not 0xD800 <= point < 0xE000][:count]
    corpus = tmp_path / "many.txt"
    corpus.write_bytes("".join(map(chr, points)).encode())
    run = tmp_path / "run"
    assert main(arguments(corpus, run, "--val", "0", "--json", steps=3)) == 0
    out, err = capfdbinary.readouterr()
    assert f"Warning: {count + 1:,} different characters".encode() in err
    model = checkpoint.read(run / "model.safetensors")
    assert model.architecture.vocabulary == count + 1
    weights = sum(weight.nbytes for weight in model.weights.values())
    memory = int(out.split(b'"memory": ')[1].split(b",")[0])
    assert 15 * weights < memory < 20 * weights  # as many copies while a checkpoint is written; the logits of 32 places


# a small process between: at first a child's memory is its parent's, and these tests' is large
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stderr=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no peak of memory")
def test_in_12_memory_follows_from_what_was_announced(tmp_path: Path) -> None:
    """IN-12: it takes about that, most of it while a checkpoint is written."""
    peaks, announced = [], []
    for count in (60, 60_000):
        corpus = tmp_path / f"{count}.txt"
        corpus.write_bytes("".join(map(chr, range(0x10000, 0x10000 + count))).encode())
        command = [*COMMAND, *arguments(corpus, tmp_path / "run", "--val", "0", "--json", "--overwrite", steps=3)]
        measured = [sys.executable, "-c", MEASURED, *command, "--hidden", "128"]
        done = subprocess.run(measured, capture_output=True, check=True)
        announced.append(json.loads(done.stdout.splitlines()[0])["memory"])
        peaks.append(int(done.stderr) * (1 if sys.platform == "darwin" else 1024))
    assert 0.7 < (peaks[1] - peaks[0]) / (announced[1] - announced[0]) < 1.4

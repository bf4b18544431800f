"""Texts as rows: every symbol once an epoch, `<s>` where texts begin, nothing drawn twice."""

import collections
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.config.train import TrainConfig
from charrnn.dataset.batches import BOS_AFTER_NEWLINE, BOS_ELSEWHERE, Batch, BatchLoader
from charrnn.dataset.dataset import MIN_SEGMENT_TOKENS, TokenStream, head
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.errors import InputError
from charrnn.network.architecture import Architecture
from charrnn.training.learner import Learner, training_spec
from tests.trainings import TEXT, arguments, corpus_of, split_of

V = 1000  # the id of `<s>` in tests of rows


def numbered(*lengths: int) -> TokenStream:
    """Texts whose symbols are their places."""
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


# --- streams ---------------------------------------------------------------------------------------


def test_streams_remember_where_texts_begin() -> None:
    texts = [np.array(ids, np.uint8) for ids in ([1, 2, 3], [], [4], [5, 6])]
    stream = TokenStream.join(texts)
    assert stream.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert stream.starts.tolist() == [0, 3, 4]
    assert [text.tolist() for text in stream.texts()] == [[1, 2, 3], [4], [5, 6]]
    assert [text.tolist() for text in stream.texts(4)] == [[1, 2, 3], [4]]
    assert [text.tolist() for text in stream.texts(5)] == [[1, 2, 3], [4], [5]]
    assert len(TokenStream.join([])) == 0
    assert TokenStream.join([]).texts() == []


@pytest.mark.parametrize(
    ("count", "limit", "pieces"), [(4, 10**6, 4), (64, 10**6, 7), (64, 600, 2), (4, 2, 1), (1, 5, 1), (5, 0, 0)]
)
def test_pieces_are_all_of_the_head(count: int, limit: int, pieces: int) -> None:
    """And long enough for what they begin without to matter little."""
    stream = numbered(1000, 999)
    found = stream.segments(count, limit, V)
    assert [symbol for piece in found for symbol in piece.tolist()] == stream.ids[:limit].tolist()
    assert [len(found), *(len(piece) for piece in found if len(piece) < min(limit, MIN_SEGMENT_TOKENS))] == [pieces]
    assert max(map(len, found), default=0) - min(map(len, found), default=0) <= 1


# --- rows --------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    batch=st.integers(1, 5),
    seq_len=st.integers(1, 9),
    seed=st.integers(0, 2**63 - 1),
    number=st.integers(0, 3),
)
def test_every_symbol_is_predicted_once_an_epoch(
    lengths: list[int], batch: int, seq_len: int, seed: int, number: int
) -> None:
    """But for a remainder smaller than a chunk; each after the one before it, or after `<s>`."""
    stream, size = numbered(*lengths), sum(lengths)
    if size < batch * seq_len:
        with pytest.raises(InputError, match=f"has {size} tokens, and --batch {batch} times --seq-len {seq_len}"):
            rows_of(stream, batch, seq_len, seed)
        return
    rows = rows_of(stream, batch, seq_len, seed)
    chunks = epoch_of(rows, number)
    seen = collections.Counter(int(symbol) for chunk in chunks for symbol in chunk.targets.flat)
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


def test_no_symbol_is_passed_over_for_ever() -> None:
    """Rows of 14 symbols are read 2 chunks of 5 at a time: what is left over in one epoch is read in another."""
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


def test_tiny_shakespeare_is_split_as_nanogpt_splits_it(shared: Path) -> None:
    data = (shared / "tinyshakespeare.txt").read_bytes()
    made = split_of(data)
    n = len(data.decode())
    assert (len(made.train), len(made.val)) == (int(n * 0.9), n - int(n * 0.9)) == (1_003_854, 111_540)
    assert b"".join(made.val_texts) == data[1_003_854:]
    assert made.tokenizer.size == 65 + 1  # and <unk>


@pytest.mark.parametrize("tokenizer", ["char", "byte"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("texts", [["ein Tür", "漢字かな", "x", "🎵🎵"], ["漢字" * 7], ["a" * 19, "é"]])
def test_splits_lose_nothing(tokenizer: str, fraction: float, texts: list[str]) -> None:
    made = split_of(*(text.encode() for text in texts), tokenizer=tokenizer, fraction=fraction)
    data = "".join(texts) if tokenizer == "char" else "".join(texts).encode()
    middle = int(len(data) * (1 - fraction))
    assert (len(made.train), len(made.val)) == (middle, len(data) - middle)
    rest = data[middle:]
    assert b"".join(made.val_texts) == (rest.encode() if isinstance(rest, str) else rest)
    assert made.train_end == (data[:middle].encode() if isinstance(data, str) else data[:middle])
    assert made.train_counts.bytes + made.val_counts.bytes == len("".join(texts).encode())


@pytest.mark.parametrize(
    ("symbols", "separator", "found"),
    [
        (1, b"", [b"a"]),
        (2, b"", [b"ab"]),
        (3, b"", [b"ab", "é".encode()]),
        (5, b"", [b"ab", "éé".encode(), b"c"]),
        (99, b"", [b"ab", "éé".encode(), b"c"]),
        (1, b"b", [b"ab"]),
        (3, "é".encode(), [b"ab", "é".encode()]),
    ],
)
def test_heads(symbols: int, separator: bytes, found: list[bytes]) -> None:
    """Of records the last one is whole."""
    assert head((b"ab", "éé".encode(), b"c"), symbols, by_char=True, separator=separator) == found


def test_ev_20_the_vocabulary_is_of_the_training_part() -> None:
    """EV-20: what stands in the validation part alone is unknown there, and no symbol of the model."""
    made = split_of(b"abcdefgh" + "ΩΩ".encode(), fraction=0.2)
    assert made.tokenizer.size == 8 + 1
    assert made.val.ids.tolist() == [made.tokenizer.unknown] * 2
    assert (made.val_counts.unknowns, made.train_counts.unknowns) == (2, 0)
    given = prepare(corpus_of(b"abc"), corpus_of(b"axx"), PrepareOptions(val_fraction=0.5))
    assert (len(given.train), len(given.val), given.val_counts.unknowns) == (3, 3, 2)


def test_counts() -> None:
    made = split_of("\ufeffTür auf\r\n".encode(), b"zu\xff", fraction=0, errors="replace")
    counts = made.train_counts
    assert (counts.chars, counts.words, counts.replaced) == (12, 3, 1)
    assert len(made.val) == 0
    assert made.train.starts.tolist() == [0, 9]


def test_invalid_utf_8_is_refused_with_its_place() -> None:
    """IN-03: of the whole text, wherever it is split."""
    for fraction in (0, 0.1, 0.5):
        with pytest.raises(InputError, match=r"^'text 1': invalid UTF-8 at byte 2 \(line 1\)"):
            split_of(b"fine", b"zu\xff", fraction=fraction)
    assert len(split_of(b"zu\xff", tokenizer="byte", fraction=0).train) == 3


@pytest.mark.parametrize(
    ("data", "fraction", "had", "needed"),
    [(b"x", 0.1, 1, 2), ("é".encode(), 0.1, 1, 2), (b"x" * 9, 0.9, 9, 11), (b"xyz", 0.75, 3, 4)],
)
def test_in_10_too_little_to_split(data: bytes, fraction: float, had: int, needed: int) -> None:
    """IN-10: the count had, the count needed, the flag to lower; and what is said to suffice does."""
    with pytest.raises(InputError, match=f"has {had} characters?, and val {fraction} needs {needed},"):
        split_of(data, fraction=fraction)
    symbol = data[: len(data) // had]
    made = split_of(symbol * needed, fraction=fraction)
    assert (len(made.train), len(made.val)) == (1, needed - 1)
    assert len(split_of(symbol, fraction=0.0).train) == 1


def test_in_10_too_little_for_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IN-10: one symbol fewer than a chunk has is refused; as many are enough."""
    monkeypatch.chdir(tmp_path)
    for size, code in ((31, 4), (32, 0)):
        Path("short.txt").write_bytes(TEXT[:size])
        assert main(arguments("short.txt", f"run-{size}", "--val", "0", steps=2)) == code


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
    """IN-12: a warning; trains; the memory told of is what V and H come to, and bounds what is taken."""
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
    assert 4 * weights < memory < 8 * weights  # weights, gradients, two moments; and the logits of 32 places

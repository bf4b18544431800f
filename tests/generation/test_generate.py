"""Texts that come out the same whatever is generated beside them, by each engine that samples on the CPU."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.engines.base import END, FORBIDDEN, InferenceEngine
from charrnn.engines.native import lib as core
from charrnn.generation import generate as generation
from charrnn.generation.constraints import token_dfa
from charrnn.generation.generate import TextChunk, generate, joined
from charrnn.generation.prompts import encode_prompt, read_prefix
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny
from tests.scoring.oracle import nats_of

ENGINES = ["numpy", *(["native"] if core.library() else [])]

used = ""


@pytest.fixture(autouse=True, params=ENGINES)
def engine_used(request: pytest.FixtureRequest) -> None:
    global used
    used = request.param


def ensemble_engine(model: Checkpoint) -> InferenceEngine:
    return tiny.engine_of(model, used)


def write(model: Checkpoint, *stop: bytes, prompt: bytes = b"", seed: int = 7, **controls: Any) -> list[bytes]:
    """The texts, which must come whole and in order, without a character cut."""
    texts = [b""] * controls.get("num", 1)
    finished: list[int] = []
    for part in parts(model, *stop, prompt=prompt, seed=seed, **controls):
        assert part.index == len(finished)
        texts[part.index] += part.data
        if part.finished:
            finished.append(part.index)
    assert finished == list(range(len(texts)))
    return texts


def parts(
    model: Checkpoint, *stop: bytes, prompt: bytes = b"", seed: int = 7, separator: bytes = b"", **controls: Any
) -> Iterator[TextChunk]:
    return parts_of(model, [prompt], seed=seed, stop=stop, separator=separator, **controls)


def parts_of(
    model: Checkpoint,
    prompts: list[bytes],
    *,
    seed: int = 7,
    stop: tuple[bytes, ...] = (),
    separator: bytes = b"",
    with_nats: bool = False,
    batch_size: int | None = None,
    **controls: Any,
) -> Iterator[TextChunk]:
    engine, ids = ensemble_engine(model), [encode_prompt(model.tokenizer, prompt) for prompt in prompts]
    return generate(
        engine, model.tokenizer, ids, SampleConfig(**controls), seed=seed, stop=stop, separator=separator,
        with_nats=with_nats, batch_size=batch_size,
    )  # fmt: skip


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_text_does_not_depend_on_those_beside_it(cell: str) -> None:
    """CL-26: the first of 3, or of 70 in two batches, is the one alone, to the last bit."""
    model = tiny.drawn(tiny.char(), cell, (12, 8))
    [alone] = write(model, prompt=b"the ", length=300)
    three, seventy = (write(model, prompt=b"the ", length=300, num=num) for num in (3, 70))
    assert three[0] == alone
    assert seventy[:3] == three
    assert len(set(seventy)) == 70
    assert write(model, prompt=b"the ", length=300, seed=8) != [alone]
    assert write(model, prompt=b"the ", length=100)[0] == alone.decode()[:100].encode()


def test_rows_are_exact() -> None:
    """CL-26: logits and state of a row do not depend on the rows beside it."""
    model = tiny.drawn(tiny.char(), "lstm", (33, 17))
    engine = ensemble_engine(model)
    ids = np.arange(70) % 20
    state = engine.zero_state(70)
    single = [engine.zero_state(1) for _ in ids]
    for token in (model.architecture.bos_id, 3, 5, 8):
        logits, state = engine.step((ids + token) % (model.architecture.bos_id + 1), state)
        for row in (0, 1, 2, 69):
            alone, single[row] = engine.step(
                (ids[row : row + 1] + token) % (model.architecture.bos_id + 1), single[row]
            )
            assert alone[0].tobytes() == logits[row].tobytes()


def test_texts_that_end_early_do_not_disturb_others() -> None:
    model = tiny.drawn(tiny.char())
    plain = write(model, length=200, num=70)
    stopped = write(model, b"a", length=200, num=70)
    assert stopped == [text.partition(b"a")[0] for text in plain]
    assert len({len(text) for text in stopped}) > 5


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (b"", b"abcabdabcabe" * 2),
        (b"\n", b"abcabdabcabe" * 2),
        (b"a", b""),
        (b"abd", b"abc"),
        (b"abe", b"abcabdabc"),
        (b"bcabe", b"abcabda"),
        (b"ea", b"abcabdabcab"),
        (b"eb", b"abcabdabcabe" * 2),
        (b"abcabdabcabeabcabdabcabe!", b"abcabdabcabe" * 2),
        (b"abcabdabcabeabcabdabcabe", b""),
    ],
)
def test_a_text_ends_before_its_stop_string(stop: bytes, expected: bytes) -> None:
    """What may be its beginning is held back, and let go of when it is not."""
    model = tiny.reciting(ByteTokenizer(), b"abcabdabcabe")
    assert write(model, stop, length=24) == [expected]
    assert write(model, stop, length=24, num=3) == [expected] * 3


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ((b"d", b"ca"), b"ab"),
        ((b"ca", b"d"), b"ab"),
        ((b"cabda", b"cabd"), b"ab"),
        ((b"zz", b"", b"be"), b"abcabdabca"),
        ((b"abcabe", b"ab!"), b"abcabd"),
    ],
)
def test_a_text_ends_before_the_first_of_its_stop_strings(stops: tuple[bytes, ...], expected: bytes) -> None:
    model = tiny.reciting(ByteTokenizer(), b"abcabdabcabe")
    assert write(model, *stops, length=24, num=2) == [expected] * 2


def test_why_a_text_ends() -> None:
    """And a record has no limit but one far away, a text 500 tokens; 0 is none."""
    model = tiny.reciting(ByteTokenizer(), b"abcab\n")

    def ends(*stop: bytes, **controls: Any) -> tuple[int, str]:
        [*_, last] = parts(model, *stop, **controls)
        return last.tokens, last.finish_reason

    assert ends() == (500, "length")
    assert ends(length=3) == (3, "length")
    assert ends(b"c") == (3, "stop")
    assert ends(b"c", length=0) == (3, "stop")
    assert ends(separator=b"\n") == ends(separator=b"\n", length=0) == (6, "end")
    assert ends(separator=b"\n", length=5) == (5, "length")
    assert ends(b"\n", separator=b"\n") == ends(b"\n", separator=b"\n", length=6) == (6, "stop")
    assert ends(separator=b"x") == (10_000, "length")
    endless = parts(model, length=0)
    text = b"".join(next(endless).data for _ in range(20))
    assert text.startswith(b"abcab\nabcab\n")


def test_texts_without_number() -> None:
    """Each is the one that a number of them would have had."""
    model = tiny.drawn(tiny.char())
    found = [b""] * 70
    for part in parts(model, num=0, length=40):
        if part.index == 70:
            break
        found[part.index] += part.data
    assert found == write(model, num=70, length=40)


def test_tokens_are_counted() -> None:
    model = tiny.reciting(tiny.char(), "日é.".encode())
    *_, last = parts(model, length=8)
    assert (last.tokens, last.finished) == (8, True)
    *_, last = parts(model, b".", length=8)
    assert last.tokens == 3


@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_several_prompts(separator: bytes) -> None:
    """Texts of each in turn, in order, with their own figures; where there is no end of texts, prompts take turns."""
    model = tiny.drawn(tiny.char())
    prompts = [b"", b"the ", b"a\nnn"]
    found = list(joined(parts_of(model, prompts, separator=separator, num=2, length=30, with_nats=True)))
    assert [(each.prompt, each.index) for each in found] == [(p, n) for p in range(3) for n in range(2)]
    for each in found:
        end = separator if each.finish_reason == "end" else b""
        before = prompts[each.prompt].rpartition(separator)[2] if separator else prompts[each.prompt]
        ids, read = (model.tokenizer.encode(data).tolist() for data in (each.data + end, before))
        assert each.tokens == len(ids)
        assert each.nats == pytest.approx(nats_of(model, ids, read).sum(), rel=1e-5)
    endless = joined(parts_of(model, prompts, separator=separator, num=0, length=30))
    assert [(each.prompt, each.index) for each in islice(endless, 7)] == [(n % 3, n // 3) for n in range(7)]


@pytest.mark.parametrize("stop", [(), (b"a",)])
def test_nats_are_the_same_in_any_company(stop: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit, wherever chunks are cut; NaN where they are not wanted."""
    model = tiny.drawn(tiny.char(), "lstm")
    found = []
    for seconds, size in ((0.0, 1), (0.0, 7), (0.02, None)):
        monkeypatch.setattr(generation, "CHUNK_SECONDS", seconds)
        texts = joined(parts_of(model, [b"n"], stop=stop, num=20, length=60, temp=0.7, with_nats=True, batch_size=size))
        found.append([(each.data, each.tokens, each.nats) for each in texts])
    assert found[0] == found[1] == found[2]
    assert math.isnan(next(joined(parts_of(model, [b"n"], length=5))).nats)


@pytest.mark.parametrize("length", range(1, 13))
def test_no_character_is_cut(length: int) -> None:
    """CL-27: but for the last, where the length cuts it."""
    text = "é日😀aé日".encode()
    model = tiny.reciting(ByteTokenizer(), text)
    found = list(parts(model, length=length))
    assert b"".join(part.data for part in found) == text[:length]
    for part in found[:-1]:
        part.data.decode()


def test_a_long_prompt_is_read_as_token_by_token() -> None:
    """IN-14: by chunks, to the same state as token by token."""
    model = tiny.drawn(tiny.char(), "lstm")
    engine = ensemble_engine(model)
    prompt = model.tokenizer.encode(b"the cat sat. " * 700)
    logits, state = engine.step(np.array([model.architecture.bos_id]), engine.zero_state(1))
    for token in prompt:
        logits, state = engine.step(np.array([token]), state)
    found, after = read_prefix(engine, prompt)
    assert found == pytest.approx(logits, rel=1e-4, abs=1e-5)
    for layer, expected in zip(after, state, strict=True):
        assert layer == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_no_prompt_starts_from_nothing() -> None:
    """IN-14."""
    model = tiny.unigram(tiny.char("ab"), {b"a": 3})
    assert write(model, temp=0, length=3) == [b"aaa"]


def test_unknown_is_never_drawn() -> None:
    model = tiny.unigram(tiny.char("ab"))
    assert model.tokenizer.unknown is not None
    model.weights["head.bias"][model.tokenizer.unknown] = 30
    assert write(model, length=200)[0].strip(b"ab") == b""
    assert write(model, length=20, temp=0) == [b"a" * 20]


@pytest.mark.parametrize("end", [(), (0,), (1, 2), (1, 1), (0, 1, 0, 2), (1, 1, 2, 1, 1), (2, 0, 2, 0, 2, 1)], ids=str)
def test_the_automaton_finds_the_end(end: tuple[int, ...]) -> None:
    """As a search of all that was drawn does, after every token."""
    table = token_dfa(4, 3, end).next
    assert (table[:, 3] == FORBIDDEN).all()
    draws = np.random.default_rng(0)
    for _ in range(200 if end else 1):
        state, text = 0, []
        for token in draws.integers(0, 3, 300).tolist():
            text.append(token)
            state = table[state, token]
            is_end = bool(end) and tuple(text[-len(end) :]) == end
            assert (state == END) == is_end
            if is_end:
                break
    assert is_end or not end or len(end) > 5

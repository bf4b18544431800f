"""A text written by turns: what follows continues all of it, whatever was undone, drawn again or changed between."""

from typing import Any

import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.errors import CharRNNError, InputError, UsageError
from charrnn.generation.conversation import Conversation
from charrnn.generation.copies import blocks_of, copy_index
from charrnn.generation.generate import generate, joined
from charrnn.generation.novelty import Novelty
from charrnn.generation.prompts import encode_prompt
from charrnn.generation.texts import generate_texts
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny

NOISE = tiny.drawn(tiny.char("abcdefgh \n"))
NAMES = tiny.drawn(tiny.char("abcdefgh\n"), separator=b"\n")


def begun(model: Checkpoint = NOISE, *, novelty: Novelty | None = None, **options: Any) -> Conversation:
    config = SampleConfig(**{"length": 20, "seed": 3, **options})
    return Conversation(tiny.engine_of(model), model.tokenizer, model.separator, config, novelty)


def drawn(conversation: Conversation, prompt: bytes = b"") -> bytes:
    return b"".join(conversation.draw(prompt))


def sampled(model: Checkpoint, prompt: bytes, **options: Any) -> bytes:
    """What `charrnn sample` prints."""
    config = SampleConfig(**{"length": 20, **options})
    ids = encode_prompt(model.tokenizer, prompt)
    chunks = generate(
        tiny.engine_of(model), model.tokenizer, [ids], config, seed=config.seed or 0, separator=model.separator
    )
    return b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize("tokenizer", [tiny.char("abcdefgh \n"), ByteTokenizer()], ids=["char", "byte"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_state_is_kept(cell: str, tokenizer: Any) -> None:
    """What follows is what a model would write that reads all of the text so far at once."""
    model = tiny.drawn(tokenizer, cell, (12, 9))
    conversation = begun(model, temp=0)
    text = b""
    for prompt in (b"abba ", b"", b"cab", b"", b""):
        expected = sampled(model, text + prompt, temp=0)
        assert drawn(conversation, prompt) == expected
        text += prompt + expected
        assert conversation.text == text
    for turn in range(5, 2, -1):
        conversation.undo()
        assert len(conversation.turns) == turn - 1
    rest = conversation.text
    assert text.startswith(rest)
    assert drawn(conversation, b"bad") == sampled(model, rest + b"bad", temp=0)


def test_pieces_that_are_not_utf8_together() -> None:
    """Each turn is cut into tokens on its own; bytes that a model cuts in two stop nothing."""
    model = tiny.reciting(tiny.pieces(), "日 the cat".encode())
    conversation = begun(model, temp=0, length=2)
    first, second = drawn(conversation), drawn(conversation)
    assert (first, conversation.text) == ("日".encode()[:2], first + second)


def test_a_seed_gives_the_same_texts() -> None:
    """The first turn is `sample --seed`'s; later ones differ, and are the same whatever was taken back between."""
    conversation = begun(NAMES, length=None)
    texts = [drawn(conversation) for _ in range(4)]
    assert texts[0] == sampled(NAMES, b"", seed=3, length=None)
    assert len(set(texts)) > 1
    conversation.undo()
    conversation.undo()
    assert [drawn(conversation), drawn(conversation)] == texts[2:]
    conversation.set("seed", "3")
    assert [drawn(conversation) for _ in range(4)] == texts
    conversation.restart()
    assert conversation.text == b""
    assert [drawn(conversation) for _ in range(4)] == texts
    conversation.set("seed", "4")
    assert [drawn(conversation) for _ in range(4)] != texts


def test_drawn_again() -> None:
    conversation = begun(seed=None)
    first = drawn(conversation, b"ab")
    seed = conversation.seed
    again = b"".join(conversation.retry())
    assert again != first
    assert conversation.seed != seed
    assert conversation.text == b"ab" + again
    conversation.set("seed", str(seed))
    assert b"".join(conversation.retry()) == first
    assert b"".join(conversation.retry()) == first
    conversation.set("temp", "0")
    assert b"".join(conversation.retry()) == sampled(NOISE, b"ab", temp=0)
    conversation.reset("temp", "seed")
    assert (conversation.config.temp, conversation.config.seed) == (1.0, None)
    assert len(conversation.turns) == 1


def test_a_stop_string() -> None:
    """It ends a turn, is no part of the text, and where nothing is typed the text goes on behind it."""
    model = tiny.reciting(tiny.char("abc \n"), b"ab\nc b\n")
    conversation = begun(model, stop=["\n", "c"], temp=0)
    assert [drawn(conversation) for _ in range(4)] == [b"ab", b"", b" b", b"ab"]
    assert conversation.text == b"ab\n" + b"c b\nab"
    assert drawn(conversation, b"\n") == b""  # what is typed stands in its place
    assert conversation.text.endswith(b"\nab\n")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("temp", "-1", "temp must be a finite number, 0 or more, not '-1'"),
        ("top_k", "many", "top_k must be a whole number"),
        ("match", "a+", "match and stop cannot be used together"),
    ],
)
def test_a_value_that_cannot_be_used(name: str, value: str, complaint: str) -> None:
    conversation = begun(stop=["b"])
    before = conversation.config
    with pytest.raises(UsageError, match=complaint):
        conversation.set(name, value)
    assert conversation.config == before


def test_what_is_no_pattern_is_refused_at_once() -> None:
    """Not only when a text is drawn by it; whether one can match depends on its prompt."""
    for pattern in ("(", "a**", r"\d[z-a]"):
        with pytest.raises(UsageError, match="match, column"):
            begun(match=pattern)
        conversation = begun(match="x")
        with pytest.raises(UsageError, match="match, column"):
            conversation.set("match", pattern)
        assert conversation.config.match == "x"


def test_what_cannot_be_drawn_changes_nothing() -> None:
    conversation = begun()
    with pytest.raises(CharRNNError, match="no text yet"):
        conversation.undo()
    with pytest.raises(CharRNNError, match="no text yet"):
        conversation.retry()
    drawn(conversation, b"ab")
    text = conversation.text
    with pytest.raises(InputError, match=r"U\+0078"):
        drawn(conversation, b"abx")
    conversation.set("match", "x+")
    with pytest.raises(UsageError, match="no text"):
        drawn(conversation, b"a")
    with pytest.raises(UsageError, match="no text"):
        next(conversation.retry())
    assert conversation.text == text
    conversation.reset("match")
    assert drawn(conversation) == sampled(NOISE, text, seed=conversation.seed)


def test_the_text_is_what_the_model_read() -> None:
    conversation = begun(unknown="skip", temp=0)
    assert drawn(conversation, "aÜb".encode()) == sampled(NOISE, b"ab", temp=0)
    conversation.set("unknown", "error")
    drawn(conversation)
    assert conversation.text.startswith(b"ab")


@pytest.mark.parametrize("echo", [None, False])
def test_records(echo: bool | None) -> None:
    """Each turn is one, which knows nothing of those before; where a record ends in a prompt, another one begins."""
    conversation = begun(NAMES, length=None, temp=0, echo=echo)
    shown = [drawn(conversation, prompt) for prompt in (b"", b"ab", b"", b"ab\nc")]
    alone = [sampled(NAMES, prompt, length=None, temp=0) for prompt in (b"", b"ab", b"", b"ab\nc")]
    prefixes = (b"", b"ab", b"", b"c") if echo is None else (b"",) * 4
    assert shown == [prefix + text for prefix, text in zip(prefixes, alone, strict=True)]
    typed = (b"", b"ab", b"", b"ab\nc")
    assert conversation.text == b"".join(prompt + text + b"\n" for prompt, text in zip(typed, alone, strict=True))


def test_texts_that_match_and_are_new() -> None:
    conversation = begun(NAMES, length=None, match="[ab]{2}", unique=True, novelty=Novelty([b"ab"], unique=True))
    assert {drawn(conversation, b"a"), drawn(conversation)} <= {b"aa", b"ba", b"bb"}
    drawn(conversation)
    text = conversation.text
    with pytest.raises(CharRNNError, match="no text that is new"):
        drawn(conversation)
    assert conversation.text == text
    assert sorted(text.split()) == [b"aa", b"ba", b"bb"]


@pytest.mark.parametrize("unique", [False, True])
def test_records_that_match_are_those_of_sample(unique: bool) -> None:
    """As likely as the model has them: a step-by-step draw would be another."""
    for seed in range(4):
        params = SampleConfig(match="[ab]{2}c|a{9}", seed=seed, unique=unique)
        [text] = joined(generate_texts(tiny.engine_of(NAMES), NAMES.tokenizer, [b""], params, separator=b"\n"))
        novelty = Novelty(unique=True) if unique else None
        conversation = begun(NAMES, novelty=novelty, match=params.match, seed=seed, unique=unique, length=None)
        assert drawn(conversation) == text.data


def test_a_text_that_is_stopped() -> None:
    """What was drawn by then is part of it, and goes on."""
    conversation = begun(temp=0, length=0)
    pieces = conversation.draw(b"ab")
    shown = next(pieces) + next(pieces)
    assert conversation.text == b"ab" + shown
    conversation.set("length", "20")
    assert drawn(conversation) == sampled(NOISE, b"ab" + shown, temp=0)


def test_the_turns_are_one_text_that_neither_repeats_nor_copies() -> None:
    """However it is cut into turns."""
    model = tiny.unigram(tiny.char("abcd"))
    text = b"abcdabdc"
    copies = copy_index(blocks_of([[text]], 2), 2, len(text) + 1, model.tokenizer.token_bytes)
    config = SampleConfig(length=3, seed=3, no_repeat=4)
    conversation = Conversation(tiny.engine_of(model), model.tokenizer, b"", config, None, copies)
    for prompt in (b"ab", *[b""] * 20):
        drawn(conversation, prompt)
    found = conversation.text
    assert len(found) == 2 + 3 * 21
    assert not any(found[at : at + 3] in text for at in range(len(found) - 2))
    assert len({found[at : at + 4] for at in range(len(found) - 3)}) == len(found) - 3

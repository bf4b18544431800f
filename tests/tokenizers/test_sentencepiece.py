"""The sentencepiece tokenizer: lossless, the same however the text is cut, and no friend of strangers' models."""

import re
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.__main__ import main
from charrnn.errors import InputError, UsageError
from charrnn.tokenizers.sentencepiece import LINE, SentencePieceTokenizer
from charrnn.tokenizers.sentencepiece_model import FIXED, Model, read_model, write_model
from charrnn.tokenizers.tokenizer import tokenizer_from_table

PROSE = (
    "The class statement defines a class object.  It is an executable statement;\n"
    "\tthe class's suite is then executed in a new execution frame, über naïve façade.\r\n"
) * 20

TEXT = PROSE + "\n".join(topics[topic] for topic in sorted(topics)[:6])
SIZE = 400

MADE = {kind: SentencePieceTokenizer.train([TEXT], SIZE, kind) for kind in ("unigram", "bpe")}
kinds = pytest.mark.parametrize("made", MADE.values(), ids=MADE)

HARD = [
    *("", "\n", "\n\n\n", " ", "  a   b ", "\t\ttabs\t", "\0", "a\0b\0", "CR\rLF\r\n"),
    *("\u2581", "a\u2581\u2581 b\u2581\n", "x\ufeffy", "\u2028\u2029\x85", "e\u0301 é", "\U0010ffff\ue000"),
    *("👩\u200d👩\u200d👧 🏳️\u200d🌈", "שלום عليكم \u202e\u202c", "日本語テキスト", "<unk><s></s><0x41>"),
    *("the class " * 900, "q" * (LINE - 1) + "\n", "q" * LINE + "\n" + "r" * (2 * LINE + 1)),
]


@kinds
@pytest.mark.parametrize("text", HARD, ids=range(len(HARD)))
def test_in_02_everything_comes_back(made: SentencePieceTokenizer, text: str) -> None:
    """IN-02, unseen characters and U+2581 too."""
    data = text.encode()
    ids = made.encode(data)
    assert made.decode(ids) == data
    assert not (ids == made.unknown).any()
    assert ids.dtype == np.uint16
    assert ids.size <= len(data)


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\t\u2581the"), max_size=60))
def test_in_02_whatever_is_utf_8(text: str) -> None:
    """IN-02. A byte order mark at the start alone is dropped."""
    data = text.encode()
    for made in MADE.values():
        assert made.decode(made.encode(data)) == data.removeprefix(b"\xef\xbb\xbf")


@kinds
def test_decoding_goes_by_each_piece(made: SentencePieceTokenizer) -> None:
    """Any ids at all, where the library would write U+FFFD for stray bytes."""
    ids = np.random.default_rng(0).integers(0, made.size, 5000)
    assert made.decode(ids) == b"".join(made.token_bytes[each] for each in ids)
    assert made.token_bytes[made.newline or 0] == b"\n"
    assert made.token_bytes[2:258] == tuple(bytes([byte]) for byte in range(256))
    assert all(b"\n" not in piece for piece in made.token_bytes[258:])
    assert any(piece.startswith(b" ") and len(piece) > 2 for piece in made.token_bytes)
    with pytest.raises(ValueError, match="an id is not a piece"):
        made.decode([made.size])


@kinds
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 1000])
def test_in_04_cuts_do_not_matter(made: SentencePieceTokenizer, size: int) -> None:
    """IN-04: the same ids and counts, wherever the bytes are cut, in long lines too."""
    text = "\ufeff" + PROSE[:300] + "".join(HARD[4:18]) + "long " * (LINE // 2) + "\nend é"
    data = text.encode()
    encoder = made.encoder()
    parts = [encoder.feed(data[at : at + size]) for at in range(0, len(data), size)]
    assert np.array_equal(np.concatenate([*parts, encoder.feed(b"", final=True)]), made.encode(data))
    plain = text.removeprefix("\ufeff")
    assert (encoder.bytes, encoder.chars, encoder.words) == (len(data), len(plain), len(plain.split()))
    assert (encoder.bom, encoder.unknowns, encoder.replaced) == (True, 0, 0)


@kinds
def test_what_is_held_back_is_bounded(made: SentencePieceTokenizer) -> None:
    """A text without newlines comes out as it goes in, but for less than `LINE` characters."""
    encoder, fed, got = made.encoder(), 0, 0
    for _ in range(40):
        ids = encoder.feed(b"the class object " * 20)
        fed += 17 * 20
        got += len(made.decode(ids))
        assert fed - got < LINE
    assert got % LINE == 0


@kinds
@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"a\nb\xff", "byte 3 (line 2)"),
        (b"abc\xe2\x82", "byte 3 (line 1)"),
        (b"\xed\xa0\x80", "byte 0"),
        (b"\xc0\x80", "byte 0"),
    ],
)
def test_in_03_invalid_utf_8(made: SentencePieceTokenizer, data: bytes, place: str) -> None:
    """IN-03."""
    with pytest.raises(InputError, match="invalid UTF-8 at") as error:
        made.encode(data)
    assert place in str(error.value)
    encoder = made.encoder("replace")
    assert made.decode(encoder.feed(data, final=True)).decode() == data.decode(errors="replace")
    assert encoder.replaced > 0


@kinds
def test_pieces_save_tokens(made: SentencePieceTokenizer) -> None:
    assert len(made.encode(PROSE.encode())) < 0.6 * len(PROSE)


def test_bytes_stand_in_for_rare_characters() -> None:
    """Thousands of characters: the commonest have pieces, the others are bytes; nothing is refused."""
    text = "".join(chr(0x4E00 + n * n % 4000) for n in range(20_000))
    for kind in MADE:
        made = SentencePieceTokenizer.train([text], None, kind)
        assert 500 < made.size <= 1024
        with pytest.raises(UsageError, match="the largest possible is") as error:
            SentencePieceTokenizer.train([text], 9000, kind)
        largest = int(str(error.value).split()[-1])
        assert SentencePieceTokenizer.train([text], largest, kind).size == largest
        assert made.decode(made.encode(text.encode())) == text.encode()


# --- making one --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("text", ["", "\n\n", "a", "ab\n", "\0\0", "\u2581\n", PROSE[:200], " " * 300, "a" * 5000])
def test_small_texts(kind: str, text: str) -> None:
    """Two hundred bytes are enough, and so is nothing."""
    made = SentencePieceTokenizer.train([text], None, kind)
    assert FIXED <= made.size <= 1024
    assert made.decode(made.encode(text.encode())) == text.encode()


@pytest.mark.parametrize("kind", MADE)
def test_in_20_sizes(kind: str) -> None:
    """IN-20: exit 2 with the largest possible size, which then is possible."""
    with pytest.raises(UsageError) as error:
        SentencePieceTokenizer.train([PROSE[:200]], 5000, kind)
    message = str(error.value)
    assert message.startswith("vocab_size 5000 is too large for the text")
    assert ".cc" not in message
    largest = int(message.split()[-1])
    assert SentencePieceTokenizer.train([PROSE[:200]], largest, kind).size == largest
    for size in (1, FIXED, (1 << 16) + 1):
        with pytest.raises(UsageError, match=f"from {FIXED + 1} .* to 65536"):
            SentencePieceTokenizer.train([PROSE], size, kind)
    assert SentencePieceTokenizer.train([PROSE], FIXED + 1, kind).size == FIXED + 1


@pytest.mark.parametrize("kind", MADE)
def test_in_20_sizes_that_hardly_hold_the_characters(kind: str) -> None:
    """IN-20: each of them is possible."""
    for size in range(FIXED + 1, FIXED + 8):
        assert SentencePieceTokenizer.train([PROSE[:600]], size, kind).size == size


@pytest.mark.parametrize("kind", ["sentencepiece", "sentencepiece-bpe"])
def test_in_20_through_the_command(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """IN-20: one line, exit 2, no run; nothing of the library's own on stderr."""
    Path("text.txt").write_text(PROSE[:600], encoding="utf-8", newline="")
    command = ["train", "text.txt", "--tokenizer", kind, "--out", "run", "--hidden", "4", "--batch", "1"]
    command += ["--seq-len", "8", "--steps", "1"]
    assert main([*command, "--vocab-size", "5000"]) == 2
    out, err = capfd.readouterr()
    found = re.fullmatch(r"Error: --vocab-size 5000 is too large for the text; the largest possible is (\d+)\n", err)
    assert found, err
    assert out == ""
    assert not Path("run").exists()
    assert main([*command, "--vocab-size", found[1]]) == 0


@kinds
def test_the_same_text_makes_the_same_model(made: SentencePieceTokenizer, tmp_path: Path) -> None:
    """In another process too, however the text comes; and nothing is written anywhere."""
    kind = read_model(made.table.tobytes()).kind
    script = (
        "import sys; from charrnn.tokenizers.sentencepiece import SentencePieceTokenizer as T\n"
        f"sys.stdout.buffer.write(T.train(iter({[TEXT[:7], TEXT[7:]]!r}), {SIZE}, {kind!r}).table.tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == made.table.tobytes()
    assert done.stderr == b""
    assert list(tmp_path.iterdir()) == []


# --- models from strangers ---------------------------------------------------------------------------


@kinds
def test_a_model_reads_back(made: SentencePieceTokenizer) -> None:
    again = tokenizer_from_table("sentencepiece", made.table)
    assert isinstance(again, SentencePieceTokenizer)
    assert again.token_bytes == made.token_bytes
    assert np.array_equal(again.encode(PROSE.encode()), made.encode(PROSE.encode()))
    assert (again.name, again.unknown, again.unknown_cost, again.newline) == ("sentencepiece", 0, 0.0, 1)


@kinds
def test_the_library_reads_it_the_same(made: SentencePieceTokenizer) -> None:
    """The table is a model of theirs: by another way the same pieces."""
    import sentencepiece

    theirs = sentencepiece.SentencePieceProcessor(model_proto=made.table.tobytes())
    assert theirs.get_piece_size() == made.size
    line = PROSE.split("\n")[0]
    assert theirs.encode(line) == made.encode(line.encode()).tolist()
    assert theirs.decode(made.encode(line.encode()).tolist()) == line


GOOD = write_model(Model("unigram", (("a", -1.0), ("\u2581b", -2.5))))

BAD = {
    "empty": b"",
    "garbage": bytes(range(256)),
    "text": b"not a model",
    "cut": GOOD[:-1],
    "longer": GOOD + b"\0",
    "another field": GOOD + b"\x22\x00",
    "only pieces": GOOD[: GOOD.index(b"identity") - 60],
    "not a number": GOOD.replace(b"\x00\x00\x80\xbf", b"\x00\x00\xc0\x7f"),
    "infinite": GOOD.replace(b"\x00\x00\x80\xbf", b"\x00\x00\x80\xff"),
    "no UTF-8": GOOD.replace(b"\x01a", b"\x01\xff"),
    "newline": GOOD.replace(b"\x01a", b"\x01\n"),
    "another normaliser": GOOD.replace(b"identity", b"nmt_nfkc"),
    "a dummy prefix": GOOD[:-6] + b"\x18\x01" + GOOD[-4:],
    "no bytes": GOOD.replace(b"<0x41>", b"<0x4G>"),
    "twice": write_model(Model("bpe", (("a", -1.0), ("a", -2.0)))),
    "unknown twice": write_model(Model("bpe", (("<unk>", -1.0),))),
    "a long piece": write_model(Model("bpe", (("a" * 300, -1.0),))),
    "huge length": b"\x0a\xff\xff\xff\xff\x0f" + GOOD,
    "endless number": b"\xff" * 50,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_se_06_what_is_no_model_of_ours(data: bytes) -> None:
    """SE-06: refused before the library sees any of it."""
    assert data != GOOD
    with pytest.raises(ValueError):
        SentencePieceTokenizer(np.frombuffer(data, np.uint8))


def test_se_06_tables_of_another_kind() -> None:
    """SE-06."""
    for table in (np.zeros(5, np.uint32), np.frombuffer(GOOD[: len(GOOD) // 2 * 2], np.uint8).reshape(2, -1)):
        with pytest.raises(ValueError, match="sentencepiece model cannot be"):
            SentencePieceTokenizer(table)


FUZZ = """
import sys
import numpy as np
from charrnn.tokenizers.sentencepiece import SentencePieceTokenizer
good = sys.stdin.buffer.read()
rng = np.random.default_rng(int(sys.argv[1]))
refused = 0
for _ in range(int(sys.argv[2])):
    data = bytearray(good)
    place = int(rng.integers(len(data)))
    data[place] = (data[place] + int(rng.integers(1, 256))) % 256
    try:
        made = SentencePieceTokenizer(np.frombuffer(bytes(data), np.uint8))
    except ValueError:
        refused += 1
        continue
    text = "the class object \\n 日".encode()
    assert made.decode(made.encode(text)) == text or any(b"\\n" in piece for piece in made.token_bytes[258:])
print(refused)
"""


@kinds
@pytest.mark.parametrize("trials", [400, pytest.param(10_000, marks=pytest.mark.slow)])
def test_se_06_one_byte_changed(made: SentencePieceTokenizer, trials: int) -> None:
    """SE-06: refused, or another sound model: a piece's letter or score has changed. In a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, "1", str(trials)], input=made.table.tobytes(), capture_output=True, timeout=280
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > trials / 3

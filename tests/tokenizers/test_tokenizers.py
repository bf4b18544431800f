"""Bytes to ids and back: exact, the same over any chunking, and clear about what cannot be read."""

import codecs
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn.errors import InputError
from charrnn.generation.prompts import encode_prompt
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CharTokenizer
from charrnn.tokenizers.tokenizer import Encoder, Tokenizer, tokenizer_from_table
from charrnn.tokenizers.utf8 import SPACES, Utf8Decoder, Utf8Splitter, decode_utf8

MANY = settings(max_examples=300, deadline=None, database=None)
FEW = settings(max_examples=100, deadline=None, database=None)

AWKWARD = (
    "nul\0 crlf\r\n cr\r tab\t two  spaces \ufeffinner mark\u2028\u2029\x85\x0b\x0c\x1c"
    " \U0001f469\u200d\U0001f680 ﬁ \u202eשלום\u202c é e\u0301 ▁ ß中文\U0010ffff\n"
)


def chars(text: str) -> CharTokenizer:
    return CharTokenizer.from_text(decode_utf8(text.encode()))


def fed(encoder: Encoder, data: bytes, size: int) -> list[int]:
    """The ids of a text that is fed `size` bytes at a time, with a final piece of nothing."""
    ids = [encoder.feed(data[at : at + size]) for at in range(0, len(data), size)]
    whole: list[int] = np.concatenate([*ids, encoder.feed(b"", final=True)]).tolist()
    return whole


def counts(encoder: Encoder) -> dict[str, Any]:
    names = ("bytes", "chars", "words", "unknowns", "replaced", "bom")
    return {name: getattr(encoder, name) for name in names}


@MANY
@given(st.binary())
def test_bytes_round_trip(data: bytes) -> None:
    """IN-01: any bytes come back."""
    byte = ByteTokenizer()
    assert byte.decode(byte.encode(data)) == data
    encoder = byte.encoder()
    encoder.feed(data, final=True)
    assert (encoder.bytes, encoder.words, encoder.unknowns) == (len(data), len(data.split()), 0)


@FEW
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: text[0] != "\ufeff"))
def test_characters_round_trip(text: str) -> None:
    """IN-02: any text comes back byte for byte where the vocabulary has its characters."""
    char = chars(text)
    ids = char.encode(text.encode())
    assert len(ids) == len(text)
    assert char.decode(ids) == text.encode()
    encoder = char.encoder()
    fed(encoder, text.encode(), 3)
    assert (encoder.chars, encoder.words) == (len(text), len(text.split()))


def test_awkward_characters_round_trip() -> None:
    """IN-02, IN-08, IN-09: CRLF, NFC beside NFD, marks and controls are ordinary characters."""
    char = chars(AWKWARD)
    assert char.decode(char.encode(AWKWARD.encode())) == AWKWARD.encode()
    known = char.table.tolist()
    assert known == sorted(set(map(ord, AWKWARD)))
    assert [known[i] for i in char.encode(b"\r\n")] == [13, 10]
    assert len(char.encode("é".encode())) == 1
    assert len(char.encode("e\u0301".encode())) == 2


INVALID = [
    (b"ab\ncd\xffe", 5, 2, 1),
    (b"tail \xe2\x82", 5, 1, 1),
    (b"\n\n\xed\xa0\x80", 2, 3, 3),
    (b"overlong \xc0\x80", 9, 1, 2),
    (b"x" * 70 + b"\n\x80", 71, 2, 1),
    (b"\xf5", 0, 1, 1),
    (b"\xed\xa0", 0, 1, 2),
    (b"x" * (1 << 20) + b"\n\xff", (1 << 20) + 1, 2, 1),
]


@pytest.mark.parametrize(("data", "offset", "line", "replaced"), INVALID)
def test_invalid_utf8(data: bytes, offset: int, line: int, replaced: int) -> None:
    """IN-03: invalid UTF-8 is found at its place, or replaced and counted; bytes take anything."""
    char = chars("abcdetilovrngx \n\ufffd")
    sizes = (1, 2, 3, 5, 64, 1000) if len(data) < 1000 else (50_000,)
    for size in sizes:
        with pytest.raises(InputError, match=rf"^invalid UTF-8 at byte {offset} \(line {line}\)$"):
            fed(char.encoder(), data, size)
        encoder = char.encoder("replace")
        ids = fed(encoder, data, size)
        assert char.decode(ids) == data.decode(errors="replace").encode()
        assert encoder.replaced == replaced
        assert encoder.bytes == len(data)
    with pytest.raises(InputError, match=f"at byte {offset} ") as error:
        char.encode(data)
    assert error.value.exit_code == 4
    assert ByteTokenizer().decode(ByteTokenizer().encode(data)) == data


def test_replaced_leaves_out_what_was_there() -> None:
    """IN-03: a U+FFFD of the text itself is not counted as replaced."""
    encoder = chars("a\ufffd").encoder("replace")
    fed(encoder, b"\xef\xbf\xbd\xef\xbf\xff\xef\xbf\xbda", 1)
    assert (encoder.replaced, encoder.chars) == (2, 5)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("errors", ["strict", "replace"])
def test_chunks_do_not_matter(size: int, errors: Any) -> None:
    """IN-04: the same ids and counts wherever the bytes are cut."""
    text = (AWKWARD + " \u2003wörter\u3000 ").encode() * 3
    data = text if errors == "strict" else text + b"\xf0\x9f\x98" + text + b"\xc3"
    kinds: list[Tokenizer] = [chars("\ufffd" + AWKWARD), ByteTokenizer()]
    for kind in kinds:
        whole = kind.encoder(errors)
        ids = whole.feed(data, final=True).tolist()
        pieces = kind.encoder(errors)
        assert fed(pieces, data, size) == ids == kind.encode(data, errors).tolist()
        assert counts(pieces) == counts(whole)
        assert whole.bytes == len(data)


@FEW
@given(st.binary(), st.integers(1, 8))
def test_chunks_of_anything(data: bytes, size: int) -> None:
    """IN-04, IN-03: so it is for bytes of any kind, errors included."""
    char = chars("abc")
    for errors in ("strict", "replace"):
        results: list[object] = []
        for step in (size, len(data) + 1):
            encoder = char.encoder(errors)
            try:
                results.append((fed(encoder, data, step), counts(encoder)))
            except InputError as error:
                results.append(str(error))
        assert results[0] == results[1]


PARTS = [b"ab\n" * 30, b"a", "é".encode(), b"\xc3", b"\xa9", b"\xff"]


def decoded(chunks: list[bytes], errors: str, *, skip: bool) -> tuple[list[int], str, tuple[object, ...]]:
    """The code points of chunks, what was raised, and all counts; ASCII is skipped or decoded."""
    decoder, points, raised = Utf8Decoder(errors), list[int](), ""
    try:
        for chunk in [*chunks, b""]:
            skipped = skip and decoder.skip(chunk)
            points += list(chunk) if skipped else decoder.decode(chunk, not chunk).tolist()
    except InputError as error:
        raised = str(error)
    return points, raised, (decoder.bytes, decoder.chars, decoder.replaced, decoder.bom, decoder.fault)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PARTS), max_size=8), st.sampled_from(["strict", "replace"]))
def test_ascii_need_not_be_decoded(chunks: list[bytes], errors: str) -> None:
    """The same code points, counts and faults."""
    assert decoded(chunks, errors, skip=True) == decoded(chunks, errors, skip=False)


def test_word_spaces_are_those_of_str() -> None:
    """`words` counts as `str.split` does."""
    spaces = [point for point in range(0x110000) if chr(point).isspace()]
    assert np.flatnonzero(SPACES).tolist() == spaces
    assert not SPACES[-1]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_byte_order_mark(size: int) -> None:
    """IN-05: dropped by char but counted in bytes; kept by byte; only the first one is a mark."""
    data = "\ufeffab\ufeff".encode()
    char = chars("ab\ufeff")
    encoder = char.encoder()
    assert char.decode(fed(encoder, data, size)) == "ab\ufeff".encode()
    assert (encoder.bom, encoder.bytes, encoder.chars) == (True, 8, 3)
    byte = ByteTokenizer().encoder()
    assert bytes(fed(byte, data, size)) == data
    assert (byte.bom, byte.bytes, byte.chars) == (False, 8, 4)
    assert len(decode_utf8(data)) == 3
    twice = char.encoder()
    fed(twice, "\ufeff\ufeff".encode(), size)
    assert twice.chars == 1


WIDE = [
    ("utf-16", "UTF-16"),
    ("utf-32", "UTF-32"),
    ("utf-16-le", "UTF-16LE"),
    ("utf-16-be", "UTF-16BE"),
    ("utf-32-le", "UTF-32LE"),
    ("utf-32-be", "UTF-32BE"),
]


@pytest.mark.parametrize(("encoding", "name"), WIDE)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_utf16_is_refused(encoding: str, name: str, size: int) -> None:
    """IN-06: with a mark or without, the message says how to convert it."""
    data = ("Résumé of plain text\r\n" * 20).encode(encoding)
    for errors in ("strict", "replace"):
        with pytest.raises(InputError) as error:
            fed(chars("a").encoder(errors), data, size)
        assert str(error.value) == f"looks like {name}; convert it with iconv -f {name} -t UTF-8"
        assert error.value.exit_code == 4
    for mark in (codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE):
        with pytest.raises(InputError, match="looks like UTF-"):
            decode_utf8(mark + b"\0a\0b")


def test_zeros_alone_are_text() -> None:
    """IN-02, IN-06: NUL is a character, and a sparse file is not UTF-16."""
    for data in (b"\0" * 200, b"a\0b\0", b"name\0other name\0third\0" * 5):
        assert decode_utf8(data).tolist() == list(data)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1f\x8b\x08\0", "a gzip file"),
        (b"PK\x03\x04\x14\0", "a zip archive"),
        (b"SQLite format 3\0\x10\0", "an SQLite database"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"%PDF-1.7\n%", "a PDF document"),
    ],
)
def test_other_kinds_of_file_are_named(head: bytes, kind: str) -> None:
    """IN-07: what is not text is refused, with what it looks like."""
    data = head + b"\xff\xfe\xfd" + bytes(range(256))
    for size in (1, 1000):
        with pytest.raises(InputError, match=rf"^invalid UTF-8 at byte \d+ \(line \d+\); this looks like {kind}$"):
            fed(chars("a").encoder(), data, size)


def test_vocabulary_is_that_of_the_training_text() -> None:
    """EV-20: characters that only another text has are `<unk>`."""
    char = chars("hello")
    assert char.table.tolist() == sorted(map(ord, "ehlo"))
    assert (char.size, char.unknown) == (5, 4)
    assert char.unknown_cost == math.log(1_112_064 - 4)
    encoder = char.encoder()
    assert encoder.feed("höl€ \U0010ffff".encode(), True).tolist() == [1, 4, 2, 4, 4, 4]
    assert encoder.unknowns == 4
    assert ByteTokenizer().unknown_cost == 0.0


def test_vocab_size() -> None:
    """The commonest characters are known; of equally common ones those with the lower numbers."""
    points = decode_utf8(b"dabbacbc" * 2)
    known = [CharTokenizer.from_text(points, size).table.tolist() for size in (1, 2, 3, 4, 9, None)]
    assert known == [[98], [97, 98], [97, 98, 99], [97, 98, 99, 100], [97, 98, 99, 100], [97, 98, 99, 100]]
    for size in (None, 1):
        with pytest.raises(InputError, match=r"^no characters"):
            CharTokenizer.from_text(points[:0], size)


@pytest.mark.parametrize(
    ("known", "dtype"),
    [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)],
)
def test_smallest_ids(known: int, dtype: type) -> None:
    points = np.arange(0x10000, 0x10000 + known, dtype=np.uint32)
    char = CharTokenizer(points)
    data = (chr(0x10000) + chr(0x10000 + known - 1) + "\0").encode()
    ids = char.encode(data)
    assert ids.dtype == dtype
    assert ids.tolist() == [0, known - 1, known]


def test_all_of_unicode() -> None:
    """At the limit nothing is unknown, so `<unk>` costs nothing."""
    points = np.arange(0x110000, dtype=np.uint32)
    points = points[(points < 0xD800) | (points >= 0xE000)]
    assert CharTokenizer(points).unknown_cost == 0.0
    assert CharTokenizer(points[1:]).unknown_cost == 0.0  # ln 1
    assert CharTokenizer(points[2:]).unknown_cost == math.log(2)


def test_checkpoint_table() -> None:
    for kind in (chars("any text"), ByteTokenizer()):
        again = tokenizer_from_table(kind.name, kind.table)
        assert (again.name, again.size, again.unknown) == (kind.name, kind.size, kind.unknown)
        assert again.encode(b"next").tolist() == kind.encode(b"next").tolist()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("word", np.zeros(0, np.uint32)),
        ("char", np.zeros(0, np.uint32)),
        ("char", np.array([98, 97], np.uint32)),
        ("char", np.array([97, 97], np.uint32)),
        ("char", np.array([97, 0x110000], np.uint32)),
        ("char", np.array([97, 0xD800], np.uint32)),
        ("char", np.array([97, 98], np.int64)),
        ("char", np.array([[97, 98]], np.uint32)),
        ("byte", np.array([97], np.uint32)),
        ("byte", np.zeros(0, np.float32)),
    ],
)
def test_hostile_table(name: str, table: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        tokenizer_from_table(name, table)


def test_ids_that_are_no_text() -> None:
    """`<unk>` and `<s>` have no characters."""
    for kind, ids in ((chars("ab"), [0, 2]), (chars("ab"), [-1]), (ByteTokenizer(), [256])):
        with pytest.raises(ValueError, match="an id is not a"):
            kind.decode(ids)
        assert kind.decode([]) == b""


def test_unseen_characters_of_a_prompt() -> None:
    """IN-13: each is listed as U+XXXX NAME @ offset."""
    char = chars("abc de")
    prompt = "\ufeffaé\x1b\uffffé b".encode()
    assert char.explain(prompt) == [("é", 1), ("\x1b", 2), ("\uffff", 3)]
    with pytest.raises(InputError) as error:
        encode_prompt(char, prompt)
    assert str(error.value).startswith(
        "the model has never seen U+00E9 LATIN SMALL LETTER E WITH ACUTE @ 1,"
        " U+001B <control> @ 2, U+FFFF <unassigned> @ 3; unknown skip "
    )
    assert "\x1b" not in str(error.value)
    assert error.value.exit_code == 4
    with pytest.raises(InputError, match="and 84 more;"):
        encode_prompt(char, "".join(map(chr, range(0x4E00, 0x4E64))).encode())


def test_unseen_characters_left_out_or_replaced() -> None:
    """IN-13: `--unknown skip` and `--unknown nearest`."""
    char = chars("abc de")
    assert char.decode(encode_prompt(char, "Aéz b".encode(), "skip")) == b" b"
    assert char.decode(encode_prompt(char, "AÉ\xa0z b".encode(), "nearest")) == b"ae e b"
    for unknown in ("error", "skip", "nearest"):
        assert encode_prompt(char, b"", unknown).tolist() == []
        assert encode_prompt(char, b"bad", unknown).tolist() == [2, 1, 4]
        assert encode_prompt(ByteTokenizer(), b"\xff\0", unknown).tolist() == [255, 0]
    with pytest.raises(InputError, match=r"invalid UTF-8 at byte 0 \(line 1\)"):
        encode_prompt(char, b"\xff", "skip")


@pytest.mark.parametrize(
    ("known", "char", "found"),
    [
        ("ab", "b", "b"),
        ("aeE", "É", "E"),
        ("ae", "É", "e"),
        ("éE", "É", "é"),
        ("af", "ﬁ", "f"),
        ("a ", "\u3000", " "),
        ("az", "~", "z"),
        ("ac", "b", "a"),
        ("s", "ß", "s"),
    ],
)
def test_nearest(known: str, char: str, found: str) -> None:
    """IN-13: the other case, then the base letter, then the closest number."""
    kind = chars(known)
    assert kind.decode([kind.nearest(ord(char))]) == found.encode()


@FEW
@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 8))
def test_no_character_is_cut(text: str, size: int) -> None:
    """CL-27: every piece to be shown is whole characters, and nothing is lost."""
    data = text.encode()
    splitter = Utf8Splitter()
    pieces = [splitter.feed(data[at : at + size]) for at in range(0, len(data), size)]
    for piece in pieces:
        piece.decode()
    assert b"".join(pieces) == data
    assert splitter.flush() == b""


def test_splitter_holds_back_no_more_than_it_must() -> None:
    """CL-27: what is not UTF-8 passes at once, and the end of the text is not kept."""
    splitter = Utf8Splitter()
    shown = [
        splitter.feed(piece)
        for piece in (
            b"a\xff",
            b"\xf0",
            b"\x9f",
            b"\x98",
            b"x",
            b"\xc3",
            b"\xc3",
            b"\x80\x80",
            b"\xe2\x82",
        )
    ]
    assert shown == [b"a\xff", b"", b"", b"", b"\xf0\x9f\x98x", b"", b"\xc3", b"\xc3\x80\x80", b""]
    assert splitter.flush() == b"\xe2\x82"
    assert splitter.flush() == b""

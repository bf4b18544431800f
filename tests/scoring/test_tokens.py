"""Names of tokens; what they cost is in tests/test_api_scores.py."""

import pytest

from charrnn.scoring.tokens import token_name, token_names
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"a", "a"), ("é".encode(), "é"), (b"\xe9", "bytes:\\xe9"), (b"\xf0\x9f", "bytes:\\xf0\\x9f"), (b"", "")],
)
def test_a_name(data: bytes, name: str) -> None:
    assert token_name(data) == name


def test_names_of_ids() -> None:
    assert token_names(tiny.char("ab")) == ["a", "b", "<unk>"]
    names = token_names(ByteTokenizer())
    assert (names[97], names[255], len(names)) == ("a", "bytes:\\xff", 256)
    names = token_names(tiny.pieces())
    assert (names[0], names[1], names[2 + 10], len(names)) == ("<unk>", "\n", "\n", tiny.pieces().size)

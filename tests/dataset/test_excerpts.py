"""The bytes that are kept beside the ids."""

import pytest

from charrnn.dataset.excerpts import HeadExcerpt, TailExcerpt

TEXTS = ["äbc😀".encode(), b"de\nf\n", "日本".encode()]
WHOLE = b"".join(TEXTS)


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("limit", range(1, 25))
def test_tails(limit: int, size: int) -> None:
    """As many whole characters of the end as fit, wherever the text is cut."""
    tail = TailExcerpt(limit)
    for number, text in enumerate(TEXTS):
        for chunk in cut(text, size):
            tail.add(number, chunk)
    chars = [char.encode() for char in WHOLE.decode()]
    fits = [end for end in (b"".join(chars[at:]) for at in range(len(chars) + 1)) if len(end) <= limit]
    assert tail.text() == fits[0]


@pytest.mark.parametrize("size", [1, 2, 5, 100])
@pytest.mark.parametrize("limit", range(25))
@pytest.mark.parametrize("separator", [b"", b"\n"])
def test_heads(limit: int, size: int, separator: bytes) -> None:
    """As many whole characters, or records, of each text as fit; a text of which nothing fits is left out."""
    head = HeadExcerpt(limit)
    texts = [text if text.endswith(separator) else text + separator for text in TEXTS]
    for number, text in enumerate(texts):
        for chunk in cut(text, size):
            head.add(number, chunk)
    expected, left = [], limit
    for text in texts:
        units = [char.encode() for char in text.decode()] if not separator else text.splitlines(keepends=True)
        fits = [b"".join(units[:count]) for count in range(len(units) + 1)]
        expected.append([part for part in fits if len(part) <= left][-1])
        left -= len(expected[-1])
        if expected[-1] != text:
            break
    assert head.texts(separator) == [text for text in expected if text]

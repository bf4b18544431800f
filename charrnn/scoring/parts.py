"""What of a text is read from `<s>` each where it is cut in words or tokens: a file, a row, or the records in it."""

from collections.abc import Iterator

from charrnn.corpus.formats import NamedText, Row
from charrnn.corpus.records import split_records
from charrnn.errors import InputError
from charrnn.scoring.entries import NO_IDS
from charrnn.scoring.scorer import Scorer
from charrnn.scoring.units import UnitText, Where
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.utf8 import count_chars


def parts_of_text(where: Where, text: NamedText, scorer: Scorer) -> Iterator[UnitText[Where]]:
    """Return a whole text, or its records."""
    line, offset, begin, prompt = 1, 0, 0, scorer.rows.prompt
    try:
        for part in text.parts:
            if not scorer.separator:
                yield UnitText(where, part, text.name, prompt, is_part=True)
                prompt = NO_IDS
                continue
            for record in split_records(part, scorer.separator):
                begun = begin > 0
                yield UnitText(where, [record], text.name, prompt, line, offset, begin, is_part=True, keeps_bom=begun)
                line += record.count(b"\n")
                offset += _count_chars(scorer, record)
                begin += len(record)
                prompt = NO_IDS
    except InputError as error:  # it cannot be read any further
        yield UnitText(where, _failing(error))
    else:
        yield UnitText(where, [], text.name)


def parts_of_row(where: Where, row: Row, scorer: Scorer) -> Iterator[UnitText[Where]]:
    """Return a row's text, or its records; nothing of a row without text."""
    if row.text is None and row.fault is None:
        return
    offset = 0
    try:
        prompt = scorer.rows.prompt_of(row)
        for part in scorer.rows.parts(row):
            data = b"".join(part)
            yield UnitText(where, [data], row.place, prompt, row.place.line, offset, is_part=True)
            offset += _count_chars(scorer, data)
            prompt = NO_IDS
    except InputError as error:
        yield UnitText(where, _failing(error))
    else:
        yield UnitText(where, [])


def share_of_row(where: Where, row: Row, end: bytes) -> UnitText[Where] | None:
    """Return a row as a part of the whole, with its end; None where it has no text."""
    if row.fault is not None:
        return UnitText(where, _failing(row.fault))
    if row.text is None:
        return None
    return UnitText(where, [row.text + end], row.place, line=row.place.line)


def _count_chars(scorer: Scorer, data: bytes) -> int:
    """Return how many characters a model reads in some bytes: invalid UTF-8 may be replaced by some."""
    if scorer.options.errors != "replace" or isinstance(scorer.tokenizer, ByteTokenizer):
        return count_chars(data)
    return len(data.decode("utf-8", "replace"))


def _failing(error: InputError) -> Iterator[bytes]:
    raise error
    yield  # it is an iterator

"""The vocabulary of a corpus, and its ids."""

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from charrnn.corpus.documents import Document, ProgressFactory
from charrnn.corpus.records import SeparatorScanner
from charrnn.dataset.dataset import Ids, TextCounts
from charrnn.dataset.id_cache import ArrayWriter
from charrnn.dataset.split import CorpusPart
from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CODE_POINTS, CharTokenizer
from charrnn.tokenizers.sentencepiece import SAMPLE, SentencePieceTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import Utf8Decoder, decode_utf8


def make_tokenizer(
    name: str, part: CorpusPart, errors: str, *, vocab_size: int | None, min_count: int, progress: ProgressFactory
) -> Tokenizer:
    """A tokenizer whose vocabulary is that of a text.

    Args:
        name: as `--tokenizer` has it.

    Raises:
        InputError: the text cannot be decoded. UsageError: there can be no vocabulary of that size.
    """
    if name == "byte":
        return ByteTokenizer()
    with progress("looking for symbols", part.size) as advance:
        if name != "char":
            kind = "bpe" if name == "sentencepiece-bpe" else "unigram"
            return SentencePieceTokenizer.train(_sample(part, errors, advance), vocab_size, kind)
        counts = np.zeros(CODE_POINTS, np.int64)
        for text, chunks in part.texts():
            for points in _code_points(part, text, chunks, errors):
                found = np.bincount(points)
                counts[: found.size] += found
                advance(len(points))
        separator = decode_utf8(part.corpus.form.separator)  # known, however few records there are
        counts[separator] = np.maximum(counts[separator], min_count)
    return CharTokenizer.from_counts(counts, min_count)


def _sample(part: CorpusPart, errors: str, advance: Callable[[int], None]) -> Iterator[str]:
    """About `SAMPLE` characters of a part, taken evenly: a share of every piece."""
    share = min(1.0, SAMPLE / max(1, part.size))
    for text, chunks in part.texts():
        for points in _code_points(part, text, chunks, errors):
            wanted = points[: math.ceil(len(points) * share)]
            yield wanted.astype("<u4", copy=False).tobytes().decode("utf-32-le")
            advance(len(points))


def _code_points(part: CorpusPart, text: Document, chunks: Iterable[bytes], errors: str) -> Iterator[Ids]:
    decoder = Utf8Decoder(errors)
    try:
        for chunk in chunks:
            yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)
    except InputError as error:
        raise _placed(error, part, text) from None


def encode(
    tokenizer: Tokenizer,
    part: CorpusPart,
    errors: str,
    *,
    ids: ArrayWriter,
    starts: ArrayWriter,
    watch: Callable[[int, bytes], None],
    progress: ProgressFactory,
) -> TextCounts:
    """Encode a part of a corpus, piece by piece.

    Args:
        ids: takes the ids. starts: takes where texts, or records, begin.
        watch: is shown each piece, with the number of its text.

    Raises:
        InputError: a text cannot be decoded. OSError: a sink cannot be written.
    """
    separator = part.corpus.form.separator
    total = TextCounts()
    with progress("encoding", part.size) as advance:
        for number, (text, chunks) in enumerate(part.texts()):
            encoder = tokenizer.encoder(errors)
            ends = SeparatorScanner(tokenizer.encode(separator)) if separator else None
            begin = ids.size  # of the text or record at hand
            try:
                for chunk, final in _last_known(chunks):
                    found = encoder.feed(chunk, final)
                    if ends is not None:
                        bounds = np.append(begin, ends.feed(found) + ids.size)
                        starts.add(bounds[:-1])
                        begin = int(bounds[-1])
                    elif ids.size == begin and len(found):
                        starts.add(np.array([begin], np.int64))
                    ids.add(found)
                    watch(number, chunk)
                    advance(len(chunk))
            except InputError as error:
                raise _placed(error, part, text) from None
            assert ends is None or begin == ids.size, "a record has not ended"
            total = TextCounts(*(before + getattr(encoder, name) for name, before in vars(total).items()))
    return total


def _last_known(chunks: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for chunk in chunks:
        yield chunk, False
    yield b"", True


def _placed(error: InputError, part: CorpusPart, text: Document) -> InputError:
    """What is wrong with a text, told of the whole text and not of the part that was being read."""
    decoder = Utf8Decoder()
    try:
        for chunk in part.corpus.chunks(text):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except InputError as found:
        error = found
    return InputError(f"{quote(text.name)}: {error}")

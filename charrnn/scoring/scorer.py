"""Bytes to nats: texts whole, in windows, in pieces side by side, or record by record."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from charrnn.corpus.records import SeparatorScanner, insert_bos, with_final_separator
from charrnn.engines.base import Ids, InferenceEngine
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, score_ids
from charrnn.scoring.score import Score
from charrnn.tokenizers.tokenizer import Encoder, Tokenizer

_HELD = 1 << 24  # ids of windows that are read side by side


_BLOCK = 1 << 12  # symbols of records that one lane takes at a time


def encode_chunks(
    tokenizer: Tokenizer, encoder: Encoder, pieces: Iterable[bytes], unknown: str = "score", name: str = ""
) -> Iterator[Ids]:
    """Ids of a text that comes in pieces.

    Args:
        tokenizer: of the model.
        encoder: a fresh one; it holds the counts when the text has ended.
        pieces: bytes, cut anywhere.
        unknown: what becomes of characters the model does not know: "score", "skip" or "error".
        name: of the text, in messages.

    Raises:
        InputError: the text cannot be decoded, or has an unknown character under "error".
    """

    def ids(data: bytes, final: bool) -> Ids:
        try:
            found = encoder.feed(data, final=final)
        except InputError as error:
            raise InputError(f"{name}: {error}" if name else str(error)) from None
        if tokenizer.unknown is None or unknown == "score":
            return found
        strange = found == tokenizer.unknown
        if unknown == "error" and strange.any():
            place = encoder.chars - len(found) + int(strange.argmax())
            raise InputError(
                f"{name or 'the text'}: the model has never seen the character @ {place}; --unknown score counts"
                " such characters, --unknown skip leaves them out"
            )
        known: Ids = found[~strange]
        return known

    last = b""
    for piece in pieces:
        if last:
            yield ids(last, False)
        last = piece
    yield ids(last, True)


def score_texts(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    texts: Iterable[Iterable[bytes]],
    *,
    unknown: str = "score",
    errors: str = "strict",
    slots: int = BATCH_SLOTS,
    check: Callable[[int], None] = lambda tokens: None,
    name: Callable[[int], str] = lambda index: "",
) -> Iterator[Score]:
    """Score texts of bytes, each exactly, in order. As `score_ids`, with all counts filled in.

    Args:
        name: what the text of a number, from 0, is called in messages.

    Raises:
        InputError: a text cannot be read or decoded; raised when all those before it have been
            yielded, whatever was read side by side. NonFiniteError: the model's arithmetic overflows.
    """
    encoders: dict[int, Encoder] = {}
    failures: dict[int, InputError] = {}

    def ids() -> Iterator[Iterable[Ids]]:
        for index, pieces in enumerate(texts):
            if failures:
                return
            encoders[index] = tokenizer.encoder(errors)
            yield until_failure(index, encode_chunks(tokenizer, encoders[index], pieces, unknown, name(index)))

    def until_failure(index: int, pieces: Iterator[Ids]) -> Iterator[Ids]:
        try:
            yield from pieces
        except InputError as error:
            failures[index] = error

    scores = score_ids(engine, tokenizer, ids(), slots=slots, check=check)
    for index, score in enumerate(scores):
        if index in failures:
            raise failures[index]
        yield with_lengths(score, encoders.pop(index))


def with_lengths(score: Score, read: Encoder) -> Score:
    """A score with the lengths that the text's encoder counted; unknown characters that were skipped
    are among them."""
    return replace(
        score, oov=read.unknowns, chars=read.chars, bytes=read.bytes, words=read.words, replaced=read.replaced
    )


def windows(pieces: Iterable[Ids], window: int) -> Iterator[list[Ids]]:
    """A text cut every `window` symbols, each part to be scored from `<s>`."""
    held: list[Ids] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count < window:
            continue
        ids = np.concatenate(held)
        whole = count // window * window
        for begin in range(0, whole, window):
            yield [ids[begin : begin + window]]
        held, count = [ids[whole:]], count - whole
    if count:
        yield [np.concatenate(held)]


def score_windows(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    pieces: Iterable[bytes],
    window: int,
    *,
    unknown: str = "score",
    errors: str = "strict",
    slots: int = BATCH_SLOTS,
    check: Callable[[int], None] = lambda tokens: None,
    name: str = "",
) -> Score:
    """Score a text with its state reset every `window` symbols.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    cuts = windows(encode_chunks(tokenizer, encoder, pieces, unknown, name), window)
    scores = score_ids(engine, tokenizer, cuts, slots=max(1, min(slots, _HELD // window)), check=check)
    return with_lengths(sum(scores, Score()), encoder)


def score_streams(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    pieces: Iterable[bytes],
    streams: int,
    *,
    unknown: str = "score",
    errors: str = "strict",
    check: Callable[[int], None] = lambda tokens: None,
    name: str = "",
) -> Score:
    """Score a text cut in `streams` equal pieces, each from `<s>`: fast, and an approximation.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    ids = np.concatenate([*encode_chunks(tokenizer, encoder, pieces, unknown, name)])
    cuts = [[part] for part in np.array_split(ids, streams) if len(part)]
    return with_lengths(sum(score_ids(engine, tokenizer, cuts, slots=streams, check=check), Score()), encoder)


def score_records(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    pieces: Iterable[bytes],
    separator: bytes,
    *,
    window: int = 0,
    unknown: str = "score",
    errors: str = "strict",
    slots: int = BATCH_SLOTS,
    check: Callable[[int], None] = lambda tokens: None,
    name: str = "",
) -> Score:
    """Score records, each from `<s>` and with its separator; the last one's is added where it is missing.

    As scoring each alone, and many times as fast. Holds as many ids as the longest record has.

    Args:
        separator: of the model. window: symbols after which a record's state is reset; 0: never.

    Raises:
        InputError: the text cannot be decoded. NonFiniteError: the model's arithmetic overflows.
    """
    encoder = tokenizer.encoder(errors)
    ids = encode_chunks(tokenizer, encoder, with_final_separator(pieces, separator), unknown, name)
    blocks = _blocks(ids, SeparatorScanner(tokenizer.encode(separator)), engine.vocabulary, window)
    scores = score_ids(engine, tokenizer, ([block] for block in blocks), slots=slots, check=check)
    return with_lengths(sum(scores, Score()), encoder)


def _blocks(pieces: Iterable[Ids], finder: SeparatorScanner, start: int, window: int) -> Iterator[Ids]:
    """Whole records, about `_BLOCK` symbols of them at a time, with `<s>` before each but a block's first."""
    held: list[Ids] = []
    size = 0
    bounds = np.zeros(1, np.int64)  # where the records in `held` begin and end
    for piece in pieces:
        bounds = np.append(bounds, finder.feed(piece) + size)
        held.append(piece)
        size += len(piece)
        complete = int(bounds[-1])
        if complete >= _BLOCK:
            ids = np.concatenate(held)
            _, firsts = np.unique(bounds // _BLOCK, return_index=True)
            for a, b in itertools.pairwise(np.union1d(bounds[firsts], complete).tolist()):
                yield _begun(ids[a:b], bounds[(bounds > a) & (bounds < b)] - a, start, window)
            held, size, bounds = [ids[complete:]], size - complete, bounds[:1]
    if size:
        yield _begun(np.concatenate(held), bounds[(bounds > 0) & (bounds < size)], start, window)


def _begun(ids: Ids, places: Ids, start: int, window: int) -> Ids:
    """Records with `<s>` before each but the first, and each time a record has gone on for a window."""
    if window:
        char_starts = np.append(0, places)
        more = (np.diff(char_starts, append=len(ids)) - 1) // window  # windows of each record after its first
        within = np.arange(more.sum()) - np.repeat(np.cumsum(more) - more, more)
        places = np.union1d(places, np.repeat(char_starts, more) + (within + 1) * window)
    return insert_bos(ids, places, start)

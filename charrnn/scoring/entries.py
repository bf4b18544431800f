"""What a `Scorer` reads at a time: a text of whatever length, or many short ones; and what came of each."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from charrnn.corpus.formats import NamedText
from charrnn.engines.base import Array, Ids
from charrnn.errors import InputError
from charrnn.scoring.batching import BATCH_SLOTS, Piece, Spans, with_text_ends
from charrnn.scoring.score import Score, Units
from charrnn.tokenizers.texts import EncodedTexts
from charrnn.tokenizers.tokenizer import Encoder

Outcome = Score | InputError
"""The score of a text, or why it has none."""


NO_IDS: Ids = np.zeros(0, np.int64)
"""No prompt."""


class Entry(Protocol):
    """A text, or several that are read together, and what has been scored of it.

    Attributes:
        open: how many sequences have begun and are not finished.
        complete: whether all its sequences have begun.
        failure: why it could not be read to its end.
    """

    open: int
    complete: bool
    failure: InputError | None

    def sequences(self) -> Iterator[Iterable[Piece]]:
        """Return its sequences, each to be read from `<s>`."""

    def add(self, spans: Spans) -> None:
        """Add what its sequences cost, in order."""

    def outcomes(self) -> Iterable[Outcome]:
        """Return what came of each of its texts."""


Cut = Callable[[NamedText, "TextEntry"], Iterator[Iterable[Piece]]]
"""Makes the sequences of a text."""


@dataclass(eq=False, slots=True)
class TextEntry:
    """An `Entry`: one text, of whatever length.

    Attributes:
        unknown_chars: where unknown code points are counted.
        prompt: what its first sequence continues.
        has_blocks: whether the spans of its sequences are blocks of its lines, which are kept.
        block_sizes: bytes of the blocks that have been read.
    """

    text: NamedText
    cut: Cut
    prompt: Ids
    unknown_chars: Counter[int]
    open: int = 0
    complete: bool = False
    failure: InputError | None = None
    has_blocks: bool = True
    block_sizes: list[int] = field(default_factory=list)
    _prompts: int = 0  # spans of prompts that have not been scored
    _nats: float = 0.0
    _oov_nats: float = 0.0
    _tokens: int = 0
    _oov: int = 0
    _lengths: tuple[int, int, int, int] = (0, 0, 0, 0)
    _block_nats: list[Array] = field(default_factory=list)

    def sequences(self) -> Iterator[Iterable[Piece]]:
        """See `Entry`."""
        for sequence in self.cut(self.text, self):
            if len(self.prompt):
                self._prompts += 1
                sequence = itertools.chain([Piece(self.prompt, np.array([len(self.prompt)]))], sequence)
                self.prompt = NO_IDS
            yield sequence

    def count(self, encoder: Encoder) -> None:
        """Add how long a part of the text is."""
        chars, size, words, replaced = self._lengths
        self._lengths = (
            chars + encoder.chars, size + encoder.bytes, words + encoder.words, replaced + encoder.replaced
        )  # fmt: skip
        self.unknown_chars.update(encoder.unknown_chars)

    def add(self, spans: Spans) -> None:
        """See `Entry`."""
        first = self._prompts if len(spans.nats) else 0
        self._prompts -= first
        nats = spans.nats[first:]
        self._nats += float(nats.sum())
        self._oov_nats += float(spans.oov_nats[first:].sum())
        self._tokens += int(spans.tokens[first:].sum())
        self._oov += int(spans.oov[first:].sum())
        if self.has_blocks:
            self._block_nats.append(nats)

    def outcomes(self) -> Iterable[Outcome]:
        """See `Entry`."""
        if self.failure is not None:
            return [self.failure]
        nats, sizes = self.blocks()
        bits = nats / math.log(2)
        units = Units(len(bits), *(float(total) for total in (bits @ bits, sizes @ sizes, bits @ sizes)))
        parts = units if len(bits) > 1 else None
        return [Score(self._nats, self._tokens, self._oov, self._oov_nats, *self._lengths, parts)]

    def blocks(self) -> tuple[Array, Array]:
        """Return the nats of the blocks of its lines, and how many bytes they have, float64 (K,) each; where the text
        was not cut so, of the whole."""
        nats = np.concatenate([np.zeros(0), *self._block_nats])
        if len(self.block_sizes) == len(nats):
            return nats, np.array(self.block_sizes, np.float64)
        return np.array([self._nats]), np.array([self._lengths[1]], np.float64)


class PackedEntry:
    """An `Entry`: short texts, many in a sequence.

    Args:
        encoded: N texts. sizes: of each, in bytes. prompt: what each continues. bos: the id of `<s>`.
    """

    def __init__(self, encoded: EncodedTexts, sizes: Array, prompt: Ids, bos: int) -> None:
        self._encoded, self._sizes, self._prompt, self._bos = encoded, sizes, prompt, bos
        self._spans: list[Spans] = []
        self.open = 0
        self.complete = False
        self.failure: InputError | None = None

    def sequences(self) -> Iterator[Iterable[Piece]]:
        """See `Entry`. The texts are shared out evenly."""
        ids, tokens = self._encoded.ids, self._encoded.tokens[self._encoded.tokens > 0]
        ends = np.cumsum(tokens)
        if not len(ends):
            return
        sequences = min(len(ends), BATCH_SLOTS)
        share = (np.arange(1, sequences) * (ids.size / sequences)).astype(np.int64)
        cuts = [0, *np.unique(np.append(np.searchsorted(ends, share, "left") + 1, len(ends))).tolist()]
        for first, last in itertools.pairwise(cuts):
            begin = int(ends[first - 1]) if first else 0
            yield [self._sequence(ids[begin : int(ends[last - 1])], ends[first:last] - begin)]

    def _sequence(self, ids: Ids, ends: Ids) -> Piece:
        """Return texts that end at `ends`, each after the prompt, in whose last token's place `<s>` is read."""
        packed = with_text_ends(ids, ends[:-1], self._bos)
        if not len(self._prompt):
            return Piece(packed, ends)
        starts, size = np.append(0, ends[:-1]), len(self._prompt)
        packed = np.insert(packed, np.repeat(starts, size), np.tile(self._prompt.astype(np.int64), len(starts)))
        shifts = size * np.arange(1, len(ends) + 1)  # a span before each text is the prompt
        return Piece(packed, np.stack([starts + shifts, ends + shifts], axis=1).ravel())

    def add(self, spans: Spans) -> None:
        """See `Entry`."""
        self._spans.append(spans)

    def outcomes(self) -> Iterable[Outcome]:
        """See `Entry`."""
        encoded, step = self._encoded, 2 if len(self._prompt) else 1
        columns = []
        for name, dtype in (("nats", np.float64), ("tokens", np.int64), ("oov", np.int64), ("oov_nats", np.float64)):
            values = np.zeros(len(encoded.tokens), dtype)
            if self._spans:  # a call of the engine may end between a prompt and its text
                found = np.concatenate([getattr(spans, name) for spans in self._spans])
                values[encoded.tokens > 0] = found[step - 1 :: step]
            columns.append(values.tolist())
        lengths = (encoded.chars, self._sizes, encoded.words)
        return map(Score, *columns, *(values.tolist() for values in lengths))

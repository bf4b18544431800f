"""Rows of ids: what the model reads and what it is to predict, chunk by chunk.

B rows are read side by side, T symbols at a time, with the state carried from chunk to chunk
(truncated backpropagation through time, Williams & Peng 1990). What a chunk holds is a function of
the seed, the step and the run's last step alone.

A *stream* is cut into B contiguous rows. The last of them ends where the text ends, and is read to its
end when the run ends: what comes after a text is most like its end, and a model remembers best what it
read last. *Records* are shuffled every epoch and then packed end to end into rows, without padding; `<s>`
is read before each.
"""

from dataclasses import dataclass

import numpy as np

from charrnn.dataset.dataset import Dataset, Ids, TokenStream
from charrnn.errors import InputError
from charrnn.rng import RngStream, generator

START_AFTER_NEWLINE = 0.25


START_ELSEWHERE = 0.01
"""How often `<s>` replaces what a row would read at the first place of a chunk, so that the model
learns to begin from nothing; mostly where a line begins, as texts do."""


SHUFFLE_BLOCK = 1 << 22
"""Records, or groups of neighbours, that are shuffled at a time."""


@dataclass(frozen=True)
class Batch:
    """What one step learns from: int64 arrays of shape (B, T)."""

    inputs: Ids
    """Ids in [0, V]; V is `<s>`."""
    targets: Ids
    """Ids in [0, V)."""


class BatchLoader:
    """A stream cut into rows, for training.

    Args:
        stream: the text; at least batch * seq_len symbols.
        start: the id of `<s>`.
        newline: the id of a newline, or None.
        batch: B. seq_len: T.
        seed: of the order, and of where `<s>` is read.

    Raises:
        InputError: the text is too short.
    """

    def __init__(
        self, stream: TokenStream, *, start: int, newline: int | None, batch: int, seq_len: int, seed: int
    ) -> None:
        self.stream, self.start, self.newline = stream, start, newline
        self.batch, self.seq_len, self.seed = batch, seq_len, seed
        self._shuffle = _Shuffle(stream, seed) if stream.records else None
        size = self._shuffle.size if self._shuffle else len(stream)
        self.steps_per_epoch = size // (batch * seq_len)
        if self.steps_per_epoch == 0:
            raise InputError(
                f"the text to train on has {size:,} symbols, and --batch {batch} times"
                f" --seq-len {seq_len} needs {batch * seq_len:,}; lower either"
            )

    def chunk(self, step: int, end: int) -> Batch:
        """The chunk that step number `step` (from 0) of a run of about `end` steps learns from."""
        B, T = self.batch, self.seq_len
        if self._shuffle is not None:
            epoch, index = divmod(step, self.steps_per_epoch)
            size = self._shuffle.start_epoch(epoch)
            firsts = np.arange(B, dtype=np.int64) * (size // B) + index * T
            # a row that jumps into a record goes on from elsewhere, once an epoch
            return Batch(*self._read(self._shuffle.places(firsts[:, None] + np.arange(T))))
        # both count down to the run's end; beyond it another epoch begins, number -1
        epoch, index = divmod(end - 1 - step, self.steps_per_epoch)
        size = len(self.stream)
        ends = size - np.arange(B - 1, -1, -1, dtype=np.int64) * size // B
        # chunks are cut elsewhere each time, and symbols that fell between rows are read too
        shift = int(generator(self.seed, RngStream.SHUFFLE, epoch % (1 << 64)).integers(T + 1)) if epoch else 0
        places = (ends - shift - (index + 1) * T)[:, None] + np.arange(T)  # (B, T)
        inputs, targets = self._read(places % size)
        first = inputs[:, 0]
        chance = np.where(first == self.newline, START_AFTER_NEWLINE, START_ELSEWHERE)
        if step == 0 or index == self.steps_per_epoch - 1:
            chance[:] = 1.0  # rows have jumped: what they carry is of elsewhere
        draws = generator(self.seed, RngStream.BOS, step).random(B)
        first[draws < chance] = self.start
        return Batch(inputs, targets)

    def _read(self, places: Ids) -> tuple[Ids, Ids]:
        """What is read before each place, and what stands there."""
        starts = self.stream.starts
        inputs = self.stream.ids[places - 1].astype(np.int64)
        char_starts = starts[np.searchsorted(starts, places, "right") - 1] == places
        inputs[char_starts] = self.start
        return inputs, self.stream.ids[places].astype(np.int64)


class _Shuffle:
    """The order of records in each epoch, as positions in one endless text.

    Records that count more than once come as often. Where there are more than `SHUFFLE_BLOCK` of them,
    neighbours go together; where there are too many repetitions, an epoch is as many records drawn
    with their weights.

    Attributes:
        size: symbols of an epoch; of drawn ones, what is expected.
    """

    def __init__(self, stream: TokenStream, seed: int) -> None:
        self._seed, self._epoch = seed, -1
        count, weights = len(stream.starts), stream.weights
        group = 1 if weights is not None else -(-count // SHUFFLE_BLOCK)
        self._begins = stream.starts[::group]
        self._lengths = np.diff(self._begins, append=len(stream))
        self._times: Ids | None = weights
        self._drawn = 0  # records of an epoch, where they are drawn
        self._bounds = np.zeros(1, np.int64)  # of the weights, added up
        self.size = stream.epoch
        if weights is not None:
            self._bounds = np.cumsum(weights)
            total = int(self._bounds[-1])
            if total > SHUFFLE_BLOCK:
                self.size = int(self.size / total * SHUFFLE_BLOCK)
                self._drawn = SHUFFLE_BLOCK

    def start_epoch(self, epoch: int) -> int:
        """Shuffle for an epoch, whose length in symbols is returned."""
        if epoch != self._epoch:
            draw = generator(self._seed, RngStream.SHUFFLE, epoch)
            if self._drawn:
                self._order = np.searchsorted(self._bounds, draw.integers(self._bounds[-1], size=self._drawn), "right")
            else:
                every = np.arange(len(self._begins))
                self._order = draw.permutation(every if self._times is None else np.repeat(every, self._times))
            self._ends = np.cumsum(self._lengths[self._order])
            self._epoch = epoch
        return int(self._ends[-1])

    def places(self, positions: Ids) -> Ids:
        """Where in the stream the positions of the epoch's text are; after its end it begins anew."""
        positions = positions % self._ends[-1]
        number = np.searchsorted(self._ends, positions, "right")
        record = self._order[number]
        places: Ids = self._begins[record] + positions - (self._ends[number] - self._lengths[record])
        return places


def batch_loader(split: Dataset, *, batch: int | None, seq_len: int | None, seed: int) -> BatchLoader:
    """The rows that a plan's steps learn from; a plan is complete: its batch and seq_len are no longer None."""
    assert batch is not None
    assert seq_len is not None
    start, newline = split.tokenizer.size, split.tokenizer.newline
    return BatchLoader(split.train, start=start, newline=newline, batch=batch, seq_len=seq_len, seed=seed)

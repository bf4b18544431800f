"""Batches of ids: what the model reads and what it is to predict, step by step.

B rows are read side by side, T tokens at a time, with the state carried from batch to batch
(truncated backpropagation through time, Williams & Peng 1990). What a batch holds is a function of
the seed, the step and the run's last step alone.

A *stream* is cut into B contiguous rows. The last of them ends where the text ends, and is read to its
end when the run ends: what comes after a text is most like its end, and a model remembers best what it
read last. *Records* are shuffled every epoch and then packed end to end into rows, without padding; `<s>`
is read before each. Where another text is mixed in, the last rows of every batch are cut from that one.
"""

import functools
from dataclasses import dataclass

import numpy as np

from charrnn.dataset.dataset import Dataset, Ids, TokenStream
from charrnn.errors import InputError, UsageError, counted
from charrnn.rng import RngStream, generator

BOS_AFTER_NEWLINE = 0.25
BOS_ELSEWHERE = 0.01
"""How often `<s>` replaces what a row would read first in a batch, so that the model learns to begin
from nothing; mostly where a line begins, as texts do."""

SHUFFLE_BLOCK = 1 << 22
"""Records, or groups of neighbours, that are shuffled at a time."""


@dataclass(frozen=True)
class Batch:
    """What one step learns from: int64 arrays of shape (B, T), or fewer rows of them."""

    inputs: Ids
    """Ids in [0, V]; V is `<s>`."""
    targets: Ids
    """Ids in [0, V)."""


class BatchLoader:
    """A token stream cut into rows, for training.

    Args:
        stream: what to train on; at least batch_size * seq_len tokens.
        bos_id: of `<s>`.
        newline: the id of a newline, or None.
        batch_size: B. seq_len: T.
        seed: of the order, and of where `<s>` is read.
        rows: which rows of each batch are wanted; all by default.
        first_row: the number of the first of these rows in the batch, which other texts may have rows of too.
        purpose: what the text is for, as messages have it.

    Attributes:
        steps_per_epoch: how many batches an epoch has; of records, how many are expected.

    Raises:
        InputError: the text is too short.
    """

    def __init__(
        self,
        stream: TokenStream,
        *,
        bos_id: int,
        newline: int | None,
        batch_size: int,
        seq_len: int,
        seed: int,
        rows: slice = slice(None),
        first_row: int = 0,
        purpose: str = "to train on",
    ) -> None:
        self.rows = rows
        self.stream, self.bos_id, self.newline, self._first_row = stream, bos_id, newline, first_row
        self.batch_size, self.seq_len, self.seed = batch_size, seq_len, seed
        self._shuffle = _Shuffle(stream, seed) if stream.records else None
        size = self._shuffle.size if self._shuffle else len(stream)
        self.steps_per_epoch = size // (batch_size * seq_len)
        if self.steps_per_epoch == 0:
            raise InputError(
                f"the text {purpose} has {counted(size, 'token')}, and {{batch}} {batch_size} times"
                f" {{seq_len}} {seq_len} needs {batch_size * seq_len:,}; lower either",
                ("batch", "seq_len"),
            )

    def batch(self, step: int, steps: int) -> Batch:
        """Return the rows of the batch that step number `step` (from 0) of a run of about `steps` steps learns from."""
        B, T, rows = self.batch_size, self.seq_len, self.rows
        if self._shuffle is not None:
            epoch, index = divmod(step, self.steps_per_epoch)
            size = self._shuffle.start_epoch(epoch)
            row_starts = np.arange(B, dtype=np.int64) * (size // B) + index * T
            # a row that jumps into a record goes on from elsewhere, once an epoch
            return Batch(*self._read(self._shuffle.places(row_starts[rows, None] + np.arange(T))))
        # both count down to the run's end; beyond it another epoch begins, number -1
        epoch, index = divmod(steps - 1 - step, self.steps_per_epoch)
        size = len(self.stream)
        row_ends = size - np.arange(B - 1, -1, -1, dtype=np.int64) * size // B
        # an epoch's batches are cut elsewhere than the last one's, so that tokens that fell between rows are read too
        shift = int(generator(self.seed, RngStream.SHUFFLE, epoch % (1 << 64)).integers(T + 1)) if epoch else 0
        places = (row_ends - shift - (index + 1) * T)[rows, None] + np.arange(T)
        inputs, targets = self._read(places % size)
        first = inputs[:, 0]
        probability = np.where(first == self.newline, BOS_AFTER_NEWLINE, BOS_ELSEWHERE)
        if step == 0 or index == self.steps_per_epoch - 1:
            probability[:] = 1.0  # rows have jumped: their state comes from elsewhere
        draws = generator(self.seed, RngStream.BOS, step).random(self._first_row + B)[self._first_row :]
        first[draws[rows] < probability] = self.bos_id
        return Batch(inputs, targets)

    def _read(self, places: Ids) -> tuple[Ids, Ids]:
        """Return what is read before each place, and what stands there."""
        starts = self.stream.starts
        inputs = self.stream.ids[places - 1].astype(np.int64)
        inputs[starts[np.searchsorted(starts, places, "right") - 1] == places] = self.bos_id
        return inputs, self.stream.ids[places].astype(np.int64)


class _Shuffle:
    """The order of records in each epoch, as positions in one endless text.

    Records that count more than once come as often. Where there are more than `SHUFFLE_BLOCK` of them,
    neighbours go together; where there are too many repetitions, an epoch is as many records drawn
    with their weights.

    Attributes:
        size: tokens of an epoch; of drawn ones, what is expected.
    """

    def __init__(self, stream: TokenStream, seed: int) -> None:
        self._seed, self._epoch = seed, -1
        count, weights = len(stream.starts), stream.weights
        group = 1 if weights is not None else -(-count // SHUFFLE_BLOCK)
        self._starts = stream.starts[::group]
        self._lengths = np.diff(self._starts, append=len(stream))
        self._weights: Ids | None = weights
        self._drawn = 0  # records of an epoch, where they are drawn
        self._bounds = np.zeros(1, np.int64)  # of the weights, added up
        self.size = stream.epoch_tokens
        if weights is not None:
            self._bounds = np.cumsum(weights)
            total = int(self._bounds[-1])
            if total > SHUFFLE_BLOCK:
                self.size = int(self.size / total * SHUFFLE_BLOCK)
                self._drawn = SHUFFLE_BLOCK

    def start_epoch(self, epoch: int) -> int:
        """Shuffle for an epoch; return its length in tokens."""
        if epoch != self._epoch:
            rng = generator(self._seed, RngStream.SHUFFLE, epoch)
            if self._drawn:
                self._order = np.searchsorted(self._bounds, rng.integers(self._bounds[-1], size=self._drawn), "right")
            else:
                every = np.arange(len(self._starts))
                self._order = rng.permutation(every if self._weights is None else np.repeat(every, self._weights))
            self._ends = np.cumsum(self._lengths[self._order])
            self._epoch = epoch
        return int(self._ends[-1])

    def places(self, positions: Ids) -> Ids:
        """Return where in the stream the positions of the epoch's text are; after its end it begins anew."""
        positions = positions % self._ends[-1]
        number = np.searchsorted(self._ends, positions, "right")
        record = self._order[number]
        places: Ids = self._starts[record] + positions - (self._ends[number] - self._lengths[record])
        return places


class MixedLoader:
    """Batches of two texts: the first rows are always cut from one, the last ones from the other.

    Args:
        own: of the text to train on; an epoch is one of its. other: of the text that is mixed in.

    Attributes:
        batch_size: B, the rows of both. seq_len, steps_per_epoch: as `BatchLoader` has them.
    """

    def __init__(self, own: BatchLoader, other: BatchLoader) -> None:
        self._own, self._other = own, other
        self.batch_size, self.seq_len = own.batch_size + other.batch_size, own.seq_len
        self.steps_per_epoch = own.steps_per_epoch

    def batch(self, step: int, steps: int) -> Batch:
        """See `BatchLoader.batch`."""
        own, other = self._own.batch(step, steps), self._other.batch(step, steps)
        return Batch(np.concatenate([own.inputs, other.inputs]), np.concatenate([own.targets, other.targets]))


Loader = BatchLoader | MixedLoader


def mixed_rows(batch: int, share: float) -> int:
    """Return how many rows of a batch come from the text that is mixed in: its share, but no text has none.

    Raises:
        UsageError: there is one row.
    """
    if batch < 2:
        raise UsageError(f"{{mix}} needs a {{batch}} of 2 or more, not {batch}", ("mix", "batch"))
    return min(batch - 1, max(1, round(share * batch)))


def batch_loader(
    dataset: Dataset, *, batch: int | None, seq_len: int | None, seed: int, rows: slice = slice(None)
) -> Loader:
    """Return what a plan's steps learn from; a plan is complete: its batch and seq_len are no longer None.

    Args:
        rows: which rows of each batch are wanted; all by default.

    Raises:
        InputError: a text is too short. UsageError: as `mixed_rows`.
    """
    assert batch is not None
    assert seq_len is not None
    make = functools.partial(
        BatchLoader, bos_id=dataset.tokenizer.size, newline=dataset.tokenizer.newline, seq_len=seq_len, seed=seed
    )
    if dataset.mix is None:
        return make(dataset.train, batch_size=batch, rows=rows)
    mixed, (begin, end, _) = mixed_rows(batch, dataset.mix.share), rows.indices(batch)
    own = batch - mixed
    before, after = slice(min(begin, own), min(end, own)), slice(max(begin - own, 0), max(end - own, 0))
    return MixedLoader(
        make(dataset.train, batch_size=own, rows=before),
        make(dataset.mix.dataset.train, batch_size=mixed, rows=after, first_row=own, purpose="to mix in"),
    )

"""The keyword arguments of `charrnn.train`, for editors and type checkers: the options of `TrainConfig`, none of them
required. A test compares the two."""

import os
from collections.abc import Mapping
from typing import Any, TypedDict

PathName = str | os.PathLike[str]


class TrainArguments(TypedDict, total=False):
    """What `charrnn.train` takes besides the corpus: see `charrnn train --help`."""

    cell: str
    hidden: int | list[int] | tuple[int, ...] | None
    time: float | str | None
    tokenizer: str
    records: bool
    jsonl: str | None
    val: float | PathName
    init_from: PathName | None
    resume: bool
    out: PathName | None
    seed: int
    layers: int | None
    embedding: int | None
    vocab_size: int | None
    batch: int | None
    seq_len: int | None
    optimizer: str
    lr: float | None
    schedule: str
    dropout: float | None
    weight_drop: float | None
    weight_decay: float
    clip: float
    mix: PathName | None
    mix_share: float | None
    epochs: float | None
    steps: int | None
    patience: int
    split_seed: int
    eval_every: int | None
    sample_every: int | None
    eval_tokens: int
    replans: tuple[Mapping[str, Any], ...] | None
    separator: str | None
    counts: bool
    tsv: str | None
    csv: str | None
    errors: str
    auto_resume: bool
    overwrite: bool
    save_every: int | None
    device: str
    engine: str
    precision: str
    threads: int | None

"""What options are where they are left open, by arithmetic alone: from the text, the time and the machine's speed.

The numbers were found by measurement: see benchmarks/RESULTS.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from charrnn.config.params import seconds
from charrnn.config.train import DEFAULT_TIME, TrainConfig
from charrnn.errors import InputError, counted
from charrnn.network.architecture import Architecture
from charrnn.network.cells import CELLS

HIDDEN_SIZES = [32, 48, 64, 96, 128, 192, 256, 320, 384, 448, 512, 640, 768, 1024]

CUDNN_MULTIPLE = 128
"""On CUDA hidden and embedding sizes are multiples of it: cuDNN's persistent LSTM kernels for float16 need that, and a
batch that is a multiple of 8, at most 128. Elsewhere it does no harm."""

WEIGHTS_PER_TOKEN = 10.0
"""Weights that a text can fill for each of its tokens: with dropout more than one."""

TOKENS_PER_WEIGHT = 3.5
"""Tokens that training should take for each weight: a small model that has seen much beats a large one that has not."""

STEPS_SHARE = 0.8
"""Of the time that is left when sizes are chosen: for steps, before baselines, evaluations and the exact score."""

MAX_UNTIMED_HIDDEN = 256
"""The largest hidden size where there is no time budget."""

TWO_LAYERS_FROM = 500_000
"""Weights of one layer from which on two smaller layers learn more in the same time."""

MAX_EPOCHS = 30
"""Epochs that a time budget is used for, at most."""

DROPOUT, WEIGHT_DROP = (2.4, 0.15), (7.0, 0.2)
"""Against overfitting: the epochs from which on there is dropout, and how much is added each time they double.
Recurrent weights are dropped later, and faster."""

MAX_DROPOUT = 0.5

FINE_TUNING_LR = 0.1
"""Of a new model's learning rate, what serves one that knows most of a text already."""

ONE_THREAD_ADVANTAGE = {"native": 1.0, "torch": 1.15}
"""How much faster than one thread several must be. Steps of a small layer are so short that a second thread gains
little, and one of torch's loses much while another program wants the processor; the core's own threads give way."""


@dataclass(frozen=True)
class Facts:
    """What is known of the text and of the engine.

    Attributes:
        train_tokens: tokens to train on. epoch_tokens: those of an epoch, where records count more than once.
        vocabulary: V. used_vocabulary: tokens that occur at all: of 256 bytes perhaps 65.
        engine, device: as `EngineSpec` has them. threads: the processor's, at most.
        processes: how many share out the rows of a batch. clusters: of rare tokens, as `Architecture` has them.
    """

    train_tokens: int
    epoch_tokens: int
    vocabulary: int
    used_vocabulary: int
    engine: str
    device: str
    threads: int
    processes: int = 1
    clusters: bytes = b""


Measure = Callable[[TrainConfig, Architecture, Sequence[int]], Mapping[int, float]]
"""Returns the tokens a second that training takes with each number of threads."""


def tokens_per_step(config: TrainConfig) -> int:
    """Return the tokens of a batch."""
    assert config.batch is not None
    assert config.seq_len is not None
    return config.batch * config.seq_len


def complete_time(config: TrainConfig, elapsed: float, reasons: list[str]) -> TrainConfig:
    """Return the configuration with a time budget, unless something else bounds the training.

    Args:
        elapsed: seconds that are over.
        reasons: a sentence for each choice is added to it, here and below.
    """
    if config.time is None and config.steps is None and config.epochs is None:
        config = replace(config, time=DEFAULT_TIME)
        reasons.append(f"time {seconds(DEFAULT_TIME)}: no time, epochs or steps were given")
    if config.time is not None and elapsed > 0.3 * config.time:
        reasons.append(f"{seconds(elapsed)} of {seconds(config.time)} went into reading the text")
    return config


def complete_batch(config: TrainConfig, facts: Facts, reasons: list[str]) -> TrainConfig:
    """Return the configuration with batch size and sequence length: 16 rows of 64 tokens, on a GPU 64 rows; fewer for a
    short text.

    Raises:
        InputError: the text is too short for a batch.
    """
    size, max_batch = facts.epoch_tokens, 16 if facts.device == "cpu" else 64
    seq_len = config.seq_len or max(1, min(64, size // (config.batch or 4)))
    batch = config.batch or max(1, min(max_batch, size // (8 * seq_len)))
    if config.batch is None:
        batch = -(-batch // facts.processes) * facts.processes
    if batch * seq_len > size:
        raise InputError(
            f"the text to train on has {counted(size, 'token')}, and {{batch}} {batch} times {{seq_len}} {seq_len}"
            f" needs {batch * seq_len:,}; lower either",
            ("batch", "seq_len"),
        )
    if config.batch is None and batch < max_batch:
        reasons.append(f"batch {batch}: the text has only {counted(size, 'token')}")
    return replace(config, batch=batch, seq_len=seq_len)


def complete_hidden(
    config: TrainConfig, facts: Facts, measure: Measure, elapsed: Callable[[], float], reasons: list[str]
) -> TrainConfig:
    """Return the configuration with the largest layer whose weights text and time can fill, or two in its place."""
    if config.hidden is not None:
        return config
    sizes = [size for size in HIDDEN_SIZES if facts.device == "cpu" or size % CUDNN_MULTIPLE == 0]

    def with_size(size: int, layers: int | None) -> TrainConfig:
        return complete_model(replace(config, hidden=(size,), layers=layers), facts, [])

    def trained(size: int, layers: int | None) -> int:
        """Return how many weights are trained: not those of tokens that never occur."""
        return architecture_of(with_size(size, layers), facts.used_vocabulary).num_parameters

    def fillable(layers: int | None) -> list[int]:
        return [size for size in sizes if trained(size, layers) <= WEIGHTS_PER_TOKEN * facts.train_tokens] or sizes[:1]

    layers, largest = config.layers, fillable(config.layers)[-1]
    hidden, why = min(largest, MAX_UNTIMED_HIDDEN), f"the text has {counted(facts.train_tokens, 'token')}"
    if config.time is not None:
        reference = min(largest, 128 if config.time < 30 else 256)  # near to what will be chosen
        model, threads = with_size(reference, layers), config.threads or facts.threads
        speed = measure(model, architecture_of(model, facts.vocabulary, facts.clusters), [threads])[threads]
        measured, left = trained(reference, layers), STEPS_SHARE * (config.time - elapsed())

        def is_affordable(size: int, layers: int | None) -> bool:
            weights = trained(size, layers)
            slowdown = min(1.0, (weights / measured) ** 0.25)  # smaller layers are farther from the processor's limit
            tokens: float = left * speed * measured / weights * slowdown
            return tokens >= TOKENS_PER_WEIGHT * weights

        def best(layers: int | None) -> int:
            return max(size for size in fillable(layers) if size == sizes[0] or is_affordable(size, layers))

        hidden = best(layers)
        one_layer = architecture_of(with_size(hidden, 1), facts.used_vocabulary)
        if layers is None and one_layer.num_layer_parameters >= TWO_LAYERS_FROM:
            layers, hidden = 2, best(2)
            reasons.append("layers 2: one layer would be so large that two learn more in the same time")
        if hidden < fillable(layers)[-1]:
            why = f"as much as {seconds(config.time)} can train at this machine's speed"
    elif hidden == MAX_UNTIMED_HIDDEN:
        why = "quick to train; a larger one has to be asked for"
    reasons.append(f"hidden {hidden}: {why}")
    if facts.device != "cpu" and config.cell == "lstm":
        reasons.append(
            f"hidden and embedding are multiples of {CUDNN_MULTIPLE}: with precision float16 cuDNN then keeps an LSTM's"
            " weights on the chip"
        )
    return replace(config, hidden=(hidden,), layers=layers)


def complete_model(config: TrainConfig, facts: Facts, reasons: list[str]) -> TrainConfig:
    """Return the configuration with layers, embedding size and learning rate; the hidden size is known."""
    assert config.hidden is not None
    hidden = config.hidden * (config.layers or 1) if len(config.hidden) == 1 else config.hidden
    embedding = config.embedding or (min(128, max(16, hidden[0] // 2)) if facts.device == "cpu" else CUDNN_MULTIPLE)
    lr = config.lr
    if lr is None:
        lr = default_lr(config, max(hidden))
        reasons.append(f"lr {lr:g}: for {config.optimizer}, {config.cell} and hidden size {max(hidden)}")
    return replace(config, hidden=hidden, layers=len(hidden), embedding=embedding, lr=lr)


def default_lr(config: TrainConfig, hidden: int) -> float:
    """Return the highest peak learning rate that serves a cell of this hidden size well, to two digits."""
    if config.optimizer == "sgd":
        return 0.5
    if config.optimizer == "rmsprop":
        return 2e-3
    scale = 0.6 if config.base_cell == "rnn" else 1.6
    return float(f"{min(1e-2, scale / hidden):.2g}")


def complete_fine_tuning(
    config: TrainConfig,
    asked: TrainConfig,
    before: float | None,
    baselines: Mapping[str, float] | None,
    reasons: list[str],
) -> TrainConfig:
    """Return the configuration of a run that starts from a model: learning rate and dropout by what that one knows.

    A model that predicts a text better than a 5-gram that has learnt it is near, and has only little to learn: with a
    new model's rate, or with the dropout of as many epochs, it would lose more than it finds. With more text the 5-gram
    is better, and fewer models are near. One that is not near has everything to learn, as a new one has, and would
    learn a short text by heart as fast.

    Args:
        config: as completed for a new model. asked: the options.
        before: bits per character of the model on the validation text; None: they are not known.
        baselines: those of simpler models; None: there is no validation text.
    """
    if separator := config.record_separator.decode("utf-8", "backslashreplace"):
        reasons.append(f"records: the text is learnt as the model's was, each part that {separator!r} ends on its own")
    ngram = None if baselines is None else baselines["ngram"]
    if before is not None and ngram is not None and before >= ngram:
        if asked.lr is None:
            compared = f"{before:.3f} bits per char before, and a 5-gram of the text {ngram:.3f}"
            reasons.append(f"learns as a new model does: {compared}")
        return config
    assert config.lr is not None
    if asked.lr is None:
        config = replace(config, lr=float(f"{FINE_TUNING_LR * config.lr:.2g}"))
        reasons.append(f"lr {config.lr:g}: a tenth of a new model's, as the model knows more than a 5-gram of the text")
    return replace(config, dropout=config.dropout or 0.0, weight_drop=config.weight_drop or 0.0)


def architecture_of(config: TrainConfig, vocabulary: int, clusters: bytes = b"") -> Architecture:
    """Return the sizes of a model that `complete_model` has completed."""
    assert config.hidden is not None
    assert config.embedding is not None
    return Architecture(config.base_cell, vocabulary, config.hidden, config.embedding, config.activation, clusters)


def complete_dropout(config: TrainConfig, epochs: float, architecture: Architecture, reasons: list[str]) -> TrainConfig:
    """Return the configuration with dropout of units and of recurrent weights, by the number of epochs.

    Where most weights are those of embedding and head, as with Chinese, there is more dropout of units, up to half as
    much again: nothing else keeps those weights from overfitting.
    """

    def dropout(name: str, free_epochs: float, per_doubling: float, factor: float = 1.0) -> float:
        amount = min(MAX_DROPOUT, per_doubling * math.log2(max(1.0, epochs / free_epochs)))
        amount = round(20 * factor * amount) / 20
        if amount:
            reasons.append(f"{name} {amount:g}: for {epochs:.1f} epochs")
        return amount

    if config.dropout is None:
        outside = 1 - architecture.num_layer_parameters / architecture.num_parameters
        config = replace(config, dropout=dropout("dropout", *DROPOUT, 1 + max(0.0, outside - 0.5)))
    if config.weight_drop is None:
        recurrent = CELLS[config.base_cell].recurrent_matmuls
        config = replace(config, weight_drop=dropout("weight drop", *WEIGHT_DROP) if recurrent else 0.0)
    return config


def thread_counts(config: TrainConfig, facts: Facts) -> list[int]:
    """Return the numbers of threads to choose from: one and all, unless the options say."""
    return [facts.threads] if config.threads or facts.device != "cpu" else sorted({1, facts.threads})


def choose_threads(speeds: Mapping[int, float], engine: str, reasons: list[str]) -> int:
    """Return the number of threads to train with, by the speed of each."""
    chosen = max(speeds, key=lambda count: speeds[count] * (ONE_THREAD_ADVANTAGE[engine] if count == 1 else 1.0))
    if len(speeds) > 1:
        many = max(speeds)
        reasons.append(f"threads {chosen}: {many} are {speeds[many] / speeds[1]:.2f} times as fast as 1")
    return chosen


def complete_intervals(config: TrainConfig, steps: int, evaluations: int) -> TrainConfig:
    """Return the configuration with the last step, and the steps between evaluations, saves and samples."""
    every = max(1, steps // evaluations)
    return replace(
        config,
        steps=steps,
        eval_every=every if config.eval_every is None else config.eval_every,
        save_every=every if config.save_every is None else config.save_every,
        sample_every=max(1, steps // 4) if config.sample_every is None else config.sample_every,
    )

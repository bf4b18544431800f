"""What a training would be like, for advice: the plan of a part of the text, without baselines."""

from charrnn.config.params import seconds
from charrnn.config.train import TrainConfig
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.formats import TextFormat
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.errors import counted
from charrnn.training.learner import training_spec
from charrnn.training.plan import make_plan

SKETCH_BYTES = 8 << 20
"""Bytes that are planned for: in the time of a training by default, sizes do not depend on more."""


def sketch_plan(config: TrainConfig, corpus: Corpus, val: Corpus | None) -> str:
    """Return a sentence about the model that `charrnn train` would choose, and how often it would read the text.

    Args:
        config: the options. corpus, val: what was read.

    Raises:
        InputError: the text is too short. CharRNNError: there is not enough memory, or the device is not there.
    """
    part, val_part = _part(corpus, config), None if val is None else _part(val, config)
    options = PrepareOptions(config.tokenizer, config.val_fraction, "replace")
    dataset = prepare(part, val_part, options)
    plan = make_plan(config, dataset, spec=training_spec(config), elapsed=lambda: 0.0, with_baselines=False)
    assert plan.config.steps is not None
    assert plan.config.batch is not None
    assert plan.config.seq_len is not None
    tokens = dataset.train.epoch_tokens * max(1.0, corpus.size / max(1, part.size))
    epochs = plan.config.steps * plan.config.batch * plan.config.seq_len / max(1.0, tokens)
    sizes = "+".join(map(str, plan.architecture.hidden))
    took = f" in {seconds(plan.config.time)}" if plan.config.time is not None else ""
    return (
        f"{plan.config.cell} {sizes}, vocabulary of {plan.architecture.vocabulary:,},"
        f" {plan.architecture.num_parameters:,} parameters, about {counted(float(f'{epochs:.2g}'), 'epoch', 'g')}{took}"
    )


def _part(corpus: Corpus, config: TrainConfig) -> Corpus:
    """Return the first part of a corpus, in memory, as the options have its records."""
    texts, left = list[tuple[str, bytes]](), SKETCH_BYTES
    for document in corpus.documents:
        data = b"".join(document.chunks(0, min(document.size, left)))
        texts.append((document.name, data))
        left -= len(data)
        if left <= 0:
            break
    if not config.record_separator:
        return Corpus.from_texts(texts)
    return Corpus.from_texts([("text", b"".join(data for _, data in texts))], TextFormat(config.record_separator))

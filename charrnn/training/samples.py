"""The samples that are shown while training."""

from collections.abc import Callable
from dataclasses import replace

from charrnn.config.sample import SamplingParams
from charrnn.dataset.dataset import Dataset
from charrnn.engines.base import InferenceEngine
from charrnn.generation.generate import generate

PARAMS = SamplingParams(temp=0.8, length=240)

RECORDS = 12
"""Records of a sample, where the model has records."""


def draw_sample(engine: InferenceEngine, dataset: Dataset, seed: int, check: Callable[[], None]) -> str:
    """Return a text by the model, or records, each on a line. Its random numbers are its own.

    Args:
        check: called now and then; may raise to end it.

    Raises:
        NonFiniteError: a logit is not finite.
    """
    params = replace(PARAMS, num=RECORDS) if dataset.separator else PARAMS
    texts = [bytearray() for _ in range(params.num)]
    prompts = [dataset.train.ids[:0]]
    for chunk in generate(engine, dataset.tokenizer, prompts, params, seed=seed, separator=dataset.separator):
        check()
        texts[chunk.index] += chunk.data
    return b"\n".join(texts).decode("utf-8", "replace")

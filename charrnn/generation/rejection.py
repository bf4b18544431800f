"""Records that match a regular expression, as probable as the model has them: P(text | match).

Tokens that leave the pattern could be forbidden one by one, which is quick; but then texts that begin well and end
badly come too often, the more so the later it shows whether they match. So texts are drawn freely, and those that do
not match are drawn again (von Neumann 1951); where too few would match, tokens are forbidden after all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np

from charrnn.config.sample import SamplingParams
from charrnn.engines.base import END, FORBIDDEN, Ids, InferenceEngine, TokenDFA
from charrnn.generation.constraints import MatchDFA
from charrnn.generation.generate import REJECTED, TextChunk, generate, joined, prompt_seed
from charrnn.rng import RngStream, generator
from charrnn.tokenizers.tokenizer import Tokenizer

MAX_REJECTED = 1000
"""Free draws in a row without a match after which tokens are forbidden."""


def generate_matching(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompts: Sequence[Ids],
    params: SamplingParams,
    *,
    seed: int,
    match: MatchDFA,
    num: int | None = None,
    **options: Any,
) -> Iterator[TextChunk]:
    """Generate records as `generate` does, so that all match, and return each whole.

    Prompts are answered one by one, each with random numbers of its own, those of the first being what it would have
    alone. Without a limit of texts they take turns.

    Args:
        match: of `match_dfa`, of records. Others as for `generate`.
    """
    num = params.num if num is None else num

    def of_prompt(number: int) -> Iterator[TextChunk]:
        own = prompt_seed(seed, number)
        one = match.of_prompt(number)
        texts = _matching(engine, tokenizer, prompts[number], params, seed=own, match=one, **options)
        return (replace(text, index=index, prompt=number) for index, text in enumerate(texts))

    if num:
        for number in range(len(prompts)):
            yield from islice(of_prompt(number), num)
    else:
        yield from chain.from_iterable(zip(*map(of_prompt, range(len(prompts))), strict=True))


def _matching(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompt: Ids,
    params: SamplingParams,
    *,
    seed: int,
    match: MatchDFA,
    **options: Any,
) -> Iterator[TextChunk]:
    """Return whole texts without end that match, of one prompt."""
    most = MAX_REJECTED if params.is_random else 1  # the same would be drawn again
    free, rejected = _free(match, tokenizer.unknown), 0
    for text in joined(generate(engine, tokenizer, [prompt], params, seed=seed, match=free, num=0, **options)):
        if text.finish_reason != REJECTED:
            rejected = 0
            yield text
        elif (rejected := rejected + 1) >= most:
            break
    seed = int(generator(seed, RngStream.SAMPLE, 0, 1).integers(1 << 63))  # those of the free draws are used up
    yield from joined(generate(engine, tokenizer, [prompt], params, seed=seed, match=match, num=0, **options))


def _free(match: MatchDFA, unknown: int | None) -> MatchDFA:
    """Return the automaton by which the texts of a prompt are drawn freely, and end where they leave the pattern.

    Up to the first choice that the pattern leaves, other tokens are forbidden: that is as likely in every text.
    """
    table = np.where(match.dfa.next == FORBIDDEN, np.int32(END), match.dfa.next)
    if unknown is not None:
        table[:, unknown] = FORBIDDEN
    state, rows = int(match.starts[0]), []
    while True:
        rows.append(row := match.dfa.next[state].copy())
        (allowed,) = np.nonzero(row != FORBIDDEN)
        state = int(row[allowed[0]])
        if len(allowed) > 1 or state == END:
            break
        row[allowed[0]] = len(table) + len(rows)
    return MatchDFA(TokenDFA(np.vstack([table, *rows])), np.array([len(table)], np.int32), whole=match)

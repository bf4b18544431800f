"""Records that match a regular expression, as probable as the model has them: P(text | match).

Tokens that leave the pattern could be forbidden one by one, which is quick; but then texts that begin well and end
badly come too often, the more so the later it shows whether they match. So texts are drawn freely, and those that do
not match are drawn again (von Neumann 1951); where too few would match, tokens are forbidden after all.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from charrnn.config.sample import SamplingParams
from charrnn.engines.base import END, FORBIDDEN, Ids, InferenceEngine, TokenDFA
from charrnn.generation.constraints import MatchDFA
from charrnn.generation.generate import BATCH_SIZE, MIN_BATCH, REJECTED, TextChunk, generate, joined, prompt_seed
from charrnn.rng import RngStream, generator
from charrnn.tokenizers.tokenizer import Tokenizer

MAX_REJECTED = 1000
MAX_TOKENS = 100_000
"""Free draws in a row without a match, and tokens of them, after which tokens are forbidden: both, as short records
take little time."""

_DRAW_TOKENS = 10
"""A draw takes the time of so many tokens more."""

_PATIENCE = 10
"""Once a text has matched, as there are such, so many times both are drawn."""


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
    if len(prompts) > 1:  # for each little more is drawn than is wanted; by turns all of them are being drawn
        options["batch_size"] = min(BATCH_SIZE, max(num, MIN_BATCH) if num else max(1, BATCH_SIZE // len(prompts)))

    def of_prompt(number: int) -> Iterator[TextChunk]:
        own = prompt_seed(seed, number)
        one = match.of_prompt(number)
        texts = _matching(engine, tokenizer, prompts[number], params, seed=own, match=one, **options)
        for index, text in enumerate(texts):
            text.index, text.prompt = index, number
            yield text

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
    free, rejected, tokens, patience = _free(match, tokenizer.unknown), 0, 0, 1
    for text in joined(generate(engine, tokenizer, [prompt], params, seed=seed, match=free, num=0, **options)):
        if text.finish_reason != REJECTED:
            text.rejected = rejected
            yield text
            rejected, tokens, patience = 0, 0, _PATIENCE
            continue
        rejected, tokens = rejected + 1, tokens + text.tokens + _DRAW_TOKENS
        is_enough = rejected >= patience * MAX_REJECTED and tokens >= patience * MAX_TOKENS
        if is_enough or not params.is_random:  # the same would be drawn again
            break
    seed = int(generator(seed, RngStream.SAMPLE, 0, 1).integers(1 << 63))  # those of the free draws are used up
    for text in joined(generate(engine, tokenizer, [prompt], params, seed=seed, match=match, num=0, **options)):
        text.is_forced = True
        yield text


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

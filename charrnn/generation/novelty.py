"""Texts that are new: none twice, none of a list, no record of the training text. Draws go on until enough are found.

Which draws there are depends on the seed alone, and they are judged in their order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from charrnn.config.sample import SamplingParams
from charrnn.corpus.inputs import BOM, open_chunks, split_lines
from charrnn.engines.base import Ids, InferenceEngine
from charrnn.generation.constraints import MatchDFA
from charrnn.generation.generate import BATCH_SIZE, MIN_BATCH, TextChunk, generate, joined, prompt_seed
from charrnn.tokenizers.tokenizer import Tokenizer

MAX_DRAWS = 10_000
"""Draws in a row without a new text after which no more are made."""


REJECTED_DRAWS = 20
"""As many draws that do not match count as one: they are quick, and say little of whether there are new texts."""


_DIGEST_BYTES = 16
"""By which a text that is longer than twice as much is known: another one has the same once in 2**128."""


class Novelty:
    """Knows which texts are new.

    Args:
        known: texts that are not. unique: whether a text that was taken is known from then on.
    """

    def __init__(self, known: Iterable[bytes] = (), *, unique: bool = False) -> None:
        self._known = set(map(_key, known))
        self._unique = unique

    def take(self, text: bytes) -> bool:
        """Return whether a text is new, and take it."""
        key = _key(text)
        if key in self._known:
            return False
        if self._unique:
            self._known.add(key)
        return True


def _key(text: bytes) -> bytes:
    """Return what a text is known by: a million long ones need little memory."""
    return text if len(text) <= 2 * _DIGEST_BYTES else blake2b(text, digest_size=_DIGEST_BYTES).digest()


def generate_new(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompts: Sequence[Ids],
    params: SamplingParams,
    *,
    seed: int,
    novelty: Novelty,
    echoes: Sequence[bytes] = (),
    match: MatchDFA | None = None,
    draw: Callable[..., Iterator[TextChunk]] = generate,
    **options: Any,
) -> Iterator[TextChunk]:
    """Draw until there are `params.num` new texts of each prompt, and return each of them whole;
    fewer once `MAX_DRAWS` in a row were not new. `TextChunk.index` is the number of the draw.

    Prompts are answered one by one, each with random numbers of its own, those of the first being what it would have
    alone. Without a limit of texts they take turns, as in `generate`.

    Args:
        novelty: judges each text, in the order drawn. echoes: of each prompt, what stands before its texts then; empty:
            nothing does. draw: generates, with the arguments of `generate`. Others as for `generate`.
    """

    def is_new(text: TextChunk) -> bool:
        return novelty.take(echoes[text.prompt] + text.data if echoes else text.data)

    patience = MAX_DRAWS if params.is_random else 1  # the same would be drawn again
    if not params.num:
        texts = draw(engine, tokenizer, prompts, params, seed=seed, match=match, **options)
        yield from _new(joined(texts), 0, max(patience, len(prompts)), is_new)
        return
    batch_size = min(BATCH_SIZE, max(params.num, MIN_BATCH))
    for number, prompt in enumerate(prompts):
        texts = draw(
            engine, tokenizer, [prompt], params, seed=prompt_seed(seed, number), num=0, batch_size=batch_size,
            match=match and match.of_prompt(number), **options,
        )  # fmt: skip
        texts = (replace(text, prompt=number) if number else text for text in joined(texts))
        yield from _new(texts, params.num, patience, is_new)


def _new(
    texts: Iterable[TextChunk], num: int, patience: int, is_new: Callable[[TextChunk], bool]
) -> Iterator[TextChunk]:
    """Return the first `num` texts that are new, 0: all; fewer after `patience` in a row that are not."""
    found = in_vain = 0
    for text in texts:
        if is_new(text):
            yield text
            found, in_vain = found + 1, 0
            if found == num:
                return
        else:
            in_vain += 1 + text.rejected // REJECTED_DRAWS
            if in_vain >= patience:
                return


def lines_of(file: str) -> Iterator[bytes]:
    """Return the lines of a file; one that ends with CR LF also without its CR.

    Raises:
        InputError: it cannot be read.
    """
    first = True
    for lines in split_lines(open_chunks(file)):
        for line in lines:
            text = line.removeprefix(BOM) if first else line
            first = False
            yield text
            if text.endswith(b"\r"):
                yield text[:-1]

"""Texts as they are wanted: with their prompts, matching, none that is known, the likeliest first."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from charrnn.config.params import typed_bytes
from charrnn.config.sample import SamplingParams
from charrnn.engines.base import CopyIndex, InferenceEngine
from charrnn.errors import InputError
from charrnn.generation.constraints import MatchDFA
from charrnn.generation.generate import TextChunk, generate, joined, text_length
from charrnn.generation.novelty import Novelty, generate_new
from charrnn.generation.prompts import encode_prompt
from charrnn.generation.rejection import generate_matching
from charrnn.tokenizers.tokenizer import Tokenizer


def generate_texts(
    engine: InferenceEngine,
    tokenizer: Tokenizer,
    prompts: Sequence[bytes],
    params: SamplingParams,
    *,
    separator: bytes = b"",
    known: Iterable[bytes] = (),
    copies: Callable[[], CopyIndex | None] = lambda: None,
    names: Sequence[str] = (),
    with_nats: bool = False,
    watch: Callable[[TextChunk], None] = lambda chunk: None,
) -> Iterator[TextChunk]:
    """Return `params.num` texts of each prompt, in order: chunk by chunk as they are drawn, or whole where they must be
    known to their end. See `generate`.

    Args:
        engine, tokenizer: the model's.
        prompts: UTF-8; there may be none.
        params: which texts; without a `seed` a new one is taken.
        separator: what ends a record; empty: the texts are not records.
        known: texts that are not wanted.
        copies: returns what `params.max_copy` is about; called last.
        names: what each prompt is called in messages; empty: they have no names.
        with_nats: whether `TextChunk.nats` are wanted.
        watch: called with each chunk as it comes, before the likeliest are put first.

    Raises:
        InputError: a prompt cannot be used. UsageError: `params.match` cannot be. Raised by the call itself.
        NonFiniteError: the model's arithmetic overflows.
    """
    ids = []
    for number, prompt in enumerate(prompts):
        try:
            ids.append(encode_prompt(tokenizer, prompt, params.unknown))
        except InputError as error:
            raise error.prefixed(names[number]) if names else error from None
    novelty = Novelty(known, unique=params.unique) if params.is_selective else None  # reads `known`
    if not prompts:
        return iter(())
    echoes = [prompt_echo(prompt, params, separator) for prompt in prompts]
    seed = secrets.randbelow(1 << 32) if params.seed is None else params.seed
    options: dict[str, Any] = {
        "seed": seed,
        "stop": [typed_bytes(text) for text in params.stop],
        "separator": separator,
        "match": text_match(tokenizer, params, separator, echoes),
        "copies": copies(),
        "echo": any(echoes),
        "with_nats": with_nats or params.rank,
    }
    draw = drawing(params, separator)
    if novelty is not None:
        chunks = generate_new(engine, tokenizer, ids, params, novelty=novelty, echoes=echoes, draw=draw, **options)
    else:
        chunks = draw(engine, tokenizer, ids, params, **options)
    if any(echoes):
        chunks = _echoed(chunks, echoes)
    chunks = _watched(chunks, watch)
    return _ranked(joined(chunks)) if params.rank else chunks


def drawing(params: SamplingParams, separator: bytes) -> Callable[..., Iterator[TextChunk]]:
    """Return what draws the texts: `generate`, or `generate_matching` with the same arguments."""
    return generate_matching if separator and params.match is not None else generate


def text_match(
    tokenizer: Tokenizer, params: SamplingParams, separator: bytes, echoes: Sequence[bytes]
) -> MatchDFA | None:
    """Return what the texts of prompts with these echoes are to match; None: nothing. Raises as `match_dfa`."""
    if params.match is None:
        return None
    from charrnn.generation.match import match_dfa  # what other texts do not wait for

    length = text_length(params, separator)
    return match_dfa(tokenizer, params.match, separator, length, echoes, ended_by=params.ended_by)


def prompt_echo(prompt: bytes, params: SamplingParams, separator: bytes) -> bytes:
    """Return what of a prompt is part of its texts: of a record model, the record that it begins."""
    if not (bool(separator) if params.echo is None else params.echo):
        return b""
    return prompt.rpartition(separator)[2] if separator else prompt


def _echoed(chunks: Iterable[TextChunk], echoes: Sequence[bytes]) -> Iterator[TextChunk]:
    """Return the chunks, the first one of each text behind what is printed of its prompt."""
    is_start = True
    for chunk in chunks:
        yield replace(chunk, data=echoes[chunk.prompt] + chunk.data) if is_start else chunk
        is_start = chunk.finished


def _watched(chunks: Iterable[TextChunk], watch: Callable[[TextChunk], None]) -> Iterator[TextChunk]:
    for chunk in chunks:
        watch(chunk)
        yield chunk


def _ranked(texts: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Return the whole texts of each prompt, likeliest first; as drawn where they are equally likely."""
    for _, group in groupby(texts, key=lambda text: text.prompt):
        yield from sorted(group, key=lambda text: text.nats)

"""`charrnn sample`: a model's text on stdout."""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from charrnn.config.options import merge
from charrnn.config.params import typed_bytes
from charrnn.config.sample import RECORD_LENGTH, SampleConfig
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.corpus.inputs import display_name, open_chunks
from charrnn.engines.base import Ids
from charrnn.errors import InputError
from charrnn.generation.constraints import MatchDFA
from charrnn.generation.generate import TextChunk, generate, joined, text_length
from charrnn.generation.novelty import MAX_DRAWS, Novelty, generate_new, lines_of
from charrnn.generation.prompts import encode_prompt
from charrnn.model import Model


class _Prompt(NamedTuple):
    """A prompt: its bytes, its line in --prompt-file, what it is called in messages, and what of it is printed."""

    data: bytes
    name: str
    line: int | None = None
    echo: bytes = b""


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Generate texts and return the exit code.

    Raises:
        CharRNNError: of every kind.
    """
    config, _ = merge(SampleConfig, flags, os.environ)
    model = Model.load(*config.model, precision=config.precision)
    if config.columns or config.rank or config.is_selective:
        model.check_ends(config.length, config.stop, config.match)
    prompts = [_with_echo(prompt, config, model.separator) for prompt in _read_prompts(config)]
    ids = [_encode(model, prompt, config.unknown) for prompt in prompts]
    novelty = _novelty(config, model)
    if not prompts:  # a file without a line
        return 0
    match = _match(config, model, prompts)
    seed = secrets.randbelow(1 << 32) if config.seed is None else config.seed
    if config.seed is None and config.is_random:
        console.info(f"seed {seed}: --seed {seed} writes the same again")
    tally, total = _Tally(), config.num * len(prompts)
    has_bar = total != 1 and (config.rank or not console.stdout_is_tty)
    with progress_bar(console, "texts", total or None, "") if has_bar else nullcontext(_ignore) as advance:
        chunks = tally.count(_draw(config, model, prompts, ids, match, novelty, seed), advance)
        _write(console, config, model, prompts, chunks, seed)
    if tally.cut and config.length is None and model.separator:
        cut = f"{tally.cut:,} of {tally.texts:,}"
        console.info(f"records cut at {RECORD_LENGTH:,} tokens: {cut}; --length 0: no limit")
    if novelty is not None and (not total or tally.texts < total):
        found = f"{tally.texts:,} of {total:,} found" if total else f"{tally.texts:,} found"
        reason = f"{MAX_DRAWS:,} draws in a row were not new" if config.is_random else "every draw is the same"
        console.info(f"{found}: {reason}")
        return 10
    return 0


def _read_prompts(config: SampleConfig) -> Iterator[_Prompt]:
    """Return what texts are to continue."""
    if config.prompt_file is None:
        yield _Prompt(typed_bytes(config.prompt or ""), "--prompt")
        return
    name = display_name(config.prompt_file)
    data = b"".join(open_chunks(config.prompt_file))
    if config.lines:
        lines = data.removesuffix(b"\n").split(b"\n") if data else []
        for number, line in enumerate(lines, 1):
            yield _Prompt(line.removesuffix(b"\r"), f"{name}, line {number}", number)
    else:  # as a shell drops the last newline of a command's output
        yield _Prompt(re.sub(rb"\r?\n\Z", b"", data), name)


def _with_echo(prompt: _Prompt, config: SampleConfig, separator: bytes) -> _Prompt:
    """Return a prompt that knows what of it is part of its texts: of a record model, the record that it begins."""
    if not (bool(separator) if config.echo is None else config.echo):
        return prompt
    return prompt._replace(echo=prompt.data.rpartition(separator)[2] if separator else prompt.data)


def _encode(model: Model, prompt: _Prompt, unknown: str) -> Ids:
    try:
        return encode_prompt(model.tokenizer, prompt.data, unknown)
    except InputError as error:
        raise error.prefixed(prompt.name) from None


def _match(config: SampleConfig, model: Model, prompts: Sequence[_Prompt]) -> MatchDFA | None:
    """Return what texts are to match, with what is printed of their prompts."""
    if config.match is None:
        return None
    from charrnn.generation.match import match_dfa  # what other texts do not wait for

    length = text_length(config, model.separator)
    return match_dfa(model.tokenizer, config.match, model.separator, length, [prompt.echo for prompt in prompts])


def _novelty(config: SampleConfig, model: Model) -> Novelty | None:
    """Return what knows which texts are new; None: all are wanted."""
    if not config.is_selective:
        return None
    return Novelty(_known(config, model), unique=config.unique)


def _known(config: SampleConfig, model: Model) -> Iterator[bytes]:
    """Return the texts that are not wanted."""
    if config.novel:
        yield from model.training_records()
    for name in config.exclude:
        yield from lines_of(name)


def _draw(
    config: SampleConfig,
    model: Model,
    prompts: Sequence[_Prompt],
    ids: Sequence[Ids],
    match: MatchDFA | None,
    novelty: Novelty | None,
    seed: int,
) -> Iterator[TextChunk]:
    """Return the texts that are wanted, with what is printed of their prompts: chunk by chunk as they are drawn, or
    whole where they must be known to their end."""
    names = {name for name, _ in config.columns or ()}
    options: dict[str, Any] = {
        "seed": seed,
        "stop": [typed_bytes(text) for text in config.stop],
        "separator": model.separator,
        "match": match,
        "with_nats": config.rank or bool(names & {"nats", "perplexity"}),
    }
    echoes = [prompt.echo for prompt in prompts]
    if novelty is None:
        chunks = generate(model.engine, model.tokenizer, ids, config, **options)
        if config.columns or config.rank:
            chunks = joined(chunks)
    else:
        chunks = generate_new(model.engine, model.tokenizer, ids, config, novelty=novelty, echoes=echoes, **options)
    return _echoed(chunks, echoes) if any(echoes) else chunks


def _echoed(chunks: Iterable[TextChunk], echoes: Sequence[bytes]) -> Iterator[TextChunk]:
    """Return the chunks, the first one of each text behind what is printed of its prompt."""
    is_start = True
    for chunk in chunks:
        yield replace(chunk, data=echoes[chunk.prompt] + chunk.data) if is_start else chunk
        is_start = chunk.finished


def _ignore(count: int) -> None:
    """Show no progress."""


class _Tally:
    """Counts texts that have ended: all, and those cut at their length."""

    def __init__(self) -> None:
        self.texts = self.cut = 0

    def count(self, chunks: Iterable[TextChunk], advance: Callable[[int], None]) -> Iterator[TextChunk]:
        """Return the same chunks."""
        for chunk in chunks:
            if chunk.finished:
                self.texts += 1
                self.cut += chunk.finish_reason == "length"
                advance(1)
            yield chunk


def _write(
    console: Console,
    config: SampleConfig,
    model: Model,
    prompts: Sequence[_Prompt],
    chunks: Iterator[TextChunk],
    seed: int,
) -> None:
    if config.rank:
        chunks = _ranked(chunks)
    elif config.columns or config.is_selective:
        chunks = _at_once(console, chunks)
    if config.columns:
        from charrnn.cli.sample_rows import write_rows  # what a text alone does not wait for

        places = [(prompt.data, prompt.line) for prompt in prompts]
        write_rows(console, chunks, config.columns, places, seed, is_json=config.json)
    elif config.separator is not None:
        _write_text(console, chunks, typed_bytes(config.separator))
    else:
        end = model.separator if model.separator.endswith(b"\n") else b"\n"
        _write_text(console, chunks, end, last=None if model.separator else config.num * len(prompts))


def _at_once(console: Console, texts: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Return the same texts, each flushed once it is written: the next one may be long in coming."""
    for text in texts:
        yield text
        console.flush()


def _ranked(texts: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Return the whole texts of each prompt, likeliest first; as drawn where they are equally likely."""
    for _, group in groupby(texts, key=lambda text: text.prompt):
        yield from sorted(group, key=lambda text: text.nats)


def _write_text(console: Console, chunks: Iterable[TextChunk], end: bytes, last: int | None = None) -> None:
    """Write the texts themselves, each with an end, but the `last` one, counted from 1."""
    terminal = console.terminal_text()
    ended_with_newline, finished = True, 0
    for chunk in chunks:
        data = chunk.data
        finished += chunk.finished
        if chunk.finished and finished != last:
            data += end
        if data:
            ended_with_newline = data.endswith(b"\n")
            console.write(terminal.feed(data) if terminal else data)
    if terminal:  # its prompt begins on a line of its own
        console.write(terminal.feed(b"", final=True) + (b"" if ended_with_newline else b"\n"))

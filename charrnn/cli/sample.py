"""`charrnn sample`: a model's text on stdout."""

import os
import re
import secrets
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from charrnn.config.options import merge
from charrnn.config.params import typed_bytes
from charrnn.config.sample import RECORD_LENGTH, SampleConfig
from charrnn.console.streams import Console
from charrnn.corpus.inputs import display_name, open_chunks
from charrnn.errors import InputError
from charrnn.generation.generate import TextChunk, joined
from charrnn.model import Model


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Generate texts and return the exit code.

    Raises:
        CharRNNError: of every kind.
    """
    config, _ = merge(SampleConfig, flags, os.environ)
    model = Model.load(*config.model, precision=config.precision)
    if config.columns or config.rank:
        model.check_ends(config.length, config.stop)
    prompt, prompt_name = _read_prompt(config)
    seed = secrets.randbelow(1 << 32) if config.seed is None else config.seed
    names = {name for name, _ in config.columns or ()}
    with_nats = config.rank or bool(names & {"nats", "perplexity"})
    try:
        stops = [typed_bytes(text) for text in config.stop]
        chunks = model.generate(prompt, config, seed=seed, stop=stops, unknown=config.unknown, with_nats=with_nats)
    except InputError as error:
        raise error.prefixed(prompt_name) from None
    if config.seed is None and config.is_random:
        console.info(f"seed {seed}: --seed {seed} writes the same again")
    if config.columns or config.rank:
        chunks = joined(chunks)
    if config.rank:
        chunks = _ranked(chunks)
    if config.columns:
        from charrnn.cli.sample_rows import write_rows  # what a text alone does not wait for

        cut = write_rows(console, chunks, config.columns, prompt, seed, is_json=config.json)
    else:
        cut = _write_text(console, chunks, config, model.separator)
    if cut and config.length is None and model.separator:
        console.info(f"records cut at {RECORD_LENGTH:,} tokens: {cut:,} of {config.num:,}; --length 0: no limit")
    return 0


def _read_prompt(config: SampleConfig) -> tuple[bytes, str]:
    """Return the prompt, and what it is called in messages."""
    if config.prompt_file is None:
        return typed_bytes(config.prompt or ""), "--prompt"
    data = b"".join(open_chunks(config.prompt_file))
    return re.sub(rb"\r?\n\Z", b"", data), display_name(config.prompt_file)  # as a shell drops it of a command's output


def _ranked(texts: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Return the whole texts of each prompt, likeliest first; as drawn where they are equally likely."""
    for _, group in groupby(texts, key=lambda text: text.prompt):
        yield from sorted(group, key=lambda text: text.nats)


def _write_text(console: Console, chunks: Iterable[TextChunk], config: SampleConfig, separator: bytes) -> int:
    """Write the texts themselves, a newline between two; records are ended, each on a line of its own. Return how many
    were cut at their length."""
    terminal = console.terminal_text()
    end = separator if separator.endswith(b"\n") else b"\n"
    ended_with_newline, cut, finished = True, 0, 0
    for chunk in chunks:
        data = chunk.data
        cut += chunk.finish_reason == "length"
        finished += chunk.finished
        if chunk.finished and (separator or finished != config.num):
            data += end
        if data:
            ended_with_newline = data.endswith(b"\n")
            console.write(terminal.feed(data) if terminal else data)
    if terminal:  # its prompt begins on a line of its own
        console.write(terminal.feed(b"", final=True) + (b"" if ended_with_newline else b"\n"))
    return cut

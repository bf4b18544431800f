"""`charrnn sample`: a model's text on stdout."""

import os
import re
import secrets
from collections.abc import Iterable
from typing import Any

from charrnn.config.options import merge
from charrnn.config.params import typed_bytes
from charrnn.config.sample import RECORD_LENGTH, SampleConfig
from charrnn.console.streams import Console
from charrnn.corpus.inputs import display_name, open_chunks
from charrnn.errors import InputError
from charrnn.generation.generate import TextChunk
from charrnn.model import Model


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Generate texts and return the exit code.

    Raises:
        CharRNNError: of every kind.
    """
    config, _ = merge(SampleConfig, flags, os.environ)
    model = Model.load(*config.model, precision=config.precision)
    prompt, prompt_name = _read_prompt(config)
    seed = secrets.randbelow(1 << 32) if config.seed is None else config.seed
    try:
        stops = [typed_bytes(text) for text in config.stop]
        chunks = model.generate(prompt, config, seed=seed, stop=stops, unknown=config.unknown)
    except InputError as error:
        raise error.prefixed(prompt_name) from None
    if config.seed is None and config.is_random:
        console.info(f"seed {seed}: --seed {seed} writes the same again")
    if config.json:
        model.check_ends(config.length, config.stop)
        cut = _write_objects(console, chunks, seed)
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


def _write_text(console: Console, chunks: Iterable[TextChunk], config: SampleConfig, separator: bytes) -> int:
    """Write the texts themselves, a newline between two; records are ended, each on a line of its own. Return how many
    were cut at their length."""
    terminal = console.terminal_text()
    end = separator if separator.endswith(b"\n") else b"\n"
    ended_with_newline, cut = True, 0
    for chunk in chunks:
        data = chunk.data
        cut += chunk.finish_reason == "length"
        if chunk.finished and (separator or chunk.index != config.num - 1):
            data += end
        if data:
            ended_with_newline = data.endswith(b"\n")
            console.write(terminal.feed(data) if terminal else data)
    if terminal:  # its prompt begins on a line of its own
        console.write(terminal.feed(b"", final=True) + (b"" if ended_with_newline else b"\n"))
    return cut


def _write_objects(console: Console, chunks: Iterable[TextChunk], seed: int) -> int:
    """Write a JSON object for each text, when it is finished. Return how many were cut at their length."""
    text, cut = bytearray(), 0
    for chunk in chunks:
        text += chunk.data
        cut += chunk.finish_reason == "length"
        if chunk.finished:
            value = {"index": chunk.index, "text": text.decode("utf-8", "replace"), "tokens": chunk.tokens}
            console.write_json({**value, "seed": seed, "finish_reason": chunk.finish_reason})
            text.clear()
    return cut

"""`charrnn sample`: a model's text on stdout."""

import os
import secrets
from collections.abc import Iterable
from typing import Any

from charrnn.config.options import merge
from charrnn.config.sample import SampleConfig
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
        chunks = model.generate(prompt, config, seed=seed, stop=os.fsencode(config.stop or ""), unknown=config.unknown)
    except InputError as error:
        raise error.prefixed(prompt_name) from None
    if config.seed is None:
        console.info(f"seed {seed}: --seed {seed} writes the same again")
    if config.json:
        _write_objects(console, chunks, seed)
    else:
        _write_text(console, chunks, config, model.separator)
    return 0


def _read_prompt(config: SampleConfig) -> tuple[bytes, str]:
    """Return the prompt, and what it is called in messages."""
    if config.prompt_file is None:
        return os.fsencode(config.prompt or ""), "--prompt"  # the bytes as they were typed, whatever the locale
    return b"".join(open_chunks(config.prompt_file)), display_name(config.prompt_file)


def _write_text(console: Console, chunks: Iterable[TextChunk], config: SampleConfig, separator: bytes) -> None:
    """Write the texts themselves, a newline between two; records are ended, each on a line of its own."""
    terminal = console.terminal_text()
    end = separator if separator.endswith(b"\n") else b"\n"
    ended_with_newline = True
    for chunk in chunks:
        data = chunk.data
        if chunk.finished and (separator or chunk.index < config.num - 1):
            data += end
        if data:
            ended_with_newline = data.endswith(b"\n")
            console.write(terminal.feed(data) if terminal else data)
    if terminal:  # its prompt begins on a line of its own
        console.write(terminal.feed(b"", final=True) + (b"" if ended_with_newline else b"\n"))


def _write_objects(console: Console, chunks: Iterable[TextChunk], seed: int) -> None:
    """Write a JSON object for each text, when it is finished."""
    text = bytearray()
    for chunk in chunks:
        text += chunk.data
        if chunk.finished:
            value = {"text": text.decode("utf-8", "replace"), "tokens": chunk.tokens, "index": chunk.index}
            console.write_json({**value, "seed": seed})
            text.clear()

"""`charrnn sample`: a model's text on stdout."""

import os
import secrets
from collections.abc import Iterable
from typing import Any

from charrnn.config.options import merge
from charrnn.config.sample import SampleConfig
from charrnn.console.streams import Console
from charrnn.corpus.inputs import open_source, read_chunks
from charrnn.engines.base import Ids
from charrnn.engines.select import ensemble_engine
from charrnn.errors import InputError
from charrnn.files import quote
from charrnn.generation.generate import TextChunk, generate
from charrnn.generation.prompts import encode_prompt
from charrnn.model import read_models
from charrnn.tokenizers.tokenizer import Tokenizer


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CharRNNError for the user's faults."""
    names = flags.pop("model") or []
    config, _ = merge(SampleConfig, flags, os.environ)
    models = read_models(names)
    model = models[0]
    prompt = _prompt(config, model.tokenizer)
    seed = config.seed
    if seed is None:
        seed = secrets.randbelow(1 << 32)
        console.info(f"seed {seed}: --seed {seed} writes the same again")
    engine = ensemble_engine([(each.architecture, each.weights) for each in models], precision=config.precision)
    stop = os.fsencode(config.stop or "")
    parts = generate(engine, model.tokenizer, prompt, config, seed=seed, stop=stop, separator=model.separator)
    if config.json:
        _put_out_objects(console, parts, seed)
    else:
        _put_out(console, parts, config, model.separator)
    return 0


def _prompt(config: SampleConfig, tokenizer: Tokenizer) -> Ids:
    if config.prompt_file is None:
        name = "--prompt"
        data = os.fsencode(config.prompt or "")  # the bytes as they were typed, whatever the locale
    else:
        name = "stdin" if config.prompt_file == "-" else quote(config.prompt_file)
        with open_source(config.prompt_file) as stream:
            data = b"".join(read_chunks(stream, 1 << 16, config.prompt_file))
    try:
        return encode_prompt(tokenizer, data, config.unknown)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _put_out(console: Console, parts: Iterable[TextChunk], config: SampleConfig, separator: bytes) -> None:
    """The texts themselves, a newline between two; records are ended, each on a line of its own."""
    terminal = console.terminal_text(raw=config.raw)
    end = separator if separator.endswith(b"\n") else b"\n"
    ended_with_newline = True
    for part in parts:
        data = part.data
        if part.finished and (separator or part.index < config.num - 1):
            data += end
        if data:
            ended_with_newline = data.endswith(b"\n")
            console.write(terminal.feed(data) if terminal else data)
    if terminal:  # its prompt begins on a line of its own
        console.write(terminal.feed(b"", final=True) + (b"" if ended_with_newline else b"\n"))


def _put_out_objects(console: Console, parts: Iterable[TextChunk], seed: int) -> None:
    """A JSON object a text, when it is finished."""
    text = bytearray()
    for part in parts:
        text += part.data
        if part.finished:
            value = {"text": text.decode("utf-8", "replace"), "tokens": part.symbols, "index": part.index}
            console.write_json({**value, "seed": seed})
            text.clear()

"""`charrnn sample`: a model's text on stdout."""

import os
import secrets
from typing import Any

from charrnn import checkpoint
from charrnn.config import SampleConfig
from charrnn.console import Console
from charrnn.data import Ids
from charrnn.engines import inference
from charrnn.files import open_source, read_pieces
from charrnn.options import merge
from charrnn.runs import find_model
from charrnn.sampling import write_ids
from charrnn.tokenizers import Tokenizer, Utf8Splitter, encode_prompt


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CharRNNError for the user's faults."""
    name = flags.pop("model")
    config, _ = merge(SampleConfig, flags, os.environ)
    model = checkpoint.read(find_model(name))
    prompt = encode_prompt(model.tokenizer, _prompt(config), config.unknown)
    seed = config.seed
    if seed is None:
        seed = secrets.randbelow(1 << 32)
        console.tell(f"seed {seed}: --seed {seed} writes the same again")
    engine = inference(model.architecture, model.weights)
    pages = _Pages(console, model.tokenizer, config, seed)
    for piece in write_ids(engine, model.tokenizer, prompt, config, seed=seed, ends=pages.ends):
        pages.add(piece.index, piece.ids, piece.finished)
    pages.close()
    return 0


def _prompt(config: SampleConfig) -> bytes:
    if config.prompt is not None:
        return os.fsencode(config.prompt)  # the bytes as they were typed, whatever the locale
    if config.prompt_file is not None:
        with open_source(config.prompt_file) as stream:
            return b"".join(read_pieces(stream, 1 << 16, config.prompt_file))
    return b""


class _Text:
    """One text: what is written of it, and what of that may go out."""

    def __init__(self, stop: bytes) -> None:
        self.splitter = Utf8Splitter()
        self.stop = stop
        self.seen = b""  # as much as may be the beginning of `stop`
        self.stopped = False
        self.ready = bytearray()
        self.symbols = 0
        self.finished = False

    def write(self, data: bytes) -> None:
        """Take in more of the text, up to where it stops."""
        if self.stopped:
            return
        data = self.seen + data
        place = data.find(self.stop) if self.stop else -1
        if place >= 0:
            self.stopped, self.seen, data = True, b"", data[:place]
        else:
            held = next(
                (n for n in range(min(len(self.stop) - 1, len(data)), 0, -1) if data.endswith(self.stop[:n])),
                0,
            )
            self.seen, data = data[len(data) - held :], data[: len(data) - held]
        self.ready += self.splitter.feed(data)

    def finish(self) -> None:
        """Let go of all that was held back."""
        self.ready += self.splitter.feed(self.seen) + self.splitter.flush()
        self.finished = True


class _Pages:
    """Texts written side by side, put out one after another."""

    def __init__(self, console: Console, tokenizer: Tokenizer, config: SampleConfig, seed: int) -> None:
        self.console, self.tokenizer, self.config, self.seed = console, tokenizer, config, seed
        self.stop = os.fsencode(config.stop or "")
        self.texts: dict[int, _Text] = {}
        self.due = 0
        self.terminal = console.text(raw=config.raw)
        self.ended_with_newline = True

    def _text(self, index: int) -> _Text:
        return self.texts.setdefault(index, _Text(self.stop))

    def ends(self, index: int, ids: Ids) -> bool:
        """Whether the text's latest symbol completes the stop string."""
        if not self.stop:
            return False
        text = self._text(index)
        text.write(self.tokenizer.decode(ids))
        return text.stopped

    def add(self, index: int, ids: Ids, finished: bool) -> None:
        """More of a text has been written."""
        text = self._text(index)
        text.symbols += len(ids)
        if not self.stop:  # else `ends` has seen each symbol
            text.write(self.tokenizer.decode(ids))
        if finished:
            text.finish()
        while (first := self.texts.get(self.due)) is not None and (first.finished or not self.config.json):
            self._put_out(first)
            if not first.finished:
                break
            del self.texts[self.due]
            self.due += 1

    def _put_out(self, text: _Text) -> None:
        data = bytes(text.ready)
        text.ready.clear()
        if self.config.json:
            value = {
                "text": data.decode("utf-8", "replace"), "tokens": text.symbols, "index": self.due, "seed": self.seed
            }  # fmt: skip
            self.console.write_json(value)
            return
        if text.finished and self.due < self.config.num - 1:
            data += b"\n"
        if data:
            self.ended_with_newline = data.endswith(b"\n")
        self.console.write(self.terminal.feed(data) if self.terminal else data)

    def close(self) -> None:
        """The end of the output; a terminal's prompt begins on a line of its own."""
        if self.terminal is not None and not self.config.json:
            self.console.write(self.terminal.feed(b"", final=True) + (b"" if self.ended_with_newline else b"\n"))
        self.console.flush()

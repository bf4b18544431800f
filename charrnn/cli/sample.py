"""`charrnn sample`: a model's text on stdout."""

import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

from charrnn.config.options import flag, merge
from charrnn.config.params import typed_bytes
from charrnn.config.sample import RECORD_LENGTH, SampleConfig
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.corpus.inputs import display_name, open_chunks
from charrnn.errors import UsageError
from charrnn.generation.generate import TextChunk, joined
from charrnn.generation.novelty import MAX_DRAWS
from charrnn.model import Model


class _Prompt(NamedTuple):
    """A prompt: its bytes, what it is called in messages, and its line in --prompt-file."""

    data: bytes
    name: str
    line: int | None = None


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Generate texts and return the exit code.

    Raises:
        CharRNNError: of every kind.
    """
    config, _ = merge(SampleConfig, flags, os.environ)
    if config.interactive and not (console.stdin_is_tty and console.stdout_is_tty):
        raise UsageError("{interactive} needs a terminal, as stdin and as stdout", ("interactive",))
    is_seeded = config.seed is not None
    model = Model.load(*config.model, precision=config.precision)
    is_whole = bool(config.columns) or config.rank or config.is_selective
    if is_whole:
        model.check_ends(config)
    prompts, tally = list(_read_prompts(config)), _Tally(collects=console.verbose and not model.separator)
    if config.interactive:
        from charrnn.cli.interactive import converse  # what other texts do not wait for

        is_given = (config.prompt, config.prompt_file) != (None, None)
        return converse(console, model, config, (prompts[0].data, prompts[0].name) if is_given else None)
    config = config if is_seeded else replace(config, seed=secrets.randbelow(1 << 32))
    names = {name for name, _ in config.columns or ()}
    chunks = model.generate(
        [prompt.data for prompt in prompts],
        config,
        names=[prompt.name for prompt in prompts],
        with_nats=bool(names & {"nats", "perplexity"}),
        watch=tally.watch,
    )
    if not prompts:  # a file without a line
        return 0
    if not is_seeded and config.is_random:
        console.info(f"seed {config.seed}: --seed {config.seed} writes the same again")
    total = config.num * len(prompts)
    has_bar = total != 1 and (config.rank or not console.stdout_is_tty)
    with progress_bar(console, "texts", total or None, "") if has_bar else nullcontext(_ignore) as advance:
        tally.advance = advance
        _write(console, config, model.separator, prompts, joined(chunks) if is_whole else chunks)
        console.flush()  # before what is said of it
    if tally.cut and config.length is None and model.separator:
        cut = f"{tally.cut:,} of {tally.texts:,}"
        console.info(f"records cut at {RECORD_LENGTH:,} tokens: {cut}; --length 0: no limit")
    if tally.forced:
        forced = f"{tally.forced:,} of {tally.texts:,}"
        console.info(f"{forced} drawn step by step, as too few match: they are less like the model's own")
    if any(tally.sampled):
        console.debug(_copied(model, list(map(bytes, tally.sampled))))
    if config.is_selective and (not total or tally.texts < total):
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


def _ignore(count: int) -> None:
    """Show no progress."""


def _copied(model: Model, texts: Sequence[bytes]) -> str:
    """Return how much of the texts stands in the training text, as a sentence."""
    try:
        share = model.copied_share(texts)
    except UsageError as error:
        return f"how much is copied from the training text is not known: {error.render(flag)}"
    of = f"the first {_JUDGED_BYTES:,} bytes" if sum(map(len, texts)) >= _JUDGED_BYTES else "the characters"
    return f"{share:.1%} of {of} lie in stretches of 30 and more that stand in the training text"


_JUDGED_BYTES = 1 << 20
"""Of the texts, by which it is judged how much is copied."""


class _Tally:
    """Counts texts that have ended: all, those cut at their length, and those that are forced to match; `advance` shows
    the progress.

    Args:
        collects: whether `sampled` is wanted.

    Attributes:
        sampled: the first `_JUDGED_BYTES` of the texts, or what there is of them.
    """

    def __init__(self, *, collects: bool) -> None:
        self.texts = self.cut = self.forced = 0
        self.advance: Callable[[int], None] = _ignore
        self.sampled: list[bytearray] = []
        self._room, self._is_new = _JUDGED_BYTES if collects else 0, True

    def watch(self, chunk: TextChunk) -> None:
        """Count a text with its last chunk."""
        if self._room:
            if self._is_new:
                self.sampled.append(bytearray())
            self.sampled[-1] += chunk.data[: self._room]
            self._room -= min(self._room, len(chunk.data))
            self._is_new = chunk.finished
        if chunk.finished:
            self.texts += 1
            self.cut += chunk.finish_reason == "length"
            self.forced += chunk.is_forced
            self.advance(1)


def _write(
    console: Console, config: SampleConfig, separator: bytes, prompts: Sequence[_Prompt], chunks: Iterator[TextChunk]
) -> None:
    if not config.rank and (config.columns or config.is_selective):
        chunks = _at_once(console, chunks)
    if config.columns:
        from charrnn.cli.sample_rows import write_rows  # what a text alone does not wait for

        places = [(prompt.data, prompt.line) for prompt in prompts]
        write_rows(console, chunks, config.columns, places, config.seed or 0, is_json=config.json)
    elif config.separator is not None:
        _write_text(console, chunks, typed_bytes(config.separator))
    else:
        end = separator if separator.endswith(b"\n") else b"\n"
        _write_text(console, chunks, end, last=None if separator else config.num * len(prompts))


def _at_once(console: Console, texts: Iterable[TextChunk]) -> Iterator[TextChunk]:
    """Return the same texts, each flushed once it is written: the next one may be long in coming."""
    for text in texts:
        yield text
        console.flush()


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

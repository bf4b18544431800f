"""What `charrnn eval` reads: the files, the rows within them, prompts; and what is warned of."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from charrnn.config.eval import EvalConfig
from charrnn.config.params import typed_bytes
from charrnn.console.progress import progress_bar
from charrnn.console.streams import Console
from charrnn.corpus.documents import ProgressFactory
from charrnn.corpus.faults import LATIN1_ADVICE, LeftOut, unknown_chars_text
from charrnn.corpus.formats import Row, read_rows
from charrnn.corpus.inputs import PACKED, Chunks, display_name, is_archive, open_blocks, open_chunks
from charrnn.corpus.json_lines import Field
from charrnn.errors import InputError, counted
from charrnn.files import quote
from charrnn.model import Model
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.score import Score

MAX_PROMPT = 64 << 20
"""Bytes of a prompt."""

_MAX_IN_MEMORY = 8 << 20  # bytes of a text that is read again, from where it can be read only once


class Texts:
    """The texts of a command, and what has been found wrong with them.

    Attributes:
        files: as the command line has them. separator: what ends each record of a file; None: no records are read.
        left_out: what of them could not be used.
    """

    def __init__(self, console: Console, config: EvalConfig, model: Model) -> None:
        self.console, self.config, self._model = console, config, model
        self.files = _files(config.text or ("-",), partial(progress_bar, console))
        self.separator = (config.record_separator or model.separator or b"\n") if config.records else None
        self.left_out = LeftOut(config.errors)
        self._field, self._prompt = _fields(config)

    def options(self, *, boundary: bytes = b"") -> ScoringOptions:
        """Return how the texts are scored.

        Raises:
            InputError: the file with the prompt cannot be read.
        """
        config = self.config
        return ScoringOptions(
            config.errors, config.window, config.streams, self._read_prompt(), end=config.end, boundary=boundary
        )

    def _read_prompt(self) -> bytes:
        if self.config.prompt_file is None:
            return typed_bytes(self.config.prompt or "")
        data = bytearray()
        for chunk in open_chunks(self.config.prompt_file):
            data += chunk
            if len(data) > MAX_PROMPT:
                raise InputError(
                    f"{display_name(self.config.prompt_file)}: a prompt longer than {MAX_PROMPT >> 20} MB; the last"
                    " thousands of characters of a text are all that a model remembers of it"
                )
        return re.sub(rb"\r?\n\Z", b"", bytes(data))  # as a shell drops it of a command's output

    def rows(
        self, file: str, advance: Callable[[int], None], *, chunks: Chunks | None = None, is_reference: bool = False
    ) -> Iterator[list[Row]]:
        """Return the rows of a file, those together that are there; one that cannot be read any further is left out
        from there on. What objects of a reference lack is not counted."""
        config, found = self.config, False
        field, prompt = _fields(config) if is_reference else (self._field, self._prompt)
        try:
            for rows in read_rows(
                open_blocks(file, advance) if chunks is None else chunks,
                file,
                field=field,
                column=config.tsv or config.csv,
                is_csv=config.csv is not None,
                separator=self.separator,
                prompt=prompt,
                errors=config.errors,
            ):
                yield rows
                found = True
        except InputError as error:
            self.left_out.add("rest of a file" if found else "file", error, _advice(error, several=len(self.files) > 1))

    def leave_out(self, unit: str, error: InputError) -> None:
        """Leave a text out that cannot be used, or raise why, with advice."""
        self.left_out.add(unit, error, _advice(error, several=unit != "file" or len(self.files) > 1))

    def check(self, *, scored: bool) -> None:
        """Check that some text could be scored, and that the fields are there.

        Raises:
            InputError: all texts were left out, or no object has the field.
        """
        if self.left_out.first is not None and not scored:
            raise self.left_out.first
        for field in (self._field, self._prompt):
            if field is None or self.config.jsonl is None:
                continue
            field.check()
            if field.missing:
                self.console.warn(
                    f"{field.missing:,} of {field.objects:,} objects have no text in the field {field.name!r}, or no"
                    " string: their score is null"
                )

    def warn(self, total: Score, unknown: Mapping[int, int]) -> None:
        """Warn of unknown characters, of invalid UTF-8, and of what was left out.

        Args:
            total: of all texts. unknown: how often characters occur that the model does not know.
        """
        if total.oov > 0.01 * total.tokens:
            text = f"unknown to the model: {total.oov:,} of {counted(total.tokens, 'token')}"
            self.console.warn(text + unknown_chars_text(self._model.tokenizer, unknown))
        if total.replaced:
            self.console.warn(f"places with invalid UTF-8, read as U+FFFD: {total.replaced:,}")
        if self.left_out.warning:
            self.console.warn(self.left_out.warning)

    @contextlib.contextmanager
    def progress(self, *, wanted: bool, title: str = "scoring") -> Iterator[Callable[[int], None]]:
        """Show a progress bar in bytes on a terminal."""
        if not wanted:
            yield lambda count: None
            return
        files = self.files
        plain = all(os.path.isfile(file) and os.path.splitext(file)[1].lower() not in PACKED for file in files)
        total = sum(map(os.path.getsize, files)) if plain else None
        with progress_bar(self.console, title, total) as advance:
            yield advance


def _fields(config: EvalConfig) -> tuple[Field | None, Field | None]:
    """Return the fields that have the text and its prompt."""
    field, prompt = (None if name is None else Field(name) for name in (config.jsonl, config.prompt_field))
    return field, prompt


def read_again(file: str) -> Callable[[], Chunks]:
    """Return what reads a file from its start, however often it is called. What can be read only once is kept: a long
    text in a file without a name, not in memory."""
    if os.path.isfile(file):
        return lambda: open_chunks(file)
    from charrnn.corpus.documents import Spool, SpooledDocument  # its import takes a while

    spool, is_open = Spool(_MAX_IN_MEMORY), False

    def read() -> Iterator[bytes]:
        nonlocal is_open
        if is_open:
            yield from SpooledDocument(file, spool, 0, spool.size).chunks()
            return
        is_open = True
        for chunk in open_chunks(file):
            spool.write(chunk)
            yield chunk

    return read


def _files(arguments: Sequence[str], progress: ProgressFactory) -> list[str]:
    """Return the files that arguments name; a file that is none is found out when it is read.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    if arguments.count("-") > 1:
        raise InputError("stdin can be read only once")
    if not any(os.path.isdir(each) or not (each == "-" or os.path.lexists(each)) for each in arguments):
        return list(arguments)
    from charrnn.corpus.sources import resolve_sources  # its import takes a while

    files = []
    for argument in arguments:
        try:
            sources = resolve_sources([argument]).sources
        except InputError:
            if os.path.lexists(argument) or re.search(r"[*?]", argument):  # a folder, a pattern
                raise
            files.append(argument)
            continue
        for source in sources:
            if source.recipe is None and not (source.found and _is_binary(source.name)):
                files.append(source.name)
            elif source.recipe is not None and source.recipe.kind == "download":
                files.append(os.fspath(source.recipe.fetch(progress)))
            elif source.recipe is not None:
                raise InputError(f"{source.name} is built into Python: it is no file, and train alone reads it")
    if not files:
        raise InputError(f"no text in {', '.join(map(quote, arguments))}")
    return files


def _is_binary(path: str) -> bool:
    """Return whether a file that was found in a folder is no text, by its first bytes."""
    return is_archive(path) or b"\0" in next(iter(open_chunks(path)), b"")


def _advice(error: InputError, *, several: bool = True) -> str | None:
    """Return what to do about a text that cannot be used; None: leave it out, unless it is the only one."""
    if "invalid UTF-8" in error.text:
        return LATIN1_ADVICE
    return None if several else ""

"""A text that a user and a model write by turns, whatever shows it to the user.

Of a stream model it is one text: a turn is a prompt, which may be empty, and what the model goes on with. What the
model knows after each turn is kept, so that the next one is read on from there. Of a record model each turn is a
record, which the prompt begins.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from charrnn.config.options import parse
from charrnn.config.params import typed_bytes
from charrnn.config.sample import SamplingParams
from charrnn.corpus.records import SeparatorScanner, insert_bos
from charrnn.engines.base import CopyIndex, Ids, InferenceEngine
from charrnn.errors import CharRNNError
from charrnn.generation.constraints import MatchDFA
from charrnn.generation.generate import TextChunk, prompt_seed
from charrnn.generation.novelty import Novelty, generate_new
from charrnn.generation.prompts import Prefix, encode_prompt, read_on, read_prefix
from charrnn.generation.texts import drawing, prompt_echo, text_match
from charrnn.tokenizers.tokenizer import Tokenizer
from charrnn.tokenizers.utf8 import count_chars

SETTINGS = ("temp", "length", "stop", "match", "seed", "top_k", "top_p", "min_p", "unknown")
"""Options that may be changed between turns."""

_OPTIONS = {each.name: each for each in fields(SamplingParams)}


@dataclass
class Turn:
    """A prompt, and what was drawn after it.

    Attributes:
        prompt: as the model reads it: without characters that it lacks.
        ids: of it, `<s>` among them. prefix: what the model knows after it.
        drawn: so far. stop: the stop string that ended it, not part of it; empty: none did.
    """

    prompt: bytes
    ids: Ids
    prefix: Prefix
    drawn: bytearray = field(default_factory=bytearray)
    stop: bytes = b""
    _after: Prefix | None = None

    @property
    def chars(self) -> int:
        """How many characters it has."""
        return count_chars(self.prompt + self.drawn)

    def after(self, engine: InferenceEngine, tokenizer: Tokenizer) -> Prefix:
        """Return what the model knows after what was drawn, which is not drawn further then."""
        if self._after is None:
            ids = tokenizer.encode(bytes(self.drawn), "replace")  # pieces may be bytes that are not UTF-8 together
            self._after = read_on(engine, self.prefix.state, ids) if len(ids) else self.prefix
        return self._after


class Conversation:
    """The turns, and the options by which the next one is drawn.

    Args:
        engine, tokenizer, separator: the model's.
        config: the options at the start.
        novelty: judges which texts are wanted; None: all are.
        copies: what `config.max_copy` is about.

    Attributes:
        config: the options now; `SETTINGS` may change.
        turns: so far.
        seed: of the text that was drawn last; None: there was none.

    Raises:
        UsageError: `config.match` is no pattern.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        tokenizer: Tokenizer,
        separator: bytes,
        config: SamplingParams,
        novelty: Novelty | None = None,
        copies: CopyIndex | None = None,
    ) -> None:
        self.engine, self.tokenizer, self.separator = engine, tokenizer, separator
        self.config = self._config_at_start = config
        self.turns: list[Turn] = []
        self.seed: int | None = None
        self._novelty, self._copies = novelty, copies
        self._first_seeded = 0  # the turn that the seed itself draws; those after it have seeds made of it
        self._match: tuple[object, MatchDFA | None] | None = None
        self._check_match(config)

    @property
    def text(self) -> bytes:
        """The text so far; records with what ends each."""
        end = self.record_end
        return b"".join(turn.prompt + turn.drawn + end for turn in self.turns)

    @property
    def record_end(self) -> bytes:
        """What stands after each record: a line's end, whatever separates records; of a stream model nothing."""
        return self.separator if self.separator.endswith(b"\n") or not self.separator else b"\n"

    def draw(self, prompt: bytes) -> Iterator[bytes]:
        """Begin a turn, and return its text piece by piece, as `--echo` has it; it is part of the turn before it is
        returned. An empty prompt goes on where the text stands: behind the stop string that ended the last turn.

        Raises:
            InputError: the prompt cannot be used. UsageError: `match` cannot be with it. CharRNNError: there is no new
                text. NonFiniteError: the model's arithmetic overflows. The turns are then as they were.
        """
        before = self.turns[-1] if self.turns and not self.separator else None
        if before is not None and not prompt:
            prompt = before.stop
        ids = encode_prompt(self.tokenizer, prompt, self.config.unknown)
        prompt = self.tokenizer.decode(ids)
        if self.separator:  # where a record ends in the prompt, another one begins
            ends = SeparatorScanner(self.tokenizer.encode(self.separator)).feed(ids)
            ids = insert_bos(ids, ends, self.engine.vocabulary)
        if before is None:
            prefix = read_prefix(self.engine, ids)
        else:
            prefix = before.after(self.engine, self.tokenizer)
            prefix = read_on(self.engine, prefix.state, ids) if len(ids) else prefix
        return self._drawn(Turn(prompt, ids, prefix), self.turns)

    def retry(self) -> Iterator[bytes]:
        """Draw the last turn again, as `draw` does: with the options now, and another seed unless they have one.

        Raises:
            CharRNNError: there is no turn; and as `draw`.
        """
        last = self._last()
        return self._drawn(Turn(last.prompt, last.ids, last.prefix), self.turns[:-1])

    def undo(self) -> Turn:
        """Take back the last turn, and return it.

        Raises:
            CharRNNError: there is none.
        """
        last = self._last()
        self.turns = self.turns[:-1]
        return last

    def _last(self) -> Turn:
        if not self.turns:
            raise CharRNNError("there is no text yet")
        return self.turns[-1]

    def restart(self) -> None:
        """Begin a new text, with the options now."""
        self.turns, self._first_seeded = [], 0

    def set(self, name: str, text: str) -> None:
        """Give one of `SETTINGS` another value, as the command line writes it.

        Raises:
            UsageError: it is none, or cannot be used with the others.
        """
        self._change({name: parse(_OPTIONS[name].metadata["kind"], text, name)})

    def unset(self, name: str) -> None:
        """Give one of `SETTINGS` the value that it has where nothing is said. Raise as `set`."""
        self._change({name: _OPTIONS[name].default})

    def reset(self, *names: str) -> None:
        """Give some of `SETTINGS` the values that they had at the start. Raise as `set`."""
        self._change({name: getattr(self._config_at_start, name) for name in names})

    def _change(self, values: dict[str, Any]) -> None:
        config = replace(self.config, **values)
        if "match" in values:
            self._check_match(config)
        self.config = config
        if "seed" in values:
            self._first_seeded = len(self.turns)

    def _check_match(self, config: SamplingParams) -> None:
        """Refuse what is no pattern; what matches depends on the prompt."""
        if config.match is not None:
            from charrnn.generation.regex import check_regex  # what other texts do not wait for

            check_regex(config.match)

    def _drawn(self, turn: Turn, turns: list[Turn]) -> Iterator[bytes]:
        """Draw the text of a turn after others."""
        before, self.turns = self.turns, [*turns, turn]
        echo = prompt_echo(turn.prompt, self.config, self.separator)
        try:
            for chunk in self._chunks(turn, echo):
                turn.drawn += chunk.data
                turn.stop = chunk.stop
                yield echo + chunk.data
                echo = b""
                if chunk.finished:
                    return
            raise CharRNNError("no text that is new was found")
        except CharRNNError:
            self.turns = before
            raise

    def _chunks(self, turn: Turn, echo: bytes) -> Iterator[TextChunk]:
        options: dict[str, Any] = {
            "seed": self._next_seed(),
            "stop": [typed_bytes(text) for text in self.config.stop],
            "separator": self.separator,
            "match": self._match_dfa(echo),
            "prefix": turn.prefix,
            "copies": self._copies,
        }
        if not self.separator and (self.config.no_repeat or self._copies):  # the turns are one text
            before = b"".join(each.prompt + each.drawn for each in self.turns)
            options |= {"echo": True, "contexts": [self.tokenizer.encode(before, "replace")]}
        elif echo:
            options["echo"] = True
        model = (self.engine, self.tokenizer, [turn.ids], self.config)
        draw = drawing(self.config, self.separator)
        if self._novelty is None:
            return draw(*model, **options)
        return generate_new(*model, novelty=self._novelty, echoes=[echo], draw=draw, **options)

    def _match_dfa(self, echo: bytes) -> MatchDFA | None:
        key = (self.config.match, self.config.length, echo)
        if self._match is None or self._match[0] != key:  # it takes a moment to build
            self._match = key, text_match(self.tokenizer, self.config, self.separator, [echo])
        return self._match[1]

    def _next_seed(self) -> int:
        """Return the seed of the last turn, which is to be drawn."""
        given, number = self.config.seed, max(0, len(self.turns) - 1 - self._first_seeded)
        if given is None:
            self.seed = secrets.randbelow(1 << 32)
        else:
            self.seed = prompt_seed(given, number)
        return self.seed

"""What happens in a training, as values: the lines of `metrics.jsonl` and of `train --json` (see docs/events.md).

A session hands every event to its callbacks. Those for which `is_stored` holds are written as JSON besides; a `Note`,
and the steps between two logged ones, are for callbacks only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

Origin = Mapping[str, str | int | float | None] | None
"""The model that is fine-tuned, as docs/events.md has it; None: there is none."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened in a training.

    Attributes:
        step: optimizer steps taken so far. epoch: passes over the text so far.
        seconds: since the training began, interrupted sessions included.
    """

    step: int
    epoch: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PlanEvent(Event):
    """The plan: the first event of every session.

    Attributes:
        command: the command that repeats the plan; empty: the run was changed under way, and no command does.
        cell: the recurrent cell. hidden: hidden size of each layer. vocabulary: V.
        parameters: how many weights. memory: bytes that training needs, roughly.
        batch, seq_len: B and T. learning_rate: at its peak.
        steps: the last step. epochs: passes over the text until then.
        time: the time budget in seconds; None: there is none.
        chars_per_second: training speed in tokens a second, as measured; 0.0: not measured.
        train_tokens, val_tokens: tokens of the two parts of the text.
        eval_tokens: those scored by an evaluation while training.
        exact_tokens: those scored by the finished model and the baselines: the first of `val_tokens`, or all.
        eval_every: steps between evaluations.
        engine, precision, device: what computes, and where.
        baselines: bits per character of simpler models, and the bytes that they were measured on; None: no validation.
        reasons: a sentence for each choice that the user left open.
        origin: the model that is fine-tuned, as docs/events.md has it; None: there is none.
    """

    command: str
    cell: str
    hidden: tuple[int, ...]
    vocabulary: int
    parameters: int
    memory: int
    batch: int
    seq_len: int
    learning_rate: float
    steps: int
    epochs: float
    time: float | None
    chars_per_second: float
    train_tokens: int
    val_tokens: int
    eval_tokens: int
    exact_tokens: int
    eval_every: int
    engine: str
    precision: str
    device: str
    baselines: Mapping[str, float | None] | None
    reasons: tuple[str, ...]
    origin: Origin = None


@dataclass(frozen=True, kw_only=True)
class ReplanEvent(Event):
    """A change of plan under way, to keep the time budget. It is stored as `plan`, too.

    Attributes:
        steps: the last step, now. reason: why it is another.
    """

    steps: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """An optimizer step was taken.

    Attributes:
        loss: mean of -ln p over the batch, in nats per token. perplexity: exp(loss); None: too large for a float.
        learning_rate: of this step. gradient_norm: before clipping.
        chars_per_second: tokens trained on a second, since the last evaluation.
        logged: whether it is written to `metrics.jsonl`: about ten times between two evaluations.
    """

    loss: float
    perplexity: float | None
    learning_rate: float
    gradient_norm: float
    chars_per_second: float
    logged: bool = False


@dataclass(frozen=True, kw_only=True)
class EvalEvent(Event):
    """The validation text was scored, in pieces side by side.

    Attributes:
        nats: sum of -ln p over its `tokens`. perplexity: exp(nats / tokens); None: too large for a float.
        bits_per_char, bits_per_byte: of the same; None: there are no characters.
        best: whether no evaluation before was as good; the model is saved then.
    """

    nats: float
    tokens: int
    perplexity: float | None
    bits_per_char: float | None
    bits_per_byte: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class SampleEvent(Event):
    """The model wrote a sample. `text`: what it wrote, records each on a line."""

    text: str


@dataclass(frozen=True, kw_only=True)
class SaveEvent(Event):
    """The state was saved from which the run can be resumed. `path`: the file."""

    path: str


@dataclass(frozen=True, kw_only=True)
class DoneEvent(Event):
    """The training has ended.

    Attributes:
        nats, tokens, perplexity, bits_per_char, bits_per_byte, oov: of the validation text, as `charrnn eval` gives
            them for the saved model; None, as the next four: there was no such text.
        val_tokens: tokens of the whole validation text; the first `tokens` of them were scored, by the baselines too.
        carried, window_256: nats per token, with the state carried from the start of each text, and with the state
            reset every 256 tokens.
        temperature: what the model's logits were divided by before saving, fitted to the validation text.
        baselines: as in the plan. best_step: the step at which the saved model was trained.
        model: the file. reason: what ended the training: "steps" or "patience".
        command: the command that repeats the run bit for bit; None: none does.
        resume_bytes: the size of the file from which the run can be taken further; 0: it was deleted since.
        origin: as in the plan. mix_bits_per_char: of what is held out of a text that is mixed in; None: there is none.
    """

    nats: float | None = None
    tokens: int | None = None
    val_tokens: int | None = None
    perplexity: float | None = None
    bits_per_char: float | None = None
    bits_per_byte: float | None = None
    oov: int | None = None
    carried: float | None = None
    window_256: float | None = None
    temperature: float | None = None
    baselines: Mapping[str, float | None] | None = None
    best_step: int
    model: str
    reason: str
    command: str | None = None
    resume_bytes: int | None = None
    origin: Origin = None
    mix_bits_per_char: float | None = None


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """Something that a user should know.

    Attributes:
        message: a sentence. level: "debug", "info" or "warning".
    """

    message: str
    level: str = "info"


Callback = Callable[[Event], None]
"""What is handed every event, in the order in which they happen."""


def _keys(words: str, **fields: str) -> dict[str, str]:
    """Return the keys of a stored event, each with its field's name, which is the same but for those in `fields`."""
    return {key: fields.get(key, key) for key in f"step epoch seconds {words}".split()}


_FIGURES = "nats tokens perplexity bits_per_char bits_per_byte"

_EXACT = f"{_FIGURES} val_tokens oov carried window_256 temperature"

STORED: Mapping[type[Event], tuple[str, Mapping[str, str]]] = {
    PlanEvent: (
        "plan",
        _keys(
            "command cell hidden vocabulary parameters memory batch seq_len learning_rate steps epochs time"
            " chars_per_second train_tokens val_tokens eval_tokens exact_tokens eval_every engine precision device"
            " baselines reasons origin"
        ),
    ),
    ReplanEvent: ("plan", _keys("steps reason")),
    StepEvent: ("step", _keys("loss perplexity learning_rate gradient_norm chars_per_second")),
    EvalEvent: ("eval", _keys(f"{_FIGURES} best")),
    SampleEvent: ("sample", _keys("text")),
    SaveEvent: ("save", _keys("path")),
    DoneEvent: (
        "done",
        _keys(f"{_EXACT} baselines best model reason command resume_bytes origin mix_bits_per_char", best="best_step"),
    ),
}
"""The word and the keys, in order, of each event that is stored. They belong to the file format: where a field is
renamed its key stays, and `_keys` is given both."""


def is_stored(event: Event) -> bool:
    """Whether an event belongs in `metrics.jsonl` and in the output of `train --json`."""
    return event.logged if isinstance(event, StepEvent) else type(event) in STORED


def to_json(event: Event) -> dict[str, Any]:
    """Return an event as JSON has it. Raises KeyError for a `Note`, which is not stored."""
    word, keys = STORED[type(event)]
    absent = _EXACT.split() if isinstance(event, DoneEvent) and event.tokens is None else ()
    values = {key: getattr(event, name) for key, name in keys.items() if key not in absent}
    return {"event": word, **{key: list(each) if isinstance(each, tuple) else each for key, each in values.items()}}


def from_json(values: Mapping[str, Any]) -> Event:
    """Read an event that `to_json` wrote, of this or an earlier version; keys that it does not know are left out.

    Raises:
        ValueError: it is no event, lacks a key, or has a value of the wrong type.
    """
    words = {word: kind for kind, (word, _) in STORED.items() if kind is not ReplanEvent}
    kind = words.get(str(values.get("event")))
    if kind is PlanEvent and "command" not in values:
        kind = ReplanEvent
    if kind is None:
        raise ValueError(f"not an event: {values.get('event')!r}")
    given = {name: values[key] for key, name in STORED[kind][1].items() if key in values}
    arguments: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in given.items()}
    types = get_type_hints(kind)
    if wrong := [name for name, value in arguments.items() if not _is_a(value, types[name])]:
        raise ValueError(f"{wrong[0]} of a {values['event']} event cannot be {str(arguments[wrong[0]])[:80]!r}")
    try:
        return kind(**arguments, **({"logged": True} if kind is StepEvent else {}))
    except TypeError as error:
        raise ValueError(f"not a whole {values['event']} event: {error}") from None


def _is_a(value: Any, annotation: Any) -> bool:
    """Return whether JSON is of the type that a field of an event is annotated with."""
    kind, of = get_origin(annotation), get_args(annotation)
    if kind is UnionType:
        return any(_is_a(value, each) for each in of)
    if kind is tuple:
        return isinstance(value, tuple) and all(_is_a(each, of[0]) for each in value)
    if kind is Mapping:
        return isinstance(value, dict) and all(_is_a(each, of[1]) for each in value.values())
    return type(value) is annotation or (annotation is float and type(value) is int and abs(value) < 1e300)

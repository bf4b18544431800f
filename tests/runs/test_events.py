"""Events: frozen values, stored in words that never change, and a page that has them all."""

import json
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from charrnn.runs.events import (
    STORED,
    DoneEvent,
    EvalEvent,
    Event,
    Note,
    PlanEvent,
    ReplanEvent,
    SampleEvent,
    SaveEvent,
    StepEvent,
    from_json,
    is_stored,
    to_json,
)

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
AT: dict[str, Any] = {"step": 3, "epoch": 0.5, "seconds": 1.25}

EXAMPLES: dict[str, Event] = {
    '{"event": "plan", "step": 3, "epoch": 0.5, "seconds": 1.25, "command": "charrnn train x", "cell": "gru",'
    ' "hidden": [64, 32], "vocabulary": 65, "parameters": 9, "memory": 8, "batch": 32, "seq_len": 64,'
    ' "learning_rate": 0.01, "steps": 10, "epochs": 1.5, "time": null, "chars_per_second": 0.0, "train_tokens": 90,'
    ' "val_tokens": 10, "eval_tokens": 5, "exact_tokens": 10, "eval_every": 2, "engine": "native",'
    ' "precision": "float32", "device": "cpu", "baselines": {"ngram": 2.5, "xz": null},'
    ' "reasons": ["a: b"], "origin": {"name": "old", "sha256": "ab", "new_characters": 2, "tokens": 10,'
    ' "bits_per_char": 2.5, "mix_share": null}}': PlanEvent(
        **AT, command="charrnn train x", cell="gru", hidden=(64, 32), vocabulary=65, parameters=9, memory=8, batch=32,
        seq_len=64, learning_rate=0.01, steps=10, epochs=1.5, time=None, chars_per_second=0.0, train_tokens=90,
        val_tokens=10, eval_tokens=5, exact_tokens=10, eval_every=2, engine="native", precision="float32",
        device="cpu", baselines={"ngram": 2.5, "xz": None}, reasons=("a: b",),
        origin={
            "name": "old", "sha256": "ab", "new_characters": 2, "tokens": 10, "bits_per_char": 2.5, "mix_share": None
        },
    ),
    '{"event": "plan", "step": 3, "epoch": 0.5, "seconds": 1.25, "steps": 9, "reason": "slow"}': ReplanEvent(
        **AT, steps=9, reason="slow"
    ),
    '{"event": "step", "step": 3, "epoch": 0.5, "seconds": 1.25, "loss": 800.0, "perplexity": null,'
    ' "learning_rate": 0.01, "gradient_norm": 0.5, "chars_per_second": 1000.0}': StepEvent(
        **AT, loss=800.0, perplexity=None, learning_rate=0.01, gradient_norm=0.5, chars_per_second=1e3, logged=True
    ),
    '{"event": "eval", "step": 3, "epoch": 0.5, "seconds": 1.25, "nats": 2.0, "tokens": 2, "perplexity": 2.7,'
    ' "bits_per_char": 1.4, "bits_per_byte": 1.2, "best": true}': EvalEvent(
        **AT, nats=2.0, tokens=2, perplexity=2.7, bits_per_char=1.4, bits_per_byte=1.2, best=True
    ),
    '{"event": "sample", "step": 3, "epoch": 0.5, "seconds": 1.25, "text": "a\\nb"}': SampleEvent(**AT, text="a\nb"),
    '{"event": "save", "step": 3, "epoch": 0.5, "seconds": 1.25, "path": "run/last"}': SaveEvent(**AT, path="run/last"),
    '{"event": "done", "step": 3, "epoch": 0.5, "seconds": 1.25, "nats": 2.0, "tokens": 2, "perplexity": 2.7,'
    ' "bits_per_char": 1.4, "bits_per_byte": 1.2, "val_tokens": 3, "oov": 0, "carried": 1.0, "window_256": 1.1,'
    ' "temperature": 1.2, "baselines": null, "best": 2, "model": "m", "reason": "steps",'
    ' "command": "charrnn train", "resume_bytes": 7, "origin": null, "mix_bits_per_char": 2.5}': DoneEvent(
        **AT, nats=2.0, tokens=2, val_tokens=3, perplexity=2.7, bits_per_char=1.4, bits_per_byte=1.2, oov=0,
        carried=1.0, window_256=1.1, temperature=1.2, best_step=2, model="m", reason="steps",
        command="charrnn train", resume_bytes=7, mix_bits_per_char=2.5,
    ),
    '{"event": "done", "step": 3, "epoch": 0.5, "seconds": 1.25, "baselines": null, "best": 2, "model": "m",'
    ' "reason": "patience", "command": null, "resume_bytes": null, "origin": null,'
    ' "mix_bits_per_char": null}': DoneEvent(
        **AT, best_step=2, model="m", reason="patience"
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_event_is_stored_in_its_words(text: str) -> None:
    """CL-19: to the byte, and it is read back as it was."""
    event = EXAMPLES[text]
    assert is_stored(event)
    assert json.dumps(to_json(event)) == text
    assert from_json(json.loads(text)) == event


def test_every_kind_has_an_example() -> None:
    assert {type(event) for event in EXAMPLES.values()} == set(STORED)


def test_events_do_not_change() -> None:
    event = SaveEvent(**AT, path="a")
    with pytest.raises(FrozenInstanceError):
        event.path = "b"  # type: ignore[misc]


def test_what_is_for_callbacks_only() -> None:
    note = Note(**AT, message="careful", level="warning")
    assert not is_stored(note)
    with pytest.raises(KeyError):
        to_json(note)
    step = StepEvent(**AT, loss=1.0, perplexity=2.7, learning_rate=0.1, gradient_norm=1.0, chars_per_second=1.0)
    assert not is_stored(step)


@pytest.mark.parametrize(
    "values", [{}, {"event": "strange"}, {"event": ["plan"]}, {"event": "save", "step": 1}, {"event": "eval", **AT}]
)
def test_what_is_no_event(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a"):
        from_json(values)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (DoneEvent, {"carried": "x", "perplexity": True, "best": 1.5, "baselines": {"xz": "x"}, "model": None}),
        (DoneEvent, {"carried": 10**400, "baselines": [1], "step": None, "seconds": "1", "reason": 5}),
        (PlanEvent, {"hidden": 5, "reasons": [5], "command": 1, "time": [1]}),
    ],
)
def test_values_of_the_wrong_type(kind: type[Event], wrong: dict[str, Any]) -> None:
    event = next(event for event in EXAMPLES.values() if type(event) is kind)
    for key, value in wrong.items():
        with pytest.raises(ValueError, match="cannot be"):
            from_json({**to_json(event), key: value})


def test_keys_of_later_versions_are_left_out() -> None:
    assert from_json({"event": "save", **AT, "path": "a", "bytes": 5}) == SaveEvent(**AT, path="a")


def sections() -> dict[str, list[tuple[str, str]]]:
    """Each class named in docs/events.md, with the keys of the table below it and the fields that these are."""
    found: dict[str, list[tuple[str, str]]] = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        name = re.search(r"`([A-Z]\w+)`", section)
        assert name is not None, section
        rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|(?: `(\w+)`)? \|$", section, re.MULTILINE)
        assert len(rows) == max(0, section.count("\n|") - 2), section
        found[name[1]] = [(key, field or key) for key, field in rows]
    return found


def test_the_page_has_every_event_and_key() -> None:
    common = [(name, name) for name in ("step", "epoch", "seconds")]
    expected = {kind.__name__: [*keys.items()][len(common) :] for kind, (_, keys) in STORED.items()}
    assert sections() == {**expected, "Note": []}
    assert all([*keys.items()][: len(common)] == common for _, keys in STORED.values())
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"\n## {word}" in text for word, _ in STORED.values())
    assert all(f"`{each.name}`" in text for each in fields(Note))


def test_every_field_has_its_key() -> None:
    for kind, (_, keys) in STORED.items():
        unstored = {"logged"} if kind is StepEvent else set()
        assert {each.name for each in fields(kind)} - unstored == set(keys.values()), kind

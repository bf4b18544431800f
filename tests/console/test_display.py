"""A training, in plain lines and as JSON Lines."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from charrnn.console.display import PlainDisplay, open_display
from charrnn.console.format import plan_lines, summary_lines
from charrnn.console.streams import Console
from charrnn.runs.events import (
    DoneEvent,
    EvalEvent,
    Event,
    Note,
    PlanEvent,
    ReplanEvent,
    SampleEvent,
    SaveEvent,
    StepEvent,
    to_json,
)

Capture = pytest.CaptureFixture[bytes]

LOSS = math.log(5)
AT: dict[str, Any] = {"step": 50, "epoch": 0.5, "seconds": 9.0}
PLAN = PlanEvent(
    step=0, epoch=0.0, seconds=1.0, command="charrnn train x", cell="gru", hidden=(64, 32), vocabulary=65,
    parameters=123456, memory=5_000_000, batch=32, seq_len=64, learning_rate=0.01, steps=1000, epochs=1.25, time=300.0,
    chars_per_second=85123.0, train_tokens=1003854, val_tokens=111540, eval_tokens=20000, exact_tokens=111540,
    eval_every=50, engine="torch", precision="float32", device="cpu", reasons=("lr 0.01: for gru",),
    baselines={"uniform": 6.0, "unigram": 4.8, "ngram": 2.25, "xz": None, "train_bytes": 9, "val_bytes": 9},
)  # fmt: skip
EVAL = EvalEvent(
    **AT, nats=100 * LOSS, tokens=100, perplexity=5.0, bits_per_char=2.3219, bits_per_byte=2.3219, best=True
)
DONE = DoneEvent(
    step=1000, epoch=1.25, seconds=61.0, nats=100 * LOSS, tokens=1234, perplexity=5.0, bits_per_char=2.3219,
    bits_per_byte=None, oov=0, carried=LOSS, window_256=1.7, temperature=1.0, best_step=950,
    model="checkpoints/a b/model.safetensors", reason="patience",
    baselines={"uniform": 6.0, "unigram": 4.8, "ngram": 2.25, "xz": 2.5, "train_bytes": 9, "val_bytes": 9},
)  # fmt: skip


def shown(event: Event, *, capture: Capture, json: bool = False, **options: bool) -> tuple[bytes, str]:
    """Return what an event puts on stdout, and on stderr."""
    with open_display(Console(**options), json=json) as display:
        assert isinstance(display.display, PlainDisplay)
        display(event)
        display.abandon()
    out, err = capture.readouterr()
    return out, err.decode()


def lines(event: Event, *, capture: Capture, **options: bool) -> str:
    """Return what an event puts on stderr; it puts nothing on stdout."""
    out, err = shown(event, capture=capture, **options)
    assert out == b""
    return err


def test_a_plan_in_words(capfdbinary: Capture) -> None:
    text = lines(PLAN, capture=capfdbinary)
    for part in (
        "gru 64+32, vocabulary of 65, 123k parameters, about 5MB",
        "1,003,854 tokens to train on, 111,540 to validate on",
        "20,000 of them in pieces", "1,000 steps, 1.25 epochs at 85.1k chars/s, 5m in all; torch on cpu",
        "  lr 0.01: for gru", "this plan again: charrnn train x",
        "to compare with: guessing 6.000, frequencies 4.800, 5-gram 2.250 bits per char\n",
    ):  # fmt: skip
        assert part in text
    again = lines(ReplanEvent(**AT, steps=900, reason="slow"), capture=capfdbinary)
    assert again == "plan: now 900 steps (slow)\n"
    quick = plan_lines(replace(PLAN, time=None, chars_per_second=0.0))
    assert "plan: 1,000 steps, 1.25 epochs; torch on cpu" in quick
    assert quick[-1] == "the same again: charrnn train x"
    assert "all exactly at the end" in text
    small = replace(PLAN, steps=1, epochs=1.0, train_tokens=1, exact_tokens=7, command="")
    text = "\n".join(plan_lines(small))
    for part in ("1 token to train on", "the first 7 exactly at the end", "plan: 1 step, 1 epoch at"):
        assert part in text
    assert "again" not in text


def test_an_evaluation_in_words(capfdbinary: Capture) -> None:
    line = "step 50  epoch 0.50  validation perplexity 5.000 (2.322 bits/char)  best\n"
    assert lines(EVAL, capture=capfdbinary) == line
    assert lines(replace(EVAL, best=False), capture=capfdbinary) == line.replace("  best", "")


def test_the_end_in_words(capfdbinary: Capture) -> None:
    text = lines(DONE, capture=capfdbinary)
    for part in (
        "to compare with guessing 6.000, frequencies 4.800, 5-gram 2.250, xz 2.500\n",
        "perplexity      5.0000", "bits per char   2.3219   (per byte -)", "1.6094 carried, 1.7000 in windows of 256",
        "the model on 1,234 validation tokens\n",
        "1,000 steps in 1m1s, as validation no longer improved; the best after step 950",
        "charrnn sample -m 'checkpoints/a b' --temp 0.8", "charrnn eval -m 'checkpoints/a b' FILE",
    ):  # fmt: skip
        assert part in text
    assert "to compare" not in lines(replace(DONE, baselines=None), capture=capfdbinary)
    bare = summary_lines(DoneEvent(step=1000, epoch=1.0, seconds=61.0, best_step=950, model="m", reason="steps"))
    assert bare[0] == "1,000 steps in 1m1s"
    assert not any("again" in line for line in bare)
    assert "all of these on 1,234 validation tokens" in summary_lines(replace(DONE, val_tokens=1234))
    part = "\n".join(summary_lines(replace(DONE, val_tokens=5678, command="charrnn train y", resume_bytes=44_000)))
    assert "all of these on the first 1,234 of 5,678 validation tokens\n" in part
    assert "\ngo on           charrnn train --resume --steps 2000 --out 'checkpoints/a b'\n" in part
    assert "\n                from last.safetensors, 44kB\n" in part
    assert part.endswith("\nthe same again  charrnn train y")


def test_what_verbose_adds(capfdbinary: Capture) -> None:
    """CL-04, CL-23: samples, saves and details; and each in one line."""
    for event, line in (
        (SampleEvent(**AT, text="a\nb\x1b"), "sample: a\\nb\\x1b\n"),
        (SaveEvent(**AT, path="run/last"), "saved run/last\n"),
        (Note(**AT, message="device cpu", level="debug"), "device cpu\n"),
    ):
        assert lines(event, capture=capfdbinary) == ""
        assert lines(event, verbose=True, capture=capfdbinary) == line


def test_notes(capfdbinary: Capture) -> None:
    """CL-19: on stderr, never among the JSON Lines."""
    for level, line in (("info", "beware\n"), ("warning", "Warning: beware\n")):
        assert shown(Note(**AT, message="beware", level=level), json=True, capture=capfdbinary) == (b"", line)
        assert lines(Note(**AT, message="beware", level=level), quiet=True, capture=capfdbinary) == ""


def test_steps_are_shown_when_nothing_else_is(capfdbinary: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-04: no more than a line in ten seconds, of those that are logged."""
    step = StepEvent(
        step=5, epoch=0.1, seconds=1.0, loss=LOSS, perplexity=5.0, learning_rate=0.01, gradient_norm=0.5,
        chars_per_second=34567.0, logged=True,
    )  # fmt: skip
    now = [0.0]
    monkeypatch.setattr("charrnn.console.display.time.monotonic", lambda: now[0])
    with open_display(Console()) as display:
        for _ in range(100):
            now[0] += 0.3
            display(step)
            display(replace(step, logged=False))
    printed = capfdbinary.readouterr().err.decode().splitlines()
    assert len(printed) == 2
    assert printed[0] == "step 5  epoch 0.10  train 5.000  34.6k chars/s  lr 0.01  grad 0.5"


def test_events_go_out_as_json(capfdbinary: Capture) -> None:
    """CL-02: beside the lines; but for steps that are not logged."""
    out, err = shown(EVAL, json=True, capture=capfdbinary)
    assert json.loads(out) == to_json(EVAL)
    assert err.startswith("step 50")
    step = StepEvent(**AT, loss=1.0, perplexity=1.0, learning_rate=1.0, gradient_norm=1.0, chars_per_second=1.0)
    assert shown(step, json=True, capture=capfdbinary)[0] == b""
    assert shown(replace(step, logged=True), json=True, capture=capfdbinary)[0].count(b"\n") == 1

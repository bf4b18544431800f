"""`charrnn show`: a model's card."""

import math
import os
from pathlib import Path
from typing import Any, TypeGuard

from charrnn.checkpoint import format as checkpoint
from charrnn.console.format import count, curve
from charrnn.console.streams import Console
from charrnn.runs.locate import find_model
from charrnn.runs.run_dir import RunDir


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CheckpointError."""
    path = find_model(flags["model"])
    model = checkpoint.read(path)
    architecture, info = model.architecture, model.info
    if flags["json"]:
        card = {"model": str(path), "config": architecture.to_json(), "tokenizer": model.tokenizer.name}
        card["separator"] = model.separator.decode("utf-8", "replace")
        console.write_json({**card, "parameters": architecture.num_parameters, "info": info})
        return 0
    metrics = info.get("metrics")
    rows = [
        ("model", str(path)),
        ("cell", f"{architecture.cell} {'+'.join(map(str, architecture.hidden))}"),
        ("symbols", f"{architecture.vocabulary:,} ({model.tokenizer.name})"),
        ("parameters", count(architecture.num_parameters)),
        ("trained", f"{_shown(info.get('step', 0))} steps, {_shown(info.get('epoch', 0.0))} epochs"),
        ("corpus", f"SHA-256 {_shown(info.get('corpus_sha256', 'unknown'))}"),
    ]
    if model.separator:
        rows.append(("records", f"ended by {model.separator.decode('utf-8', 'backslashreplace')!r}"))
    figures = ("perplexity", "bits_per_char", "bits_per_byte", "carried", "window_256", "tokens")
    if isinstance(metrics, dict):
        rows += [(name, _shown(metrics[name])) for name in figures if name in metrics]
    plan = info.get("plan")
    figures_of = plan.get("baselines") if isinstance(plan, dict) else None
    if isinstance(figures_of, dict):
        shown = {name: value for name, value in figures_of.items() if isinstance(value, float)}
        rows.append(("to compare with", ", ".join(f"{name} {value:.4f}" for name, value in shown.items())))
    page = "".join(f"{name:<15} {value}\n" for name, value in rows)
    points = _validations(path.parent)
    if len(points) > 1:
        high, low = (math.exp(pick(y for _, y in points)) for pick in (max, min))
        page += "\n" + "\n".join(curve(points, 60, 8)) + f"\nvalidation perplexity from {high:.3f} to {low:.3f}\n"
    data = os.fsencode(page)
    terminal = console.terminal_text()
    console.write(terminal.feed(data, final=True) if terminal else data)
    return 0


def _validations(folder: Path) -> list[tuple[float, float]]:
    """Step and nats per symbol of each evaluation that the run's log tells of."""
    found = []
    for event in RunDir(folder).events():
        step, nats, tokens = (event.get(name) for name in ("step", "nats", "tokens"))
        if event.get("event") == "eval" and _is_number(step) and _is_number(nats) and _is_number(tokens) and tokens:
            loss = nats / tokens
            if abs(loss) < 700:  # else exp(loss) is no float
                found.append((step, loss))
    return found


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float)


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

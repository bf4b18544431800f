"""`charrnn show`: a model's card."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from charrnn.config.manage import ShowConfig
from charrnn.config.options import merge
from charrnn.console.format import baselines, count, curve, origin, scored_tokens
from charrnn.console.streams import Console
from charrnn.errors import counted
from charrnn.model import Model
from charrnn.runs.locate import find_model
from charrnn.runs.run_dir import RunDir


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Write the card and return the exit code.

    Raises:
        CheckpointError: there is no such model, or its file cannot be used.
    """
    config, _ = merge(ShowConfig, flags, os.environ)
    path = find_model(config.model)
    model = Model.load(path)
    architecture, info = model.architecture, model.info
    if config.json:
        card = {"model": str(path), "config": architecture.to_json(), "tokenizer": model.tokenizer.name}
        card["separator"] = model.separator.decode("utf-8", "replace")
        console.write_json({**card, "parameters": architecture.num_parameters, "info": info})
        return 0
    metrics = info.get("metrics")
    rows = [
        ("model", str(path)),
        ("cell", f"{architecture.cell_name} {'+'.join(map(str, architecture.hidden))}"),
        ("vocabulary", f"{architecture.vocabulary:,} ({model.tokenizer.name})"),
        ("parameters", count(architecture.num_parameters)),
        ("trained", _trained(info)),
        ("corpus", f"SHA-256 {_format(info.get('corpus_sha256', 'unknown'))}"),
    ]
    plan = info.get("plan")
    if isinstance(plan, dict) and isinstance(plan.get("origin"), dict):
        rows.append(("from", origin(plan["origin"])))
    if model.separator:
        rows.append(("records", f"ended by {model.separator.decode('utf-8', 'backslashreplace')!r}"))
    names = ("perplexity", "bits_per_char", "bits_per_byte", "carried", "window_256")
    if isinstance(metrics, dict):
        rows += [(name, _format(metrics[name])) for name in names if name in metrics]
        tokens, val_tokens = metrics.get("tokens"), metrics.get("val_tokens")
        if isinstance(tokens, int):
            rows.append(("tokens", scored_tokens(tokens, val_tokens if isinstance(val_tokens, int) else None)))
    if isinstance(plan, dict) and isinstance(plan.get("baselines"), dict):
        rows.append(("to compare with", f"{baselines(plan['baselines'])} bits per char"))
    page = "".join(f"{name:<15} {value}\n" for name, value in rows)
    points = _validation_losses(path.parent)
    if len(points) > 1:
        high, low = (math.exp(pick(y for _, y in points)) for pick in (max, min))
        page += "\n" + "\n".join(curve(points, min(60, console.size.columns), 8))
        page += f"\nvalidation perplexity from {high:.3f} to {low:.3f}\n"
    console.write_text(page)
    return 0


def _validation_losses(folder: Path) -> list[tuple[float, float]]:
    """Return the step and the nats per token of each evaluation in the run's log."""
    found = []
    for event in RunDir(folder).events():
        step, nats, tokens = (event.get(name) for name in ("step", "nats", "tokens"))
        if event.get("event") == "eval" and _is_number(step) and _is_number(nats) and _is_number(tokens) and tokens:
            loss = nats / tokens
            if abs(loss) < 700:  # else exp(loss) is no float
                found.append((step, loss))
    return found


def _trained(info: Mapping[str, Any]) -> str:
    step = info.get("step", 0)
    steps = counted(step, "step") if isinstance(step, int) else f"{_format(step)} steps"
    return f"{steps}, {_format(info.get('epoch', 0.0))} epochs"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float)


def _format(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

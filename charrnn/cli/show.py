"""`charrnn show`: a model's card."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from charrnn.config.manage import ShowConfig
from charrnn.config.options import merge
from charrnn.config.params import seconds
from charrnn.console.format import baselines, chart, count, origin, perplexity, scored_tokens
from charrnn.console.streams import Console
from charrnn.errors import CheckpointError, counted
from charrnn.model import Model
from charrnn.runs.locate import find_model
from charrnn.runs.manage import RunSummary, summarize
from charrnn.runs.run_dir import FILES, RunDir


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
    run = summarize(path.parent) if path.name in FILES else None
    rows = [
        ("model", str(path)),
        ("cell", f"{architecture.cell_name} {'+'.join(map(str, architecture.hidden))}"),
        ("vocabulary", f"{architecture.vocabulary:,} ({model.tokenizer.name})"),
        ("embedding", f"{architecture.embedding:,}"),
        *_head(architecture.clusters),
        ("parameters", count(architecture.num_parameters)),
        *_training(_part(_part(info, "plan"), "config")),
        ("trained", _trained(info, run)),
        ("corpus", _corpus(info, run)),
    ]
    if found := _part(_part(info, "plan"), "origin"):
        rows.append(("from", origin(found)))
    if model.separator:
        rows.append(("records", f"ended by {model.separator.decode('utf-8', 'backslashreplace')!r}"))
    if run is not None:
        rows.append(("run", f"{run.state}, last written {run.date or 'at an unknown time'}"))
        rows.append(("on disk", f"{count(run.bytes)}B, the model {count(path.stat().st_size)}B of it"))
    metrics = info.get("metrics")
    names = ("perplexity", "bits_per_char", "bits_per_byte", "carried", "window_256")
    if isinstance(metrics, dict):
        units = dict.fromkeys(("carried", "window_256"), " nats per token")
        rows += [(name, _format(metrics[name]) + units.get(name, "")) for name in names if name in metrics]
        tokens, val_tokens = metrics.get("tokens"), metrics.get("val_tokens")
        if isinstance(tokens, int):
            rows.append(("tokens", scored_tokens(tokens, val_tokens if isinstance(val_tokens, int) else None)))
    if found := _part(_part(info, "plan"), "baselines"):
        rows.append(("to compare with", f"{baselines(found)} bits per char"))
    page = "".join(f"{name:<15} {value}\n" for name, value in rows)
    try:
        points = _validation_losses(path.parent)
    except CheckpointError as error:  # the model is whole
        points = []
        console.warn(f"{error}: without the curve")
    if len(points) > 1:
        high, low = (math.exp(pick(y for _, y in points)) for pick in (max, min))
        lines = chart(points, max(20, min(60, console.size.columns - 14)), 8, perplexity)
        page += "\n" + "\n".join(lines)
        page += f"\nvalidation perplexity from {high:.3f} to {low:.3f}\n"
    console.write_text(page)
    return 0


def _head(clusters: bytes) -> list[tuple[str, str]]:
    """Return a row about a head of two levels."""
    if not clusters:
        return []
    sizes = [f"{clusters.count(cluster):,}" for cluster in range(max(clusters) + 1)]
    return [("head", f"two levels: {sizes[0]} tokens, and clusters of {', '.join(sizes[1:])}")]


def _training(options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return rows about how a model was trained; what a file says of that may be anything."""
    rows = []
    if "batch" in options and "seq_len" in options:
        rows.append(("batch", f"{_format(options['batch'])} rows of {_format(options['seq_len'])} tokens"))
    if "lr" in options:
        method = ", ".join(_format(options[name]) for name in ("optimizer", "schedule") if name in options)
        rows.append(("learning rate", f"{_number(options['lr'])}, {method}"))
    drops = (("dropout", ""), ("weight_drop", " of recurrent weights"), ("weight_decay", " weight decay"))
    found = [f"{_number(options[name])}{what}" for name, what in drops if options.get(name)]
    if "dropout" in options:
        rows.append(("dropout", ", ".join(found) or "none"))
    return rows


def _corpus(info: Mapping[str, Any], run: RunSummary | None) -> str:
    digest = f"SHA-256 {_format(info.get('corpus_sha256', 'unknown'))}"
    return digest if run is None or run.corpus is None else f"{run.corpus}, {digest}"


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


def _trained(info: Mapping[str, Any], run: RunSummary | None) -> str:
    step = info.get("step", 0)
    steps = counted(step, "step") if isinstance(step, int) else f"{_format(step)} steps"
    took = "" if run is None or run.seconds is None else f", in {seconds(run.seconds)}"
    return f"{steps}, {_format(info.get('epoch', 0.0))} epochs{took}"


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object within another one; nothing where there is none."""
    part = values.get(name)
    return part if isinstance(part, dict) else {}


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else _format(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float)


def _format(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

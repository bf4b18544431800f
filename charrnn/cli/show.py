"""`charrnn show`: a model's card."""

import math
from typing import Any

from charrnn import checkpoint
from charrnn.console import Console
from charrnn.report import count, curve
from charrnn.runs import find_model
from charrnn.training.run import Run


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Returns the exit code. Raises CheckpointError."""
    path = find_model(flags["model"])
    model = checkpoint.read(path)
    architecture, info = model.architecture, model.info
    if flags["json"]:
        card = {"model": str(path), "config": architecture.to_json(), "tokenizer": model.tokenizer.name}
        console.write_json({**card, "parameters": architecture.parameters, "info": info})
        return 0
    metrics = info.get("metrics", {})
    rows = [
        ("model", str(path)),
        ("cell", f"{architecture.cell} {'+'.join(map(str, architecture.hidden))}"),
        ("symbols", f"{architecture.vocabulary:,} ({model.tokenizer.name})"),
        ("parameters", count(architecture.parameters)),
        ("trained", f"{info.get('step', 0):,} steps, {info.get('epoch', 0):.2f} epochs"),
        ("corpus", f"SHA-256 {info.get('corpus_sha256', 'unknown')}"),
    ]
    figures = ("perplexity", "bits_per_char", "bits_per_byte", "carried", "window_256", "tokens")
    rows += [(name, _shown(metrics[name])) for name in figures if name in metrics]
    page = "".join(f"{name:<15} {value}\n" for name, value in rows)
    points = [(e["step"], e["nats"] / e["tokens"]) for e in Run(path.parent).events() if e.get("event") == "eval"]
    if len(points) > 1:
        high, low = (math.exp(pick(y for _, y in points)) for pick in (max, min))
        page += "\n" + "\n".join(curve(points, 60, 8)) + f"\nvalidation perplexity from {high:.3f} to {low:.3f}\n"
    console.write(page.encode("utf-8"))
    return 0


def _shown(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

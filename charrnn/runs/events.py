"""What happens in a run, event by event: the lines of `metrics.jsonl`."""

from typing import Any

Event = dict[str, Any]

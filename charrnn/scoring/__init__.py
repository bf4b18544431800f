"""Ids to nats: what a text costs under a model, every token once."""

from charrnn.scoring.lanes import LANES, score_ids
from charrnn.scoring.score import Score
from charrnn.scoring.texts import score_records, score_streams, score_texts, score_windows

__all__ = ["LANES", "Score", "score_ids", "score_records", "score_streams", "score_texts", "score_windows"]

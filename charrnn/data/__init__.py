"""Corpora as ids: split, encoded, cut into rows.

`prepare` makes a `Split` of a corpus; `Rows` hands out its chunks, step by step.
"""

from charrnn.data.encoding import Counts
from charrnn.data.rows import Chunk, Rows
from charrnn.data.split import Preparation, Split, prepare
from charrnn.data.store import Store
from charrnn.data.stream import Ids, Stream

__all__ = ["Chunk", "Counts", "Ids", "Preparation", "Rows", "Split", "Store", "Stream", "prepare"]

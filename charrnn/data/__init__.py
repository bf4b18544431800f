"""Corpora as ids: split, encoded, cut into rows.

`split.prepare` makes a `Split` of a corpus; `rows.Rows` hands out its chunks, step by step.
"""

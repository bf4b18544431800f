"""Text to ids, and ids to batches.

`prepare` makes a `Dataset` of a corpus: `split` decides what is held out, `encode` makes the ids, `excerpts` keeps some
of the bytes, `id_cache` the ids of large corpora in `array_files`. `batches` hands them out, step by step.
"""

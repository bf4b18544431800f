"""Text to ids, and ids to batches.

`prepare` makes a `Dataset` of a corpus: `split` decides what is held out, `encode` makes the ids, `id_cache` keeps
those of large corpora. `batches` hands them out, step by step.
"""

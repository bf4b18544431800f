"""Text to ids, and ids to batches.

`prepare` makes a `Dataset` of a corpus: `split` decides what is held out, `encode` makes the ids, `excerpts` keeps some
of the bytes, `id_cache` the ids of large corpora in `array_files`. `batches` hands them out, step by step.

`check` finds what is wrong with a corpus before: `text_blocks`, `text_scan` and `lines` read it, `repeats` compares it
with itself, `findings` and `remedies` say what is wrong and what mends it, `advice` how to train on it.
"""

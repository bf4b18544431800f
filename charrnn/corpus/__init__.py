"""From what the command line names to texts that can be read again and again: bytes, never ids.

Read `sources` (what is to be read), `inputs` (its bytes), `formats` and `tables` (texts inside structured files),
`documents` (a text in memory, in a file or in a spool), `records`, then `reader`, which makes a `Corpus` of them;
`catalog` and `download` are the corpora known by name.
"""

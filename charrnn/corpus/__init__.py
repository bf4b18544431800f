"""From what the command line names to documents that can be read again and again: bytes, never ids.

Read `sources` and `folders` (what is to be read), `inputs` (its bytes), `formats`, `json_lines` and `tables` (texts
inside structured files), `documents` (a text in memory, in a file or in a spool), `records`, `corpus` (documents, and
what is counted while they are first read), then `reader`, which makes a `Corpus` of sources. `catalog` and `download`:
corpora known by name.
"""

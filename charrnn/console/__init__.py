"""Streams, terminals and colour; nothing else in the program knows of them.

Read `streams` and `terminal_text`; `display` shows a training, `live` on a terminal; `format` formats numbers as text,
`tables` tables; `heat` colours a text by surprise.
"""

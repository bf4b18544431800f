"""A trained model as a file: docs/format.md is its page.

Read `format` (what a checkpoint holds, reading and writing one), then `header` (what a file says of itself, read
without believing it).
"""

"""The file of a trained model: docs/format.md is its page.

Read `format` (what a checkpoint holds, reading and writing one), then `header` (an untrusted header: opened, parsed,
and validated against the limits of the format).
"""

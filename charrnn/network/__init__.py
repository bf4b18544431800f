"""What a network is, apart from who runs it: its cells, sizes and weights.

Read `cells`, `architecture` (names and shapes of the weights), `init` (their first values) and `dropout` (masks).
The equations are in `engines/reference.py`.
"""

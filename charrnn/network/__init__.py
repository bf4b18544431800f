"""What a network is, apart from the engines that run it: its cells, sizes and weights.

Read `cells`, `architecture` (names and shapes of the weights), `head` (its softmax, of one level or two), `init`
(initial values) and `dropout` (masks).
The equations are in `engines/reference.py`.
"""

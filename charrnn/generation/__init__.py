"""From ids to text: sampling with a model, text by text, in order.

Read `generate`, then `sampling` (logits to one id), `prompts` (what is continued), `constraints` (what may be drawn)
and `novelty` (which texts are new).
"""

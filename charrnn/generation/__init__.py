"""From ids to text: sampling with a model, text by text, in order.

Read `texts` (what is asked for), `generate`, then `sampling` (logits to one id), `prompts` (what is continued),
`constraints` (what may be drawn), `match` (the same by a regular expression, with `regex` and `regex_dfa`), `rejection`
(records that match), `guards` (what must not follow) with `copies` and `training_text` (what must not be copied), and
`novelty` (which texts are new).
"""

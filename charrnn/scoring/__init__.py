"""Ids to nats, exactly; nothing here formats.

`score` has the definitions, `batching` scores many texts side by side, `scorer` takes bytes and knows what suits a
model; `baselines` and `kneser_ney` are what a figure is compared with.
`units` has the nats of words and tokens, which `cutter` cuts out of `parts`; `tokens` has them as arrays.
`compare` has intervals of differences; `expression` and `quantiles` are for choosing among texts by their figures.
"""

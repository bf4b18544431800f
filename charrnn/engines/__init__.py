"""One network, several ways to run it; `base` and `select` are all that other rooms import.

Read `reference` first: the equations as the papers print them, in float64, against which every other engine is tested.
`base` has the contracts that engines keep, `select` says which one runs where, `arrays` has what they share. `native`
is the compiled core, `numpy` what runs without it, `torch` CUDA. `cell_steps` has the cells that NumPy and
PyTorch run step by step; `ensemble` and `dynamic` wrap other engines.
"""

"""Bytes to ids and back, exactly.

`tokenizer` says what all of them promise; `char` gives every code point of the training text an id, `byte` every byte,
`sentencepiece` common strings (`sentencepiece_model` is its file). `texts` encodes many short texts together;
`utf8` alone knows continuation bytes.
"""

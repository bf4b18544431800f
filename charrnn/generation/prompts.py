"""Prompts: the text that a model goes on from, as ids."""

import numpy as np

from charrnn.errors import InputError
from charrnn.tokenizers.char import CharTokenizer, describe
from charrnn.tokenizers.tokenizer import Ids, Tokenizer
from charrnn.tokenizers.utf8 import decode_utf8

Unknown = str  # "error", "skip" or "nearest"


LISTED = 16  # unseen characters named in one message


def encode_prompt(tokenizer: Tokenizer, data: bytes, unknown: Unknown = "error") -> Ids:
    """Encode a text to go on from: ids without `<unk>`, as no model is trained to read that.

    Args:
        tokenizer: the model's.
        data: the prompt; it may be empty.
        unknown: what becomes of characters the model has never seen: "error" refuses them,
            "skip" leaves them out, "nearest" takes `CharTokenizer.nearest` instead.

    Raises:
        InputError: invalid UTF-8, or unseen characters under "error"; it lists them.
    """
    ids = tokenizer.encode(data)
    if tokenizer.unknown is None:
        return ids
    unseen = ids == tokenizer.unknown
    if not unseen.any():
        return ids
    if unknown == "skip":
        known: Ids = ids[~unseen]
        return known
    assert isinstance(tokenizer, CharTokenizer)
    if unknown == "nearest":
        unknown_chars, where = np.unique(decode_utf8(data)[unseen], return_inverse=True)
        ids[unseen] = np.array([tokenizer.nearest(int(point)) for point in unknown_chars])[where]
        return ids
    found = tokenizer.explain(data)
    listed = [f"{describe(char)} @ {offset}" for char, offset in found[:LISTED]]
    if len(found) > LISTED:
        listed.append(f"and {len(found) - LISTED} more")
    raise InputError(
        f"the model has never seen {', '.join(listed)}; --unknown skip leaves such characters out,"
        " --unknown nearest takes the nearest that it knows"
    )

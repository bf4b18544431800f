"""The tokens of a text as arrays, and what tokens are called: for Python and JSON alike."""

from typing import NamedTuple

import numpy as np

from charrnn.corpus.formats import NamedText
from charrnn.engines.base import Array, Ids
from charrnn.scoring.parts import parts_of_text
from charrnn.scoring.scorer import Scorer
from charrnn.scoring.units import TextEnd, Unit, score_units
from charrnn.tokenizers.tokenizer import Tokenizer


class TokenScores(NamedTuple):
    """What each of the N tokens of a text costs, in order.

    Attributes:
        nats: float64 (N,), -ln p(token | all before it). They sum to the text's; those of an unknown character are of
            `<unk>` and of the character among all unknown ones.
        ranks: int64 (N,), from 1: no token was likelier.
        entropies: float64 (N,), of the distribution of the tokens in its place, in bits.
        offsets: int64 (N,), of the character in which it begins, from 0.
        tokens: the bytes of each. Together they are the text, without a byte order mark that the model does not read,
            and with the end of a record model's last record.
    """

    nats: Array
    ranks: Ids
    entropies: Array
    offsets: Ids
    tokens: list[bytes]


def token_scores(scorer: Scorer, text: NamedText) -> TokenScores:
    """Return what each token of a text costs, as `Scorer.texts` scores it.

    Raises:
        InputError: the text cannot be read or decoded.
        NonFiniteError: the model's arithmetic overflows.
    """
    units: list[Unit[None]] = []
    for unit in score_units(scorer, parts_of_text(None, text, scorer), "token", top=0):
        if not isinstance(unit, TextEnd):
            units.append(unit)
        elif unit.failure is not None:
            raise unit.failure
    return TokenScores(
        np.array([unit.nats for unit in units], np.float64),
        np.array([unit.rank or 0 for unit in units], np.int64),
        np.array([unit.entropy or 0.0 for unit in units], np.float64),
        np.array([unit.offset for unit in units], np.int64),
        [unit.text for unit in units],
    )


def token_name(data: bytes) -> str:
    """Return a token as OpenAI's log-probabilities name it: its text, or `bytes:\\xNN` where that is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join("\\x" + bytes([byte]).hex() for byte in data)


def token_names(tokenizer: Tokenizer) -> list[str]:
    """Return what the ids of a model are called, (V,): as `token_name`, and `<unk>`. Several may have one name: the
    byte of a letter and the letter."""
    names = [token_name(data) for data in tokenizer.token_bytes]
    if tokenizer.unknown is not None:
        names[tokenizer.unknown] = "<unk>"
    return names

"""Write n-grams as an ARPA file, which KenLM, SRILM and others read.

`kneser_ney` interpolates; a back-off model says the same: a stored n-gram has its interpolated probability, and one
that has not been seen has that without its first token, times the back-off weight of its context, G(c) / N(c).

`kneser_ney` has `order - 1` times `<s>` before a text, ARPA has it once. So what is stored after one `<s>` is what
was counted after the most of them that fit, and the back-off weight is the product of the steps down to none.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.scoring.kneser_ney import NgramTable

Array = npt.NDArray[Any]


def arpa_lines(tables: Sequence[NgramTable], words: Sequence[str]) -> Iterator[str]:
    """Return the lines of an ARPA file, each with its newline.

    Args:
        tables: of `ngram_tables`, of two orders at least, of texts that each end with the token called `</s>`.
        words: what each token is called, without white space: the last in all texts `</s>`, the unknown one `<unk>`.
    """
    sections = _sections(tables, [*words, "<s>"])
    yield "\\data\\\n"
    for length, section in enumerate(sections, 1):
        yield f"ngram {length}={len(section)}\n"
    for length, section in enumerate(sections, 1):
        yield f"\n\\{length}-grams:\n"
        yield from section
    yield "\n\\end\\\n"


def _sections(tables: Sequence[NgramTable], words: list[str]) -> list[list[str]]:
    """Return the lines of the n-grams of each length; the last of `words` is `<s>`."""
    order, bos = len(tables), len(words) - 1
    sections: list[list[str]] = [[] for _ in tables]

    def add(ids: Array, probability: float, backoff: float) -> None:
        end = f"\t{np.log10(backoff):.8g}" if len(ids) < order else ""
        log10p = f"{np.log10(probability):.8g}" if probability else "-99"
        sections[len(ids) - 1].append(f"{log10p}\t{' '.join(words[each] for each in ids)}{end}\n")

    tokens, from_bos = np.zeros((1, 0), np.int64), np.ones(1)  # the back-off weight down to where no `<s>` is left
    for length, table in enumerate(tables, 1):
        tokens = np.column_stack([tokens[table.context], table.token])
        after = tables[length].backoffs if length < order else np.ones(len(tokens))
        is_start = tokens[:, 0] == bos
        for at in np.flatnonzero((table.counts > 0) & ~is_start):
            add(tokens[at], table.probabilities[at], after[at])
        if length < order:
            more = tokens[:, 1] == bos if length > 1 else np.zeros(len(tokens), np.bool_)
            from_bos = after * np.where(more, from_bos[table.shorter], 1)
            if length == order - 1:
                (only_bos,) = np.flatnonzero((tokens == bos).all(1))
                add(np.array([bos]), 0, from_bos[only_bos])
            continue
        for at in np.flatnonzero((table.counts > 0) & is_start):
            ids = tokens[at, np.count_nonzero(tokens[at] == bos) - 1 :]
            add(ids, table.probabilities[at], from_bos[table.shorter[at]])
    unseen = set(range(bos)) - set(tables[0].token[tables[0].counts > 0].tolist())
    for token in sorted(unseen):
        add(np.array([token]), tables[0].backoffs[0] / bos, 1)
    return sections

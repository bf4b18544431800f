"""The recurrent cells there are, and what weights a layer of each has.

The equations, with their sources, are in `engines/reference.py`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """What a layer of H units is made of.

    Attributes:
        gates: one letter each, in the order in which they are stacked along the first axis of the weights.
        products: how many of the gates, from the first on, each product with a state vector drives; where
            there are several, a later one reads what gates of an earlier one have made. None: the state drives no gate.
        states: S, the vectors carried from step to step: h, and for some c.
        peepholes: of how many gates the cell state c has weights of its own, unit by unit.
        forget: the gate whose bias begins at 1, so that a state is kept until the model has learnt better.
    """

    gates: str
    products: tuple[int, ...]
    states: int = 1
    peepholes: int = 0
    forget: str = ""

    def shapes(self, width: int, size: int) -> dict[str, tuple[int, ...]]:
        """The weights of a layer of `size` units that reads vectors of that width."""
        rows = len(self.gates) * size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, width)}
        if self.products:
            shapes["weight_hh"] = (rows, size)
        shapes["bias_ih"] = (rows,)
        if self.products:
            shapes["bias_hh"] = (rows,)
        if self.peepholes:
            shapes["weight_ch"] = (self.peepholes * size,)
        return shapes


CELLS = {
    "rnn": Cell("h", (1,)),
    "lstm": Cell("ifgo", (4,), states=2, forget="f"),
    "gru": Cell("rzn", (3,)),
    "lstm-peephole": Cell("ifgo", (4,), states=2, peepholes=3, forget="f"),
    "gru-v1": Cell("rzn", (2, 1)),
    "mgu": Cell("fn", (1, 1)),
    "mingru": Cell("zn", ()),
    "minlstm": Cell("fin", (), forget="f"),
    "lstm-sigmoid": Cell("ifgo", (4,), states=2, forget="f"),
    "lstm-sigmoid-peephole": Cell("ifgo", (4,), states=2, peepholes=3, forget="f"),
    "lstm-relu": Cell("ifgo", (4,), states=2, forget="f"),
    "lstm-cellless": Cell("ion", (3,)),
    "gru-crossed": Cell("rzn", (3,)),
}
"""By name. The first three have kernels of their own in every engine; the last five are what some tutorials print."""

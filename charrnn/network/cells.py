"""The recurrent cells, and which weights a layer of each has.

The equations, with their sources, are in `engines/reference.py`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """The parts of a recurrent cell.

    Attributes:
        gates: one letter each, in the order in which they are stacked along the first axis of the weights.
        recurrent_matmuls: how many of the gates each product of `weight_hh` with a state vector serves, from the
            first gate on; where there are several products, a later one reads what gates of an earlier one have made.
            Empty: no gate reads the state, so there is no `weight_hh`.
        num_states: S, the vectors carried from step to step: h, and for some cells c.
        num_peepholes: how many gates read the cell state c, unit by unit, with weights of their own.
        forget_gate: the gate whose bias is initialised to 1, so that a state is kept until the model has learnt
            otherwise; empty: none.
    """

    gates: str
    recurrent_matmuls: tuple[int, ...]
    num_states: int = 1
    num_peepholes: int = 0
    forget_gate: str = ""

    def shapes(self, input_size: int, hidden_size: int) -> dict[str, tuple[int, ...]]:
        """Return the name and shape of each weight of one layer."""
        rows = len(self.gates) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size)}
        if self.recurrent_matmuls:
            shapes["weight_hh"] = (rows, hidden_size)
        shapes["bias_ih"] = (rows,)
        if self.recurrent_matmuls:
            shapes["bias_hh"] = (rows,)
        if self.num_peepholes:
            shapes["weight_ch"] = (self.num_peepholes * hidden_size,)
        return shapes


CELLS = {
    "rnn": Cell("h", (1,)),
    "lstm": Cell("ifgo", (4,), num_states=2, forget_gate="f"),
    "gru": Cell("rzn", (3,)),
    "lstm-peephole": Cell("ifgo", (4,), num_states=2, num_peepholes=3, forget_gate="f"),
    "gru-v1": Cell("rzn", (2, 1)),
    "mgu": Cell("fn", (1, 1)),
    "mingru": Cell("zn", ()),
    "minlstm": Cell("fin", (), forget_gate="f"),
    "lstm-sigmoid": Cell("ifgo", (4,), num_states=2, forget_gate="f"),
    "lstm-sigmoid-peephole": Cell("ifgo", (4,), num_states=2, num_peepholes=3, forget_gate="f"),
    "lstm-relu": Cell("ifgo", (4,), num_states=2, forget_gate="f"),
    "lstm-cellless": Cell("ion", (3,)),
    "gru-crossed": Cell("rzn", (3,)),
}
"""The cells by name. The first three have kernels of their own in NumPy and PyTorch too; the last five are faulty
variants that some tutorials print."""


CELL_NAMES = (
    "lstm",
    "gru",
    "rnn",
    "rnn-relu",
    "rnn-sigmoid",
    *(name for name in CELLS if name not in ("lstm", "gru", "rnn")),
)
"""What `--cell` takes: the cells, and `rnn` with the other activations, which the file format keeps apart."""


def cell_and_activation(name: str) -> tuple[str, str]:
    """Return the cell and the activation that a name of `CELL_NAMES` stands for: `rnn` and `relu` for `rnn-relu`."""
    if name in CELLS:
        return name, "tanh"
    cell, _, activation = name.rpartition("-")
    return cell, activation


def cell_name(cell: str, activation: str) -> str:
    """Return the name in `CELL_NAMES` of a cell with an activation."""
    return cell if activation == "tanh" else f"{cell}-{activation}"

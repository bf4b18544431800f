"""What the cells learn of the same text: of equally many characters, and in equal time.

    python benchmarks/cells.py tinyshakespeare.txt [--characters 400000] [--time 20s] [--hidden 128] [--only gru,mgu]

One layer of that many units, the rest as `charrnn train` has it; those whose state drives no gate also with three
layers. Then what tutorials do otherwise: layers of 64 and 32 units, and plain gradient descent.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from trained import trained

from charrnn.network.cells import CELLS

VARIANTS: dict[str, tuple[str, ...]] = {
    **{cell: ("--cell", cell) for cell in CELLS},
    "rnn, relu": ("--cell", "rnn-relu"),
    "rnn, sigmoid": ("--cell", "rnn-sigmoid"),
    "mingru, 3 layers": ("--cell", "mingru", "--layers", "3"),
    "minlstm, 3 layers": ("--cell", "minlstm", "--layers", "3"),
    "lstm 64,32": ("--cell", "lstm", "--hidden", "64,32"),
    "lstm, plain SGD": ("--cell", "lstm", "--optimizer", "sgd"),
}
"""The rest of the command."""

BATCH, STEPS = 16, 64

COLUMNS = ("cell", "parameters", "characters/s", "after {characters}", "after {time}", "characters read by then")


def measure(text: str, command: tuple[str, ...], folder: Path) -> dict[str, float] | None:
    """What a training tells; None: its numbers were not finite."""
    try:
        return trained(text, *command, "--dropout", "0", "--out", str(folder))
    except subprocess.CalledProcessError as error:
        if error.returncode == 5:
            return None
        raise


def main() -> None:
    """Print a Markdown table: nats per character of the validation text, its state carried."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--characters", type=int, default=400_000)
    parser.add_argument("--time", default="20s")
    parser.add_argument("--hidden", default="128")
    parser.add_argument("--only", help="some of the rows", metavar="ROW,...")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(VARIANTS)
    steps = options.characters // (BATCH * STEPS)
    size = ("--batch", str(BATCH), "--seq-len", str(STEPS))
    print("|", " | ".join(COLUMNS).format(characters=f"{options.characters:,}", time=options.time), "|")
    print("|" + "---|" * len(COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(chosen):
            command = VARIANTS[name] if "--hidden" in VARIANTS[name] else (*VARIANTS[name], "--hidden", options.hidden)
            equal = measure(options.text, (*command, *size, "--steps", str(steps)), Path(folder, f"{number}-steps"))
            timed = measure(options.text, (*command, *size, "--time", options.time), Path(folder, f"{number}-time"))
            row = [name, "", "", "diverges", "diverges", ""]
            if equal:
                row[1], row[3] = f"{equal['parameters'] / 1e3:.0f}k", f"{equal['carried']:.3f}"
            if timed:
                read = timed["step"] * BATCH * STEPS
                row[1], row[4] = f"{timed['parameters'] / 1e3:.0f}k", f"{timed['carried']:.3f}"
                row[2], row[5] = f"{timed['chars_per_second']:,.0f}", f"{read / 1e6:.2f}M"
            print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()

"""Sampling in int8: how much faster than float32 and bfloat16, and what it costs.

    python benchmarks/int8.py [FILE...] [--records FILE...] [--time 2m] [--rounds 9]

Speed: one text, and 64 side by side, with one and two threads. Cost, of each FILE and of python-docs: a model trained
on nine tenths of the text, and what float32 and int8 say of the last tenth, read in 16 pieces: bits per character, and
the mean over all places of the Kullback-Leibler divergence from float32, in bits.
"""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

from contest import contest, ratio, serve
from sampling import LENGTH, by_engine
from trained import trained

PRECISIONS = ("float32", "bfloat16", "int8")
CASES = [("gru", 256, 1, 1), ("gru", 512, 1, 1), ("lstm", 512, 2, 1), ("gru", 512, 1, 64)]
"""Cell, hidden units, layers, texts side by side."""

STREAMS, STEPS, MOST = 16, 64, 1 << 20
"""How a text is read: its pieces side by side, tokens of each in a call, bytes of it at most."""


def print_speeds(rounds: int) -> None:
    """A Markdown table."""
    print("| cell | texts | threads | float32, characters a second | bfloat16 / float32 | int8 / float32 |")
    print("|---|---|---|---|---|---|", flush=True)
    for cell, hidden, layers, texts in CASES:
        for threads in (1, 2):
            commands = {name: (name, threads, cell, hidden, layers, texts) for name in PRECISIONS}
            speeds = contest(commands, __file__, rounds=rounds)
            ratios = [f"{ratio(speeds, name, 'float32'):.2f}" for name in PRECISIONS[1:]]
            shown = (f"{cell} {layers}x{hidden}", texts, threads, f"{statistics.median(speeds['float32']):,.0f}")
            print("|", " | ".join(map(str, (*shown, *ratios))), "|", flush=True)


def costs(model: Path, text: bytes) -> tuple[float, float, float]:
    """The bits per character of a text in float32 and in int8, and the divergence, in bits."""
    import numpy as np

    from charrnn.corpus.records import SeparatorScanner, insert_bos
    from charrnn.model import Model

    exact, near = (Model.load(model, precision=name) for name in ("float32", "int8"))
    V, separator = exact.engine.vocabulary, exact.tokenizer.encode(exact.separator)
    ids = exact.tokenizer.encode(text)
    if len(separator):
        ids = insert_bos(ids, SeparatorScanner(separator).feed(ids), V)
    rows = np.array(np.split(ids[: len(ids) // STREAMS * STREAMS], STREAMS))
    rows[:, 0] = V  # each piece begins as a text does
    chars = len(exact.tokenizer.decode(rows[rows != V]).decode("utf-8", "replace"))
    states = [each.engine.zero_state(STREAMS) for each in (exact, near)]
    nats, divergence = np.zeros(2), 0.0
    for step in range(0, rows.shape[1], STEPS):
        read = rows[:, step : step + STEPS]
        found = []
        for number, each in enumerate((exact, near)):
            ln_p, states[number] = each.engine.predict(read, states[number])
            found.append(ln_p.astype(np.float64))
            nats[number] -= np.take_along_axis(ln_p, np.minimum(read, V - 1)[..., None], 2)[..., 0][read != V].sum()
        p, q = (each[read != V] for each in found)
        divergence += float((np.exp(p) * (p - q)).sum())
    exact_bits, near_bits = nats / math.log(2) / chars
    return exact_bits, near_bits, divergence / math.log(2) / int((rows != V).sum())


def print_costs(file: str | None, records: bool, time: str) -> None:
    """A row of a Markdown table."""
    from charrnn.corpus.catalog import catalog

    data = Path(file).read_bytes() if file else b"".join(next(iter(catalog()["python-docs"].documents())).chunks())
    cut = data.rindex(b"\n", 0, len(data) * 9 // 10) + 1
    with tempfile.TemporaryDirectory() as folder:
        part, run = Path(folder) / "text.txt", Path(folder) / "run"
        part.write_bytes(data[:cut])
        plan = trained(str(part), *["--records"] * records, "--time", time, "--out", str(run))
        before, after, divergence = costs(run, data[cut:][:MOST])
    shown = (Path(file).stem if file else "python-docs", plan["cell"], f"{before:.4f}", f"{after - before:+.5f}")
    print("|", " | ".join((*shown, f"{divergence:.5f}")), "|", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--records", nargs="*", default=[], metavar="FILE", help="files whose lines are records")
    parser.add_argument("--time", default="2m", help="of each training")
    parser.add_argument("--rounds", type=int, default=9, help="of the contest for speed; 0: none")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        precision, threads, cell, hidden, layers, texts = json.loads(options.contender)
        run = by_engine("native", hidden, texts, {}, cell=cell, layers=layers, precision=precision, threads=threads)
        serve(run, LENGTH * texts)
        return
    if options.rounds:
        print_speeds(options.rounds)
    print("\n| text | cell | bits per character, float32 | int8: more by | divergence, bits |")
    print("|---|---|---|---|---|", flush=True)
    for file in (None, *options.files, *options.records):
        print_costs(file, file in options.records, options.time)


if __name__ == "__main__":
    main()

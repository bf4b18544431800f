"""Where data parallelism pays: the time of a step's arithmetic beside that of averaging its gradients, by arithmetic.

    python benchmarks/allreduce.py [--gflops 50] [--batch 256] [--seq-len 64] [--latency 50]

A step of B rows of T tokens costs a process 6 floating-point operations for each weight of a matrix and token of its
rows (2 forward, 4 backward; --gflops: how many it makes a second, in 10^9). A ring of W processes sends and receives
2 (W - 1) / W of the gradients' bytes each (Patarasuk & Yuan 2009), in 2 (W - 1) messages (--latency: microseconds
each). Printed: milliseconds of arithmetic, and for each network milliseconds of averaging and how many times as fast as
one process W are, were nothing done at the same time.
"""

import argparse

from charrnn.network.architecture import Architecture

MODELS = ((512,), (1024,), (512, 512), (1024, 1024), (2048,) * 3)
PROCESSES = (1, 2, 8, 64)
NETWORKS = (1, 10, 100)
"""Gigabits a second."""

VOCABULARY, EMBEDDING = 100, 128


def sizes(cell: str, hidden: tuple[int, ...]) -> tuple[int, int]:
    """Return a model's weights, and those among them that every token is multiplied by."""
    architecture = Architecture(cell, VOCABULARY, hidden, EMBEDDING)
    table = (VOCABULARY + 1) * EMBEDDING
    return architecture.num_parameters, architecture.num_parameters - table


def averaging_seconds(weights: int, processes: int, gigabits: float, latency: float) -> float:
    """Return the seconds of a ring's all-reduce; latency: of a message, in seconds."""
    bytes_sent = 2 * (processes - 1) / processes * 4 * (weights + 2)
    return bytes_sent * 8 / (gigabits * 1e9) + 2 * (processes - 1) * latency


def rows(gflops: float, batch: int, seq_len: int, latency: float) -> list[list[str]]:
    """Return the table, without its head."""
    table = []
    for hidden in MODELS:
        weights, multiplied = sizes("lstm", hidden)
        alone = 6 * multiplied * batch * seq_len / (gflops * 1e9)
        for processes in PROCESSES:
            compute = alone / processes
            cells = [f"{len(hidden)}x{hidden[0]}", f"{4 * (weights + 2) / 1e6:.1f}", str(processes)]
            cells.append(f"{1000 * compute:,.0f}")
            for gigabits in NETWORKS:
                seconds = averaging_seconds(weights, processes, gigabits, latency)
                cells.append(f"{1000 * seconds:,.1f}: {alone / (compute + seconds):.1f}")
            table.append(cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description="The arithmetic of a step beside the averaging of its gradients.")
    parser.add_argument("--gflops", type=float, default=50.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seq-len", type=int, default=64)
    parser.add_argument("--latency", type=float, default=50.0)
    arguments = parser.parse_args()
    head = ["LSTM", "MB", "processes", "arithmetic, ms", *(f"{each} Gbit/s, ms: speedup" for each in NETWORKS)]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for cells in rows(arguments.gflops, arguments.batch, arguments.seq_len, arguments.latency * 1e-6):
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

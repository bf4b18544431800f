"""What fine-tuning is worth: a Shakespeare model that goes on with new text, against the same minute from scratch.

    python benchmarks/finetune.py tinyshakespeare.txt
    python benchmarks/finetune.py tinyshakespeare.txt --rates 0.1,0.3,1

The parent learns the first 90 % of the file. New texts: 20 kB of the rest of the file, 20 and 50 kB of python-docs,
100 kB of python-stdlib. Each is validated on 30 kB that come later, the old text on its own last tenth, which nothing
is trained on. Bits per character, the median over the seeds, each with a parent of its own.

With `--rates` a small parent (96 units, 2,500 steps) learns the first 600 kB. Each new text is learnt for equal epochs
at several multiples of the rate that a new model would have, without dropout; at the last of them with its dropout too.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from trained import trained

import charrnn
from charrnn.corpus.reader import read_corpus

SIZES = {"shakespeare": (20,), "python-docs": (20, 50), "python-stdlib": (100,)}
"""Kilobytes of each new text."""

RATES = (
    ("shakespeare", 20, 10), ("python-docs", 20, 10), ("shakespeare", 300, 5), ("python-docs", 50, 10),
    ("python-stdlib", 100, 10), ("python-docs", 50, 30), ("shakespeare", 100, 10),
)  # fmt: skip
"""With `--rates`: new texts, their kilobytes and epochs."""

VAL = 30_000
"""Bytes that a new text is validated on."""


def head(name: str, size: int) -> bytes:
    """Return the first bytes of a known corpus, with whole characters."""
    found, data = read_corpus([name]), b""
    for document in found.documents:
        data += b"".join(document.chunks())
        if len(data) >= size:
            break
    return data[:size].decode(errors="ignore").encode()


class Texts:
    """The files of one comparison, in a folder."""

    def __init__(self, folder: Path, shakespeare: Path, share: float) -> None:
        data = shakespeare.read_bytes()
        cut = int(len(data) * share)
        self.folder, self.old = folder, folder / "old.txt"
        self.old.write_bytes(data[:cut])
        self.old_val = data[:cut][cut * 9 // 10 :].decode()
        self._shakespeare = data[cut:]

    def new(self, name: str, kilobytes: int) -> tuple[Path, Path]:
        """Return the files of a new text: to train on, to validate on."""
        size = 1000 * kilobytes
        data = self._shakespeare if name == "shakespeare" else head(name, size + VAL)
        paths = self.folder / f"{name}-{kilobytes}.txt", self.folder / f"{name}-{kilobytes}-val.txt"
        for path, part in zip(paths, (data[:size], data[size:][-VAL:]), strict=True):
            path.write_bytes(part)
        return paths


def old_bits(run: Path, texts: Texts) -> float:
    """Return the bits per character of a run's model on the old text."""
    return charrnn.load(run).score(texts.old_val).bits_per_char


def rows(texts: Texts, parents: Sequence[Path], seconds: str) -> Iterator[list[str]]:
    """Yield what a new text of each size is worth, from scratch and fine-tuned."""
    for name, sizes in SIZES.items():
        for size in sizes:
            new, val = texts.new(name, size)
            found: list[list[float]] = []
            for seed, parent in enumerate(parents):
                out = texts.folder / f"{name}-{size}-{seed}"
                common = (str(new), "--val", str(val), "--time", seconds, "--seed", str(seed))
                scratch = trained(*common, "--out", f"{out}-scratch")
                tuned = trained(*common, "--init-from", str(parent), "--out", f"{out}-tuned")
                mixed = trained(*common, "--init-from", str(parent), "--mix", str(texts.old), "--out", f"{out}-mixed")
                bits = [each["bits_per_char"] for each in (tuned["origin"], scratch, tuned, mixed)]
                olds = [old_bits(run, texts) for run in (parent, Path(f"{out}-tuned"), Path(f"{out}-mixed"))]
                found.append(bits + olds)
            yield [name, f"{size} kB", *(f"{statistics.median(each):.3f}" for each in zip(*found, strict=True))]


def rate_rows(texts: Texts, parents: Sequence[Path], rates: Sequence[float]) -> Iterator[list[str]]:
    """Yield what a new text comes to with each multiple of a new model's learning rate, and from scratch."""
    without = ("--dropout", "0", "--weight-drop", "0")
    ways: list[tuple[float, tuple[str, ...]]] = [*((rate, without) for rate in rates), (rates[-1], ())]
    for name, size, epochs in RATES:
        new, val = texts.new(name, size)
        found: list[list[float]] = []
        for seed, parent in enumerate(parents):
            common = (
                str(new), "--val", str(val), "--seed", str(seed), "--epochs", str(epochs), "--threads", "1",
                "--overwrite", "--out", str(texts.folder / "run"),
            )  # fmt: skip
            lr = float(charrnn.load(parent).info["plan"]["config"]["lr"])
            tuned = [
                trained(*common, "--init-from", str(parent), "--lr", str(rate * lr), *dropout) for rate, dropout in ways
            ]
            scratch = trained(*common, "--hidden", "96")
            before = [tuned[0]["origin"]["bits_per_char"], tuned[0]["baselines"]["ngram"]]
            found.append([*before, *(each["bits_per_char"] for each in (*tuned, scratch))])
        columns = (f"{statistics.median(each):.3f}" for each in zip(*found, strict=True))
        yield [name, f"{size} kB", str(epochs), *columns]


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shakespeare", type=Path, metavar="FILE")
    parser.add_argument("--seconds", type=int, default=60, help="of each training [60]")
    parser.add_argument("--parent-seconds", type=int, default=60, help="of the model to start from [60]")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", default="", help="multiples of a new model's learning rate, separated by commas")
    options = parser.parse_args()
    rates = [float(each) for each in options.rates.split(",") if each]
    with tempfile.TemporaryDirectory() as folder:
        texts = Texts(Path(folder), options.shakespeare, 0.538 if rates else 0.9)
        parents = [Path(folder) / f"parent-{seed}" for seed in range(options.seeds)]
        bound = (
            ("--hidden", "96", "--steps", "2500", "--threads", "1")
            if rates
            else ("--time", f"{options.parent_seconds}s")
        )
        for seed, parent in enumerate(parents):
            trained(str(texts.old), *bound, "--seed", str(seed), "--out", str(parent))
        if rates:
            ways = [*(f"{rate:g}" for rate in rates), f"{rates[-1]:g}, dropout"]
            heads = ["text", "size", "epochs", "as it was", "5-gram", *ways, "from scratch"]
            lines = rate_rows(texts, parents, rates)
        else:
            new = ["as it was", "from scratch", "fine-tuned", "with --mix"]
            heads = ["new text", "size", *new, *(f"old text: {each}" for each in (new[0], *new[2:]))]
            lines = rows(texts, parents, f"{options.seconds}s")
        print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}", flush=True)
        for row in lines:
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()

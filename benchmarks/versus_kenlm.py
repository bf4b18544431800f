"""Scoring lines, `charrnn eval` against KenLM (Heafield 2011): quality, speed and memory.

    python benchmarks/versus_kenlm.py [TEXT] [--records] [--model MODEL] [--time 60s]

TEXT is a file or a known corpus. Its part to train on becomes a 5-gram of characters, by the counts of
`charrnn.scoring.kneser_ney`, in an ARPA file that the package `kenlm` reads; and a model, by `charrnn train TEXT`.
Both score the lines of the other part, each from its start and with its end. KenLM splits at white space, so that a
character is called by its code point. Its probabilities have to be those of `kneser_ney`: else the exit status is 1.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arpa import arpa_lines
from contest import contest, serve
from trained import trained

from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.scoring.kneser_ney import ORDER, Array, kneser_ney_texts, ngram_tables
from charrnn.tokenizers.tokenizer import Tokenizer

TOLERANCE = 1e-4
"""Of log10 p of a character: KenLM has it in float32."""

RUNS = 5
"""Of each process; the median counts."""

PEAK = """
import os, subprocess, sys, time
begin = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
print(time.perf_counter() - begin, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
sys.exit(status != 0)
"""
"""A process that starts another one: were it started by this one, its peak would begin at the memory in use here."""

QUERY = """
import sys
import kenlm
model = kenlm.Model(sys.argv[1])
with open(sys.argv[2], encoding="utf-8", newline="\\n") as stream:
    for line in stream:
        words = " ".join(f"{ord(char):x}" for char in line[:-1])
        print(model.score(words), line, end="", sep="\\t")
"""
"""What `charrnn eval --lines` does, by KenLM."""


def read_dataset(text: str, records: bool) -> Dataset:
    """Return a text as `charrnn train` splits and encodes it; exit where it has no lines."""
    dataset = prepare(read_corpus([text], TextFormat(b"\n" if records else b"")), None, PrepareOptions())
    if ord("\n") not in dataset.tokenizer.table:
        raise SystemExit(f"{text} has no lines to learn from")
    return dataset


def train_lines(dataset: Dataset, newline: int) -> list[Array]:
    """Return the ids of each line to train on, with its end, which the last may lack."""
    lines = []
    for text in dataset.train.texts():
        pieces = np.split(text, np.flatnonzero(text == newline) + 1)
        if len(pieces[-1]):
            pieces[-1] = np.append(pieces[-1], newline)
        lines += [piece for piece in pieces if len(piece)]
    return lines


def val_lines(dataset: Dataset) -> list[bytes]:
    """Return each line to validate on, without its end."""
    return [line for text in dataset.val_texts for line in text.removesuffix(b"\n").split(b"\n")]


def names_of(tokenizer: Tokenizer, newline: int) -> list[str]:
    """Return what each token is called: its code point, in hex; `<unk>`; `</s>`, which is a newline's."""
    names = [f"{point:x}" for point in tokenizer.table.tolist()] + ["<unk>"]
    names[newline] = "</s>"
    return names


def load_kenlm(arpa: str) -> Any:
    """Return an ARPA file as KenLM has it."""
    try:
        import kenlm
    except ImportError:
        raise SystemExit("versus_kenlm.py needs the package kenlm: pip install -e '.[bench]'") from None
    config = kenlm.Config()
    config.show_progress = False
    return kenlm.Model(arpa, config)


def check_equal(found: Array, ours: Array, lines: list[Array]) -> float:
    """Return the largest difference of two log10 p of a character; exit where it is more than `TOLERANCE`."""
    if found.shape != ours.shape:
        raise SystemExit(f"KenLM has {len(found):,} probabilities, kneser_ney {len(ours):,}")
    differences = np.abs(found - ours)
    worst = int(differences.argmax())
    if not differences[worst] <= TOLERANCE:
        line = int(np.searchsorted(np.cumsum([len(line) for line in lines]), worst, "right"))
        raise SystemExit(f"line {line + 1}: KenLM has log10 p {found[worst]:.6f}, kneser_ney {ours[worst]:.6f}")
    return float(differences[worst])


def by_kenlm(arpa: str, sentences: str) -> Callable[[], object]:
    """Return what scores all lines of a file of words, read before."""
    model = load_kenlm(arpa)
    lines = Path(sentences).read_text().splitlines()
    return lambda: [model.score(line) for line in lines]


def by_charrnn(model: str, lines: str) -> Callable[[], object]:
    """Return what scores all lines of a file, read before."""
    from charrnn import Model

    loaded, texts = Model.load(model), Path(lines).read_bytes().removesuffix(b"\n").split(b"\n")
    return lambda: list(loaded.score_many(texts))


def timed_process(command: list[str]) -> tuple[float, float]:
    """Return the seconds of a command from its start to its end, and its peak memory in bytes: medians."""
    runs = []
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-S", "-c", PEAK, *command], stdout=subprocess.PIPE, check=True)
        runs.append([float(each) for each in done.stdout.split()])
    seconds, peak = zip(*runs, strict=True)
    return statistics.median(seconds), statistics.median(peak)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Make both models, check, measure, and print a Markdown table."""
    from charrnn import Model

    dataset = read_dataset(options.text, options.records)
    tokenizer = dataset.tokenizer
    newline = int(tokenizer.encode(b"\n")[0])
    texts = val_lines(dataset)
    lines = [tokenizer.encode(text + b"\n") for text in texts]
    chars = sum(map(len, lines))
    begin = time.perf_counter()
    learnt = train_lines(dataset, newline)
    names = names_of(tokenizer, newline)
    files = {each: str(folder / each) for each in ("ngrams.arpa", "sentences", "lines")}
    with Path(files["ngrams.arpa"]).open("w") as stream:
        stream.writelines(arpa_lines(ngram_tables(learnt, tokenizer.size), names))
    took = time.perf_counter() - begin
    sentences = [" ".join(names[each] for each in line[:-1]) for line in lines]
    Path(files["sentences"]).write_text("".join(line + "\n" for line in sentences))
    Path(files["lines"]).write_bytes(b"".join(text + b"\n" for text in texts))

    kenlm = load_kenlm(files["ngrams.arpa"])
    log10p = np.array([p for line in sentences for p, _, _ in kenlm.full_scores(line)])
    ours = np.log10(kneser_ney_texts(learnt, lines, tokenizer.size))
    difference = check_equal(log10p, ours, lines)
    unknown = sum(int(np.count_nonzero(line == tokenizer.unknown)) for line in lines)
    ngram_bits = (unknown * tokenizer.unknown_cost / math.log(2) - log10p.sum() / math.log10(2)) / chars

    model = options.model or str(folder / "model")
    if not options.model:
        kind = ["--records"] if options.records else []
        trained(options.text, *kind, "--time", options.time, "--out", model)
    scores = list(Model.load(model).score_many(texts))
    scored = sum(score.chars for score in scores)
    if scored != chars:
        raise SystemExit(f"score_many has {scored:,} characters, KenLM {chars:,}")
    bits = sum(score.bits for score in scores) / chars

    commands = {
        "KenLM": ("kenlm", files["ngrams.arpa"], files["sentences"]),
        "charrnn": ("charrnn", model, files["lines"]),
    }
    turns = contest(commands, __file__, rounds=options.rounds)
    speeds = {name: statistics.median(each) * chars for name, each in turns.items()}
    query = [sys.executable, "-c", QUERY, files["ngrams.arpa"], files["lines"]]
    kenlm_seconds, kenlm_peak = timed_process(query)
    command = [sys.executable, "-m", "charrnn", "eval", "--lines", "-m", model, files["lines"]]
    seconds, peak = timed_process(command)

    print(f"{options.text}: a {ORDER}-gram of {len(learnt):,} lines, written in {took:.1f} s;", end=" ")
    print(f"{len(lines):,} lines of {chars:,} characters are scored, {unknown:,} of them unknown")
    print(f"log10 p by KenLM and by kneser_ney differ by {difference:.1e} at most\n")
    print("| scorer | bits per character | characters a second | peak memory, MB |\n|---|---|---|---|")
    rows = [
        (f"KenLM {ORDER}-gram, `score` alone", ngram_bits, speeds["KenLM"], math.nan),
        (f"KenLM {ORDER}-gram, a process from its start", ngram_bits, chars / kenlm_seconds, kenlm_peak),
        ("charrnn, `score_many` alone", bits, speeds["charrnn"], math.nan),
        ("`charrnn eval --lines`, a process from its start", bits, chars / seconds, peak),
    ]
    for name, each_bits, speed, memory in rows:
        print(f"| {name} | {each_bits:.4f} | {speed:,.0f} | {'' if math.isnan(memory) else f'{memory / 1e6:.0f}'} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default="python-docs", metavar="TEXT")
    parser.add_argument("--records", action="store_true", help="each line is learnt from its start to its end")
    parser.add_argument("--model", help="one that was trained on TEXT before; else one is trained")
    parser.add_argument("--time", default="60s", help="of that training")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        name, *files = json.loads(options.contender)
        serve((by_kenlm if name == "kenlm" else by_charrnn)(*files), 1)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(options, Path(folder))


if __name__ == "__main__":
    main()

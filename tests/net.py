"""Compare this tree with another one, bit for bit: 21 tiny trainings, and what the models sample and score.

    python tests/net.py OTHER [--core] [--cache FILE]

OTHER is a checkout of an older commit, with its core built (66ff440 is where the redesign began). Each tree runs in
processes of its own; weights, optimizer state, logged losses, samples and scores must be equal to the last bit, and a
run that the other tree has begun must go on here as it does there. What the command line has renamed since is
translated here. `--core` builds the self-test of both cores and compares its hash; `--cache` keeps what OTHER gave.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import safetensors.numpy

HERE = Path(__file__).parents[1]

STREAM = "\n".join(topics[topic] for topic in sorted(topics)[:12]).encode()[:12_000]
RECORDS = b"\n".join(sorted(set(STREAM.split()))) + b"\n"
HELD_OUT = "\n".join(topics[topic] for topic in sorted(topics)[12:14]).encode()[:1500]

SMALL = [
    *("--batch", "4", "--seq-len", "16", "--lr", "0.01", "--threads", "1", "--seed", "3"),
    *("--steps", "30", "--eval-every", "10", "--sample-every", "15", "--save-every", "10"),
]
CELLS = {name: ["--cell", name, "--hidden", "12"] for name in ("rnn", "lstm", "gru")}
TOKENIZERS = {
    "char": [],
    "byte": ["--tokenizer", "byte"],
    "sentencepiece": ["--tokenizer", "sentencepiece", "--vocab-size", "320"],
}
FORMS: dict[str, list[str]] = {"stream": [], "records": ["--records"]}
MORE = {
    "dropout": ["--cell", "lstm", "--hidden", "24,16", "--dropout", "0.3", "--weight-drop", "0.2"],
    "torch": ["--cell", "mgu", "--hidden", "12", "--optimizer", "rmsprop", "--engine", "torch"],
    "sgd": ["--cell", "gru", "--hidden", "12", "--optimizer", "sgd", "--schedule", "cosine", "--weight-decay", "0.01"],
}

RENAMED: dict[str, list[str]] = {
    "--metric": ["--fields"],
    "--dynamic": ["--adapt", "weights"],
    "--records": ["--records", "--split-seed", "-1"],
}
"""Options of 66ff440, and what they are here: records were held out at random."""


class Tree:
    """A checkout whose program is run."""

    def __init__(self, root: Path, *, old: bool) -> None:
        self.root, self.old = root.resolve(), old

    def run(self, *words: str, folder: Path, stdin: bytes = b"") -> bytes:
        """The stdout of a command; its options as 66ff440 called them."""
        words = tuple(new for word in words for new in ([word] if self.old else RENAMED.get(word, [word])))
        environment = {**os.environ, "PYTHONPATH": str(self.root), "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "charrnn", *words],
            cwd=folder, input=stdin, capture_output=True, env=environment, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr.decode())
        return done.stdout

    def core(self, folder: Path) -> list[str]:
        """The two lines that the self-test of the core prints first: hashes of all that it computes."""
        native = self.root / "native"
        build = [["cmake", "-S", str(native), "-B", "."], ["cmake", "--build", ".", "-j", str(os.cpu_count())]]
        for command in build:
            subprocess.run(command, cwd=folder, check=True, timeout=900, stdout=subprocess.DEVNULL)
        kernels = sorted(map(str, folder.absolute().rglob("kernels.cpp.o")))
        sources = [str(file) for file in sorted(native.glob("*.cpp")) if file.name != "kernels.cpp"]
        common = ["g++", "-std=gnu++17", "-O2", "-ffp-contract=off", "-fno-math-errno", "-pthread"]
        subprocess.run([*common, *sources, *kernels, "-o", "selftest"], cwd=folder, check=True, timeout=600)
        done = subprocess.run([str(folder / "selftest")], check=True, capture_output=True, text=True, timeout=300)
        return done.stdout.splitlines()[:2]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def tensors(file: Path) -> dict[str, str]:
    """A digest of each tensor."""
    return {name: digest(array.tobytes()) for name, array in safetensors.numpy.load_file(file).items()}


def logged(run: Path) -> list[Any]:
    """The figures of the steps and evaluations of a run."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    names = (
        "event",
        "step",
        "loss",
        "gradient_norm",
        "learning_rate",
        "nats",
        "tokens",
        "carried",
        "window_256",
        "text",
    )
    return [{name: event[name] for name in names if name in event} for event in events if event["event"] != "plan"]


def observe(tree: Tree, folder: Path, begun: Path | None) -> dict[str, Any]:
    """All that is compared, by a name.

    Args:
        folder: to work in; its runs are left there.
        begun: runs of the other tree after 30 steps, to go on with; None: this tree's own.
    """
    for name, data in (("stream", STREAM), ("records", RECORDS), ("held-out", HELD_OUT)):
        (folder / f"{name}.txt").write_bytes(data)
    seen: dict[str, Any] = {}
    runs = {
        f"{cell}-{tokenizer}-{form}": [f"{form}.txt", *CELLS[cell], *TOKENIZERS[tokenizer], *FORMS[form]]
        for cell, tokenizer, form in product(CELLS, TOKENIZERS, FORMS)
    } | {name: ["stream.txt", *options] for name, options in MORE.items()}
    for name, options in runs.items():
        tree.run("train", *options, *SMALL, "--out", name, folder=folder)
        run = folder / name
        seen[f"{name} model"] = tensors(run / "model.safetensors")
        seen[f"{name} last"] = tensors(run / "last.safetensors")
        seen[f"{name} log"] = logged(run)
        sampling = ["sample", "-m", name, "--seed", "5", "--num", "3", "--length", "60"]
        seen[f"{name} sample"] = digest(tree.run(*sampling, "--top-k", "9", "--temp", "0.9", folder=folder))
        seen[f"{name} eval"] = tree.run("eval", "-m", name, "held-out.txt", "stream.txt", folder=folder).decode()
    for name in ("lstm-char-stream", "gru-sentencepiece-records", "dropout"):
        lines = tree.run("eval", "-m", name, "--lines", folder=folder, stdin=HELD_OUT)
        seen[f"{name} lines"] = digest(lines)
        seen[f"{name} windows"] = tree.run("eval", "-m", name, "--window", "50", "held-out.txt", folder=folder).decode()
        metric = tree.run("eval", "-m", name, "--metric", "bits_per_char", "held-out.txt", folder=folder)
        seen[f"{name} metric"] = metric.decode()
    name = "lstm-char-stream"
    seen["streams"] = tree.run("eval", "-m", name, "--streams", "4", "held-out.txt", folder=folder).decode()
    seen["dynamic"] = tree.run("eval", "-m", name, "--dynamic", "held-out.txt", folder=folder).decode()
    two = ["-m", name, "-m", "gru-char-stream"]
    seen["ensemble eval"] = tree.run("eval", *two, "held-out.txt", folder=folder).decode()
    seen["ensemble sample"] = digest(tree.run("sample", *two, "--seed", "1", "--length", "80", folder=folder))
    for name in ("gru-char-records", "dropout", "torch"):
        again = folder / f"{name}-on"
        shutil.copytree((begun or folder) / name, again)
        tree.run("train", runs[name][0], "--resume", "--steps", "50", "--out", again.name, folder=folder)
        seen[f"{name} resumed"] = tensors(again / "last.safetensors")
    return seen


def main() -> int:
    """Compare, print what differs, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("--core", action="store_true")
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    here, other = Tree(HERE, old=False), Tree(arguments.other, old=True)
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, side) for side in ("other", "here", "core-other", "core-here")]
        for folder in folders:
            folder.mkdir()
        if arguments.cache and (arguments.cache / "seen.json").exists():
            folders[0] = arguments.cache
            expected = json.loads((arguments.cache / "seen.json").read_bytes())
        else:
            expected = json.loads(json.dumps(observe(other, folders[0], None)))
            if arguments.cache:
                shutil.copytree(folders[0], arguments.cache, dirs_exist_ok=True)
                (arguments.cache / "seen.json").write_text(json.dumps(expected))
        found = json.loads(json.dumps(observe(here, folders[1], folders[0])))
        if arguments.core:
            expected["core"], found["core"] = other.core(folders[2]), here.core(folders[3])
    different = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    for name in sorted(different):
        print(f"{name}:\n  other {str(expected.get(name))[:300]}\n  here  {str(found.get(name))[:300]}")
    print(f"{len(expected) - len(different)} of {len(expected)} are equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

"""The pipelines of README and of docs/pipelines.md do what they are for, with models trained in a second."""

import argparse
import base64
import csv
import difflib
import functools
import inspect
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

import charrnn
from tests.program.program import charrnn_each, command, environment
from tests.tiny import char, saved, unigram

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")

TRAIN = ("--cell", "gru", "--hidden", "48", "--batch", "16", "--seq-len", "48", "--lr", "0.01", "--threads", "1")

DRAW = random.Random(1)  # noqa: S311

PROSE = [
    line
    for topic in sorted(topics)
    for line in topics[topic].split("\n")
    if len(line) > 40 and line[0].isalpha() and not set('`"') & set(line)
]
DRAW.shuffle(PROSE)
HELD_OUT, SAMPLE = PROSE[:60], PROSE[60:160]

CODE = [
    line
    for module in (textwrap, difflib)
    for line in inspect.getsource(module).split("\n")
    if len(line) > 40 and "'" not in line and '"' not in line and re.search(r"[(\[=]", line)
][:60]
"""Lines of Python that no model has learnt."""

LOG = [
    f"2026-11-{day:02} {hour:02}:15 INFO worker {DRAW.randrange(8)}: served /page/{DRAW.randrange(99)} in {day} ms"
    for hour in range(24)
    for day in range(1, 31)
]
ODD = ["Segmentation fault (core dumped)", "~~~ out of memory ~~~", "worker INFO 2026-11-07 in ms 7 served 12:15 3:"]
"""The last one's words are usual, their order is not: its perplexity is about 20."""


def shuffled(text: str) -> str:
    """The same characters in another order."""
    return "".join(DRAW.sample(text, len(text)))


NOISE = [
    *(shuffled(line) for line in HELD_OUT[:30]),
    *(base64.b64encode(line.encode()).decode() for line in HELD_OUT[30:]),
]


def lines_of(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the texts and the models that the pipelines read."""
    folder = tmp_path_factory.mktemp("pipelines")
    mixed = [line for pair in zip(HELD_OUT, CODE, strict=True) for line in pair]
    files = {
        "good.txt": lines_of(PROSE[160:]),
        "code.py": inspect.getsource(argparse)[:60_000].encode(),
        "old.log": lines_of(LOG[:600]),
        "app.log": lines_of([*LOG[600:], *ODD]),
        "crawl.txt": lines_of([line for pair in zip(HELD_OUT, NOISE, strict=True) for line in pair]),
        "sample.txt": lines_of(SAMPLE),
        "test.txt": lines_of(SAMPLE),
        "sentences.txt": lines_of([*HELD_OUT[:8], 'a "quoted word', "nan null  two spaces"]),
        "mixed.txt": lines_of(mixed),
        "docs.jsonl": b"".join(
            json.dumps({"id": number, "text": text, "é": None}, ensure_ascii=False).encode() + b"\n"
            for number, text in enumerate(HELD_OUT[:5] + NOISE[:5])
        ),
    }
    for part in ("crawl", "sample"):
        lines = files[f"{part}.txt"].decode().splitlines()
        files[f"{part}.jsonl"] = b"".join(json.dumps({"text": line}).encode() + b"\n" for line in lines)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    runs = {
        "english": ("good.txt", "--steps", "150"),
        "python": ("code.py", "--steps", "150"),
        "log": ("old.log", "--records", "--steps", "60"),
        "lstm": ("good.txt", "--cell", "lstm", "--hidden", "16", "--steps", "40"),
    }
    trained = charrnn_each(
        *(["train", *TRAIN, *words, "--out", f"checkpoints/{name}"] for name, words in runs.items()), cwd=folder
    )
    assert [ran.code for ran in trained] == [0] * 4, trained
    shutil.copytree(folder / "checkpoints" / "english", folder / "checkpoints" / "gru")
    program = folder / "bin" / "charrnn"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.join(command())} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def variables(folder: Path) -> dict[str, str]:
    """The environment of a pipeline: `charrnn` is the program."""
    return environment({"PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])})


def bash(script: str, folder: Path) -> bytes:
    """Run a pipeline that succeeds in all its parts; return its stdout."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder, env=variables(folder), capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    reader_gone = (141,) if "| head" in script else ()
    assert done.returncode in (0, *reader_gone), done.stderr.decode()
    return done.stdout


def pipeline(part: str) -> str:
    """The one pipeline of README's section that holds a text."""
    section = README.partition("\n### Pipelines\n")[2].partition("\n## ")[0]
    pipelines = re.findall(r"^    (\S.*)$", section, re.MULTILINE)
    assert len(pipelines) == 6
    found: list[str] = [each for each in pipelines if part in each]
    assert len(found) == 1, part
    return found[0]


def blocks(title: str, language: str) -> list[str]:
    """The blocks of a section of docs/pipelines.md."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


def read(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text(encoding="utf-8").splitlines()


def test_the_noisy_half_is_dropped(folder: Path) -> None:
    """CL-25: of a file; its good lines stay, in order."""
    bash(pipeline("clean.txt"), folder)
    clean = read(folder, "clean.txt")
    assert sum(line in NOISE for line in clean) <= 3
    assert sum(line in HELD_OUT for line in clean) >= 54
    assert clean == [line for line in read(folder, "crawl.txt") if line in set(clean)]


def test_the_odd_lines_of_a_log_come_first(folder: Path) -> None:
    """CL-25."""
    ranked = bash(pipeline("sort -rg"), folder).decode().splitlines()
    assert len(ranked) == 20
    assert {line.split("\t")[3] for line in ranked[:3]} == set(ODD)


def test_python_from_english(folder: Path) -> None:
    """CL-25."""
    bash(pipeline("--classify"), folder)
    rows = [line.split("\t", 1) for line in read(folder, "which.tsv")]
    assert [text for _, text in rows] == read(folder, "mixed.txt")
    right = [name == ("english" if number % 2 == 0 else "python") for number, (name, _) in enumerate(rows)]
    assert sum(right) >= 0.95 * len(right)


def test_the_model_that_learnt_more_is_better(folder: Path) -> None:
    """CL-25: by an interval far from 0, around the difference of the two models' own scores."""
    rows = list(csv.DictReader(bash(pipeline("--compare"), folder).decode().splitlines(), delimiter="\t"))
    assert [(row["model"], row["other"]) for row in rows] == [("lstm", "gru")]
    low, difference, high = (float(rows[0][name]) for name in ("low", "difference", "high"))
    assert 0.1 < low < difference < high
    for name, run in (("bits_per_byte", "lstm"), ("other_bits_per_byte", "gru")):
        score = charrnn.load(folder / "checkpoints" / run).score((folder / "test.txt").read_bytes())
        assert float(rows[0][name]) == pytest.approx(score.bits_per_byte, abs=1e-5)


def test_scores_are_added_to_objects(folder: Path) -> None:
    """CL-25: their keys and values stay as they are; noise has the higher ones."""
    bash(pipeline("scored.jsonl"), folder)
    objects = [json.loads(line) for line in read(folder, "scored.jsonl")]
    given = [json.loads(line) for line in read(folder, "docs.jsonl")]
    scores = charrnn.load(folder / "checkpoints" / "english").score_many(each["text"] for each in given)
    for each, before, score in zip(objects, given, scores, strict=True):
        assert list(each) == ["id", "text", "é", "bits_per_byte"]
        assert before == {name: each[name] for name in before}
        assert each["bits_per_byte"] == pytest.approx(score.bits_per_byte, rel=1e-6)
    assert max(each["bits_per_byte"] for each in objects[:5]) < min(each["bits_per_byte"] for each in objects[5:])


@pytest.mark.serial
def test_a_log_is_watched(folder: Path) -> None:
    """CL-25, CL-27: an odd line is printed within a second of its being appended, and no other."""
    process = subprocess.Popen(
        ["bash", "-c", pipeline("tail -f")],  # noqa: S607
        cwd=folder, env=variables(folder), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert [process.stdout.readline().decode().rstrip("\n") for _ in ODD[:2]] == ODD[:2]  # the log's end so far
        with (folder / "app.log").open("ab", buffering=0) as log:
            for number in range(3):
                log.write(lines_of([LOG[number], f"kernel panic no. {number}"]))
                begun = time.monotonic()
                assert process.stdout.readline() == b"kernel panic no. %d\n" % number
                assert time.monotonic() - begun < 1
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # tail would wait for ever
        process.communicate()


def test_ev_19_shuffled_characters_cost_more(folder: Path) -> None:
    """EV-19: of texts that the models did not learn from. A model that knows no order sees no difference."""
    texts = {"english": HELD_OUT, "python": CODE, "log": LOG[600:]}
    for name, lines in texts.items():
        text = "\n".join(lines)
        model = charrnn.load(folder / "checkpoints" / name)
        assert model.score(shuffled(text)).perplexity > 2 * model.score(text).perplexity
    path = saved(folder / "unigram.safetensors", unigram(char(), {b"e": 3.0}))
    model = charrnn.load(path)
    assert model.score(shuffled(text)).nats == pytest.approx(model.score(text).nats, rel=1e-9)


def test_head_middle_and_tail(folder: Path) -> None:
    """Every line is in one part, in order; the shares of the sample are those of the parts' bounds."""
    [lines, objects] = blocks("Head, middle and tail", "bash")
    bash(lines, folder)
    parts = {name: read(folder, f"{name}.txt") for name in ("head", "middle", "tail")}
    crawl = read(folder, "crawl.txt")
    assert sorted(line for part in parts.values() for line in part) == sorted(crawl)
    assert all(part == [line for line in crawl if line in set(part)] for part in parts.values())
    assert set(NOISE) <= set(parts["tail"])
    model = charrnn.load(folder / "checkpoints" / "english")
    sample = sorted(score.perplexity for score in model.score_many(SAMPLE))
    for part, low, high in (("head", 0, sample[30]), ("middle", sample[29], sample[60]), ("tail", sample[59], 1e9)):
        assert parts[part]
        assert all(low < score.perplexity <= high for score in model.score_many(parts[part])), part
    bash(objects, folder)
    assert [json.loads(line)["text"] for line in read(folder, "head.jsonl")] == parts["head"]


@pytest.fixture(scope="module")
def words(folder: Path) -> list[dict[str, str]]:
    """The rows of words.tsv, which the page's command wrote."""
    [script] = blocks("Surprisal of each word, into pandas", "bash")
    bash(script, folder)
    with (folder / "words.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_words_add_up_to_their_line(folder: Path, words: list[dict[str, str]]) -> None:
    lines = read(folder, "sentences.txt")
    texts: defaultdict[int, list[str]] = defaultdict(list)
    bits: defaultdict[int, float] = defaultdict(float)
    for row in words:
        texts[int(row["line"])].append(row["text"])
        bits[int(row["line"])] += float(row["bits"])
    assert list(texts.values()) == [line.split() for line in lines]
    scores = charrnn.load(folder / "checkpoints" / "english").score_many(lines)
    assert list(bits.values()) == pytest.approx([score.bits for score in scores], abs=1e-4)


def test_words_in_pandas(folder: Path, words: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: the page's block is not run")
    monkeypatch.chdir(folder)
    names = run_python("Surprisal of each word, into pandas")
    assert list(names["words"]["text"]) == [row["text"] for row in words]
    assert names["bits_of_line"].sum() == pytest.approx(sum(float(row["bits"]) for row in words))
    assert len(names["most_surprising"]) == 10


def run_python(title: str) -> dict[str, Any]:
    """Run the block of Python of a section; return its names."""
    [block] = blocks(title, "python")
    names: dict[str, Any] = {}
    exec(compile(block, title, "exec"), names)  # noqa: S102
    return names


@pytest.mark.slow
@pytest.mark.parametrize(("number", "tool"), [(0, "parallel"), (1, "split")])
def test_several_processes(number: int, tool: str, folder: Path) -> None:
    """Their rows are those of one."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed: the page's block is not run")
    expected = bash("charrnn eval -m english --lines crawl.txt", folder).splitlines()
    script = blocks("Several processes", "bash")[number].replace("--block 10M", "--block 3k")
    bash(script, folder)
    found = (folder / "scored.tsv").read_bytes().splitlines()
    assert [row.split(b"\t")[1:] for row in found] == [row.split(b"\t")[1:] for row in expected]
    assert [float(row.split(b"\t")[0]) for row in found] == pytest.approx(
        [float(row.split(b"\t")[0]) for row in expected], rel=1e-5
    )


class Document:
    """As datatrove's, as far as a filter uses it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.metadata: dict[str, Any] = {}


class BaseFilter:
    """Takes the place of datatrove's where that is not installed: what the step uses of it, in the same order."""

    def __init__(self, exclusion_writer: object = None, batch_size: int = 1) -> None:
        self.batch_size = batch_size

    def run(self, data: list[Document]) -> Iterator[Document]:
        """Yield the documents that pass."""
        for begin in range(0, len(data), self.batch_size):
            batch = data[begin : begin + self.batch_size]
            for doc, passes in zip(batch, self.filter_batch(batch), strict=True):
                if passes is True:
                    yield doc

    def filter_batch(self, batch: list[Document]) -> list[bool | tuple[bool, str]]:
        """Return what becomes of each document."""
        raise NotImplementedError


def test_a_step_of_datatrove(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents above the limit are dropped, with the reason; all have their score."""
    document: Any = Document
    try:
        import datatrove.data
        import datatrove.pipeline.filters.base_filter

        document = functools.partial(datatrove.data.Document, id="")
    except ImportError:
        for name in ("datatrove", "datatrove.pipeline", "datatrove.pipeline.filters"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        module = types.ModuleType("datatrove.pipeline.filters.base_filter")
        vars(module)["BaseFilter"] = BaseFilter
        monkeypatch.setitem(sys.modules, module.__name__, module)
    path = folder / "checkpoints" / "english"
    step = run_python("A step of datatrove")["CharRNNFilter"](path, 3.5, batch_size=50)
    texts = read(folder, "crawl.txt")
    documents = [document(text=text) for text in texts]
    passed = [doc.text for doc in step.run(documents)]
    scores = [score.bits_per_byte for score in charrnn.load(path).score_many(texts)]
    assert passed == [text for text, score in zip(texts, scores, strict=True) if score <= 3.5]
    assert 54 <= len(passed) <= 66
    assert [doc.metadata["bits_per_byte"] for doc in documents] == pytest.approx(scores, rel=1e-6)
    assert step.filter(document(text=NOISE[0])) == (False, "bits_per_byte")

"""What `charrnn eval` prints is true, whatever the text came in."""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.program.program import charrnn, command, environment

OBJECTS = [{"text": "the cat"}, {"text": ""}, {"text": "sat"}]


def lines_of(objects: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def values(out: bytes, name: str = "perplexity") -> list[Any]:
    """One key of each object."""
    return [json.loads(line)[name] for line in out.splitlines()]


def column(out: bytes, number: int = 0) -> list[float]:
    return [float(line.split(b"\t")[number]) for line in out.splitlines()]


def test_ev_11_a_field_that_no_object_has(stream_run: Path) -> None:
    """The names that there are."""
    ran = charrnn("eval", "-m", stream_run, "--jsonl", "txet", stdin=lines_of(OBJECTS))
    assert (ran.code, values(ran.out)) == (4, [None] * 3)
    message = "no object has text in the field 'txet'; did you mean 'text'? there is text in 'text'"
    assert ran.complaint == f"Error: {message}"


def test_ev_11_fields_that_some_objects_have(stream_run: Path) -> None:
    """Null and one warning where there is no text; an empty text has its end; `a.b` reaches into objects."""
    given = [*OBJECTS, {"id": 1}, {"text": None}, {"text": 5}]
    ran = charrnn("eval", "-m", stream_run, "--jsonl", "text", stdin=lines_of(given))
    assert ran.code == 0
    assert [each is None for each in values(ran.out)] == [False] * 3 + [True] * 3
    assert ran.err == b"Warning: 3 of 6 objects have no text in the field 'text', or no string: their score is null\n"
    nested = lines_of([{"a": {"b": "sat"}}, {"a.b": "sat", "a": {"b": "the cat"}}])
    found = values(charrnn("eval", "-m", stream_run, "--jsonl", "a.b", stdin=nested).out)
    assert found[0] == found[1] > 1
    readme = (Path(environment()["PYTHONPATH"]) / "README.md").read_text(encoding="utf-8")
    assert [line for line in readme.splitlines() if "jq" in line and "<" in line and "!= null" not in line] == []


def test_ev_08_the_same_text_has_the_same_score_however_it_comes(stream_run: Path, record_run: Path) -> None:
    """Each with its end, the separator or a newline."""
    texts = ["the cat", "", "sat on the mat"]
    given = {
        "--lines": "".join(f"{text}\n" for text in texts).encode(),
        "--tsv=2": "".join(f"1\t{text}\tx\n" for text in texts).encode(),
        "--jsonl=t": lines_of({"t": text} for text in texts),
    }
    for run, one, other in ((stream_run, "--lines", "--jsonl=t"), (record_run, "--tsv=2", "--jsonl=t")):
        expected = column(charrnn("eval", "-m", run, one, stdin=given[one]).out)
        assert values(charrnn("eval", "-m", run, other, stdin=given[other]).out) == pytest.approx(expected, rel=1e-6)
    script = (
        "import sys, charrnn; model = charrnn.load(sys.argv[1])\n"
        "score = getattr(model, 'score_many', None) or model.score_lines\n"
        f"print(*(each.perplexity for each in score({texts!r})), sep='\\n')"
    )
    words = [sys.executable, "-c", script, str(record_run)]
    done = subprocess.run(words, capture_output=True, env=environment(), check=True, timeout=60)
    assert column(done.stdout) == pytest.approx(expected, rel=1e-6)


def test_ev_08_a_separator_inside_a_text_ends_a_record(record_run: Path, tmp_path: Path) -> None:
    """As in `eval FILE`; the end is added where it is missing. What is scored exactly is not called approximate."""
    texts = ["the\nmodule", "a\nb\nc\n", "import"]
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_bytes(text.encode())
    ran = charrnn("eval", "-m", record_run, "--json", "0", "1", "2", cwd=tmp_path)
    expected = values(ran.out)[:3]
    objects = charrnn("eval", "-m", record_run, "--jsonl", "t", stdin=lines_of({"t": text} for text in texts))
    assert values(objects.out) == pytest.approx(expected, rel=1e-6)
    ran = charrnn("eval", "-m", record_run, "--streams", "2", tmp_path / "0")
    assert (ran.code, ran.error) == (2, "Error: --streams cannot be used with a model of records")


def test_figures_without_unknown_characters_divide_by_what_they_sum(stream_run: Path, tmp_path: Path) -> None:
    """The nats of the known tokens by their number; no other figure leaves them out. A file is scored as it is."""
    for name, text in (("known", "the cat"), ("all", "the cat\u2603"), ("none", "\u2603")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    ran = charrnn("eval", "-m", stream_run, "--json", "known", "all", "none", cwd=tmp_path)
    known, whole, none = (json.loads(line) for line in ran.out.splitlines()[:3])
    assert (known["tokens"], whole["tokens"], whole["oov"], whole["chars"]) == (7, 8, 1, 8)
    assert whole["perplexity_without_oov"] == pytest.approx(math.exp(known["nats"] / 7))
    assert whole["bits_per_char"] == pytest.approx(whole["nats"] / math.log(2) / 8)
    assert none["perplexity_without_oov"] is None
    ran = charrnn("eval", "-m", stream_run, "--unknown", "skip", "--json", "all", cwd=tmp_path)
    for found in map(json.loads, ran.out.splitlines()):  # where there is such an option
        assert found["bits_per_char"] == pytest.approx(known["bits_per_char"])
    assert ran.code == 2
    assert "perplexity_without_oov" in ran.error


def test_chosen_fields_of_two_files_are_a_row_each_and_the_total(stream_run: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"the cat\n")
    (tmp_path / "b").write_bytes(b"sat\n")
    ran = charrnn("eval", "-m", stream_run, "-f", "tokens", "a", "b", cwd=tmp_path)
    assert (ran.code, ran.out) == (0, b"8\n4\n12\n")


BOM = b"\xef\xbb\xbf"


def test_marks_and_blank_lines_in_tables_and_objects(stream_run: Path) -> None:
    """A byte order mark before a heading is no part of a name, and columns come in its place; blank lines pass."""
    table = BOM + b"text\tid\r\nsat\t1\r\n\n" + BOM + b"cat\t2\n"
    ran = charrnn("eval", "-m", stream_run, "--tsv", "text", "-f", "tokens", stdin=table)
    assert ran.out == b"tokens\ttext\tid\r\n4\tsat\t1\r\n\n4\tcat\t2\n"
    objects = BOM + b'{"t": "sat"}\n \n' + BOM + b'{"t": "a"}\r\n'
    ran = charrnn("eval", "-m", stream_run, "--jsonl", "t", "-f", "tokens", stdin=objects)
    assert (ran.code, ran.err) == (0, b"")
    assert ran.out == b'{"t": "sat", "tokens": 4}\n \n{"t": "a", "tokens": 2}\n'


LATIN1 = "; if it is Latin-1, iconv -f LATIN1 -t UTF-8 converts it; else --errors replace or skip"


def test_a_fault_has_one_place_and_can_be_skipped(stream_run: Path, tmp_path: Path) -> None:
    """A line of text or JSON, or a file: it is named, and counted where it is left out."""
    (tmp_path / "a").write_bytes(b"sat\ns\xff\nsat\n")
    (tmp_path / "b").write_bytes(b"sat\n")
    (tmp_path / "c").write_bytes(b'{"t": "sat"}\n{"t": "s\n')
    ran = charrnn("eval", "-m", stream_run, "--lines", "a", cwd=tmp_path)
    assert (ran.code, ran.complaint) == (4, f"Error: 'a', line 2: invalid UTF-8 at byte 1{LATIN1}")
    ran = charrnn("eval", "-m", stream_run, "--lines", "a", "b", "--errors", "skip", cwd=tmp_path)
    assert (ran.code, ran.out.count(b"\n")) == (0, 3)
    assert ran.err == b"Warning: left out: 1 line; the first: 'a', line 2: invalid UTF-8 at byte 1\n"
    ran = charrnn("eval", "-m", stream_run, "--jsonl", "t", "c", cwd=tmp_path)
    assert ran.code == 4
    fault = "Error: 'c', line 2: not valid JSON at column 7: [A-Za-z ]+; --errors skip leaves the line out"
    assert re.fullmatch(fault, ran.complaint)
    ran = charrnn("eval", "-m", stream_run, "a", "b", "--errors", "skip", cwd=tmp_path)
    assert (ran.code, ran.out.count(b"\n")) == (0, 1)
    assert ran.err == b"Warning: left out: 1 file; the first: 'a': invalid UTF-8 at byte 5 (line 2)\n"


def test_a_line_of_json_over_64_mb(stream_run: Path) -> None:
    given = b'{"t": "sat", "x": "' + b"a" * (65 << 20) + b'"}\n{"t": "sat"}\n'
    ran = charrnn("eval", "-m", stream_run, "--jsonl", "t", stdin=given)
    assert ran.code == 4
    assert "line 1: a line of JSON longer than 64 MB" in ran.error


PEAK = (
    "import sys; from charrnn.__main__ import main; code = main(sys.argv[1:])\n"
    "print(*(line for line in open('/proc/self/status') if 'VmHWM' in line), file=sys.stderr); sys.exit(code)"
)


def peak(run: Path, line: bytes) -> int:
    """Return bytes of memory."""
    words = [sys.executable, "-c", PEAK, *command("eval", "-m", run, "--lines")[3:]]
    done = subprocess.run(words, input=line, capture_output=True, env=environment(), check=True, timeout=300)
    return int(done.stderr.split()[-2]) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("megabytes", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_ev_16_a_long_line_takes_a_few_times_its_length(megabytes: int, stream_run: Path) -> None:
    """Read, put together and written, beside what any text takes."""
    line = b"the cat sat on the mat. " * (megabytes * 1_000_000 // 24)
    assert peak(stream_run, line) - peak(stream_run, b"the cat\n") < 8_000_000 + 6 * len(line)


@pytest.mark.serial
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_ev_16_a_text_is_not_held_while_weights_adapt(stream_run: Path, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(300 << 20)
    words = command("eval", "-m", str(stream_run), "--adapt=weights", str(tmp_path / "large"))
    with subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL) as process:
        status = Path(f"/proc/{process.pid}/status")
        for _ in range(30):
            time.sleep(0.05)
            most = max(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if "VmHWM" in line)
        is_running = process.poll() is None
        process.kill()
    assert is_running
    assert most < 200 << 20


THREADS = """
import multiprocessing, pickle, random, sys
from concurrent.futures import ThreadPoolExecutor
import charrnn

model = charrnn.load(sys.argv[1])
draw = random.Random(1)
text = "the cat sat on the mat and the dog ran " * 9
texts = [text[begin : begin + draw.randrange(1, 40)] for begin in (draw.randrange(300) for _ in range(1600))]
scores = [model.score(each) for each in texts]
samples = [model.sample(seed=seed, length=50) for seed in range(40)]
with ThreadPoolExecutor(8) as pool:
    sampled = pool.map(lambda seed: model.sample(seed=seed, length=50), range(40))
    wrong = sum(found != score for found, score in zip(pool.map(model.score, texts), scores))
    assert list(sampled) == samples
assert not wrong, f"{wrong} of {len(texts)} are wrong"
assert pickle.loads(pickle.dumps(model)).score(text) == model.score(text)
with multiprocessing.get_context("fork").Pool(2) as processes:
    assert processes.map(model.score, texts[:20]) == scores[:20]
"""


def test_threads_and_processes_share_a_model(stream_run: Path) -> None:
    """Eight threads score while others sample; a model can be pickled."""
    words = [sys.executable, "-c", THREADS, str(stream_run)]
    done = subprocess.run(words, capture_output=True, env=environment(), check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")

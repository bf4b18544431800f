"""`charrnn sample`: text on stdout and nothing else, harmless on a terminal and exact in a pipe."""

import io
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SAMPLE_PRECISIONS
from charrnn.console import streams
from charrnn.engines.native import lib as core
from charrnn.generation import generate as sampling
from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny

HOSTILE = b"\x1b]0;pwn\x07\x1b[2J\x9b31m" + "\x9bm\r\u202e\u2066\x7f\b\n\t\r\n.é".encode() + b"\xff"
SHOWN = rb"\x1b]0;pwn\x07\x1b[2J" + "\ufffd31m".encode() + rb"\x9bm\x0d<U+202E><U+2066>\x7f\x08"
SHOWN += "\n\t\r\n.é\ufffd".encode()


@pytest.fixture(autouse=True)
def _models(tmp_path: Path) -> None:
    """`char` and `byte` write noise, `poem` and `hostile` the same over and over."""
    runs: dict[str, Checkpoint] = {
        "char": tiny.drawn(tiny.char()),
        "byte": tiny.drawn(ByteTokenizer()),
        "poem": tiny.reciting(tiny.char(), "né 日😀\r\n".encode()),
        "hostile": tiny.reciting(ByteTokenizer(), HOSTILE),
    }
    for name, model in runs.items():
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        tiny.saved(tmp_path / "checkpoints" / name / "model.safetensors", model)


def objects(data: bytes) -> list[dict[str, Any]]:
    def refuse(name: str) -> float:
        raise AssertionError(name)

    return [json.loads(line, parse_constant=refuse) for line in data.decode().split("\n")[:-1]]


def test_the_same_seed_writes_the_same(run: tiny.Program) -> None:
    """CL-26, CL-01."""
    first = run("sample", "-m", "char", "--seed", "7")
    assert (first.code, first.err) == (0, b"")
    assert len(first.out.decode()) == 500
    assert run("sample", "-m", "char", "--seed", "7") == first
    assert run("sample", "-m", "char", "--seed", "8").out != first.out
    three = run("sample", "-m", "char", "--seed", "7", "--num", "3").out
    assert three.startswith(first.out + b"\n")
    assert len(three.decode()) == 3 * 500 + 2
    assert run("sample", "-m", "char", "--seed", "7", "-n", "70", "-l", "500").out.startswith(three + b"\n")


def test_without_a_seed_one_is_named(run: tiny.Program) -> None:
    ran = run("sample", "-m", "char", "-l", "50")
    seed = ran.err.split()[1].strip(b":").decode()
    assert ran.err == f"seed {seed}: --seed {seed} writes the same again\n".encode()
    assert run("sample", "-m", "char", "-l", "50", "--seed", seed).out == ran.out
    assert run("sample", "-m", "char", "-q").err == b""


def test_what_a_run_of_the_program_writes_goes_to_a_file() -> None:
    """CL-01: out holds the sample, err nothing of it; no ESC in either."""
    ran = tiny.shell("charrnn sample -m poem -l 9 > out 2> err; echo $?")
    assert ran.out == b"0\n"
    assert Path("out").read_bytes() == "né 日😀\r\nné".encode()
    assert Path("err").read_bytes().startswith(b"seed ")
    assert b"\x1b" not in Path("err").read_bytes()


def test_nothing_is_rewritten(run: tiny.Program) -> None:
    """IN-08: CR LF, and characters of every width."""
    assert run("sample", "-m", "poem", "--temp", "0", "-l", "14", "--seed", "1").out == "né 日😀\r\n".encode() * 2


def test_controls(run: tiny.Program) -> None:
    """NU-04: greedy is greedy whatever the seed; NU-05: more than all tokens are all."""
    greedy = {
        run("sample", "-m", "char", "--temp", temp, "--seed", seed).out for temp in ("0", "1e-8") for seed in "12"
    }
    assert len(greedy) == 1
    assert run("sample", "-m", "char", "--top-k", "1", "--seed", "1").out in greedy
    plain = run("sample", "-m", "char", "--seed", "1").out
    assert run("sample", "-m", "char", "--seed", "1", "--top-k", "100000").out == plain
    for more in (["--top-k", "2"], ["--top-p", "0.3"], ["--min-p", "0.3"], ["--temp", "0.2"]):
        assert len(set(run("sample", "-m", "char", "--seed", "1", *more).out)) < len(set(plain))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--temp", "nan"], "--temp must be a finite number, 0 or more, not 'nan'"),
        (["--temp", "inf"], "--temp must be"),
        (["--temp", "-1"], "--temp must be"),
        (["--temp", "1e400"], "--temp must be"),
        (["--top-p", "0"], "--top-p must be a finite number, above 0 and at most 1, not '0'"),
        (["--top-p", "1.1"], "--top-p must be"),
        (["--top-k", "-1"], "--top-k must be a whole number, 0 or more, not '-1'"),
        (["--top-k", "2.5"], "--top-k must be"),
        (["--min-p", "2"], "--min-p must be"),
        (["--num", "-1"], "--num must be"),
        (["--length", "-5"], "--length must be"),
        (["--seed", "-1"], "--seed must be"),
        (["--unknown", "score"], "--unknown must be one of error, skip, nearest, not 'score'"),
        (["--prompt", "a", "--prompt-file", "b"], "--prompt and --prompt-file cannot be used together"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_usage(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    """NU-05, CL-16: refused before the model is looked for."""
    ran = run("sample", "-m", "no such model", *arguments)
    assert ran.code == 2
    assert complaint in ran.error


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("日", "né "), ("\r\n", "né 日😀"), ("é 日", "n"), ("zzz", "né 日😀\r\nné 日😀"), ("", "né 日😀\r\nné 日😀")],
)
def test_stop(stop: str, expected: str, run: tiny.Program) -> None:
    """With several texts each ends at its own; what may begin a stop string is returned after all."""
    for num in (1, 2):
        ran = run("sample", "-m", "poem", "--temp", "0", "-l", "12", "--seed", "1", "--stop", stop, "-n", str(num))
        assert ran.out == "\n".join([expected] * num).encode()


@pytest.mark.parametrize("num", [1, 3])
def test_json(num: int, run: tiny.Program) -> None:
    """CL-19: an object a text."""
    ran = run("sample", "-m", "poem", "--temp", "0", "-l", "7", "--seed", "5", "--json", "-n", str(num))
    assert objects(ran.out) == [
        {
            "index": n,
            "line": None,
            "prompt": "",
            "text": "né 日😀\r\n",
            "nats": 0.0,
            "tokens": 7,
            "perplexity": 1.0,
            "seed": 5,
            "finish_reason": "length",
        }
        for n in range(num)
    ]
    hostile = run("sample", "-m", "hostile", "--temp", "0", "-l", str(len(HOSTILE)), "--seed", "5", "--json").out
    assert objects(hostile)[0]["text"] == HOSTILE.decode("utf-8", "replace")


def test_prompts(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """IN-14: the same from an option, a file and stdin; not repeated; empty is none."""
    plain = run("sample", "-m", "char", "--seed", "1")
    assert run("sample", "-m", "char", "--seed", "1", "--prompt", "") == plain
    Path("empty").write_bytes(b"")
    assert run("sample", "-m", "char", "--seed", "1", "--prompt-file", "empty") == plain
    Path("p").write_bytes("né 日".encode())
    prompted = run("sample", "-m", "char", "--seed", "1", "-p", "né 日")
    assert prompted.out != plain.out
    assert run("sample", "-m", "char", "--seed", "1", "--prompt-file", "p") == prompted
    assert run("sample", "-m", "char", "--seed", "1", "--prompt-file", "-", stdin="né 日".encode()) == prompted
    monkeypatch.setenv("CHARRNN_PROMPT", "né 日")
    assert run("sample", "-m", "char", "--seed", "1") == prompted


def test_a_megabyte_of_prompt(run: tiny.Program) -> None:
    """IN-14. (A tenth of it: every token waits for the one before.)"""
    Path("p").write_bytes(b"the cat sat. " * 8000)
    ran = run("sample", "-m", "char", "--seed", "1", "--prompt-file", "p", "-l", "20")
    assert len(ran.out.decode()) == 20


def test_a_prompt_in_any_locale() -> None:
    """IN-14: the bytes as they were typed."""
    script = "charrnn sample -m char --seed 1 -l 40 --prompt 'né 日' --stop 'é'"
    plain = tiny.shell(script)
    assert plain.code == 0
    for variables in ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0", "LC_ALL=C", "PYTHONIOENCODING=latin-1"):
        assert tiny.shell(f"export {variables}; {script}") == plain
    assert tiny.shell("charrnn sample -m byte --seed 1 -l 40 --prompt $'\\xff'").code == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--prompt", "aÜ\x1bÜ"],
            "--prompt: the model has never seen U+00DC LATIN CAPITAL LETTER U WITH DIAERESIS @ 1, U+001B <control> @ 2;"
            " --unknown skip leaves such characters out, --unknown nearest takes the nearest that it knows",
        ),
        (["--prompt", "\udcff"], "--prompt: invalid UTF-8 at byte 0 (line 1)"),
        (["--prompt-file", "bad"], "'bad': invalid UTF-8 at byte 2 (line 2)"),
        (["--prompt-file", "gone\n"], "cannot read 'gone\\n': No such file or directory"),
        (["--prompt-file", "."], "cannot read '.': Is a directory"),
    ],
    ids=str,
)
def test_a_prompt_that_cannot_be_used(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    """IN-13, IN-14."""
    Path("bad").write_bytes(b"a\n\xff")
    ran = run("sample", "-m", "char", *arguments)
    assert (ran.code, ran.error) == (4, f"Error: {complaint}")


def test_unseen_characters_of_a_prompt(run: tiny.Program) -> None:
    """IN-13: left out, or the nearest in their place."""
    skipped = run("sample", "-m", "char", "--seed", "1", "--prompt", "THÖ cat", "--unknown", "skip")
    assert skipped == run("sample", "-m", "char", "--seed", "1", "--prompt", " cat")
    nearest = run("sample", "-m", "char", "--seed", "1", "--prompt", "THÖ cat", "--unknown", "nearest")
    assert nearest == run("sample", "-m", "char", "--seed", "1", "--prompt", "tho cat")


@pytest.mark.parametrize("more", [[], ["--json"], ["--temp", "0"], ["-n", "3"]], ids=str)
def test_a_model_that_is_not_finite(more: list[str], run: tiny.Program, tmp_path: Path) -> None:
    """NU-06: no partial line."""
    path = tiny.poisoned(tmp_path / "m.safetensors", tiny.drawn(tiny.char()), math.nan)
    ran = run("sample", "-m", path, "--seed", "1", *more)
    assert (ran.code, ran.error) == (5, "Error: the model's figures are not finite: its weights are unusable")
    huge = tiny.drawn(tiny.char())
    huge.weights["head.weight"][:] = 3e38
    path = tiny.saved(tmp_path / "huge.safetensors", huge)
    ran = run("sample", "-m", path, "--seed", "1", "--precision", "float32", *more)  # int8's scales would hold it
    assert (ran.code, ran.out) == (5, b"")


def test_bytes_that_are_no_utf8(run: tiny.Program) -> None:
    """IN-15: as they are in a pipe; valid UTF-8 in JSON."""
    out = run("sample", "-m", "byte", "--seed", "1", "-l", "2000").out
    assert len(out) == 2000
    with pytest.raises(UnicodeDecodeError):
        out.decode()
    [found] = objects(run("sample", "-m", "byte", "--seed", "1", "-l", "2000", "--json").out)
    assert found["text"] == out.decode("utf-8", "replace")
    assert found["tokens"] == 2000


HOSTILE_SAMPLE = ["sample", "-m", "hostile", "--temp", "0", "--seed", "1", "-l", str(len(HOSTILE))]


def test_a_terminal_is_not_steered() -> None:
    """SE-01, IN-15: shown as escapes; newline, tab and CR LF pass, and what is no UTF-8 is U+FFFD."""
    ran = tiny.on_terminal(*HOSTILE_SAMPLE)
    assert ran == tiny.Ran(0, SHOWN + b"\n", b"")  # the prompt begins on a line of its own


def test_a_pipe_gets_every_byte(run: tiny.Program) -> None:
    """SE-02."""
    assert run(*HOSTILE_SAMPLE).out == HOSTILE
    assert objects(tiny.on_terminal(*HOSTILE_SAMPLE, "--json").out)[0]["text"] == HOSTILE.decode("utf-8", "replace")


def test_json_does_not_steer_a_terminal(run: tiny.Program) -> None:
    """SE-01."""
    out = run(*HOSTILE_SAMPLE, "--json").out.decode()
    assert all(ord(char) >= 32 for char in out[:-1])
    assert not set(out) & set("\x7f\x9b\u202e\u2066")


def test_several_texts_on_a_terminal() -> None:
    ran = tiny.on_terminal("sample", "-m", "poem", "--temp", "0", "--seed", "1", "-n", "2", "-l", "3")
    assert ran.out == "né \nné \n".encode()


class _Flushed(io.BytesIO):
    """What a reader has been given at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[bytes] = []

    def flush(self) -> None:
        self.given.append(self.getvalue())


@pytest.mark.parametrize("more", [[], ["--stop", "zz"], ["-n", "3"]], ids=str)
def test_no_character_is_cut_by_a_flush(more: list[str], run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-27: bytes are held back until they make a character."""
    stream = _Flushed()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream))
    monkeypatch.setattr(streams, "FLUSH_INTERVAL", 0.0)
    monkeypatch.setattr(sampling, "CHUNK_SECONDS", 0.0)
    text = "日é😀" * 20
    tiny.saved(Path("m"), tiny.reciting(ByteTokenizer(), text.encode()))
    run("sample", "-m", "m", "--temp", "0", "--seed", "1", "-l", str(len(text.encode())), *more)
    assert len(stream.given) > 10
    for given in stream.given:
        given.decode()
    assert stream.getvalue() == "\n".join([text] * (3 if "-n" in more else 1)).encode()


def test_text_comes_as_it_is_written() -> None:
    """CL-27: read byte by byte from a pipe, long before the end."""
    with tiny.start("sample", "-m", "poem", "--temp", "0", "--seed", "1", "-l", "1000000000") as process:
        assert process.stdout is not None
        line = "né 日😀\r\n".encode()
        assert b"".join(process.stdout.read(1) for _ in range(10 * len(line))) == 10 * line
        assert process.poll() is None
        process.kill()


def gone(times: int) -> None:
    for _ in range(times):
        with tiny.start("sample", "-m", "poem", "-n", "1000000", "--seed", "1", stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            os.read(process.stdout.fileno(), 100)
            process.stdout.close()
            begun = time.monotonic()
            assert process.stderr is not None
            assert (process.stderr.read(), process.wait()) == (b"", 141)
            assert time.monotonic() - begun < 2


def test_a_reader_that_goes_away() -> None:
    """CL-06."""
    gone(2)
    ran = tiny.shell("charrnn sample -m poem --temp 0 -n 1000000 --seed 1 | head -1; echo ${PIPESTATUS[0]}")
    assert ran == tiny.Ran(0, "né 日😀\r\n141\n".encode(), b"")


@pytest.mark.slow
def test_a_reader_that_goes_away_fifty_times() -> None:
    """CL-06."""
    gone(50)


@pytest.mark.parametrize("more", ["", "--json", "-l 1"])
def test_output_that_cannot_be_written(more: str) -> None:
    """CL-07."""
    full = tiny.shell(f"charrnn sample -m char --seed 1 {more} > /dev/full")
    assert full == tiny.Ran(1, b"", b"Error: cannot write to stdout: No space left on device\n")
    closed = tiny.shell(f"charrnn sample -m char --seed 1 {more} >&-")
    assert closed == tiny.Ran(1, b"", b"Error: cannot write to stdout: it is closed\n")


@pytest.mark.parametrize("more", [[], ["--json"]], ids=str)
def test_an_interrupt(more: list[str]) -> None:
    """CL-11: no traceback, and what had been written is out."""
    length = "1000" if more else "1000000000"
    with tiny.start(
        "sample", "-m", "poem", "--temp", "0", "--seed", "1", "-n", "1000000", "-l", length, *more
    ) as process:
        ran = tiny.interrupted(process, 0.3)
    assert (ran.code, ran.err) == (130, b"")
    if more:
        assert ran.out.endswith(b"}\n")
        assert {each["tokens"] for each in objects(ran.out)} == {1000}
    else:
        ran.out.decode()


def test_torch_is_not_imported() -> None:
    script = "import sys; from charrnn.__main__ import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    for arguments in (["sample", "-m", "char"], ["eval", "-m", "char", __file__], ["show", "char"]):
        subprocess.run([sys.executable, "-c", script, *arguments], check=True, capture_output=True)


@pytest.mark.skipif(core.library() is None, reason="the compiled core was not built here")
def test_other_precisions_write_too(run: tiny.Program) -> None:
    """Each its own text; `auto` is int8."""
    texts = {
        name: run("sample", "-m", "char", "--seed", "1", "-l", "3000", "--precision", name).out
        for name in SAMPLE_PRECISIONS
    }
    assert len(set(texts.values())) == 3
    assert texts["auto"] == texts["int8"]

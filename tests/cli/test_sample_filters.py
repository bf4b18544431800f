"""Which texts `charrnn sample` prints, of how many prompts, and what it writes around them."""

import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.cli import sample
from charrnn.config.train import TrainConfig
from charrnn.console.streams import Console
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.formats import TextFormat
from charrnn.errors import UsageError
from charrnn.generation import generate as generation
from charrnn.generation import novelty, rejection
from charrnn.runs.run_dir import RunDir
from tests import tiny
from tests.cli import evals

TRAINED = b"a\nb\nab\nba\naab\n"


@pytest.fixture(autouse=True)
def _models(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dice` writes records of a and b, mostly short; `stream` the same without end, `poem` the same over and over."""
    monkeypatch.setattr(generation, "CHUNK_SECONDS", 0.0)  # little more is drawn than is wanted
    dice = tiny.unigram(tiny.char("ab\n"), {b"\n": 1.0})
    digest = Corpus.from_texts([("", TRAINED)], TextFormat(b"\n")).sha256
    models = {
        "dice": dataclasses.replace(dice, separator=b"\n", info={"step": 3, "corpus_sha256": digest}),
        "bare": dataclasses.replace(dice, separator=b"\n"),
        "stream": dice,
        "poem": tiny.reciting(tiny.char("ab\n"), b"ab\n"),
    }
    for name, model in models.items():
        folder = Path("checkpoints", name)
        folder.mkdir(parents=True)
        tiny.saved(folder / "model.safetensors", model)
    Path("train.txt").write_bytes(TRAINED)
    RunDir(Path("checkpoints", "dice")).save_config(TrainConfig(corpus=("train.txt",), records=True))


def lines(data: bytes) -> list[bytes]:
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


DICE = ("sample", "-m", "dice", "--seed", "5")


def test_unique_novel_and_excluded(run: tiny.Program) -> None:
    """The first draws that are none of these, in order; ranked after that."""
    Path("mine.txt").write_bytes(b"bb\r\nbba")
    Path("more.txt").write_bytes(b"\naaa\n")
    drawn = lines(run(*DICE, "-n", "3000").out)
    unwanted = {"--novel": set(lines(TRAINED)), "--exclude": {b"bb", b"bba", b"", b"aaa"}}
    exclude = ("--exclude", "mine.txt", "--exclude", "more.txt")
    for options, known in (
        (("--unique",), set()),
        (("--unique", "--novel"), unwanted["--novel"]),
        (exclude, unwanted["--exclude"]),
        (("--unique", "--novel", *exclude), set().union(*unwanted.values())),
    ):
        expected = [text for text in drawn if text not in known]
        expected = list(dict.fromkeys(expected)) if "--unique" in options else expected
        ran = run(*DICE, "-n", "50", *options)
        assert (ran.code, lines(ran.out), ran.err) == (0, expected[:50], b"")
    rows = evals.objects(run(*DICE, "-n", "50", "--unique", "--novel", *exclude, "--json").out)
    ranked = evals.objects(run(*DICE, "-n", "50", "--unique", "--novel", *exclude, "--rank", "--json").out)
    assert [row["text"].encode() for row in rows] == expected[:50]
    assert [drawn[row["index"]] for row in rows] == expected[:50]
    assert ranked == sorted(rows, key=lambda row: row["nats"])
    model = charrnn.load("dice")
    found = [text.encode() for text in model.samples(50, unique=True, novel=True, seed=5)]
    assert found == lines(run(*DICE, "-n", "50", "--unique", "--novel").out)
    built = charrnn.Model(model.engine, model.tokenizer, separator=b"\n")
    with pytest.raises(UsageError, match="novel needs a model that was read from the folder of its run"):
        built.samples(1, novel=True)


def test_too_few_texts(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is is printed, and a code says so."""
    monkeypatch.setattr(novelty, "MAX_DRAWS", 100)
    monkeypatch.setattr(sample, "MAX_DRAWS", 100)
    short, texts = (*DICE, "-l", "2", "--unique"), [b"", b"a", b"aa", b"ab", b"b", b"ba", b"bb"]
    for more, message in (
        (("-n", "50"), b"7 of 50 found: 100 draws in a row were not new\n"),
        (("-n", "0"), b"7 found: 100 draws in a row were not new\n"),
        (("-n", "50", "--rank", "-q"), b""),
        (("-n", "2000", "--temp", "0"), b"1 of 2,000 found: every draw is the same\n"),
    ):
        ran = run(*short, *more)
        expected = [b""] if "--temp" in more else texts
        assert (ran.code, sorted(lines(ran.out)), ran.err) == (10, expected, message)
    assert run(*short, "-n", "7").code == 0
    ran = run(*short, "-n", "9", "--json")
    assert (ran.code, len(evals.objects(ran.out))) == (10, 7)
    ran = run("sample", "-m", "stream", "--seed", "5", "-l", "1", "-n", "5", "--unique", "--separator", "|")
    assert (ran.code, sorted(ran.out)) == (10, sorted(b"a|b|\n|"))


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (
            ["-m", "stream", "--novel"],
            2,
            "--novel needs a model that was trained on records; --exclude FILE leaves out the lines of a file",
        ),
        (["-m", "bare", "--novel"], 2, "cannot read 'checkpoints/bare/config.toml': No such file or directory"),
        (["-m", "dice", "--novel"], 2, "--novel needs the text that the model was trained on: it has changed since;"),
        (["-m", "dice", "--novel"], 2, "; --exclude FILE takes a list in its place"),
        (["-m", "dice", "--exclude", "gone"], 4, "cannot read 'gone': No such file or directory"),
        (["-m", "stream", "--unique", "-l", "0"], 2, "--length 0 needs --stop with this model"),
    ],
    ids=str,
)
def test_a_list_that_cannot_be_had(arguments: list[str], code: int, complaint: str, run: tiny.Program) -> None:
    Path("train.txt").write_bytes(TRAINED + b"new\n")
    ran = run("sample", "--seed", "1", *arguments)
    assert ran.code == code
    assert complaint in ran.error


def test_novel_with_several_models(run: tiny.Program) -> None:
    """The records of each one's corpus."""
    folder = Path("checkpoints", "other")
    folder.mkdir()
    digest = Corpus.from_texts([("", b"bb\n")], TextFormat(b"\n")).sha256
    model = dataclasses.replace(tiny.unigram(tiny.char("ab\n")), separator=b"\n", info={"corpus_sha256": digest})
    tiny.saved(folder / "model.safetensors", model)
    Path("bb.txt").write_bytes(b"bb\n")
    RunDir(folder).save_config(TrainConfig(corpus=("bb.txt",), records=True))
    line = ("sample", "-m", "dice", "-m", "other", "--seed", "5", "-n", "200")
    plain, novel = (set(lines(run(*line, *more).out)) for more in ((), ("--novel",)))
    assert {*lines(TRAINED), b"bb"} <= plain
    assert not {*lines(TRAINED), b"bb"} & novel


def test_the_prompt_is_part_of_a_record(run: tiny.Program) -> None:
    """And of no other text; `--echo` and `--no-echo` say otherwise. Of a prompt of several records it is the last."""
    for model, prompt, echo in (("dice", "ab", "ab"), ("dice", "b\nab", "ab"), ("stream", "b\nab", "b\nab")):
        line = ("sample", "-m", model, "--seed", "5", "-n", "3", "-l", "6", "-p", prompt, "--separator", "|")
        bare, echoed = (run(*line, option).out.split(b"|") for option in ("--no-echo", "--echo"))
        assert echoed == [*(echo.encode() + text for text in bare[:3]), b""]
        assert run(*line).out.split(b"|") == (echoed if model == "dice" else bare)
        found = evals.objects(run(*line[:-2], "--echo", "--json").out)
        assert [each["text"].encode() for each in found] == echoed[:3]
        assert {each["prompt"] for each in found} == {prompt}
        without = evals.objects(run(*line[:-2], "--no-echo", "--json").out)
        assert [each["nats"] for each in found] == [each["nats"] for each in without]


def test_the_prompt_is_judged_with_the_record(run: tiny.Program) -> None:
    drawn = lines(run(*DICE, "-n", "500", "-p", "a").out)
    novel = lines(run(*DICE, "-n", "50", "-p", "a", "--novel").out)
    assert novel == [text for text in drawn if text not in lines(TRAINED)][:50]
    apart = lines(run(*DICE, "-n", "50", "-p", "a", "--novel", "--no-echo").out)
    assert apart == [text[1:] for text in drawn if text[1:] not in lines(TRAINED)][:50]


def test_lines_are_prompts(run: tiny.Program) -> None:
    """Answered in order, each with so many texts; what is known of each has its line."""
    Path("p").write_bytes(b"a\r\n\nbb")
    line = (*DICE, "--prompt-file", "p", "--lines", "-n", "2", "-l", "9")
    ran = run(*line)
    rows = evals.objects(run(*line, "--json").out)
    assert (ran.code, ran.err) == (0, b"")
    assert lines(ran.out) == [row["text"].encode() for row in rows]
    assert [row["line"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert [row["index"] for row in rows] == [0, 1] * 3
    assert [row["prompt"] for row in rows] == ["a", "a", "", "", "bb", "bb"]
    assert all(row["text"].startswith(row["prompt"]) for row in rows)
    ranked = evals.objects(run(*line, "--rank", "--json").out)
    assert ranked == sorted(rows, key=lambda row: (row["line"], row["nats"]))
    unique = evals.objects(run(*line, "--unique", "--json").out)
    assert [row["line"] for row in unique] == [1, 1, 2, 2, 3, 3]
    assert len({row["text"] for row in unique}) == 6
    stream = ("sample", "-m", "poem", "--temp", "0", "-l", "2", "--lines", "--prompt-file", "-")
    assert run(*stream, stdin=b"\na\n").out == b"ab\nb\n"  # none behind the last
    assert run(*stream, stdin=b"") == tiny.Ran(0, b"", b"")
    wrong = run(*DICE, "--lines", "--prompt-file", "-", stdin=b"a\nz\n")
    assert (wrong.code, wrong.error[:50]) == (4, "Error: stdin, line 2: the model has never seen U+0")


@pytest.mark.parametrize(
    ("separator", "written"), [(r"\0", b"\0"), (r"\n\n", b"\n\n"), ("--", b"--"), ("", b""), (r"a\b", rb"a\b")]
)
def test_what_is_written_after_each_text(separator: str, written: bytes, run: tiny.Program) -> None:
    """After the last one too, unlike the newline that stands between texts otherwise."""
    line = ("sample", "-m", "poem", "--temp", "0", "-l", "2", "-n", "2")
    assert run(*line).out == b"ab\nab"
    assert run(*line, f"--separator={separator}").out == (b"ab" + written) * 2
    records = lines(run(*DICE, "-n", "3").out)
    ran = run(*DICE, "-n", "3", f"--separator={separator}")
    assert ran.out == b"".join(text + written for text in records)


def test_for_xargs() -> None:
    """Records and NUL, all the way through a pipe."""
    ran = tiny.shell(r"charrnn sample -m poem --temp 0 -l 3 -n 3 --separator '\0' | xargs -0 -n 1 printf '<%s>'")
    assert ran.out == b"<ab\n>" * 3


@pytest.mark.parametrize("more", [["--unique"], ["-f", "index,text"]], ids=str)
def test_there_may_be_no_end_of_texts(more: list[str]) -> None:
    """Until the reader goes."""
    command = ("sample", "-m", "dice", "--seed", "1", "-n", "0", *more)
    with tiny.start(*command, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert os.read(process.stdout.fileno(), 100)
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == (b"", 141)


@pytest.mark.parametrize("more", [[], ["--json"], ["-f", "text"]], ids=str)
def test_a_text_does_not_wait_for_the_next(more: list[str], run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be long in coming."""
    given: list[int] = []
    flush = Console.flush

    def counted(console: Console) -> None:
        flush(console)
        given.append(sys.stdout.buffer.tell())

    monkeypatch.setattr(Console, "flush", counted)
    stream = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream))
    run(*DICE, "-n", "20", "--unique", *more)
    ends = [n + 1 for n, byte in enumerate(stream.getvalue()) if byte == ord("\n")]
    assert len(ends) == 20
    assert given[:20] == ends


@pytest.mark.parametrize(
    ("more", "on_terminal", "shown"),
    [
        (["-n", "3"], False, (3, 3)),
        (["-n", "3"], True, None),
        (["-n", "3", "--rank"], True, (3, 3)),
        (["-n", "3", "--novel"], False, (3, 3)),
        (["-n", "1"], False, None),
        (["-n", "3", "--json"], False, (3, 3)),
    ],
    ids=str,
)
def test_progress(
    more: list[str],
    on_terminal: bool,
    shown: tuple[int, int] | None,
    run: tiny.Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of many texts, where they do not go to the terminal themselves."""
    bars: list[tuple[int, int]] = []

    @contextmanager
    def progress_bar(console: Any, title: str, total: int, unit: str) -> Iterator[Any]:
        counts: list[int] = []
        yield counts.append
        bars.append((total, sum(counts)))

    monkeypatch.setattr(sample, "progress_bar", progress_bar)
    monkeypatch.setattr("charrnn.console.streams.Console.stdout_is_tty", property(lambda console: on_terminal))
    assert run(*DICE, *more).code == 0
    assert bars == ([shown] if shown else [])


def test_texts_that_are_forced_to_match_are_counted(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejection, "MAX_TOKENS", 0)
    few = run(*DICE, "-n", "9", "--match", "[ab]*")
    assert (few.code, few.err) == (0, b"")
    monkeypatch.setattr(rejection, "MAX_REJECTED", 30)
    for more in ([], ["--unique", "--rank"]):
        ran = run(*DICE, "-n", "9", "--match", "[ab]{12,14}", *more)
        assert ran.code == 0
        assert ran.err == b"9 of 9 drawn step by step, as too few match: they are less like the model's own\n"
    assert run(*DICE, "-n", "9", "--match", "[ab]{12,14}", "-q").err == b""


def test_cut_records_are_counted(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "RECORD_LENGTH", 2)
    ran = run(*DICE, "-n", "4", "--unique")
    cut = sum(len(text) == 2 for text in lines(ran.out))
    assert cut > 0
    assert ran.err == f"records cut at 10,000 tokens: {cut} of 4; --length 0: no limit\n".encode()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lines"], "--lines needs --prompt-file"),
        (["--lines", "-p", "a"], "--lines needs --prompt-file"),
        (["--separator", ";", "--json"], "--separator and --json cannot be used together"),
        (["--separator", ";", "-f", "text"], "--separator and --fields cannot be used together"),
        (["--exclude", "-", "--prompt-file", "-"], "--prompt-file - and --exclude - cannot be used together"),
        (["--unique", "--rank", "-n", "0"], "--rank and --num 0 cannot be used together"),
        (["--not-in", "x"], "No such option: --not-in; use --exclude FILE"),
        (["--null"], r"No such option: --null; use --separator '\0'"),
        (["--between", "x"], "No such option: --between; use --separator"),
    ],
    ids=str,
)
def test_usage(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    """Refused before the model is looked for."""
    ran = run("sample", "-m", "no such model", *arguments)
    assert ran.code == 2
    assert complaint in ran.error

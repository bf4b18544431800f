"""What `charrnn sample` reads and where its texts end: prompts, escapes, stop strings, the lengths of records."""

import json
from pathlib import Path

from tests.program.conftest import TINY
from tests.program.program import charrnn, charrnn_each
from tests.tiny import Ran


def samples(run: Path, *options: tuple[str | Path, ...]) -> list[bytes]:
    """Texts of 40 tokens by a model, with the same seed."""
    found = charrnn_each(*(("sample", "--model", run, "--seed", "3", "--length", "40", *each) for each in options))
    assert [(ran.code, ran.err) for ran in found] == [(0, b"")] * len(options)
    return [ran.out for ran in found]


def test_the_end_of_a_prompt_s_last_line_is_not_part_of_it(record_run: Path, tmp_path: Path) -> None:
    """A record model would begin another record after it: the whole prompt had no effect."""
    files = [tmp_path / name for name in "abcd"]
    for file, ending in zip(files, (b"", b"\n", b"\n\n", b"\r\n"), strict=True):
        file.write_bytes(b"the" + ending)
    read = [("--prompt-file", file) for file in files]
    prompted, plain, bare, once, twice = samples(record_run, ("--prompt", "the"), (), *read[:3])
    assert prompted != plain
    assert (bare, once, twice) == (prompted, prompted, plain)  # one newline alone
    assert samples(record_run, read[3]) == [prompted]
    piped = charrnn(
        "sample", "--model", record_run, "--seed", "3", "--length", "40", "--prompt-file", "-", stdin=b"the\n"
    )
    assert piped == Ran(0, prompted, b"")


def test_escapes_in_prompts_and_stop_strings(stream_run: Path, tmp_path: Path) -> None:
    """Rule 7; a file is read as it is."""
    for name, data in (("newline", b"a\nb"), ("backslash", rb"a\xb")):
        (tmp_path / name).write_bytes(data)
    escaped, typed, read, whole, cut = samples(
        stream_run,
        ("--prompt", r"a\nb"),
        ("--prompt", "a\nb"),
        ("--prompt-file", tmp_path / "newline"),
        ("--length", "400"),
        ("--length", "400", "--stop", r"\n"),
    )
    assert escaped == typed == read
    assert cut == whole.partition(b"\n")[0] != whole
    line = ("sample", "--model", stream_run)
    for ran in charrnn_each((*line, "--prompt", r"a\xb"), (*line, "--prompt-file", tmp_path / "backslash")):
        assert (ran.code, b"U+005C" in ran.err) == (4, True)


def test_several_stop_strings(stream_run: Path) -> None:
    """The first that comes ends the text, whatever their order."""
    [text] = samples(stream_run, ("--temp", "9"))
    whole = text.decode()
    early, late = whole[9:12], whole[20:24]
    orders = ((early, late), (late, early))
    found = samples(stream_run, *(("--temp", "9", "--stop", one, "--stop", other) for one, other in orders))
    assert [text.decode() for text in found] == [whole[: whole.index(early)]] * 2


def test_a_record_comes_to_its_end(tmp_path: Path) -> None:
    """500 tokens are a text's limit; a record has 10,000, and those that are longer are counted."""
    (tmp_path / "text.txt").write_bytes(b"".join(b"ab" * (700 + number) + b"\n" for number in range(4)))
    line = ("sample", "--model", "run", "--seed", "3", "--num", "9", "--json")
    trained, greedy, noise, short = charrnn_each(
        ("train", "text.txt", "--records", "--out", "run", *TINY),
        (*line, "--temp", "0"),
        (*line, "--temp", "9"),
        ("sample", "--model", "run", "--temp", "0", "--length", "7", "--stop", "bb"),
        cwd=tmp_path,
    )
    assert trained.code == 0
    texts = [json.loads(text) for text in greedy.out.splitlines()]
    assert [each["tokens"] for each in texts] == [10_000] * 9
    assert [each["finish_reason"] for each in texts] == ["length"] * 9
    assert greedy.err == b"records cut at 10,000 tokens: 9 of 9; --length 0: no limit\n"
    assert {json.loads(text)["finish_reason"] for text in noise.out.splitlines()} == {"end"}
    assert noise.err == b""
    assert (short.err, len(short.out)) == (b"", 8)  # asked for: nothing to be counted; and no seed, as it is greedy


def test_why_a_text_ends(stream_run: Path) -> None:
    options = ((), ("--stop", " "), ("--stop", "zz", "--stop", " ", "--length", "0"))
    found = samples(stream_run, *(("--json", "--temp", "0", *each) for each in options))
    assert [json.loads(text).get("finish_reason") for text in found] == ["length", "stop", "stop"]
    [endless] = charrnn_each(("sample", "--model", stream_run, "--json", "--length", "0"))
    assert endless.code == 2
    assert b"--length 0 needs --stop with this model" in endless.err

"""What `charrnn sample` reads and where its texts end: prompts, escapes, stop strings, the lengths of records."""

import json
from pathlib import Path

from tests.program.conftest import TINY
from tests.program.program import charrnn
from tests.tiny import Ran


def sample(run: Path, *options: str, stdin: bytes = b"") -> Ran:
    """40 tokens by a model, always the same."""
    return charrnn("sample", "--model", run, "--seed", "3", "--length", "40", *options, stdin=stdin)


def text_of(run: Path, *options: str, stdin: bytes = b"") -> bytes:
    ran = sample(run, *options, stdin=stdin)
    assert (ran.code, ran.err) == (0, b"")
    return ran.out


def test_the_end_of_a_prompt_s_last_line_is_not_part_of_it(record_run: Path, tmp_path: Path) -> None:
    """A record model would begin another record after it: the whole prompt had no effect."""
    prompted = text_of(record_run, "--prompt", "the")
    assert prompted != text_of(record_run)
    prompt = tmp_path / "prompt"
    prompt.write_bytes(b"the\r\n")
    for ending in (b"", b"\n", b"\r\n"):
        assert text_of(record_run, "--prompt-file", "-", stdin=b"the" + ending) == prompted
    assert text_of(record_run, "--prompt-file", str(prompt)) == prompted
    assert text_of(record_run, "--prompt-file", "-", stdin=b"the\n\n") == text_of(record_run)  # one alone


def test_escapes_in_prompts_and_stop_strings(stream_run: Path) -> None:
    """Rule 7; a file is read as it is."""
    both = text_of(stream_run, "--prompt", r"a\nb"), text_of(stream_run, "--prompt-file", "-", stdin=b"a\nb")
    assert both[0] == both[1] == text_of(stream_run, "--prompt", "a\nb")
    unknown = sample(stream_run, "--prompt-file", "-", stdin=rb"a\xb")
    assert (unknown.code, b"U+005C" in unknown.err) == (4, True)
    assert b"U+005C" in sample(stream_run, "--prompt", r"a\xb").err  # no escape of ours
    whole = text_of(stream_run, "--length", "400")
    first = whole.partition(b"\n")[0]
    assert first != whole
    assert text_of(stream_run, "--length", "400", "--stop", r"\n") == first


def test_several_stop_strings(stream_run: Path) -> None:
    """The first that comes ends the text, whatever their order."""
    whole = text_of(stream_run, "--temp", "9").decode()
    early, late = whole[9:12], whole[20:24]
    for stops in ((early, late), (late, early)):
        found = text_of(stream_run, "--temp", "9", *(word for stop in stops for word in ("--stop", stop)))
        assert found.decode() == whole[: whole.index(early)]


def test_a_record_comes_to_its_end(tmp_path: Path) -> None:
    """500 tokens are a text's limit; a record has 10,000, and those that are longer are counted."""
    (tmp_path / "text.txt").write_bytes(b"".join(b"ab" * (700 + number) + b"\n" for number in range(4)))
    assert charrnn("train", "text.txt", "--records", "--out", "run", *TINY, cwd=tmp_path).code == 0
    for options, length, end in ((("--temp", "0"), 10_000, "length"), (("--temp", "9"), None, "end")):
        line = ("sample", "--model", "run", "--seed", "3", "--num", "9", "--json", *options)
        ran = charrnn(*line, cwd=tmp_path)
        assert ran.code == 0
        texts = [json.loads(line) for line in ran.out.splitlines()]
        assert {each["tokens"] for each in texts} == {length} or not length
        assert [each["finish_reason"] for each in texts] == [end] * 9
        cut = b"records cut at 10,000 tokens: 9 of 9; --length 0: no limit\n" if end == "length" else b""
        assert ran.err == cut
    short = charrnn("sample", "--model", "run", "--temp", "0", "--length", "7", "--stop", "bb", cwd=tmp_path)
    assert (short.code, short.err, len(short.out)) == (0, b"", 8)  # asked for: nothing to be counted; and no seed


def test_why_a_text_ends(stream_run: Path) -> None:
    def reason(*options: str) -> str:
        found: str = json.loads(text_of(stream_run, "--json", "--temp", "0", *options))["finish_reason"]
        return found

    assert reason() == "length"
    assert reason("--stop", " ") == reason("--stop", " ", "--stop", "zz", "--length", "0") == "stop"
    endless = sample(stream_run, "--json", "--length", "0")
    assert (endless.code, endless.err) == (2, b"Error: --length 0 needs --stop with this model: the text has no end\n")

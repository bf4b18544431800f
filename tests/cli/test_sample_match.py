"""`charrnn sample --match`: what is printed matches, and what cannot be is refused at once."""

import json
import re
from pathlib import Path

import pytest

from charrnn.tokenizers.byte import ByteTokenizer
from tests import tiny


@pytest.fixture(autouse=True)
def _models(tmp_path: Path) -> None:
    tiny.saved(tmp_path / "char", tiny.drawn(tiny.char()))
    tiny.saved(tmp_path / "other", tiny.drawn(tiny.char(), "lstm", seed=2))
    tiny.saved(tmp_path / "names", tiny.drawn(tiny.char(), separator=b"\n"))
    tiny.saved(tmp_path / "byte", tiny.drawn(ByteTokenizer()))


@pytest.mark.parametrize("model", [("char",), ("names",), ("byte",), ("char", "other")], ids="+".join)
def test_each_text_matches(model: tuple[str, ...], run: tiny.Program) -> None:
    models = [word for name in model for word in ("-m", f"./{name}")]
    pattern = "[a-z]{2,4}(é|日)+"
    command = ("sample", *models, "--match", pattern, "--seed", "1", "-p", "a ", "-l", "12", "--no-echo")
    ran = run(*command, "-n", "30")
    assert (ran.code, ran.err) == (0, b"")
    lines = ran.out.decode().splitlines()
    assert len(lines) == 30
    for line in lines:
        assert re.fullmatch(pattern, line)
    assert run(*command).out.decode() == lines[0] + "\n" * (model == ("names",))


def test_json(run: tiny.Program) -> None:
    """The likeliest first, too; a text that the pattern ended has no length."""
    options = ("--json", "--rank", "--length", "0", "--seed", "1")
    ran = run("sample", "-m", "./char", "-n", "9", "--match", "[a-z]{3}", *options)
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [(each["tokens"], each["finish_reason"]) for each in found] == [(3, "end")] * 9
    assert [each["nats"] for each in found] == sorted(each["nats"] for each in found)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--match", "a(b"], "Error: --match, column 2: there is no ) for this ("),
        (["--match", "ß"], "Error: --match: no text of the characters that the model can write matches"),
        (["--match", "a{9}", "-l", "8"], "Error: --match: the shortest text that matches has 9 tokens, above"),
        (["--match", "[ab]*a[ab]{13}"], "Error: --match needs more than 10,000 states"),
        (["--match", "a", "--stop", "b"], "Error: --match and --stop cannot be used together"),
    ],
)
def test_what_is_refused(arguments: list[str], complaint: str, run: tiny.Program) -> None:
    ran = run("sample", "-m", "./char", *arguments)
    assert ran.code == 2
    assert ran.error.startswith(complaint)


def test_the_prompt_is_part_of_what_is_printed(run: tiny.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is part of the match: a record's by default, any with --echo; and new texts are counted."""
    (prompts := Path("prompts")).write_text("ab\nx\nab\n")
    for options in (["-m", "./names"], ["-m", "./char", "--echo"]):
        match = ["--match", "[ab]{2}[b-f]{1,2}|x[a-f]", "--seed", "1"]
        ran = run("sample", *options, *match, "-n", "3", "--prompt-file", prompts, "--lines", "--unique")
        lines = ran.out.decode().split("\n")[:9]
        assert (ran.code, len(set(lines))) == (0, 9)
        assert all(re.fullmatch("ab[b-f]{1,2}", line) for line in lines[:3] + lines[6:])
        assert all(re.fullmatch("x[a-f]", line) for line in lines[3:6])
    monkeypatch.setattr("charrnn.generation.novelty.MAX_DRAWS", 300)
    ran = run("sample", "-m", "./names", "--match", "[ab]", "-n", "5", "--seed", "1", "--unique")
    assert (ran.code, sorted(ran.out.split())) == (10, [b"a", b"b"])
    assert ran.err.startswith(b"2 of 5 found")
    assert run("sample", "-m", "./names", "--match", "b.*", "-p", "a").error == (
        "Error: --match: no text that begins with 'a' and that the model can write matches"
    )

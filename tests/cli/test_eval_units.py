"""`charrnn eval --by`: what is printed of words and tokens."""

import json
import math
from pathlib import Path

import pytest

from tests import tiny


def test_of_two_tokens_of_one_text_the_likelier_is_shown(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sentencepiece model has a newline, and the byte that is one."""
    model = tiny.unigram(tiny.pieces(), {b"\n": 3.0})
    tiny.saved(Path("m"), model)
    flags = ["--by", "token", "--json", "--top-logprobs", "1000"]
    ran = tiny.Program(capfdbinary, monkeypatch)("eval", "-m", "m", *flags, stdin=b"a\n")
    assert ran.code == 0
    rest = model.tokenizer.size - 1
    logprobs = json.loads(ran.out)["logprobs"]
    for top in logprobs["top_logprobs"]:
        assert top["\n"] == pytest.approx(3 - math.log(math.exp(3) + rest), rel=1e-5)
        assert next(iter(top)) == "\n"
        assert top["a"] == pytest.approx(-math.log(math.exp(3) + rest), rel=1e-5)

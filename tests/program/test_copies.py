"""`--max-copy` on a model that knows much of its text by heart."""

import json
from pathlib import Path

import pytest

from tests import tiny


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_shakespeare_is_not_copied(shared: Path, tmp_path: Path) -> None:
    """At temperature 0.3, searched for in the text itself: without it the model recites."""
    text = (shared / "tinyshakespeare.txt").read_bytes()[:30_000]
    (tmp_path / "text").write_bytes(text)
    run = str(tmp_path / "run")
    trained = tiny.shell(
        'charrnn train -q "$1" --out "$2" --cell gru --hidden 192 --batch 16 --steps 1200 --dropout 0 --weight-drop 0'
        " --val 0 --seed 1",
        str(tmp_path / "text"),
        run,
    )
    assert trained.code == 0, trained.err
    line = 'charrnn sample -m "$1" --temp 0.3 -n 4 -l 5000 --seed 1 -f text --json -v'
    free, bound = (tiny.shell(f"{line} {more}", run) for more in ("", "--max-copy 30"))
    texts = [[json.loads(row)["text"] for row in ran.out.splitlines()] for ran in (free, bound)]
    copied = [[each[at : at + 31].encode() in text for each in some for at in range(len(each) - 30)] for some in texts]
    assert sum(copied[0]) > 1000
    assert not any(copied[1])
    assert sum(map(len, texts[1])) > 15_000
    shares = [float(ran.err.split(b"% of the characters lie in")[0].split()[-1]) for ran in (free, bound)]
    assert shares[1] < 80 < shares[0]  # stretches of just 30 are left

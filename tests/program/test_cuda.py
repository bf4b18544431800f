"""The program on a GPU: train, resume, score and sample, as on the processor."""

from pathlib import Path

import pytest
import torch

from tests.program.conftest import RECORDS, TEXT, TINY
from tests.program.program import charrnn

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("records", [False, True], ids=["stream", "records"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mgu"])
def test_a_run_on_a_gpu(tmp_path: Path, cell: str, records: bool) -> None:
    """Dropout is of the same units on every device, so that resuming there is a matter of rounding alone."""
    (tmp_path / "text.txt").write_bytes(RECORDS if records else TEXT)
    train = ["train", "text.txt", *TINY, "--cell", cell, "--dropout", "0.2", "--layers", "2", "--device", "cuda"]
    train += ["--records"] * records
    assert charrnn(*train, "--out", "whole", cwd=tmp_path).code == 0
    assert charrnn(*train, "--out", "parts", "--steps", "15", cwd=tmp_path).code == 0
    done = charrnn("train", "--resume", "--out", "parts", "--steps", "30", "--device", "cuda", cwd=tmp_path)
    assert done.code == 0, done.err
    on_gpu, on_cpu = (
        charrnn("eval", "-m", "whole", "text.txt", "-f", "nats,tokens", "--device", device, cwd=tmp_path).out.split()
        for device in ("cuda", "cpu")
    )
    assert float(on_gpu[0]) == pytest.approx(float(on_cpu[0]), rel=1e-4)
    assert on_gpu[1] == on_cpu[1]
    lines = charrnn("eval", "-m", "whole", "text.txt", "--lines", "--device", "cuda", cwd=tmp_path)
    assert lines.code == 0, lines.err
    assert len(lines.out.splitlines()) == len((tmp_path / "text.txt").read_bytes().splitlines())
    sampled = charrnn("sample", "-m", "parts", "--seed", "1", cwd=tmp_path)
    assert sampled.code == 0, sampled.err
    assert sampled.out

"""What docs/scale.md shows is what it says; its commands for training are those of README's section, which
tests/program/test_torchrun.py runs."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from tests.program.program import environment
from tests.tiny import shell

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def block(language: str, text: str) -> str:
    """The page's block that has a text in it."""
    [found] = [each for each in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if text in each]
    return str(found)


@pytest.fixture
def folder(stream_run: Path, record_run: Path, tmp_path: Path) -> Path:
    """A folder with the models that the page names: it is the current one."""
    for name, run in (("english", stream_run), ("names", record_run)):
        shutil.copytree(run, tmp_path / "checkpoints" / name)
    return tmp_path


def test_the_table_is_the_script_s() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "allreduce.py")], capture_output=True, env=environment(), check=True
    )
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 22
    assert "\n".join(lines) in PAGE


def test_a_job_of_an_array(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "crawl").mkdir()
    for number in range(2):
        rows = '{"text": "a class"}\n{"text": "zq"}\n' * (number + 1)
        (folder / "crawl" / f"part.{number:03}.jsonl").write_text(rows)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    done = shell(block("bash", "#SBATCH"))
    assert done.code == 0, done.err.decode()
    scored = (folder / "crawl" / "part.001.scored").read_text().splitlines()
    assert len(scored) == 4
    assert len({row.split("\t")[0] for row in scored}) == 2
    assert not (folder / "crawl" / "part.000.scored").exists()


def test_sampling_by_several(folder: Path) -> None:
    script = block("bash", "charrnn sample").replace("-n 10000", "-n 20").replace("0 1 2 3 4 5 6 7 8 9", "0 1 2")
    done = shell(script)
    assert done.code == 0, done.err.decode()
    parts = [(folder / f"names.{job}.txt").read_bytes() for job in range(3)]
    assert len(set(parts)) == 3
    lines = {line for part in parts for line in part.splitlines()}
    assert (folder / "names.txt").read_bytes().splitlines() == sorted(lines)


def scored_step() -> Any:
    names: dict[str, Any] = {}
    exec(block("python", "class Scored"), names)  # noqa: S102 (the page's own)
    return names["Scored"]


TEXTS = ["a class", "zq vvk", "the statement"] * 5


def test_a_step_in_batches(folder: Path) -> None:
    found = scored_step()("english")({"text": np.array(TEXTS), "id": np.arange(15)})
    expected = [score.bits_per_byte for score in charrnn.load("english").score_many(TEXTS)]
    assert found["bits_per_byte"] == pytest.approx(expected, rel=1e-6)
    assert found["id"].tolist() == list(range(15))


RAY = """
import os, sys
import ray
ray.init(num_cpus=2, include_dashboard=False, logging_level="error")
exec(sys.argv[1])
data = ray.data.from_items([{"text": text} for text in sys.argv[3:]])
data = data.map_batches(Scored, fn_constructor_args=(sys.argv[2],), concurrency=2, num_cpus=1, batch_size=4)
print(*(f"{row['text']}={row['bits_per_byte']:.6f}" for row in data.take_all()), sep="|")
"""


@pytest.mark.slow
def test_a_step_of_ray_data(folder: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray[data] is not installed: the page's step is run without it")
    run = str(folder / "checkpoints" / "english")
    words = [sys.executable, "-c", RAY, block("python", "class Scored"), run, *TEXTS]
    env = {**environment(), "RAY_USAGE_STATS_ENABLED": "0", "HOME": os.environ.get("HOME", str(folder))}
    done = subprocess.run(words, capture_output=True, timeout=240, env=env, cwd=folder)
    assert done.returncode == 0, done.stderr.decode()
    found = dict(each.split("=") for each in done.stdout.decode().strip().split("\n")[-1].split("|"))
    scores = charrnn.load(run).score_many(TEXTS)
    for text, score in zip(TEXTS, scores, strict=True):
        assert float(found[text]) == pytest.approx(score.bits_per_byte, rel=1e-5)

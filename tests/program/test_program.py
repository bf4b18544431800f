"""The fixtures of this folder do what its tests stand on."""

from pathlib import Path

from tests.program.program import charrnn


def test_models_that_every_version_reads(stream_run: Path, record_run: Path) -> None:
    for run in (stream_run, record_run):
        ran = charrnn("eval", "-m", run, "-f", "perplexity", stdin=b"the\n")
        assert (ran.code, ran.err) == (0, b"")
        assert float(ran.out) > 1

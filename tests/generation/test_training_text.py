"""The text of a run, read again: its records, and what of it may be copied."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config.train import TrainConfig
from charrnn.corpus.documents import no_progress
from charrnn.engines.base import Array
from charrnn.errors import UsageError
from charrnn.generation.copies import window_hashes
from charrnn.generation.training_text import copied_share, training_copies, training_records
from charrnn.runs.run_dir import RunDir
from charrnn.training.ingest import RunSources, read_corpora


def run_of(folder: Path, config: TrainConfig, digest: str = "") -> tuple[Path, str]:
    """The `config.toml` of a run, and the digest of its text as a model's `info` has it."""
    run = RunDir(folder)
    folder.mkdir()
    run.save_config(config)
    if not digest:
        _, sources = RunSources.resolve(config, None)
        corpora = read_corpora(config, sources, spool=None, progress=no_progress, note=lambda text, level: None)
        digest = corpora.digest
    return run.config, digest


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (b"ann\nbob\nann\nzo", {"records": True}),
        (b"\xef\xbb\xbfann\nbob\nzo\n", {"records": True}),
        (b"ann\n\nbob\n\nzo", {"separator": "\n\n"}),
        (b"2\tann\n1\tbob\n3\tzo\n", {"counts": True}),
        (b'{"n": "ann"}\n{"n": "bob"}\n{"n": "zo"}\n', {"jsonl": "n", "records": True}),
        (b"ann\nbob\nzo\n", {"records": True, "val": "val.txt"}),
        (b"ann\nbob\nzo\n", {"records": True, "tokenizer": "byte"}),
    ],
)
def test_training_records(data: bytes, options: dict[str, Any]) -> None:
    """However they were read; those that were held out too."""
    Path("text").write_bytes(data)
    Path("val.txt").write_bytes(b"eve\n")
    config = TrainConfig(corpus=("text",), **options)
    assert set(training_records([run_of(Path("run"), config)])) == {b"ann", b"bob", b"zo"}


def test_what_was_mixed_in_was_trained_on() -> None:
    """Once, though two runs had it; and it must be what it was."""
    for name, data in (("one", b"ann\nbob\n"), ("two", b"cay\n"), ("old", b"zo\nyo\n"), ("val.txt", b"eve\n")):
        Path(name).write_bytes(data)
    runs = [
        run_of(
            Path(f"run-{name}"),
            TrainConfig(corpus=(name,), records=True, init_from="model", mix="old", **more),  # type: ignore[arg-type]
        )
        for name, more in (("one", {}), ("two", {"val": "val.txt"}))
    ]
    assert [*training_records(runs)] == [b"ann", b"bob", b"zo", b"yo", b"cay"]
    Path("old").write_bytes(b"zo\n")
    with pytest.raises(UsageError, match="what was mixed in has changed since"):
        list(training_records(runs))


def test_training_records_are_as_the_model_has_read_them() -> None:
    Path("text").write_bytes(b"a\xff\nb\n")
    config = TrainConfig(corpus=("text",), records=True, errors="replace")
    assert set(training_records([run_of(Path("run"), config)])) == {"a\ufffd".encode(), b"b"}


def test_a_text_that_is_not_at_hand() -> None:
    """Each names what takes a list in its place."""
    Path("text").write_bytes(b"ann\nbob\n")
    config = TrainConfig(corpus=("text",), records=True)
    file, digest = run_of(Path("run"), config)
    assert set(training_records([(file, digest)])) == {b"ann", b"bob"}
    cases: list[tuple[Path, object, str]] = [
        (file, "0" * 64, "it has changed since"),
        (file, None, "it has changed since"),
        (Path("gone"), digest, "cannot read 'gone'"),
        (run_of(Path("piped"), TrainConfig(corpus=("-",), records=True), digest)[0], digest, "it came from stdin"),
        (run_of(Path("lost"), TrainConfig(corpus=("no such text",), records=True), digest)[0], digest, "no such text"),
    ]
    for config_file, known, reason in cases:
        with pytest.raises(UsageError, match=reason) as error:
            list(training_records([(config_file, known)]))
        assert error.value.exit_code == 2
        assert str(error.value).startswith("novel needs the text that the model was trained on: ")
        assert str(error.value).endswith("; exclude FILE takes a list in its place")
        with pytest.raises(UsageError, match=reason) as error:
            training_copies([(config_file, known)], 5, [])
        assert str(error.value).startswith("max_copy needs the text that the model was trained on: ")
        assert str(error.value).endswith("; exclude FILE takes a list in its place")
        with pytest.raises(UsageError, match=reason) as error:
            copied_share([(config_file, known)], [b"ann"])
        assert "the text that the model was trained on" not in str(error.value)


def keys_of(text: str, length: int) -> Array:
    """What an index of the text has."""
    points = np.array([ord(char) for char in text], np.uint32)
    return np.asarray(window_hashes(points[:-1], length) & ~np.uint64((1 << 21) - 1) | points[length:])


@pytest.mark.parametrize(
    ("data", "options", "stretch"),
    [
        (b"the quick brown fox", {}, "the quick brown fox"),
        (b"the quick brown fox", {"val": 0.5}, "the quick brown fox"),
        (b"\xef\xbb\xbfthe quick brown fox", {"val": "val.txt"}, "the quick brown fox"),
        (b'{"n": "the quick brown fox"}\n{"n": "jumps"}\n', {"jsonl": "n"}, "the quick brown fox"),
        (b"quick\xff brown \xc3\xa9 fox", {"errors": "replace"}, "quick\ufffd brown é fox"),
        (b"quick\xff brown \xc3\xa9 fox", {"tokenizer": "byte"}, "quick\udcff brown é fox"),
    ],
)
def test_what_of_a_text_may_not_be_copied(data: bytes, options: dict[str, Any], stretch: str) -> None:
    """Each window, however the text was read; what is held out too, but no other text to validate on."""
    Path("text").write_bytes(data)
    Path("val.txt").write_bytes(b"lazy dogs sleep here")
    run = run_of(Path("run"), TrainConfig(corpus=("text",), **options))
    for length in (1, 4, 11):
        index = training_copies([run, run], length, [])
        assert index is not None
        assert np.isin(keys_of(stretch, length), index.keys).all()
        assert not np.isin(keys_of("lazy dogs sleep", length), index.keys).all()
    assert training_copies([run], 1000, []) is None


def test_the_share_that_is_copied() -> None:
    """Of several corpora, in stretches of 30 and more."""
    one, other = b"abcdefghijklmnopqrstuvwxyz0123456789", "日本語".encode() * 11
    Path("one").write_bytes(one)
    Path("other").write_bytes(other)
    runs = [run_of(Path(f"run-{name}"), TrainConfig(corpus=(name,))) for name in ("one", "other")]
    assert copied_share(runs, [one]) == 1
    assert copied_share(runs, [one[:29], b"x" * 29]) == 0
    assert copied_share(runs, [one[3:33] + b"x" * 10, other[:90] + b"x" * 10]) == 60 / 80
    assert copied_share(runs[:1], [other]) == 0
    assert np.isnan(copied_share(runs, []))
    assert np.isnan(copied_share(runs, [b""]))

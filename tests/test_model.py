"""A model as the command line, the library and training share it."""

from pathlib import Path

import pytest

from charrnn.config.sample import SampleConfig
from charrnn.corpus.formats import NamedText
from charrnn.errors import CheckpointError, InputError, UsageError
from charrnn.model import Model
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import ScoringOptions
from tests import tiny

TEXT = b"the cat sat on the mat.\n" * 20


def saved(name: str, seed: int = 1) -> str:
    return tiny.saved(Path(name), tiny.drawn(tiny.char(), seed=seed))


def test_a_model_needs_no_file() -> None:
    """As in training: an engine and a tokenizer score and generate what the model in a file does."""
    checkpoint = tiny.drawn(tiny.char())
    model, loaded = Model(tiny.engine_of(checkpoint), checkpoint.tokenizer), Model.load(saved("m"))
    assert model.info == {}
    assert loaded.info == checkpoint.info
    assert loaded.architecture == checkpoint.architecture
    assert model.score(TEXT) == loaded.score(TEXT)
    assert model.sample("the ", seed=3) == loaded.sample("the ", seed=3)


def test_several_models_are_averaged() -> None:
    saved("a"), saved("b", seed=2)
    alone = [Model.load(name).score(TEXT).nats for name in "ab"]
    together = Model.load("a", "b").score(TEXT).nats
    assert together < sum(alone) / 2  # as the logarithm is concave
    with pytest.raises(UsageError, match="dynamic evaluation is of one model"):
        Model.load("a", "b").scorer(adapt=True)


def test_nothing_to_load() -> None:
    with pytest.raises(CheckpointError):
        Model.load("gone")
    with pytest.raises(UsageError, match="precision"):
        Model.load(saved("m"), precision="float16")


def test_scorers() -> None:
    """Each with its options; one that adapts begins every text with the trained weights."""
    model, text = Model.load(saved("m")), NamedText([[TEXT]])
    [whole] = model.scorer().texts([text])
    assert whole == model.score(TEXT)
    [cut] = model.scorer(ScoringOptions(window=24)).texts([text])
    assert cut.nats == pytest.approx(20 * model.score(TEXT[:24]).nats, rel=1e-6)
    first, second = model.scorer(adapt=True).texts([text, text])
    assert first == second
    assert first.nats < whole.nats
    [slow] = model.scorer(adapt=True, adapt_rate=1e-6).texts([text])
    assert first.nats < slow.nats < whole.nats * 1.001


def test_check_may_stop_scoring() -> None:
    def check(tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Model.load(saved("m")).scorer(check=check).texts([NamedText([[TEXT]])]))


def test_chunks_of_several_texts() -> None:
    """In order, and a prompt that cannot be used is refused by the call itself."""
    model = Model.load(saved("m"))
    chunks = list(model.generate(b"the ", SampleConfig(num=3, length=40), seed=1))
    assert [chunk.index for chunk in chunks if chunk.finished] == [0, 1, 2]
    assert [chunk.tokens for chunk in chunks if chunk.finished] == [40, 40, 40]
    with pytest.raises(InputError, match="never seen U"):
        model.generate("Ü", SampleConfig())


def test_many_scores() -> None:
    """As those of `eval --lines`: each with its end."""
    model = Model.load(saved("m"))
    found = model.score_many(line for line in ("a", b"b\n", ""))
    assert [score.tokens for score in found] == [2, 2, 1]
    assert sum(found, Score()).bytes == 5

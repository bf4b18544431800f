"""A model as the command line, the library and training share it."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from charrnn.config.sample import SamplingParams
from charrnn.corpus.formats import NamedText
from charrnn.errors import CheckpointError, InputError, UsageError
from charrnn.model import Model
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.score import Score
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


def test_threads_take_turns() -> None:
    """Whatever runs the model, and whatever they do: each text has its own score, each seed its text."""
    texts = [TEXT[begin : begin + 1 + begin % 60] for begin in range(200)]
    saved("a"), saved("b", seed=2)

    def adapted(model: Model) -> float:
        return next(model.scorer(adapt=True).texts([NamedText([[TEXT[:90]]])])).nats

    for model in (
        Model.load("a"),
        Model.load("a", engine="numpy"),
        Model.load("a", "b"),
        Model.load("b", engine="torch"),
    ):
        alone = [model.score(each) for each in texts]
        samples = [model.sample(seed=seed, length=20) for seed in range(20)]
        with ThreadPoolExecutor(8) as pool:
            scores = pool.map(model.score, texts)
            sampled = pool.map(lambda seed: model.sample(seed=seed, length=20), range(20))  # noqa: B023
            learnt = [pool.submit(adapted, model) for _ in range(3)] if len(model.networks) == 1 else []
            many = pool.submit(lambda: list(model.score_many(texts)))  # noqa: B023
            assert list(scores) == alone
            assert list(sampled) == samples
            assert len({each.result() for each in learnt}) < 2
            assert [each.tokens for each in many.result()] == [each.tokens + 1 for each in alone]


def test_a_model_can_be_pickled() -> None:
    """With its weights, tokenizer, separator and what runs it; but not one that is being trained."""
    saved("a"), saved("b", seed=2)
    tiny.saved(Path("c"), tiny.drawn(tiny.pieces(), separator=b"; "))
    for model in (Model.load("a", engine="numpy"), Model.load("a", "b"), Model.load("c", precision="float32")):
        model.score(TEXT)
        again = pickle.loads(pickle.dumps(model))  # noqa: S301
        assert again.engine.name == model.engine.name
        assert (again.info, again.separator) == (model.info, model.separator)
        assert again.score(TEXT) == model.score(TEXT)
        assert again.sample(seed=1) == model.sample(seed=1)
    checkpoint = tiny.drawn(tiny.char())
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Model(tiny.engine_of(checkpoint), checkpoint.tokenizer))


def test_many_texts() -> None:
    """EV-08: as lines; every text has a score, so none can be left out."""
    model = Model.load(saved("m"))
    assert [each.tokens for each in model.score_many(["the", "", "the\n", "a\nb"])] == [4, 1, 4, 4]
    with pytest.raises(UsageError, match=r"^errors must be one of strict, replace, not 'skip'"):
        model.score_many(["a"], errors="skip")


def test_check_may_stop_scoring() -> None:
    def check(tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Model.load(saved("m")).scorer(check=check).texts([NamedText([[TEXT]])]))


def test_chunks_of_several_texts() -> None:
    """In order, and a prompt that cannot be used is refused by the call itself."""
    model = Model.load(saved("m"))
    chunks = list(model.generate(b"the ", SamplingParams(num=3, length=40, seed=1)))
    assert [chunk.index for chunk in chunks if chunk.finished] == [0, 1, 2]
    assert [chunk.tokens for chunk in chunks if chunk.finished] == [40, 40, 40]
    with pytest.raises(InputError, match="never seen U"):
        model.generate("Ü", SamplingParams())


def test_many_scores() -> None:
    """As those of `eval --lines`: each with its end."""
    model = Model.load(saved("m"))
    found = list(model.score_many(line for line in ("a", b"b\n", "")))
    assert [score.tokens for score in found] == [2, 2, 1]
    assert sum(found, Score()).bytes == 5

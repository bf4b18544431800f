"""A training session: whatever it is given to read, and what it makes of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.config.train import TrainConfig
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.dataset import Dataset
from charrnn.dataset.prepare import PrepareOptions, prepare
from charrnn.errors import UsageError
from charrnn.runs.events import DoneEvent, Event, Note, PlanEvent, SaveEvent, StepEvent, is_stored, to_json
from charrnn.runs.run_dir import RunDir
from charrnn.training.distributed import SingleProcess
from charrnn.training.ingest import dataset_digest
from charrnn.training.session import TrainingSession
from tests.trainings import SMALL, TEXT


@pytest.fixture(autouse=True)
def corpus() -> Corpus:
    """A corpus, in a file of the working directory."""
    Path("corpus.txt").write_bytes(TEXT)
    return read_corpus(["corpus.txt"])


def prepared(corpus: Corpus) -> Dataset:
    return prepare(corpus, None, PrepareOptions())


def session(text: Corpus | Dataset | None = None, *, given: set[str] | None = None, **options: Any) -> TrainingSession:
    config = TrainConfig(**{**SMALL, "steps": 6, "corpus": () if text else ("corpus.txt",), **options})
    return TrainingSession(config, text=text, given=frozenset(given or ()))


def test_paths_a_corpus_and_a_dataset_give_the_same_model(corpus: Corpus) -> None:
    made = []
    for name, text in (("paths", None), ("corpus", corpus), ("dataset", prepared(corpus))):
        made.append(session(text, out=name).run())
    models = [RunDir(Path(name)).model.read_bytes() for name in ("paths", "corpus")]
    assert models[0] == models[1]  # to the byte; a dataset has another digest than its corpus
    assert made[0].nats == made[1].nats == made[2].nats


def test_a_run_is_named_after_its_text(corpus: Corpus) -> None:
    assert session().run().model == "checkpoints/corpus-lstm/model.safetensors"
    assert session(corpus, cell="gru").run().model == "checkpoints/corpus-gru/model.safetensors"
    assert session(prepared(corpus)).run().model == "checkpoints/dataset-lstm/model.safetensors"


def test_a_dataset_is_known_again(corpus: Corpus) -> None:
    """Resuming compares its digest; that of another split differs."""
    dataset = prepared(corpus)
    session(dataset, out="run").run()
    done = session(dataset, out="run", resume=True, steps=8, given={"steps"}).run()
    assert done.step == 8
    other = prepare(corpus, None, PrepareOptions(val_fraction=0.3))
    with pytest.raises(UsageError, match="the corpus is not the one this run began with"):
        session(other, out="run", resume=True).run()
    assert dataset_digest(dataset) == dataset_digest(prepared(corpus)) != dataset_digest(other)


def test_the_plan_alone_writes_nothing() -> None:
    event = session(hidden=(4, 4)).plan()
    assert isinstance(event, PlanEvent)
    assert (event.hidden, event.steps, event.step) == ((4, 4), 6, 0)
    assert [path.name for path in Path().iterdir()] == ["corpus.txt"]


def test_callbacks_see_everything_in_order(capfd: pytest.CaptureFixture[str]) -> None:
    """What is stored is what they saw, but for notes and steps that are not logged; nothing is printed."""
    events: list[Event] = []
    others: list[Event] = []
    config = TrainConfig(**{**SMALL, "steps": 30, "eval_every": 20, "corpus": ("corpus.txt",), "out": "run"})
    done = TrainingSession(config, callbacks=[events.append, others.append]).run()
    assert others == events
    assert events[-1] == done
    assert [event.step for event in events if isinstance(event, StepEvent)] == list(range(1, 31))
    assert [event.step for event in events] == sorted(event.step for event in events)
    assert [to_json(event) for event in events if is_stored(event)] == RunDir(Path("run")).events()
    assert any(isinstance(event, Note) and event.level == "debug" for event in events)
    kinds = [type(event) for event in events if not isinstance(event, Note)]
    assert (kinds[:2], kinds[-1]) == ([PlanEvent, SaveEvent], DoneEvent)
    assert capfd.readouterr() == ("", "")


def test_a_callback_may_raise() -> None:
    """The run is as it was saved last."""

    def fail(event: Event) -> None:
        if isinstance(event, StepEvent) and event.step == 3:
            raise ZeroDivisionError

    config = TrainConfig(**{**SMALL, "steps": 6, "save_every": 2, "corpus": ("corpus.txt",), "out": "run"})
    with pytest.raises(ZeroDivisionError):
        TrainingSession(config, callbacks=[fail]).run()
    assert session(out="run", resume=True).run().step == 6


def test_a_world_of_one_process() -> None:
    world, values = SingleProcess(), np.arange(3.0)
    world.all_reduce(values)
    assert (world.rank, world.size) == (0, 1)
    assert world.gather(7) == [7]
    assert world.first(lambda: 7) == world.each(lambda: 7) == 7
    assert world.place("cpu", 3) == ("cpu", 3)
    assert world.broadcast({"a": 1}) == {"a": 1}
    assert world.gather_rows((values,)) == (values,)

"""What type checkers know of `charrnn.train`: the options that there are, and what each takes."""

import os
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import charrnn
from charrnn.api import _COMMAND_LINE_ONLY
from charrnn.config.arguments import TrainArguments
from charrnn.config.train import TrainConfig


def parts(annotation: Any) -> set[Any]:
    """The types that a union is made of."""
    return set(get_args(annotation)) if get_origin(annotation) in (UnionType, Union) else {annotation}


def test_they_are_the_options_of_training() -> None:
    """In the same order, and every value that an option has may be given; what is typed besides is converted."""
    given, stored = get_type_hints(TrainArguments), get_type_hints(TrainConfig)
    assert list(given) == [each.name for each in fields(TrainConfig) if each.name not in _COMMAND_LINE_ONLY]
    more: dict[str, set[Any]] = {
        "hidden": {int, list[int]},
        "time": {str},
        **{key: {os.PathLike[str]} for key in ("val", "init_from", "out", "mix")},
    }
    for name, annotation in given.items():
        if name == "replans":
            assert annotation == tuple[Mapping[str, Any], ...] | None
        else:
            assert parts(annotation) == parts(stored[name]) | more.get(name, set()), name


if TYPE_CHECKING:  # mypy is to refuse what is marked, and nothing else
    charrnn.train("a", hidden=8, time="2m", out=charrnn.__path__[0], lr=1, val=0.1)
    charrnn.train(["a"], hidden=(8, 4), time=60, auto_resume=True, callbacks=[print])
    charrnn.train("a", hiden=8)  # type: ignore[call-arg]
    charrnn.train("a", lr="fast")  # type: ignore[arg-type]
    charrnn.train("a", dry_run=True)  # type: ignore[call-arg]

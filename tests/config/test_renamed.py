"""Options of earlier versions: what their names are answered with, and how stored ones are read."""

from pathlib import Path
from typing import Any

import pytest

from charrnn.config.eval import EvalConfig
from charrnn.config.options import flag, param_types, read_toml, unknown_variables
from charrnn.config.renamed import COMMANDS, renamed, replacement, tried, upgrade
from charrnn.config.sample import SampleConfig
from charrnn.config.train import TrainConfig
from charrnn.errors import UsageError

OLD = {
    "train": {
        "weights": "is now --counts",
        "val_fraction": "is now --val",
        "min_count": "is now --vocab-size, how many characters are known",
        "activation": "is now part of --cell: rnn-relu or rnn-sigmoid",
        "preset": "is now --time; --hidden makes a small model",
        "val_limit": "is now part of the plan: leave it out, or set eval_tokens in a file (charrnn help config)",
    },
    "sample": {"raw": "is now a pipe, | cat, which gets control characters as they are"},
    "eval": {
        "metric": "is now --fields",
        "dynamic": "is now --adapt weights",
        "dynamic_rate": "is now set from Python alone",
        "flush": "is now how output always is: flushed before the program waits",
        "unknown": "is now the field perplexity_without_oov: --fields perplexity_without_oov",
    },
}
CONFIGS: dict[str, type] = {"train": TrainConfig, "sample": SampleConfig, "eval": EvalConfig}


@pytest.mark.parametrize(("command", "name"), [(command, name) for command in OLD for name in OLD[command]])
def test_every_old_name_gives_its_new_one(command: str, name: str) -> None:
    """What it names is there, and the old name is not."""
    found = renamed(command, name)
    assert found is not None
    assert found.render(flag) == OLD[command][name]
    assert replacement(name) is found
    known = param_types(CONFIGS[command])
    assert name not in known
    assert set(found.fields) <= set(known)
    assert renamed("show", name) is None


def test_a_variable_has_its_value_after_an_equals_sign() -> None:
    [warning] = unknown_variables({"CHARRNN_DYNAMIC": "1"}, CONFIGS.values())
    assert warning == "CHARRNN_DYNAMIC is not read: it is now CHARRNN_ADAPT=weights"


def test_an_old_key_in_a_file() -> None:
    """CL-21: of what a user wrote, an error that says what it is now."""
    for name, advice in OLD["train"].items():
        Path("a.toml").write_text(f"{name.replace('_', '-')} = 1\n")
        with pytest.raises(UsageError) as caught:
            read_toml(Path("a.toml"), param_types(TrainConfig))
        expected = advice.replace("--", "").replace("vocab-size", "vocab_size")
        assert str(caught.value) == f"'a.toml': {name.replace('_', '-')!r} {expected}"


STORED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"cell": "lstm", "activation": "tanh"}, {"cell": "lstm"}),
    ({"cell": "rnn", "activation": "sigmoid"}, {"cell": "rnn-sigmoid"}),
    ({"weights": True, "min_count": 3, "preset": "best"}, {"counts": True}),
    ({"val_fraction": 0.2, "val_limit": 77}, {"val": 0.2, "eval_tokens": 77}),
    ({"val_fraction": 0.1, "val": "/a/b.txt"}, {"val": "/a/b.txt"}),
    ({"cell": "rnn-relu", "val": 0.3, "eval_tokens": 5}, {"cell": "rnn-relu", "val": 0.3, "eval_tokens": 5}),
    ({"records": True, "seed": 3}, {"records": True, "seed": 3, "split_seed": -1}),
    ({"records": True, "split_seed": 2}, {"records": True, "split_seed": 2}),
    ({}, {}),
]


@pytest.mark.parametrize(("old", "new"), STORED, ids=str)
def test_what_an_earlier_version_stored(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert upgrade(old) == new
    lines = [f"{name} = {repr(value).lower()}" for name, value in old.items()]
    Path("config.toml").write_text("\n".join(lines))
    assert read_toml(Path("config.toml"), param_types(TrainConfig), stored=True) == new


def test_the_plan_of_an_earlier_version() -> None:
    """`--config RUN/config.toml` understands old names in what the program wrote, and only there."""
    declared, options = (
        param_types(TrainConfig),
        'cell = "lstm"\nactivation = "tanh"\nmin_count = 1\nval_fraction = 0.2\n',
    )
    Path("a.toml").write_text("# The plan of this run: what `charrnn train --config` needs to repeat it.\n" + options)
    assert read_toml(Path("a.toml"), declared) == {"cell": "lstm", "val": 0.2}
    Path("b.toml").write_text(options)
    with pytest.raises(UsageError, match="'activation' is now part of cell"):
        read_toml(Path("b.toml"), declared)
    for count in ("2", "'two'"):
        Path("c.toml").write_text(Path("a.toml").read_text().replace("min_count = 1", f"min_count = {count}"))
        with pytest.raises(UsageError, match="'min_count' is now vocab_size"):
            read_toml(Path("c.toml"), declared)
    Path("d.toml").write_text("# The plan of this run\nactivation = 'relu'\n")
    assert read_toml(Path("d.toml"), declared) == {"cell": "rnn-relu"}


def test_what_other_programs_call_it() -> None:
    """Each is answered with options that are there."""
    words = {
        "sample": "temperature max_length max_tokens num_samples greedy min_length starts_with not_in between null"
        " forever",
        "eval": "threshold max_perplexity fail_above context chars words html cache best",
    }
    for command, names in words.items():
        for name in names.split():
            found = tried(command, name)
            assert found is not None, name
            assert found.render(flag).startswith("use ")
            assert set(found.fields) <= set(param_types(CONFIGS[command]))
            assert name not in param_types(CONFIGS[command])
    assert COMMANDS.keys() == {
        *["generate", "score", "ppl", "compare", "classify", "list", "ls", "rm", "mv", "cache", "version"]
    }


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("threshold", "use --keep 'perplexity < 50'"),
        ("max_perplexity", "use --keep 'perplexity < 50'"),
        ("fail_above", "use --fail-if 'perplexity > 50'"),
        ("context", "use --prompt, which is read and not scored"),
        ("chars", "use --by token"),
        ("words", "use --by word"),
        ("html", "use --heat"),
    ],
)
def test_what_eval_has_instead(name: str, advice: str) -> None:
    found = tried("eval", name)
    assert found is not None
    assert found.render(flag) == advice


def test_commands_that_are_options_of_eval() -> None:
    assert (COMMANDS["compare"], COMMANDS["classify"]) == ("charrnn eval --compare", "charrnn eval --classify")

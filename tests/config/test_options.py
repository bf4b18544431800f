"""Options: what each kind takes, and which source goes before which."""

import math
from dataclasses import FrozenInstanceError, fields, make_dataclass
from pathlib import Path
from typing import Any

import pytest

from charrnn.config.eval import EvalConfig
from charrnn.config.groups import MAX_SEED, CommonOptions
from charrnn.config.lists import EscapedList, FieldList, IntList, StrList
from charrnn.config.manage import CorporaConfig, HelpConfig, ShowConfig
from charrnn.config.options import (
    check_fields,
    flag,
    merge,
    option,
    param_types,
    parse,
    read_toml,
    unknown_variables,
    variable,
)
from charrnn.config.params import (
    Choice,
    Duration,
    Escaped,
    FileOrShare,
    Flag,
    Float,
    Int,
    ParamType,
    PathName,
    Text,
    seconds,
)
from charrnn.config.sample import SampleConfig
from charrnn.config.train import TrainConfig
from charrnn.errors import UsageError
from charrnn.network.architecture import Architecture
from charrnn.network.cells import CELL_NAMES, CELLS, cell_and_activation, cell_name

CONFIGS = (TrainConfig, SampleConfig, EvalConfig)
SMALL = (CommonOptions, ShowConfig, CorporaConfig, HelpConfig)

TAKEN = [
    (Text(), "", ""),
    (Text(), "\u00e9\n", "\u00e9\n"),
    (PathName(), "a b", "a b"),
    (Escaped(), "a b", "a b"),
    (Escaped(), r"\n\n", "\n\n"),
    (Escaped(), r"\t\\n\r\0\x", "\t\\n\r\0\\x"),
    (Escaped(), "\n", "\n"),
    (Escaped(may_be_empty=True), "", ""),
    (EscapedList(), r"a\n", ("a\n",)),
    (Flag(), "1", True),
    (Flag(), "TRUE", True),
    (Flag(), "yes", True),
    (Flag(), "no", False),
    (Flag(), "0", False),
    (Choice(("gru", "lstm")), "gru", "gru"),
    (Int(), "0", 0),
    (Int(1, 8), "8", 8),
    (Float(), "0", 0.0),
    (Float(), "1e-3", 0.001),
    (Float(0, 1), "1", 1.0),
    (IntList(), "512", (512,)),
    (IntList(), "64,32", (64, 32)),
    (StrList(), "a", ("a",)),
    (FileOrShare(), "0.25", 0.25),
    (FileOrShare(), "0", 0.0),
    (FileOrShare(), "held-out.txt", "held-out.txt"),
    (FieldList(("nats", "oov")), "oov,nats", (("oov", "oov"), ("nats", "nats"))),
    (FieldList(("nats", "oov")), "nats=cost=1,oov", (("nats", "cost=1"), ("oov", "oov"))),
    (Duration(), "90", 90.0),
    (Duration(), "90s", 90.0),
    (Duration(), "5m", 300.0),
    (Duration(), "1h30m", 5400.0),
    (Duration(), "1h0.5m3s", 3633.0),
]


@pytest.mark.parametrize(("kind", "text", "value"), TAKEN)
def test_what_is_taken(kind: ParamType, text: str, value: Any) -> None:
    read = kind.parse(text)
    assert (read, type(read)) == (value, type(value))
    assert kind.check(read) == read  # what was read can be given again, as a checkpoint's plan is


REFUSED = [
    (PathName(), "", "a path"),
    (PathName(), "a\0b", "a path"),
    (Flag(), "maybe", "true or false"),
    (Choice(("gru", "lstm")), "x", "one of gru, lstm"),
    (Choice(("gru", "lstm")), "", "one of gru, lstm"),
    (FileOrShare(), "", "a file, or a share from 0 to 0.9"),
    (FileOrShare(), "0.95", "a file, or a share from 0 to 0.9"),
    (FileOrShare(), "nan", "a file, or a share from 0 to 0.9"),
    (Choice(("weights",)), "x", "weights"),
    (Int(), "-1", "a whole number, 0 or more"),
    (Int(1, 8), "9", "a whole number from 1 to 8"),
    (Int(1, 8), "3.0", "a whole number from 1 to 8"),
    (Int(1, 8), "", "a whole number from 1 to 8"),
    (Int(), str(2**63), "a whole number, 0 or more"),
    (Int(), "9" * 5000, "a whole number, 0 or more"),
    (Float(), "nan", "a finite number, 0 or more"),
    (Float(), "inf", "a finite number, 0 or more"),
    (Float(), "-inf", "a finite number, 0 or more"),
    (Float(), "1e400", "a finite number, 0 or more"),
    (Float(), "-0.1", "a finite number, 0 or more"),
    (Float(0, 1, open_low=True), "0", "a finite number, above 0 and at most 1"),
    (Float(0, 1, open_high=True), "1.0", "a finite number, 0 or more and below 1"),
    (Float(), "one", "a finite number, 0 or more"),
    (IntList(), "0", "whole numbers from 1 to 65536, separated by commas"),
    (IntList(), "8,", "whole numbers from 1 to 65536, separated by commas"),
    (IntList(9), "8,10", "whole numbers from 1 to 9, separated by commas"),
    (IntList(), "3.5", "whole numbers from 1 to 65536, separated by commas"),
    (Duration(), "0", "a time above 0 such as 90s, 5m or 1h30m"),
    (Duration(), "-5s", "a time above 0 such as 90s, 5m or 1h30m"),
    (Duration(), "5 minutes", "a time above 0 such as 90s, 5m or 1h30m"),
    (Duration(), "nan", "a time above 0 such as 90s, 5m or 1h30m"),
    (Duration(), "99999999h", "a time above 0 such as 90s, 5m or 1h30m"),
    (Duration(), "1..5s", "a time above 0 such as 90s, 5m or 1h30m"),
]


@pytest.mark.parametrize(("kind", "text", "wanted"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_refused(kind: ParamType, text: str, wanted: str) -> None:
    """CL-16: the message names flag, range and value."""
    with pytest.raises(UsageError) as caught:
        parse(kind, text, "an_option")
    assert str(caught.value) == f"an_option must be {wanted}, not {text!r}"
    assert caught.value.render(flag) == f"--an-option must be {wanted}, not {text!r}"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nat", "; there is no 'nat'; did you mean 'nats'?"),
        ("zzz", "; there is no 'zzz'"),
        ("", "; there is no ''"),
        ("nats,", "; there is no ''"),
        ("nats=", "; the name after = is empty or not one line"),
        ("nats=a\tb", "; the name after = is empty or not one line"),
        ("nats,oov=nats", "; a name occurs twice"),
    ],
)
def test_lists_of_fields_that_are_refused(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FieldList(("nats", "oov")), text, "fields")
    wanted = f"fields must be fields separated by commas, of nats, oov, not {text!r}{hint}"
    assert str(caught.value) == wanted


def test_a_file_wins_over_a_number(tmp_path: Path) -> None:
    Path("0.5").touch()
    assert FileOrShare().parse("0.5") == "0.5"
    assert FileOrShare().parse("0.6") == 0.6
    assert TrainConfig(val="0.5").val_file == "0.5"
    assert TrainConfig(val="0.5").val_fraction == 0
    assert (TrainConfig(val=0.5).val_file, TrainConfig(val=0.5).val_fraction) == (None, 0.5)


WRONG_TYPE: list[tuple[ParamType, Any]] = [
    (FileOrShare(), True),
    (FileOrShare(), 1),
    (FieldList(("a",)), 5),
    (FieldList(("a",)), []),
    (FieldList(("a",)), [("a", "b", "c")]),
    (FieldList(("a",)), [("a", 5)]),
    (Text(), 5),
    (PathName(), False),
    (Flag(), 1),
    (Flag(), "yes"),
    (Choice(("a",)), 1),
    (Choice(("a",)), ["a"]),
    (Int(), True),
    (Int(), 1.0),
    (Int(), "1"),
    (Float(), True),
    (Float(), "1"),
    (Float(), math.nan),
    (Float(), 10**400),
    (IntList(), True),
    (IntList(), []),
    (IntList(), [8, 8.0]),
    (StrList(), 5),
    (StrList(), ["a", 5]),
    (Duration(), True),
    (Duration(), math.inf),
]


@pytest.mark.parametrize(("kind", "value"), WRONG_TYPE, ids=lambda value: str(value)[:40])
def test_wrong_types(kind: ParamType, value: Any) -> None:
    """CL-21: of a file's values, and of a checkpoint's."""

    config = make_dataclass("Config", [("x", Any, option(kind, "x"))])(5)
    config.x = value
    with pytest.raises(UsageError, match=r"^x must be "):
        check_fields(config)


@pytest.mark.parametrize("config", [*CONFIGS, *SMALL])
def test_configurations(config: type) -> None:
    """Every option has a kind and a help, defaults are fit, and nothing can be changed afterwards."""
    made = config()
    for each in fields(config):
        assert isinstance(each.metadata["kind"], ParamType)
        text = each.metadata["help"]
        assert text.endswith((".", "object", "fields", "config")) or each.metadata["argument"], each.name
        assert str(each.metadata["kind"])
        if each.default is not None and "kind" in each.metadata:
            assert each.metadata["kind"].check(each.default) == each.default
        with pytest.raises(FrozenInstanceError):
            setattr(made, each.name, None)


EXAMPLES: dict[str, tuple[Any, Any, Any]] = {
    # kind: the value by flag, by variable, in the file
    "Text": ("flag", "variable", "file"),
    "Escaped": ("|", r"\n\n", "file"),
    "PathName": ("flag", "variable", "file"),
    "Int": ("5", "4", 3),
    "Float": ("0.75", "0.5", 0.25),
    "IntList": ("5", "4", 3),
    "StrList": (("flag",), "variable", "file"),
    "EscapedList": ((r"\n", "flag"), r"\t", "file"),
    "Duration": ("5m", "4m", "3m"),
    "FileOrShare": ("flag", "0.5", 0.25),
    "FieldList": ("perplexity", "nats=n", "tokens"),
    "Device": ("cuda:5", "cuda:4", "cuda:3"),
}


def example(kind: ParamType) -> tuple[Any, Any, Any]:
    if isinstance(kind, Choice):
        first, second = kind.choices[0], kind.choices[-1]
        return first, second, first
    return EXAMPLES[type(kind).__name__]


def toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


NEEDS: dict[str, dict[str, Any]] = {
    "prompt_field": {"jsonl": "text"},
    "top_logprobs": {"by": "token", "json": True},
    "reference": {"lines": True},
    "mix": {"init_from": "old"},
    "mix_share": {"init_from": "old", "mix": "a.txt"},
}
"""Options without which another cannot be used."""


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (config, name)
        for config in CONFIGS
        for name, kind in param_types(config).items()
        if not isinstance(kind, Flag) and name not in ("text", "replans")  # no variable gives them
    ],
)
def test_precedence(config: type, name: str) -> None:
    """CL-21: flag, variable, file, default; for every option there is."""
    kind = param_types(config)[name]
    by_flag, by_variable, in_file = example(kind)
    variable = f"CHARRNN_{name.upper()}"
    file = Path("options.toml")
    file.write_bytes(f"{name} = {toml(in_file)}\n".encode())
    for flags, environ, path, expected in (
        ({name: by_flag}, {variable: by_variable}, file, by_flag),
        ({name: None}, {variable: by_variable}, file, by_variable),
        ({}, {variable: by_variable}, file, by_variable),
        ({}, {variable: ""}, file, in_file),
        ({}, {}, file, in_file),
        ({}, {variable: ""}, None, None),
        ({}, {}, None, None),
    ):
        made: tuple[Any, frozenset[str]] = merge(config, NEEDS.get(name, {}) | flags, environ, path)
        value, given = getattr(made[0], name), made[1] - NEEDS.get(name, {}).keys()
        if expected is None:
            assert (value, given) == (getattr(config(), name), frozenset())
        else:
            meant = kind.parse(expected) if isinstance(expected, str) else kind.check(expected)
            if isinstance(expected, tuple):  # an option that was repeated
                meant = tuple(part for each in expected for part in kind.parse(each))
            assert (value, given) == (meant, frozenset({name}))


REPLANS = """\
steps = 40
replans = [{step = 10, steps = 30, realign = true}, {step = 30, resumed = true, evaluated = true, steps = 60, lr = 0.1}]
"""


def test_what_was_changed_under_way_is_read_from_a_file_alone() -> None:
    """And left out where a flag or a variable asks for other steps."""
    file = Path("options.toml")
    file.write_text(REPLANS)
    config, given = merge(TrainConfig, {}, {"CHARRNN_REPLANS": "[]"}, file)
    assert config.replans == (
        {"step": 10, "steps": 30, "realign": True},
        {"step": 30, "resumed": True, "evaluated": True, "steps": 60, "lr": 0.1},
    )
    assert given == {"steps", "replans"}
    assert unknown_variables({"CHARRNN_REPLANS": "[]"}, [TrainConfig])
    for flags, environ in (({"time": "9s"}, {}), ({"steps": "50"}, {}), ({}, {"CHARRNN_EPOCHS": "2"})):
        assert merge(TrainConfig, flags, environ, file)[0].replans is None
    for time in ("time = 9", "epochs = 2.0"):
        file.write_text(f"{time}\n{REPLANS}")
        with pytest.raises(UsageError, match=r"cannot be used together"):
            merge(TrainConfig, {}, {}, file)


@pytest.mark.parametrize(
    "value",
    [
        "5", "[5]", "[{}]", "[{step = -1}]", '[{step = "1"}]', "[{step = true}]", "[{step = 5, steps = 4}]",
        "[{step = 5, steps = 5.0}]", "[{step = 5, lr = 0.1}]", "[{step = 5, resumed = true, hidden = [5]}]",
        "[{step = 5, realign = false}]", "[{step = 5}, {step = 4}]", "[{step = 5, resumed = true, lr = -1}]",
    ],
)  # fmt: skip
def test_what_cannot_have_been_changed_under_way(value: str) -> None:
    Path("options.toml").write_text(f"replans = {value}\n")
    with pytest.raises(UsageError, match=r"replans must be tables|lr must be"):
        merge(TrainConfig, {}, {}, Path("options.toml"))


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("no", False), ("", False)])
def test_flags_from_the_environment(text: str, expected: bool) -> None:
    """CL-21."""
    assert merge(TrainConfig, {}, {"CHARRNN_JSON": text})[0].json is expected
    assert merge(TrainConfig, {"json": True}, {"CHARRNN_JSON": "0"})[0].json is True


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hiden = 5", "unknown key 'hiden'; did you mean 'hidden'?"),
        ("seqlen = 5", "unknown key 'seqlen'; did you mean 'seq_len'?"),
        ("zzzzzz = 5", "unknown key 'zzzzzz'"),
        ("[train]\nhidden = 5", "'train' is a table; options stand outside of tables, as in hidden = 64"),
        ("a.b.c = 5", "'a' is a table"),
        ("hidden = {a = 1}", "hidden must be whole numbers from 1 to 65536, separated by commas, not \"{'a': 1}\""),
        ("hidden = " + "[" * 9999 + "]" * 9999, "holds lists or tables within too many others"),
        ("config = 'b.toml'", "unknown key 'config'"),
        ("hidden = 'big'", "hidden must be whole numbers from 1 to 65536, separated by commas, not 'big'"),
        ("seq-len = 1.5", "seq-len must be a whole number from 1 to 65536, not '1.5'"),
        ("lr = nan", "lr must be a finite number, above 0 and at most 1e+09, not 'nan'"),
        ("lr = '0.1'", "lr must be a finite number, above 0 and at most 1e+09, not '0.1'"),
        ("json = 1", "json must be true or false, not '1'"),
        ("out = ''", "out must be a path, not ''"),
        ("cell = 'gur'", "gru-crossed, not 'gur'; did you mean 'gru'?"),
        ("time = 1979-05-27", "time must be a time above 0 such as 90s, 5m or 1h30m, not '1979-05-27'"),
        (f"seed = {2**63}", f"seed must be a whole number, 0 or more, not '{2**63}'"),
        ("clip = 1" + "0" * 400, "clip must be a finite number, 0 or more"),
        ("hidden", "is not valid TOML"),
        ("hidden = 5\nhidden = 6", "is not valid TOML"),
        ("\xff", "is not valid TOML"),
    ],
)
def test_files_with_mistakes(line: str, words: str) -> None:
    """CL-21: the message names file, key, value and what was probably meant."""
    file = Path("options.toml")
    file.write_bytes(line.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_toml(file, param_types(TrainConfig))
    assert str(caught.value).startswith("'options.toml'")
    assert words in str(caught.value)


def test_no_such_file() -> None:
    """CL-21."""
    for path, words in (("none.toml", "No such file"), (".", "directory")):
        with pytest.raises(UsageError, match=words):
            read_toml(Path(path), param_types(TrainConfig))


def test_a_variable_is_named_in_its_refusal() -> None:
    """CL-21."""
    with pytest.raises(UsageError, match=r"^CHARRNN_SEQ_LEN must be a whole number from 1 to 65536, not 'x'$"):
        merge(TrainConfig, {}, {"CHARRNN_SEQ_LEN": "x"})


@pytest.mark.parametrize(
    ("config", "values", "words"),
    [
        (
            TrainConfig,
            {"cell": "mingru", "weight_drop": 0.1},
            "weight_drop cannot be used with cell mingru, which has no recurrent weights",
        ),
        (
            TrainConfig,
            {"layers": 3, "hidden": [4, 5]},
            "layers 3 and hidden 4,5 cannot be used together: that is 2 sizes",
        ),
        (TrainConfig, {"resume": True, "overwrite": True}, "resume and overwrite cannot be used together"),
        (TrainConfig, {"resume": True, "auto_resume": True}, "resume and auto_resume cannot be used together"),
        (TrainConfig, {"auto_resume": True, "overwrite": True}, "auto_resume and overwrite cannot be used together"),
        (TrainConfig, {"val": 0.95}, "val must be a file, or a share from 0 to 0.9, not '0.95'"),
        (TrainConfig, {"seed": MAX_SEED + 1}, "seed must be"),
        (SampleConfig, {"prompt": "a", "prompt_file": "b"}, "prompt and prompt_file cannot be used together"),
        (EvalConfig, {"window": 5, "streams": 2}, "streams and window cannot be used together"),
        (EvalConfig, {"adapt": "weights", "streams": 2}, "streams and adapt cannot be used together"),
        (EvalConfig, {"adapt": "weights", "model": ("a", "b")}, "adapt learns with one model, and model names several"),
        (EvalConfig, {"lines": True, "window": 5}, "window and lines cannot be used together"),
        (EvalConfig, {"tsv": "2", "streams": 5}, "streams and tsv cannot be used together"),
        (EvalConfig, {"jsonl": "a", "adapt": "weights"}, "adapt and jsonl cannot be used together"),
        (EvalConfig, {"lines": True, "jsonl": "text"}, "lines and jsonl cannot be used together"),
        (EvalConfig, {"tsv": "text", "jsonl": "text"}, "jsonl and tsv cannot be used together"),
        (EvalConfig, {"fields": "adapted_perplexity"}, "fields: adapted_perplexity needs adapt"),
        (EvalConfig, {"fields": ["text", "oov"]}, "fields: text needs lines, records, jsonl, tsv, csv or by"),
        (TrainConfig, {"vocab_size": 99, "tokenizer": "byte"}, "vocab_size cannot be used with tokenizer byte"),
        (TrainConfig, {"jsonl": "text", "tsv": "2"}, "jsonl and tsv cannot be used together"),
        (TrainConfig, {"counts": True, "tsv": "2"}, "tsv and counts cannot be used together"),
        (TrainConfig, {"csv": "text", "tsv": "2"}, "tsv and csv cannot be used together"),
        (TrainConfig, {"tokenizer": "sentencepiece", "separator": "|"}, "separator can only be made of newlines"),
    ],
)
def test_clashes(config: type, values: dict[str, Any], words: str) -> None:
    """Told in the words of Python: `flag` is the command line's."""
    with pytest.raises(UsageError) as caught:
        config(**values)
    assert str(caught.value).startswith(words)
    assert all(flag(name) in caught.value.render(flag) for name in caught.value.fields)
    assert "{" not in caught.value.render(flag)


@pytest.mark.parametrize(
    "values",
    [
        {"cell": "rnn-relu", "weight_drop": 0.1},
        {"vocab_size": 40},
        {"vocab_size": 300, "tokenizer": "sentencepiece"},
        {"layers": 3, "hidden": 4},
        {"layers": 2, "hidden": (4, 5)},
        {"val": 0},
        {"val": "a.txt"},
        {"device": "cuda:12"},
        {"time": "2m", "epochs": 3, "steps": 9},
    ],
)
def test_what_goes_together(values: dict[str, Any]) -> None:
    made = TrainConfig(**values)
    assert made == TrainConfig(**{each.name: getattr(made, each.name) for each in fields(made)})


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:1234", "cpu ", "", "CUDA", 0])
def test_devices(device: Any) -> None:
    with pytest.raises(UsageError, match=r"^device must be auto, cpu, cuda or cuda:N, not "):
        TrainConfig(device=device)


@pytest.mark.parametrize("value", ["\n", "\n\n", "|", "a\tb\0", "\\n", "\\\n\\", "日\r"])
def test_what_is_escaped_reads_back(value: str) -> None:
    written = Escaped().write(value)
    assert Escaped().parse(written) == value
    assert written.isprintable()


@pytest.mark.parametrize(
    ("values", "separator"),
    [({}, b""), ({"records": True}, b"\n"), ({"separator": "\n\n"}, b"\n\n"), ({"counts": True}, b"\n")],
)
def test_separators(values: dict[str, Any], separator: bytes) -> None:
    made = TrainConfig(**values)
    assert made.records == bool(separator)
    assert made.record_separator == separator


def test_an_error_names_options_as_its_reader_does() -> None:
    """Arguments in Python, flags on the command line; what is not a field stays as it is."""
    error = UsageError("{seq_len} and {lr} cannot be used with '{lr2}'", ("seq_len", "lr"))
    assert str(error) == "seq_len and lr cannot be used with '{lr2}'"
    assert error.render(flag) == "--seq-len and --lr cannot be used with '{lr2}'"
    assert error.prefixed("a.txt").render(flag) == "a.txt: --seq-len and --lr cannot be used with '{lr2}'"
    assert (type(error.prefixed("a")), str(UsageError("{lr}"))) == (UsageError, "{lr}")


def test_spelling() -> None:
    assert flag("seq_len") == "--seq-len"
    assert TrainConfig().time is None
    assert seconds(300.0) == "5m"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (0.2, "1s"), (59.1, "1m"), (61, "1m1s"), (3600, "1h"), (5400, "1h30m"), (90061, "25h1m1s")],
)
def test_times_as_people_write_them(value: float, text: str) -> None:
    assert seconds(value) == text
    assert value == 0 or Duration().parse(text) == math.ceil(value)


@pytest.mark.parametrize(
    ("name", "cell", "activation"),
    [("lstm", "lstm", "tanh"), ("rnn", "rnn", "tanh"), ("rnn-relu", "rnn", "relu"), ("lstm-relu", "lstm-relu", "tanh")],
)
def test_cells_and_activations(name: str, cell: str, activation: str) -> None:
    made = TrainConfig(cell=name)
    assert (made.base_cell, made.activation) == (cell, activation)
    assert cell_name(cell, activation) == name


def test_every_name_of_a_cell_is_one() -> None:
    for name in CELL_NAMES:
        cell, activation = cell_and_activation(name)
        assert Architecture(cell, 4, (3,), 2, activation).cell == cell
        assert cell_name(cell, activation) == name
    assert {cell_and_activation(name)[0] for name in CELL_NAMES} == set(CELLS)


def test_arguments_come_from_the_command_line_alone() -> None:
    """But for the corpus, which a plan stores."""
    assert merge(EvalConfig, {}, {"CHARRNN_TEXT": "a"})[0].text == ()
    assert merge(ShowConfig, {}, {"CHARRNN_MODEL": "a"})[0].model is None
    assert merge(TrainConfig, {}, {"CHARRNN_CORPUS": "a"})[0].corpus == ("a",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CHARRNN_SEED", None),
        ("CHARRNN_MODEL", None),
        ("CHARRNN_QUIET", None),
        ("CHARRNN_EVAL_TOKENS", None),
        ("CHARRNN_DEBUG", None),
        ("CHARRNN_ISA", None),
        ("CHARRNN_UNKNOWN", None),  # of `sample`
        ("CHARRNNHIDEN", None),
        ("CHARRNN_HIDEN", "CHARRNN_HIDEN is not read: there is no such option; did you mean CHARRNN_HIDDEN?"),
        ("CHARRNN_Q_Z_J_X", "CHARRNN_Q_Z_J_X is not read: there is no such option"),
        ("CHARRNN_WEIGHTS", "CHARRNN_WEIGHTS is not read: it is now CHARRNN_COUNTS"),
        ("CHARRNN_METRIC", "CHARRNN_METRIC is not read: it is now CHARRNN_FIELDS"),
    ],
)
def test_unknown_variables(name: str, words: str | None) -> None:
    """CL-21: they are warned of; old names say what they are now."""
    found = unknown_variables({name: "1", "PATH": "x"}, [*CONFIGS, *SMALL])
    assert found == ([words] if words else [])


def test_a_variable_s_name() -> None:
    assert variable("seq_len") == "CHARRNN_SEQ_LEN"

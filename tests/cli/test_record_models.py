"""Models of records: scored record by record, and sampled a record a line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.__main__ import main
from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint.format import Checkpoint
from charrnn.config.sample import SampleConfig
from charrnn.corpus.formats import NamedText, Place, Row
from charrnn.engines.base import InferenceEngine
from charrnn.engines.reference import ReferenceEngine
from charrnn.errors import CheckpointError
from charrnn.generation import generate as sampling
from charrnn.generation.generate import generate
from charrnn.scoring import blocks
from charrnn.scoring.batching import Piece, score_ids
from charrnn.scoring.options import ScoringOptions
from charrnn.scoring.score import Score
from charrnn.scoring.scorer import Scorer
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.sentencepiece import SentencePieceTokenizer
from charrnn.tokenizers.tokenizer import Tokenizer
from tests import tiny
from tests.tiny import Program
from tests.trainings import arguments, dataset_of, tensors

CHARS = "\n| abcdefghijklmnopqrstuvwxyz\u00e9\u65e5"
TOKENIZERS: list[Tokenizer] = [
    tiny.char(CHARS),
    ByteTokenizer(),
    SentencePieceTokenizer.train(["anna emma olivia ava isabella mia\n" * 9], None, "unigram"),
]
tokenizers = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.name)
UNKNOWN = TOKENIZERS[0].unknown
RECORDS = [record.encode() for record in ["anna", "", "olivia ava", "é日", "mia", "x", "", "isabella" * 9, "emma"] * 3]


def engines(model: Checkpoint) -> Iterator[InferenceEngine]:
    yield tiny.engine_of(model)
    yield tiny.engine_of(model, "torch")
    yield ReferenceEngine(model.architecture, model.weights)


def text(data: bytes, size: int = 1 << 16) -> NamedText:
    """A text, read so many bytes at a time."""
    return NamedText([[data[at : at + size] for at in range(0, len(data), size)]])


# --- scoring ---------------------------------------------------------------------------------------


@tokenizers
@pytest.mark.parametrize("separator", [b"\n", b"\n\n", b"|"])
@pytest.mark.parametrize("window", [0, 1, 3, 50])
def test_ev_03_records_side_by_side_cost_what_each_costs_alone(
    tokenizer: Tokenizer, separator: bytes, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EV-03, EV-12: whatever engine, cuts and blocks; every token once, the separators' too."""
    model = tiny.drawn(tokenizer, "lstm", separator=separator)
    data = separator.join(RECORDS)  # the last one is not ended
    ids = [np.concatenate([tokenizer.encode(record), tokenizer.encode(separator)]) for record in RECORDS]
    parts = [part[at : at + (window or 999)] for part in ids for at in range(0, len(part), window or 999)]
    if tokenizer.name == "sentencepiece" and separator == b"|":
        return  # refused by TrainConfig: it might be part of a piece
    spans = score_ids(tiny.engine_of(model), tokenizer, ([Piece(part)] for part in parts))
    alone = sum((each.total() for each in spans), Score())
    assert alone.tokens == sum(map(len, ids))
    whole = data + separator
    fast, *others = engines(model)
    cuts = [(fast, size, block) for size in (7, 1 << 16) for block in (1, 40, 1 << 12)]
    for engine, size, block in [*cuts, *((engine, 7, 40) for engine in others)]:
        monkeypatch.setattr(blocks, "_BLOCK_IDS", block)
        [found] = Scorer(engine, tokenizer, separator, ScoringOptions(window=window)).texts([text(data, size)])
        assert found.nats == pytest.approx(alone.nats, rel=1e-5)
        assert found.tokens == alone.tokens
        assert (found.bytes, found.chars, found.words) == (len(whole), len(whole.decode()), len(whole.split()))


def test_ev_02_records_by_hand() -> None:
    """EV-02: against the printed equations, from `<s>` for each record."""
    model = tiny.drawn(tiny.char(CHARS), "gru", separator=b"\n")
    reference = ReferenceEngine(model.architecture, model.weights)
    nats = 0.0
    for record in RECORDS:
        ids = np.concatenate([[model.architecture.bos_id], model.tokenizer.encode(record + b"\n")])
        nats += reference.score(ids[None], reference.zero_state(1))[0].sum()
    engine = tiny.engine_of(model)
    [found] = Scorer(engine, model.tokenizer, b"\n").texts([text(b"\n".join(RECORDS))])
    assert found.nats == pytest.approx(nats, rel=1e-6)


def test_ev_13_unknown_characters() -> None:
    """EV-13."""
    model = tiny.unigram(tiny.char("ab\n"))
    engine = tiny.engine_of(model)
    [found] = Scorer(engine, model.tokenizer, b"\n").texts([text("aÜb\nÜ\n\na".encode())])
    assert (found.oov, found.tokens, found.chars) == (2, 9, 9)


@tokenizers
@pytest.mark.parametrize("separator", [b"\n", b"\n\n"])
def test_a_score_for_each_record(tokenizer: Tokenizer, separator: bytes) -> None:
    """EV-03: those of a text's records add up to its own."""
    model = tiny.drawn(tokenizer, "lstm", separator=separator)
    scorer = Scorer(tiny.engine_of(model), tokenizer, separator)
    data = separator.join(RECORDS)
    found = list(scorer.lines(Row(record, record, Place("-", 1)) for record in RECORDS))
    assert [score.bytes for score in found] == [len(record + separator) for record in RECORDS]
    [whole] = scorer.texts([text(data)])
    total = sum(found, Score())
    assert total.nats == pytest.approx(whole.nats, rel=1e-6)
    assert (total.tokens, total.chars, total.words) == (whole.tokens, whole.chars, whole.words)


@pytest.mark.parametrize("window", [0, 3])
def test_texts_of_records_side_by_side(window: int) -> None:
    """EV-12: each has its own score, in order, also those without records, whatever their parts."""
    model = tiny.drawn(TOKENIZERS[0], separator=b"\n")
    scorer = Scorer(tiny.engine_of(model), model.tokenizer, b"\n", ScoringOptions(window=window))
    datas = [b"anna\nmia\n" * 700, b"", b"x", b"\n", b"isabella\nava", b"", b"mia\n" * 2000]
    alone = [next(scorer.texts([text(data)])) for data in datas]
    assert [each.bytes for each in alone] == [6300, 0, 2, 1, 13, 0, 8000]
    together = list(scorer.texts(text(data) for data in datas))
    assert [each.nats for each in together] == pytest.approx([each.nats for each in alone], rel=1e-6)
    assert [(each.tokens, each.bytes) for each in together] == [(each.tokens, each.bytes) for each in alone]
    [joined] = scorer.texts([NamedText([[data] for data in datas])])
    assert joined.nats == pytest.approx(sum(each.nats for each in alone), rel=1e-6)
    assert (joined.tokens, joined.bytes) == (sum(each.tokens for each in alone), sum(each.bytes for each in alone))


def model_of(separator: bytes = b"\n", tokenizer: Tokenizer = TOKENIZERS[0]) -> str:
    return tiny.saved(Path("m.safetensors"), tiny.drawn(tokenizer, separator=separator))


def nats(run: Program, *arguments: str, stdin: bytes = b"") -> list[float]:
    done = run("eval", "-m", "m.safetensors", "--json", *arguments, stdin=stdin)
    assert done.code == 0, done.err
    return [json.loads(line)["nats"] for line in done.out.splitlines()]


@pytest.mark.parametrize("separator", [b"\n", b"\n\n", b"|"])
def test_eval_knows_what_kind_of_model_it_has(separator: bytes, run: Program) -> None:
    """EV-08: files whole, ended or not; EV-07: lines; JSON Lines; all the same records."""
    model_of(separator)
    names = ["anna", "olivia ava", "é日", "x"]
    alone = [nats(run, stdin=name.encode())[0] for name in names]
    for end in ("", separator.decode()):
        Path("all.txt").write_text(separator.decode().join(names) + end, encoding="utf-8", newline="")
        assert nats(run, "all.txt") == [pytest.approx(sum(alone), rel=1e-6)]
    assert nats(run, "all.txt", "all.txt") == pytest.approx([sum(alone), sum(alone), 2 * sum(alone)])
    lines = "\n".join(names).encode()
    assert nats(run, "--lines", stdin=lines) == pytest.approx(alone, rel=1e-6)
    table = "".join(f"{n}\t{name}\n" for n, name in enumerate(names)).encode()
    assert nats(run, "--tsv", "2", stdin=table) == pytest.approx(alone, rel=1e-6)
    objects = "".join(json.dumps({"n": n, "name": name}) + "\n" for n, name in enumerate([*names, ""])).encode()
    done = run("eval", "-m", "m.safetensors", "--jsonl", "name", stdin=objects)
    perplexities = [json.loads(line)["perplexity"] for line in done.out.splitlines()]
    sizes = [len(name) + len(separator) for name in names]
    assert perplexities[:4] == pytest.approx([np.exp(nats / size) for nats, size in zip(alone, sizes, strict=True)])
    assert perplexities[4] == pytest.approx(np.exp(nats(run, stdin=separator)[0] / len(separator)))
    Path("two.fasta").write_text(">1\nan\nna\n>2\nolivia ava\n", encoding="utf-8")
    assert nats(run, "two.fasta") == [pytest.approx(sum(alone[:2]), rel=1e-6)]
    assert nats(run, "--window", "2", "all.txt") != pytest.approx([sum(alone)], rel=1e-3)
    done = run("eval", "-m", "m.safetensors", "--streams", "3", "all.txt")
    assert (done.code, done.error) == (2, "Error: --streams cannot be used with a model of records")


def test_eval_tables(run: Program) -> None:
    """EV-10: rows as they came, the row of names too."""
    model_of(b"")
    table = b"id\ttext\n1\tanna\n2\t\n3\tolivia\r\n"
    done = run("eval", "-m", "m.safetensors", "--tsv", "text", stdin=table)
    rows = [line.split(b"\t", 3) for line in done.out.split(b"\n")[:-1]]
    assert rows[0] == [b"perplexity", b"tokens", b"oov", b"id\ttext"]
    assert [row[1] for row in rows[1:]] == [b"5", b"1", b"7"]
    assert [row[3] for row in rows[1:]] == table.split(b"\n")[1:-1]
    single = run("eval", "-m", "m.safetensors", "--lines", stdin=b"anna\n").out.split(b"\t")[0]
    assert rows[1][0] == single
    numbered = run("eval", "-m", "m.safetensors", "--tsv", "2", "-f", "tokens", stdin=table)
    assert numbered.out.startswith(b"5\tid\ttext\n5\t1\tanna\n1\t2")
    named = run("eval", "-m", "m.safetensors", "--tsv", "text", "-f", "tokens", stdin=table)
    assert named.out == b"tokens\tid\ttext\n5\t1\tanna\n1\t2\t\n7\t3\tolivia\r\n"
    for column, message in (
        ("name", "stdin, line 1: no column is called 'name'; there are id, text"),
        ("3", "no column 3"),
    ):
        done = run("eval", "-m", "m.safetensors", "--tsv", column, stdin=table)
        assert done.code == 4
        assert message in done.complaint


# --- the checkpoint --------------------------------------------------------------------------------


@tokenizers
@pytest.mark.parametrize("separator", [b"", b"\n", b"\n\n"])
def test_the_separator_is_part_of_a_model(tokenizer: Tokenizer, separator: bytes) -> None:
    model_of(separator, tokenizer)
    read = checkpoint.read("m.safetensors")
    assert read.separator == separator
    assert read.tokenizer.encode(b"anna\n").tolist() == tokenizer.encode(b"anna\n").tolist()


WRONG = [[99], [-1], [UNKNOWN], [1.0], ["a"], [True], "\\n", None, 3, {}, [0] * 300]


@pytest.mark.parametrize("value", WRONG, ids=range(len(WRONG)))
def test_ck_12_a_separator_that_is_none(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-12."""
    model = tiny.drawn(TOKENIZERS[0], separator=b"\n")
    real = json.dumps

    def dumps(document: Any, **options: Any) -> str:
        if isinstance(document, dict) and "separator" in document:
            document["separator"] = value
        return real(document, **options)

    monkeypatch.setattr(json, "dumps", dumps)
    tiny.saved(Path("m.safetensors"), model)
    with pytest.raises(CheckpointError, match="separator") as error:
        checkpoint.read("m.safetensors")
    assert error.value.exit_code == 3


# --- sampling --------------------------------------------------------------------------------------


def texts_of(model: Checkpoint, count: int, **options: Any) -> list[bytes]:
    texts = [b""] * count
    config = SampleConfig(num=count, **{"length": 30, **options})
    engine = tiny.engine_of(model)
    prompt = model.tokenizer.encode(b"")
    for part in generate(engine, model.tokenizer, [prompt], config, seed=4, separator=model.separator):
        texts[part.index] += part.data
    return texts


@tokenizers
@pytest.mark.parametrize("separator", [b"\n", b"an"])
def test_cl_26_a_record_does_not_depend_on_others(
    tokenizer: Tokenizer, separator: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CL-26: whatever the number of them, and however many stand side by side."""
    if tokenizer.name == "sentencepiece" and separator != b"\n":
        return
    model = tiny.drawn(tokenizer, separator=separator)
    model.weights["head.bias"][tokenizer.encode(separator)] += 3
    all_of_them = texts_of(model, 150)
    assert len(set(map(len, all_of_them))) > 5  # they end at different places: rows are refilled all the time
    assert all(separator not in text for text in all_of_them)
    for side_by_side in (1, 3, 200):
        monkeypatch.setattr(sampling, "BATCH_SIZE", side_by_side)
        assert texts_of(model, 40) == all_of_them[:40]
    assert texts_of(model, 1) == all_of_them[:1]


def test_a_prompt_may_end_records() -> None:
    """The state is reset after a separator, as in training."""
    model = tiny.drawn(TOKENIZERS[0], "lstm", separator=b"\n")
    engine = tiny.engine_of(model)
    config = SampleConfig(length=12)

    def goes_on(prompt: bytes) -> list[bytes]:
        ids = model.tokenizer.encode(prompt)
        return [part.data for part in generate(engine, model.tokenizer, [ids], config, seed=1, separator=b"\n")]

    assert goes_on(b"ann") == goes_on(b"olivia\nann") == goes_on(b"\n\nann")
    assert goes_on(b"ann") != goes_on(b"bnn")


def test_sample_writes_a_record_a_line(run: Program) -> None:
    """CL-01: and nothing else; records that --length cuts are ended too."""
    recites = tiny.reciting(tiny.char("\nabc"), b"abc\n")
    for separator, length, expected in (
        (b"\n", 50, b"abc\nabc\nabc\n"),
        (b"\n", 2, b"ab\nab\nab\n"),
        (b"c\n", 50, b"abc\nabc\nabc\n"),
        (b"c", 50, b"ab\nab\nab\n"),
    ):
        model = Checkpoint(recites.architecture, recites.tokenizer, recites.weights, {}, separator=separator)
        tiny.saved(Path("m.safetensors"), model)
        done = run("sample", "-m", "m.safetensors", "-n", "3", "--length", str(length), "--seed", "1")
        assert (done.code, done.out) == (0, expected)
    done = run("sample", "-m", "m.safetensors", "-n", "2", "--stop", "b", "--seed", "1")
    assert done.out == b"a\na\n"
    done = run("sample", "-m", "m.safetensors", "-n", "2", "--json", "--seed", "1")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(each["index"], each["text"], each["tokens"], each["finish_reason"]) for each in found] == [
        (index, "ab", 3, "end") for index in range(2)
    ]


def test_the_library(tmp_path: Path) -> None:
    model_of(b"\n")
    model = charrnn.load("m.safetensors")
    assert model.separator == b"\n"
    assert "\n" not in "".join(model.samples(20, length=40, seed=1))
    both = model.score("anna\nemma")
    assert both.tokens == 10
    assert both.nats == pytest.approx(sum(each.nats for each in model.score_many(["anna", "emma\n"])))


# --- training --------------------------------------------------------------------------------------

FIRST = ("anna", "emma", "olivia", "ava", "mia", "isabella", "sophia")
NAMES = "".join(f"{name} {last}\n" for name in FIRST for last in "abehilmnopsv").encode()


@pytest.mark.parametrize("more", [[], ["--tokenizer", "byte"], ["--tokenizer", "sentencepiece", "--vocab-size", "280"]])
def test_ev_17_training_and_eval_give_the_same_figures(
    more: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """EV-17, on the records that were held out."""
    Path("names.txt").write_bytes(NAMES)
    assert main(arguments("names.txt", "run", "--records", "--json", *more, steps=30)) == 0
    done = json.loads(capfdbinary.readouterr().out.splitlines()[-1])
    model = checkpoint.read("run/model.safetensors")
    assert model.separator == b"\n"
    options = {"tokenizer": more[1], "vocab_size": 280} if len(more) > 2 else {"tokenizer": more[1]} if more else {}
    split = dataset_of(NAMES, separator=b"\n", **options)
    Path("val.txt").write_bytes(b"".join(split.val_texts))
    assert main(["eval", "-m", "run", "--json", "val.txt"]) == 0
    found = json.loads(capfdbinary.readouterr().out)
    assert found["nats"] == pytest.approx(done["nats"], rel=1e-6)
    assert found["tokens"] == done["tokens"] == len(split.val)
    assert done["window_256"] == pytest.approx(done["carried"])
    assert found["bits_per_byte"] == pytest.approx(done["bits_per_byte"], rel=1e-6)


@pytest.mark.slow
def test_names_that_nobody_has_had(shared: Path, run: Program) -> None:
    """On real names a short training is enough: they look like names, and most are new."""
    names = shared / "names.txt"
    done = run(
        "train", names, "--records", "--hidden", "128", "--steps", "1500", "--lr", "0.01", "--out", "r", "--json"
    )
    assert done.code == 0
    assert json.loads(done.out.splitlines()[-1])["carried"] < 2.10
    written = run("sample", "-m", "r", "-n", "1000", "--seed", "1").out.decode().split("\n")[:-1]
    assert len(written) == 1000
    assert sum(bool(re.fullmatch("[a-z]{2,15}", name)) for name in written) >= 950
    split = dataset_of(names.read_bytes(), separator=b"\n")
    known = {split.tokenizer.decode(ids).decode().strip() for ids in split.train.texts()}
    assert sum(name not in known for name in written) >= 400


FORMS = {
    "names.txt": (NAMES, ["--records"]),
    "blocks.txt": (NAMES.replace(b"\n", b"\n\n"), ["--separator", r"\n\n"]),
    "weighted.txt": (b"".join(b"%d\t%s\n" % (n + 1, name) for n, name in enumerate(NAMES.split())), ["--counts"]),
    "names.jsonl": (b"".join(b'{"name": "%s"}\n' % name for name in NAMES.split()), ["--jsonl", "name"]),
    "names.tsv": (
        b"id\tname\n" + b"".join(b"1\t%s\n" % name for name in NAMES.split()),
        ["--tsv", "name", "--records"],
    ),
    "names.csv": (b"".join(b'%d,"%s"\r\n' % (n, name) for n, name in enumerate(NAMES.split())), ["--csv", "2"]),
    "names.fa": (b"".join(b">%s\n%s\n" % (name, name) for name in NAMES.split()), ["--records"]),
}


@pytest.mark.parametrize(("file", "form"), FORMS.items(), ids=FORMS)
def test_resuming_needs_nothing_said_again(
    file: str, form: tuple[bytes, list[str]], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The run knows where its text is and what of it is text; another answer is refused (CK-16)."""
    Path(file).write_bytes(form[0])
    assert main(arguments(file, "run", *form[1], steps=6)) == 0
    assert main(arguments(file, "whole", *form[1], steps=6)) == 0
    assert main(["train", "--resume", "--out", "run", "--steps", "9"]) == 0
    err = capfdbinary.readouterr().err
    assert b"changed: steps 6 -> 9" in err
    models = checkpoint.read("run/model.safetensors"), checkpoint.read("whole/model.safetensors")
    assert models[0].separator == models[1].separator
    refused = main(["train", "--resume", "--out", "run", "--separator", "|", file, *form[1][:0]])
    assert refused == 2
    assert capfdbinary.readouterr().err.startswith(b"Error: ")


@pytest.mark.parametrize(
    ("file", "data", "more", "message"),
    [
        (
            "a.jsonl",
            b'{"t": "x"}\n{"t": "a\\nb"}\n',
            ["--jsonl", "t", "--records"],
            "'a.jsonl', line 2: the text holds",
        ),
        ("a.jsonl", b'{"t": "x"}\n{"t": \n', ["--jsonl", "t"], "'a.jsonl', line 2: not valid JSON"),
        ("a.tsv", b"1\tx\n2\n", ["--tsv", "2"], "'a.tsv', line 2: there is no column 2, only 1"),
        ("a.tsv", b"id\tx\n", ["--tsv", "y"], "'a.tsv', line 1: no column is called 'y'"),
        ("a.txt", b"3\tx\nx\n", ["--counts"], "'a.txt', line 2: a count of 1 or more, a tab and a text"),
        ("a.txt", b"0\tx\n", ["--counts"], "'a.txt', line 1: a count of 1 or more"),
        ("a.fa", b"ACGT\n>x\n", [], "'a.fa', line 1: not valid FASTA"),
        ("a.fa", b">x\nAC|GT\n", ["--separator", "|"], "'a.fa', line 1: the text holds the separator b'|'"),
        ("a.jsonl", b'{"t": 3}\n{}\n', ["--jsonl", "t"], "no object has text in the field 't'; "),
    ],
)
def test_faults_name_their_line(file: str, data: bytes, more: list[str], message: str, run: Program) -> None:
    """CL-12: exit 4."""
    Path(file).write_bytes(data)
    done = run(*arguments(file, "run", *more))
    assert done.code == 4
    assert message in done.error
    assert not Path("run").exists()


def test_more_steps_go_on_with_the_same_records(tmp_path: Path) -> None:
    """Their order does not depend on where a run ends, so a longer one passes the same states."""
    corpus = tmp_path / "lines.txt"
    corpus.write_bytes(b"".join(b"a line, the %dth\n" % number for number in range(60)))
    flags = ["--records", "--dropout", "0", "--schedule", "constant"]  # after one step of warm-up in either
    assert main(arguments(corpus, tmp_path / "at once", *flags, steps=33)) == 0
    assert main(arguments(corpus, tmp_path / "run", *flags, steps=30)) == 0
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "33"]) == 0
    assert tensors(tmp_path / "run/last.safetensors") == tensors(tmp_path / "at once/last.safetensors")

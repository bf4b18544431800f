"""Help: what it prints, at the widths of terminals."""

import re
from typing import Any

import pytest

from charrnn.cli.app import COMMANDS
from charrnn.cli.help_page import Group, Page, row, wrap
from charrnn.cli.help_topics import TOPICS
from charrnn.config.eval import ADAPTED, CLASSIFIED, COMPARED, METRICS, PLACES
from charrnn.config.manage import RUN_KEYS
from charrnn.config.sample import FIELDS
from charrnn.network.cells import CELL_NAMES
from tests.tiny import Program

COMMON = """\
Common:
  -q, --quiet             Print errors only.
  -v, --verbose           Print more detail.
  --no-color              No colour, as with NO_COLOR.
  -h, --help              -h: short help; --help: all options.
"""

TOP = """\
Usage: charrnn COMMAND [OPTIONS] [ARGS]...
  Small character-level recurrent language models: train on any text, sample from it, score text.

Commands:
  train                   Train a model on text; fine-tune or resume one.
  sample                  Generate text with a model.
  eval                    Score text with a model: perplexity; rank, filter, classify, compare.
  check                   Find what is wrong with a text before training on it.
  show                    Show a model's card and learning curve.
  runs                    List runs; free their disk space.
  corpora                 List the corpora known by name; fetch one.
  doctor                  Check this installation and machine.
  help                    Help on a command or a topic: texts, fields, config, cells, exit-codes.

Options:
  -V, --version           Print the version and exit.
  --install-completion, --show-completion
                          Install shell completion, or print its script.

Start with: charrnn train FILE, then charrnn sample, then charrnn eval FILE.
"""

TRAIN = f"""\
Usage: charrnn train [OPTIONS] [CORPUS]...
  Train a model on text and print its path.

Arguments:
  [CORPUS]...             Files, folders, quoted globs, - or a known corpus. [python-docs]

Options:
  --cell CELL             Recurrent cell: lstm, gru or rnn; others: charrnn help cells. [lstm]
  --hidden N[,N...]       Hidden size of all layers, or of each: 64,32. [from text and time]
  --time TIME             Time budget, from start to saved model: 90s, 5m, 1h30m. [5m]
  --tokenizer NAME        Tokens: char, byte, sentencepiece or sentencepiece-bpe. [char]
  --records               Records: each line is learnt from its start to its end, such as names.
  --jsonl FIELD           Each JSON line's FIELD is a text.
  --val FILE|X            Validate on FILE, or hold out this share of CORPUS; 0: nothing. [0.1]
  --init-from MODEL       Fine-tune: start from MODEL; characters new to it are added.
  --resume                Continue the run in --out exactly, or take a finished one further.
  -o, --out DIR           Folder of the run. [checkpoints/CORPUS-CELL; to resume, the newest]
  --seed N                Random seed: initial weights, dropout, order. [0]
  --dry-run               Print the plan, and the command that repeats it, and exit.
  --json                  Events as JSON Lines on stdout (docs/events.md).

Model:
  --layers N              Number of layers. [1, or as many as --hidden has]
  --embedding N           Embedding size. [from hidden size and vocabulary]
  --vocab-size N          Vocabulary size; of char, the N commonest are known. [from the text]

Training:
  --batch N               Batch size: rows trained side by side. [from the text]
  --seq-len N             Sequence length of truncated backpropagation through time. [64]
  --optimizer NAME        adamw, adam, sgd or rmsprop. [adamw]
  --lr X                  Peak learning rate. [from optimizer, cell and hidden size]
  --schedule NAME         Decay of the learning rate: linear, cosine or constant. [linear]
  --dropout X             Dropout between layers and before the head. [from epochs]
  --weight-drop X         DropConnect: dropout of recurrent weights. [from epochs]
  --weight-decay X        Weight decay. [0]
  --clip X                Maximum gradient norm; 0: no clipping. [1]
  --mix FILE              With --init-from: part of each batch comes from FILE, against forgetting.
  --mix-share X           That part. [0.2]
  --epochs X              Passes over the text. [as --time allows]
  --steps N               Optimizer steps. [as --time allows]
  --patience N            Early stopping: evaluations without improvement; 0: never. [8]
  --split-seed N          Random seed of which records are held out. [0]
  --eval-every N          Steps between evaluations; 0: only at the end. [from the plan]
  --sample-every N        Steps between printed samples; 0: none. [from the plan]

Text:
  --separator TEXT        What ends a record, '\\n\\n': a blank line. Implies --records. [\\n]
  --counts                Lines of COUNT<TAB>RECORD, as uniq -c writes. Implies --records.
  --tsv COLUMN            Texts are this column of tab-separated lines, a name or a number.
  --csv COLUMN            The same of CSV (RFC 4180).
  --errors HOW            Bad UTF-8 or JSON: strict (exit 4), replace (U+FFFD) or skip. [strict]

Run:
  --auto-resume           Continue the run in --out if there is one, else start it.
  --overwrite             Replace the run in --out.
  --save-every N          Steps between checkpoints; 0: only at the end. [from the plan]
  --config FILE           Options from a TOML file: charrnn help config.

Machine:
  --device NAME           auto, cpu, cuda or cuda:N. [auto]
  --engine NAME           auto, native or torch. [auto]
  --precision NAME        auto, float32, tf32, bfloat16 or float16. [auto]
  --threads N             Processor threads. [all there are]

{COMMON}
Examples:
  charrnn train corpus.txt --cell gru
  charrnn train names.txt --records --time 1m
  charrnn train new.txt --init-from shakespeare-lstm --mix shakespeare.txt
  charrnn train --resume --steps 20000 --out checkpoints/corpus-gru
  zcat old.log.gz | charrnn train - --out checkpoints/log
"""

SAMPLE_OPTIONS_AT_80 = """\
Usage: charrnn sample [OPTIONS]
  Generate text with a model.

Options:
  -m, --model MODEL       File, run's folder or run's name; several: mean of
                          their probabilities.
                          [$CHARRNN_MODEL, else the run saved last]
  --temp X                Temperature: 0 greedy, 1 the model's own, above 1 more
                          random. [1]
  -l, --length N          Most tokens in a text; 0: no limit.
                          [500; records: to their end]
  -n, --num N             Number of texts (per prompt); 0: no limit. [1]
  -p, --prompt TEXT       Text to continue.
  --stop TEXT             End a text before TEXT; several: before any of them.
  --match REGEX           Each text as a whole matches REGEX: 'S[a-z]{4,8}',
                          '[^0-9]*', '.{5,9}'.
  --unique                No text twice.
  --novel                 No record of the training text (read again from the
                          run's corpus).
  --rank                  Likeliest first, printed when all are made.
  --seed N                Random seed: the same seed, the same text.
                          [a new one, named on stderr]
  -i, --interactive       Type a prompt, read on, change settings, undo, retry;
                          /help there.
  --json                  One JSON object per text.
"""

SAMPLE_EXAMPLES = """\
Examples:
  charrnn sample --temp 0.8
  charrnn sample -m names -n 500 --match 'S[a-z]{4,8}' --unique --novel --rank | head -50
  charrnn sample -m code -p 'def ' -l 2000 --stop '\\n\\n\\n' --seed 7
  charrnn sample -m molecules -n 0 | validate | head -n 1000
"""

SAMPLE_SHORT_AT_80 = f"""\
{SAMPLE_OPTIONS_AT_80}
{COMMON}
{SAMPLE_EXAMPLES}
13 more options: charrnn sample --help
"""

SAMPLE_AT_80 = f"""\
{SAMPLE_OPTIONS_AT_80}
Sampling:
  --top-k N               Only the N likeliest tokens; 0: all. [0]
  --top-p X               Only the likeliest tokens that sum to probability X
                          (nucleus). [1]
  --min-p X               Only tokens at least X times as likely as the
                          likeliest. [0]
  --no-repeat N           No sequence of N tokens twice in a text; 0: allowed.
                          [0]
  --precision NAME        auto, float32, bfloat16 or int8. [auto]

Constraints:
  --exclude FILE          No text that is a line of FILE; several: of any.
  --max-copy N            No stretch of over N characters of the training text;
                          0: allowed. [0]

Prompts:
  --prompt-file FILE      The prompt from a file; - is stdin.
  --lines                 Each line of --prompt-file is a prompt, answered in
                          order.
  --echo                  Print the prompt as part of the text.
                          [of record models]
  --unknown HOW           Prompt characters that the model lacks: error, skip or
                          nearest. [error]

Output:
  -f, --fields NAME,...   Columns in place of the text, such as nats,text:
                          charrnn help fields.
  --separator TEXT        Written after each text; '\\0' for xargs -0.
                          [the model's, else \\n]

{COMMON}
{SAMPLE_EXAMPLES}"""

EVAL_EXAMPLES = """\
Examples:
  charrnn eval held-out.txt
  p=$(charrnn eval -f perplexity held-out.txt)
  charrnn eval --lines lines.txt | sort -g | head
  charrnn eval --lines --keep 'bits_per_byte < 2.5 and chars > 20' < crawl.txt > clean.txt
  charrnn eval -m french -m german --lines --classify < towns.txt
"""

EVAL_OPTIONS = """\
Usage: charrnn eval [OPTIONS] [TEXT]...
  Score text with a model, exactly: a row per text, in the order of the input.

Arguments:
  [TEXT]...               Files, folders, quoted globs, or - for stdin. [stdin]

Options:
  -m, --model MODEL       File, run's folder or run's name; several: mean of their probabilities.
                          [$CHARRNN_MODEL, else the run saved last]
  --lines                 Each line is a text, scored from its start to its end.
  --jsonl FIELD           Each JSON line's FIELD is a text; the score is added to the object.
  --by UNIT               Rows within each text, state carried: word or token. [text]
  -p, --prompt TEXT       Score each text as the continuation of TEXT, itself not scored.
  -f, --fields NAME,...   Columns, in this order; NAME=AS renames one: charrnn help fields.
  --keep EXPR             Print only the texts for which EXPR holds, as they came.
  --fail-if EXPR          Exit with 10 if EXPR holds for a row, or for the total where printed.
  --classify              Of several models, name the one with the fewest bits per byte.
  --compare               Of several models, paired differences with 95 % intervals.
  --heat                  Print the text coloured by surprise.
  --json                  One JSON object per row.
"""

EVAL_SHORT = f"""\
{EVAL_OPTIONS}
{COMMON}
{EVAL_EXAMPLES}
18 more options: charrnn eval --help
"""

EVAL = f"""\
{EVAL_OPTIONS}
Text:
  --records               Each record is a text.
  --separator TEXT        What ends a record. Implies --records. [the model's, else \\n]
  --tsv COLUMN            Texts are this column of tab-separated lines, a name or a number.
  --csv COLUMN            The same of CSV (RFC 4180).
  --carry                 Carry the state from text to text: each row is its share of the whole.
  --no-end                Leave the end of each line, record or field unscored.
  --prompt-file FILE      The prompt from a file; - is stdin.
  --prompt-field FIELD    Each text's own prompt from this JSON field or column.
  --errors HOW            Bad UTF-8 or JSON: strict (exit 4), replace (U+FFFD) or skip. [strict]

Output:
  --header                Print column names. [on a terminal]
  --top-logprobs K        With --by token --json: the K likeliest tokens at each place. [0]
  --reference FILE        Add percentile: the share, in per cent, of FILE's texts that are likelier.

Method:
  --adapt WHAT            Score also while learning from what was scored: weights.
  --window N              Reset the state every N tokens; 0: never. [0]
  --streams K             Score K pieces of a text side by side: faster, approximate. [1]

Machine:
  --device NAME           auto, cpu, cuda or cuda:N. [cpu]
  --engine NAME           auto, native, numpy or torch. [auto]
  --precision NAME        auto, float32, tf32, bfloat16, float16 or int8. [auto]

{COMMON}
{EVAL_EXAMPLES}"""

RUNS = f"""\
Usage: charrnn runs [OPTIONS] [RUN]...
       charrnn runs prune [OPTIONS] [RUN]...
  List runs, newest first. prune deletes the resume state of finished runs, and charrnn's leftover
  temporary files.
  RUN is a run's name or folder, or a folder that holds runs. [checkpoints/]

Options:
  --sort FIELD            Sort by a column, smallest first. [date, newest first]
  -f, --fields NAME,...   Columns: charrnn help fields.
  --header                Print column names. [on a terminal]
  --dry-run               With prune: print what would be deleted.
  --json                  One JSON object per run.

{COMMON}
Examples:
  charrnn runs --sort bits_per_char
  mv checkpoints/a checkpoints/b; rm -r checkpoints/c    # a run is a folder
"""

CHECK = f"""\
Usage: charrnn check [OPTIONS] [TEXT]...
  Find what is wrong with a text before training on it, and suggest a command to train with.

Arguments:
  [TEXT]...               Files, folders, quoted globs, - or a known corpus. [stdin]

Options:
  --records               Records: each line is learnt from its start to its end, such as names.
                          [guessed]
  --separator TEXT        What ends a record, '\\n\\n': a blank line. Implies --records. [\\n]
  --jsonl FIELD           Each JSON line's FIELD is a text.
  --tsv COLUMN            Texts are this column of tab-separated lines, a name or a number.
  --csv COLUMN            The same of CSV (RFC 4180).
  --counts                Lines of COUNT<TAB>RECORD, as uniq -c writes. Implies --records.
  --val FILE|X            Validate on FILE, or hold out this share of TEXT; 0: nothing. [0.1]
  --json                  One JSON object per finding.

{COMMON}
Examples:
  charrnn check corpus.txt
  charrnn check names.txt --records
"""

CORPORA = f"""\
Usage: charrnn corpora [OPTIONS] [NAME]...
       charrnn corpora get NAME
  List the corpora known by name; with NAME, show its card. get fetches one and prints its path.

Options:
  --json                  One JSON object per corpus.

{COMMON}
Examples:
  charrnn corpora names
  charrnn eval "$(charrnn corpora get shakespeare)"
"""

DOCTOR = f"""\
Usage: charrnn doctor [--json]
  Check core, instruction sets, threads and their speed, PyTorch, GPU, cache folder and its size,
  terminal, and what to do about each. Exit 1 if it cannot train.

Options:
  --json                  One JSON object per check.

{COMMON.rstrip()}
"""


@pytest.mark.parametrize(
    ("line", "columns", "expected"),
    [
        ("--help", 100, TOP),
        ("-h", 100, TOP),
        ("help", 100, TOP),
        ("train --help", 100, TRAIN),
        ("help train", 100, TRAIN),
        ("train --help", 500, TRAIN),
        ("sample --help", 80, SAMPLE_AT_80),
        ("sample -h", 80, SAMPLE_SHORT_AT_80),
        ("eval -h", 100, EVAL_SHORT),
        ("eval --help", 100, EVAL),
        ("runs --help", 100, RUNS),
        ("check --help", 100, CHECK),
        ("corpora --help", 100, CORPORA),
        ("corpora -h", 100, CORPORA),
        ("doctor --help", 100, DOCTOR),
    ],
)
def test_pages(line: str, columns: int, expected: str, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    done = run(*line.split())
    assert (done.code, done.err) == (0, b"")
    assert done.out.decode() == expected


@pytest.mark.parametrize("name", [*COMMANDS, *TOPICS])
@pytest.mark.parametrize("columns", [60, 80, 100])
def test_widths(name: str, columns: int, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page is as wide as the terminal; an example stays on its line, so that it can be copied."""
    monkeypatch.setenv("COLUMNS", str(columns))
    page = run("help", name).out.decode()
    lines = page.partition("\nExamples:\n")[0].splitlines()
    assert max(map(len, lines)) <= columns
    assert not any(line.endswith(" ") for line in page.splitlines())
    wide = " ".join(page.split())
    monkeypatch.setenv("COLUMNS", "100")
    assert " ".join(run("help", name).out.decode().split()) == wide


@pytest.mark.parametrize("name", [*COMMANDS])
def test_short_help_is_a_part_of_the_whole(name: str, run: Program) -> None:
    short, whole = (run(name, option).out.decode() for option in ("-h", "--help"))
    assert set(short.splitlines()) - set(whole.splitlines()) <= {short.splitlines()[-1]}
    options = re.findall(r"^  (-.*?)(?:  |$)", short.partition("Common:")[0], re.MULTILINE)
    assert len(options) <= 13
    left_out = len(re.findall(r"^  -", whole, re.MULTILINE)) - len(re.findall(r"^  -", short, re.MULTILINE))
    assert (f"{left_out} more options: charrnn {name} --help" in short) == (left_out > 0)


def test_short_help_comes_whatever_else_is_wrong(run: Program) -> None:
    for option in ("-h", "--help"):
        assert run("train", "--layers", "x", option).code == 0


def test_fields_are_all_explained() -> None:
    page = " ".join(each if isinstance(each, str) else " ".join(each) for each in TOPICS["fields"])
    added = ("percentile", "other", "rank", "entropy")
    for name in (*METRICS, *ADAPTED, *CLASSIFIED, *COMPARED, *PLACES, *FIELDS, *RUN_KEYS, *added):
        assert re.search(rf"\b{name}\b", page), name


def test_cells_are_all_explained() -> None:
    page = " ".join(each if isinstance(each, str) else " ".join(each) for each in TOPICS["cells"])
    for name in CELL_NAMES:
        assert re.search(rf"(?<![\w-]){name}(?![\w-])", page), name


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("a b [c d]", 9, ["a b [c d]"]),
        ("a b [c d]", 8, ["a b", "[c d]"]),
        ("a b [c d]", 4, ["a b", "[c", "d]"]),
        ("never; 0: never", 9, ["never;", "0: never"]),
        ("", 9, []),
    ],
)
def test_a_default_stays_in_one_piece(text: str, width: int, expected: list[str]) -> None:
    assert wrap(text, width, "") == expected


def test_a_long_name_has_a_line_of_its_own() -> None:
    assert row("x" * 23, "y", 80) == ["  " + "x" * 23, " " * 26 + "y"]
    assert row("x" * 22, "y", 80) == ["  " + "x" * 22 + "  y"]
    assert row("x", "", 80) == ["  x"]


def test_a_page_of_little() -> None:
    values: dict[str, Any] = {"usage": ("a", "b"), "description": ("c",), "groups": (Group("Options", [("d", "e")]),)}
    assert Page(**values).render() == f"Usage: a\n       b\n  c\n\nOptions:\n  d{' ' * 23}e\n"

"""`charrnn help`: the help of a command, or a page on what several commands share."""

from typing import Any

from charrnn.cli.app import COMMANDS, page
from charrnn.cli.help_page import Topic, render_topic
from charrnn.config.manage import HelpConfig
from charrnn.config.options import merge
from charrnn.console.streams import Console
from charrnn.errors import UsageError, did_you_mean

TEXTS: Topic = [
    "Texts: what train, check and eval read.",
    (
        "FILE",
        "A file. .gz, .bz2 and .xz are unpacked; of FASTA (.fa, .fasta, .fna, .ffn, .faa, .frn) the sequences are"
        " read: headers dropped, lines joined.",
    ),
    ("-", "Standard input, once. eval and check read it where no TEXT is named."),
    ("FOLDER", "All visible text files in it, in the order of their paths. Links are followed, once."),
    ("'GLOB'", "The files that match, such as '*.txt' or 'src/**/*.py'. Quote it."),
    ("NAME", "A corpus that charrnn corpora lists. A path of that name wins."),
    "",
    "Without CORPUS, train takes python-docs, the language reference that every Python carries. It is no file: eval"
    " cannot read it.",
    "",
    "What of a file is text:",
    ("(without an option)", "All of it."),
    ("--lines", "eval: each line is a text, scored from its start to its end; sample: a prompt of --prompt-file."),
    ("--records", "Each line is a text; train: learnt from its start to its end."),
    ("--separator '\\n\\n'", "Records that end otherwise, here with a blank line."),
    ("--counts", "train: lines of COUNT<TAB>RECORD; a record counts so often."),
    ("--jsonl FIELD", "A field of each JSON line; a.b is b of the object a, unless a key is named a.b."),
    ("--tsv COLUMN", "A column of tab-separated lines, by its name in the first line or its number."),
    (
        "--csv COLUMN",
        "The same of CSV (RFC 4180), whose cells in quotes may have commas and newlines in them.",
    ),
    "",
    "--errors skip leaves out a line, an object or a file that cannot be used, and counts it; replace reads invalid"
    " UTF-8 as U+FFFD.",
    "",
    "A model that was trained on records ends each with its separator; where the last one of a file has none, it is"
    " added. eval scores a line, record, field or cell with its end, the separator or a newline, added where it is"
    " missing; --no-end leaves it out. A whole file of any other model is scored as it is, and so are its lines with"
    " --carry.",
    "",
    "What eval reads before a text and does not score: --prompt, --prompt-file, or for each text --prompt-field, a"
    " further JSON field or column. It is tokenised apart from the text.",
    "",
    "In --separator, --prompt and --stop, \\n \\t \\r \\0 and \\\\ are escapes; other backslashes stay."
    " --prompt-file is read as it is, but for one final newline.",
    "",
    "REGEX, of --match, is written as for Python's re: . | ( ) [a-z] [^a-z] * + ? {2,5}, \\d \\w \\s \\D \\W \\S of"
    " Unicode, and its escapes, such as \\. \\n \\xNN \\uNNNN. A dot is not a newline. As the text as a whole matches,"
    " there are no anchors; nor are there backreferences, lookaround and flags.",
]


FIELDS: Topic = [
    "Fields: the columns that eval, sample and runs print, in this order unless --fields names others.",
    (
        "of files",
        "perplexity bits_per_char bits_per_byte tokens oov file; after two or more files, a row with total as file",
    ),
    ("--adapt weights", "adapted_perplexity adapted_bits_per_char adapted_bits_per_byte, before file"),
    ("--lines, --records", "perplexity tokens oov text"),
    ("--tsv, --csv", "perplexity tokens oov, then the row as it came; a heading gets their names"),
    ("--jsonl", "the object, and perplexity; null where it has no text"),
    ("--by word", "bits line index text, text being the word"),
    ("--by token", "bits rank entropy line index text"),
    ("--classify", "model bits_per_byte margin, then text or file"),
    ("--compare", "model other bits_per_byte other_bits_per_byte difference low high texts"),
    ("--reference", "percentile, after those of the text"),
    ("--keep", "the texts as they came, or the names of files; rows with --fields or --json"),
    ("--json", "all of them; of a total, total is true, and there is no file"),
    (
        "--by token --json",
        "an object a text: file line logprobs, with arrays tokens token_logprobs top_logprobs text_offset ranks"
        " entropies; natural logarithms",
    ),
    "",
    "Figures of a text:",
    ("nats", "Sum of -ln p over all tokens, the first included."),
    ("bits", "nats / ln 2"),
    ("perplexity", "exp(nats / tokens)"),
    ("perplexity_without_oov", "The same without unknown characters."),
    ("bits_per_char", "bits / characters (code points)"),
    ("bits_per_byte", "bits / bytes"),
    ("bits_per_byte_se", "Its standard error over the lines, or blocks of lines."),
    ("byte_perplexity", "2 ** bits_per_byte"),
    ("word_perplexity", "exp(nats / words), words being separated by white space"),
    ("tokens chars bytes words", "Counts."),
    ("oov", "Unknown characters."),
    ("adapted_...", "adapted_perplexity, adapted_bits_per_char and adapted_bits_per_byte: with --adapt."),
    ("percentile", "With --reference: the share, in per cent, of its texts that are likelier."),
    ("model margin", "With --classify: the model, and how many bits per byte the second best needs more."),
    "",
    "Of a pair of models, with --compare:",
    ("difference", "Bits per byte of model minus those of other: below 0, model is better."),
    ("low high", "Its 95 % interval, by bootstrap."),
    ("texts", "How many texts, or blocks of lines, were compared."),
    "",
    "Of a token, with --by:",
    ("rank", "1: no token was likelier."),
    ("entropy", "Of all tokens' probabilities there, in bits."),
    "",
    "Its place:",
    ("file", "The file, as it was named."),
    ("line", "The line in its file, from 1."),
    ("index", "Of the word or token, from 0."),
    ("offset", "Characters before it in its text, from 0."),
    ("text", "The line, record, word or token, or the text of FIELD or COLUMN."),
    "",
    "Of a text that sample writes; --json has all of them, in this order:",
    ("index", "Of the text among those of its prompt, from 0: the number of its draw."),
    ("line", "Of its prompt in --prompt-file, from 1: with --lines."),
    ("prompt text", "What was continued, and the text."),
    (
        "nats",
        "Sum of -ln p over the tokens drawn, those of its end or stop string included: the model's own, whatever"
        " temperature and constraints they were drawn with; as eval -p PROMPT. (Pieces of sentencepiece may be others"
        " than those that eval cuts the text in.)",
    ),
    ("tokens", "Drawn, those of its end or stop string included."),
    ("perplexity", "exp(nats / tokens)"),
    ("seed", "The random seed."),
    ("finish_reason", "stop: a stop string; length: as long as it may be; end: the end of a record."),
    "",
    "Of a run, in charrnn runs; --json has path and baselines besides:",
    ("name", "Of its folder; path is the folder."),
    (
        "state",
        "running: a process is at it; finished; stopped: it can be resumed; damaged: it cannot be, or its log cannot be"
        " read.",
    ),
    ("date", "When it was last written to: UTC, as in RFC 3339."),
    ("cell hidden", "Of its model; hidden sizes are separated by commas, in JSON a list."),
    ("corpus", "The names of what it was trained on."),
    ("bits_per_char", "Of its best model on the validation text."),
    ("baseline", "The same of the best of the simpler models, of which baselines has all."),
    ("seconds bytes", "Of training; of its files on the disk."),
    "",
    "-f perplexity,oov prints two columns; -f perplexity=gru calls a column gru. Columns are separated by tabs. Floats"
    " have 6 decimals; inf and nan occur, null in JSON.",
    "",
    "EXPR, of --keep and --fail-if, is made of fields, numbers, 'strings', < <= > >= == != + - * / ( ) and or not. A"
    " comparison with a value that is missing is false.",
]


CONFIG: Topic = [
    "Where options come from. The first of these that gives one wins:",
    ("--hidden 64", "The flag. Of one that is given twice the last counts; --model may be repeated."),
    (
        "CHARRNN_HIDDEN=64",
        "A variable: CHARRNN_ and the option in capitals, - as _. On is 1, off is 0. It serves all"
        " commands: CHARRNN_SEED=1 seeds train and sample.",
    ),
    (
        "--config FILE",
        'train: a TOML file of options, such as hidden = 64, seq_len = 64, corpus = ["a.txt"] or records = true.',
    ),
    (
        "RUN/config.toml",
        "With --resume: the plan of the run. To repeat a run: charrnn train --config RUN/config.toml --out NEW.",
    ),
    ("the plan, or a default", "See train --dry-run, and the brackets in --help."),
    "",
    "Every on/off option has an off form, such as --no-records. An unknown key of a file is an error, an unknown"
    " variable a warning. CHARRNN_DEBUG=1 adds a traceback to an error; CHARRNN_ISA chooses the instruction"
    " set of the compiled core, of those that charrnn doctor lists. No other file is read.",
]


CELLS: Topic = [
    "Cells, for train --cell.",
    ("lstm", "Long short-term memory."),
    ("gru", "Gated recurrent unit, its reset gate behind the matrix product, as in cuDNN."),
    ("rnn", "Elman network, with tanh."),
    ("rnn-relu, rnn-sigmoid", "The same with another activation."),
    "",
    "The others are there for comparison. The compiled core runs all; on a GPU all but these, and rnn-sigmoid, run step"
    " by step, many times slower.",
    ("lstm-peephole", "LSTM whose gates see the cell state (Gers and Schmidhuber 2000)."),
    ("gru-v1", "GRU as first published: its reset gate before the matrix product (Cho et al. 2014)."),
    ("mgu", "Minimal gated unit (Zhou et al. 2016)."),
    ("mingru, minlstm", "Gates that do not see the state (Feng et al. 2024)."),
    (
        "lstm-sigmoid, lstm-sigmoid-peephole, lstm-relu, lstm-cellless, gru-crossed",
        "Faulty variants that some tutorials print.",
    ),
    "",
    "The equations are in charrnn/engines/reference.py.",
]


EXIT_CODES: Topic = [
    "Exit codes.",
    ("0", "Done."),
    ("1", "Failure: a file or stream cannot be written, there is not enough memory."),
    ("2", "Usage: an option, its value or a combination cannot be used."),
    ("3", "Checkpoint unusable: missing, corrupt or of another kind."),
    ("4", "Text unusable: missing, not UTF-8 or too short."),
    ("5", "Numbers not finite."),
    ("10", "A condition that was asked for is not met: eval --fail-if; sample found fewer new texts than --num."),
    ("129, 130, 143", "Ended by SIGHUP, SIGINT (Ctrl-C) or SIGTERM; a training is saved first."),
    ("141", "The reader of stdout has gone, as after | head."),
    "",
    "An error is one line on stderr, Error: ...; CHARRNN_DEBUG=1 adds where it came from.",
]


TOPICS: dict[str, Topic] = {
    "texts": TEXTS,
    "fields": FIELDS,
    "config": CONFIG,
    "cells": CELLS,
    "exit-codes": EXIT_CODES,
}


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Print a page and return the exit code.

    Raises:
        UsageError: there is no such page.
    """
    topic = merge(HelpConfig, {"topic": flags["topic"]}, {})[0].topic or ""
    if not topic or topic in COMMANDS:
        text = page(topic).render()
    elif topic in TOPICS:
        text = render_topic(TOPICS[topic])
    else:
        names = [*COMMANDS, *TOPICS]
        hint = did_you_mean(topic, names) or f"; there are {', '.join(names)}"
        raise UsageError(f"no command or topic is called {topic!r}{hint}")
    console.write(text.encode(), flush=True)
    return 0

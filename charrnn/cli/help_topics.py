"""`charrnn help`: the help of a command, or a page on what several commands share."""

import difflib
from collections.abc import Mapping
from typing import Any

from charrnn.cli.help_page import Page
from charrnn.config.manage import HelpConfig
from charrnn.config.options import merge
from charrnn.console.streams import Console
from charrnn.errors import UsageError

TEXTS = """\
Texts: what train and eval read.

  PATH                    A file. .gz, .bz2 and .xz are unpacked; of FASTA (.fa, .fasta, .fna, .ffn,
                          .faa, .frn) the sequences are read, headers dropped, lines joined.
  -                       Standard input, once. eval reads it where no TEXT is named.
train takes besides:
  FOLDER                  All visible text files in it, in the order of their paths.
  'GLOB'                  The files that match: '*.txt', 'src/**/*.py'. Quote it.
  NAME                    A corpus of `charrnn corpora`. A path of that name wins.
Without CORPUS, train takes python-docs, the language reference that every Python carries.

What of a file is text:
  (nothing)               All of it, as one stream.
  --records               train: each line is learnt from its start to its end.
  --separator '\\n\\n'      train: another end of records; here a blank line.
  --counts                train: lines of COUNT<TAB>RECORD; each record counts so often.
  --lines                 eval: each line is a text, scored from its start to its end.
  --jsonl FIELD           A field of each JSON line.
  --tsv COLUMN            A column of tab-separated lines: a name in the first line, or a number.

In --separator, \\n \\t \\r \\0 and \\\\ are escapes; other backslashes stay.
A model that was trained on records ends each with its separator; eval adds a missing last one.
"""


FIELDS = """\
Fields: what eval prints, in this order unless --fields names others.

  of files                perplexity bits_per_char bits_per_byte tokens oov file
                          After two or more files, a row of their total.
  --lines                 perplexity tokens oov text
  --tsv                   perplexity tokens oov, then the line as it came.
  --jsonl                 The object, and perplexity.
  --adapt                 adapted_perplexity adapted_bits_per_char adapted_bits_per_byte before file.

Figures:
  nats                    Sum of -ln p over all tokens, the first included.
  bits                    nats / ln 2
  perplexity              exp(nats / tokens)
  perplexity_without_oov  The same without unknown characters.
  bits_per_char           bits / characters (code points)
  bits_per_byte           bits / bytes
  byte_perplexity         2 ** bits_per_byte
  word_perplexity         exp(nats / words), words being separated by white space
  tokens chars bytes words
                          Counts.
  oov                     Unknown characters.
  adapted_perplexity adapted_bits_per_char adapted_bits_per_byte
                          The same under --adapt.
Places:
  file                    As it was named.
  line                    The line in its file, from 1.
  text                    The line, or the text of FIELD or COLUMN.

-f perplexity,oov prints two columns; -f perplexity=gru calls a column gru.
Columns are separated by tabs. Floats have 6 decimals; inf and nan occur, null in --json.
"""


CONFIG = """\
Where options come from. The first of these that gives one wins:

  --hidden 64             The flag. Of a flag given twice the last counts; --model may be repeated.
  CHARRNN_HIDDEN=64       A variable: CHARRNN_ and the option in capitals, - as _. On is 1, off is 0.
                          It serves all commands: CHARRNN_SEED seeds train and sample.
  --config FILE           train: a TOML file of options: hidden = 64, seq_len = 64,
                          corpus = ["a.txt"], resume = true.
  RUN/config.toml         With --resume: the plan of the run, which --config can read too:
                          train --config RUN/config.toml --out NEW repeats a run.
  the plan, or a default  See train --dry-run, and the brackets in --help.

Every on/off option has an off form: --no-records, --no-json.
An unknown key in a file is an error, an unknown variable a warning.
CHARRNN_DEBUG=1 adds a traceback to an error; CHARRNN_ISA=baseline, avx2 or avx512 forces the
instruction set of the compiled core. No other file is read.
"""


CELLS = """\
Cells, for train --cell.

  lstm                    Long short-term memory, with forget gates, as PyTorch has it.
  gru                     Gated recurrent unit, as cuDNN and PyTorch have it.
  rnn                     Elman network with tanh.
  rnn-relu, rnn-sigmoid   The same with another activation.
These three have kernels in the compiled core and in cuDNN. The others run step by step in PyTorch and
NumPy, about ten times slower; they are there to compare with:
  lstm-peephole           LSTM whose gates see the cell state (Gers et al. 2002).
  gru-v1                  GRU as first published: the reset gate before the matrix product.
  mgu                     Minimal gated unit (Zhou et al. 2016).
  mingru, minlstm         Gates that do not see the state (Feng et al. 2024).
Faulty variants that some tutorials print:
  lstm-sigmoid, lstm-sigmoid-peephole, lstm-relu, lstm-cellless, gru-crossed

charrnn/engines/reference.py has the equations of all.
"""


EXIT_CODES = """\
Exit codes.

  0                       Done.
  1                       Failure: a file or stream cannot be written, not enough memory.
  2                       Usage: an option, its value or a combination cannot be used.
  3                       Checkpoint unusable: missing, corrupt, of another kind.
  4                       Text unusable: missing, not UTF-8, too short.
  5                       Numbers not finite.
  129, 130, 143           Ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM; a training is saved first.
  141                     The reader of stdout has gone, as after `| head`.

An error is one line on stderr, `Error: ...`; CHARRNN_DEBUG=1 adds where it came from.
"""


TOPICS = {"texts": TEXTS, "fields": FIELDS, "config": CONFIG, "cells": CELLS, "exit-codes": EXIT_CODES}


def run(console: Console, flags: dict[str, Any], *, started: float) -> int:
    """Print a page and return the exit code.

    Args:
        flags: `topic`, and `pages`, those of commands and of the program.

    Raises:
        UsageError: there is no such page.
    """
    pages: Mapping[str, Page] = flags["pages"]
    topic = merge(HelpConfig, {"topic": flags["topic"]}, {})[0].topic or ""
    if topic in pages:
        text = pages[topic].render()
    elif topic in TOPICS:
        text = TOPICS[topic]
    else:
        names = [name for name in pages if name] + [*TOPICS]
        near = difflib.get_close_matches(topic, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
        raise UsageError(f"no command or topic is called {topic!r}; {hint}")
    console.write(text.encode(), flush=True)
    return 0

"""Commands that mend a text: filters of one line, from stdin to stdout, for programs that every system has."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from charrnn.corpus.inputs import PACKED

UNPACK = {"gzip": "gzip -dc", "bz2": "bzip2 -dc", "lzma": "xz -dc"}
"""What unpacks a file, by the module that would."""

NEW = "NEW"
"""Stands for the name of the mended file."""

_NAMED = 4  # files that a command names


class Script(NamedTuple):
    """A script with letters that look like Latin ones.

    Attributes:
        first, last: its code points. letters: those that look like the ones of `latin`, in their order.
    """

    first: int
    last: int
    letters: str
    latin: str


SCRIPTS = {
    "Cyrillic": Script(0x400, 0x52F, "АВЕКМНОРСТХаеорсухіјѕ", "ABEKMHOPCTXaeopcyxijs"),
    "Greek": Script(0x370, 0x3FF, "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEZHIKMNOPTYXo"),
}


def one_script(word: str, script: Script) -> str | None:
    """Return a word of mixed letters in one script, Latin where that is possible; None: it is no look-alike."""
    latin = word.translate(str.maketrans(script.letters, script.latin))
    if not any(script.first <= ord(char) <= script.last for char in latin):
        return latin
    other = word.translate(str.maketrans(script.latin, script.letters))
    return None if any(char.isascii() and char.isalpha() for char in other) else other


def filter_command(filters: Iterable[str], files: Sequence[str]) -> str:
    """Return the command line that mends files with filters, one after another.

    Args:
        files: their paths; packed files are unpacked. "stdin", and what are too many to be named, are called FILE.
    """
    first, *rest = filters
    if len(files) > _NAMED or "stdin" in files:
        begin = f"cat FILE | {first}" if files[1:] else f"{first} < FILE"
    elif any(map(_packed, files)):
        readers = [f"{UNPACK.get(_packed(file), 'cat')} {_word(file)}" for file in files]
        begin = f"{{ {'; '.join(readers)}; }} | {first}" if files[1:] else f"{readers[0]} | {first}"
    else:
        words = " ".join(map(_word, files))
        begin = f"cat {words} | {first}" if files[1:] else f"{first} < {words}"
    return f"{' | '.join([begin, *rest])} > {NEW}"


def _packed(file: str) -> str:
    """Return the module that unpacks a file; empty: it is not packed."""
    return PACKED.get(os.path.splitext(file)[1].lower(), "")


def _word(file: str) -> str:
    """Return a file's name as a word of the shell that no program takes for an option, nor awk for an assignment."""
    return shlex.quote(f"./{file}" if re.match(r"-|\w+=", file) else file)


def python_filter(code: str) -> str:
    """Return the filter that a line of Python is."""
    return f"python3 -c {shlex.quote(code)}"


def decode(encoding: str) -> str:
    """Return what converts a text in an encoding, as Python calls it, to UTF-8."""
    names = {"mac-roman": "MACINTOSH", "iso8859-1": "LATIN1"}
    return f"iconv -f {names.get(encoding, encoding.replace('_', '-').upper())} -t UTF-8"


def decode_strays(encoding: str) -> str:
    """Return what reads the bytes that are not UTF-8 in an encoding, and leaves the rest as it is."""
    return python_filter(
        'import codecs, sys; codecs.register_error("stray", lambda e:'
        f' (e.object[e.start : e.end].decode("{encoding}", "replace"), e.end));'
        ' sys.stdout.buffer.write(sys.stdin.buffer.read().decode("utf-8", "stray").encode())'
    )


DROP_MARKS = r"perl -pe 's/\xEF\xBB\xBF//g'"

NO_RETURNS = r"tr -d '\r'"

RETURNS_TO_NEWLINES = r"tr '\r' '\n'"

ALL_TO_NEWLINES = r"perl -pe 's/\r\n?/\n/g'"

COMPOSE = python_filter(
    'import sys, unicodedata; sys.stdout.buffer.writelines(unicodedata.normalize("NFC",'
    ' line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")'
    " for line in sys.stdin.buffer)"
)


def drop_controls(controls: Iterable[int]) -> str:
    """Return what leaves out control characters; with ESC, the commands of terminals that it begins."""
    points = set(controls)
    if max(points) < 128 and 27 not in points:
        return r"tr -d '\000-\010\013\016-\037\177'"
    commands = r"s/\e\[[\d;?]*[A-Za-z]//g; " if 27 in points else ""
    return rf"perl -CSD -pe '{commands}s/[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]//g'"


def to_one_script(names: Iterable[str]) -> str:
    """Return what writes words of mixed letters in one script, as `one_script` does."""
    code = 'import re, sys; T = str.maketrans; e = "utf-8", "surrogateescape"; t = sys.stdin.buffer.read().decode(*e); '
    for name in names:
        first, last, letters, latin = SCRIPTS[name]
        other = f"[{chr(first)}-{chr(last)}]"
        code += (
            f'a, b = "{letters}", "{latin}"; '
            f't = re.sub(r"\\w+", lambda m: next((w for w, o in ((m[0].translate(T(a, b)), "{other}"),'
            ' (m[0].translate(T(b, a)), "[A-Za-z]")) if not re.search(o, w)), m[0])'
            f' if re.search("[A-Za-z]{other}|{other}[A-Za-z]", m[0]) else m[0], t); '
        )
    return python_filter(code + "sys.stdout.buffer.write(t.encode(*e))")


def drop_long_lines(size: int) -> str:
    """Return what leaves out lines of more bytes than this."""
    return f"LC_ALL=C awk 'length <= {size}'"


def drop_repeated_lines(least: int) -> str:
    """Return what leaves out lines of `least` bytes or more that came before."""
    return "LC_ALL=C awk '!seen[$0]++'" if least <= 1 else f"LC_ALL=C awk 'length < {least} || !seen[$0]++'"


def drop_repeated_records(separator: bytes) -> str:
    """Return what leaves out records that came before."""
    if separator == b"\n":
        return drop_repeated_lines(1)
    return python_filter(
        f"import sys; end = {separator!r}; records = dict.fromkeys(sys.stdin.buffer.read().split(end));"
        " sys.stdout.buffer.write(end.join(records))"
    )


def drop_lines_of_input(files: Sequence[str], least: int) -> str | None:
    """Return what leaves out of a file the lines of `least` bytes or more that the input has; None: these are several
    files, or none that can be read as it is."""
    if len(files) != 1 or "stdin" in files or _packed(files[0]):
        return None
    return f"LC_ALL=C awk 'NR == FNR {{seen[$0]; next}} length < {least} || !($0 in seen)' - {_word(files[0])}"

"""A finding, and what is found in each source of a text: message, severity, and the command that mends it."""

import re
import unicodedata
from dataclasses import dataclass

from charrnn.corpus.corpus import Corpus
from charrnn.corpus.faults import shown_name
from charrnn.corpus.formats import is_fasta
from charrnn.dataset import remedies
from charrnn.dataset.text_scan import LONG_LINE, MAX_PLACES, Source, Tally, TextScan
from charrnn.errors import counted
from charrnn.tokenizers.char import describe

WESTERN = "cp1252"
"""The encoding that most texts of Latin letters are in which are not UTF-8: Latin-1, and quotation marks."""

LONG_LINE_SHARE = 0.01
"""Of the lines: where more than this are very long, that is how the text is."""

SEVERITIES = ("error", "warning", "info")
"""Training would fail; the model would be worse; what is good to know."""


@dataclass(frozen=True)
class Finding:
    """Something found in a text.

    Attributes:
        severity: one of `SEVERITIES`. kind: a word for what it is.
        message: a sentence.
        option: what mends it, a command or an option; None: it is no fault, or nothing simple does.
        file, line, byte: where it was found first, lines from 1 and bytes from 0; None: everywhere, or not known.
        count: how many there are.
        filter: the part of the command between FILE and NEW, so that several can be joined.
    """

    severity: str
    kind: str
    message: str
    option: str | None = None
    file: str | None = None
    line: int | None = None
    byte: int | None = None
    count: int | None = None
    filter: str = ""

    @property
    def place(self) -> str:
        """Where it was found, as messages have it; empty: everywhere."""
        parts = (
            "" if self.file is None else shown_name(self.file),
            "" if self.line is None else f"line {self.line:,}",
            "" if self.byte is None else f"byte {self.byte:,}",
        )
        return ", ".join(filter(None, parts))


def in_sources(corpus: Corpus, scan: TextScan) -> list[Finding]:
    """Return what was found in each source."""
    found = []
    composed = scan.composed
    for name, source in scan.sources.items():
        structured = corpus.text_format.is_structured or is_fasta(name)
        for kind, tally in source.found.items():
            if not tally.count:
                continue
            severity, message, mend = _described(kind, tally, source, corpus, scan, composed)
            command = None
            if mend and not structured:
                command = remedies.filter_command([mend], [name])
            elif kind == "encoding":
                command = "--errors replace"
            found.append(
                Finding(
                    severity, kind, message, command, name, tally.line, tally.byte, tally.count, mend if command else ""
                )
            )
    return found


def _described(
    kind: str, tally: Tally, source: Source, corpus: Corpus, scan: TextScan, composed: int
) -> tuple[str, str, str]:
    """Return severity, message and filter of what was found in a source."""
    count = tally.count
    match kind:
        case "encoding":
            return _encoding(count, source, corpus)
        case "bom":
            inside = count > 1 or tally.byte != 0
            message = counted(count, "byte order mark") + (", which are learnt inside a text" if inside else "")
            return "warning" if inside else "info", message, remedies.DROP_MARKS
        case "line-ends":
            return "warning", *_line_ends(source)
        case "control":
            message = f"{counted(count, 'control character')}, the first {describe(tally.example)}"
            return "warning", message, remedies.drop_controls(source.controls)
        case "look-alikes":
            scripts = " and ".join(source.scripts)
            more = "at least " if source.examined >= MAX_PLACES else ""
            message = f"{more}{counted(count, 'word')} with look-alikes of {scripts} letters, as {tally.example!r}"
            return "warning", message, remedies.to_one_script(source.scripts)
        case "normal-forms":
            char = unicodedata.normalize("NFC", tally.example)
            message = f"{counted(count, 'decomposed character')} (NFD), the first {char}"
            mixed = f", among {counted(composed, 'composed one')} (NFC)" if composed else ""
            return "warning" if composed else "info", message + mixed, remedies.COMPOSE
    many = count > LONG_LINE_SHARE * len(scan.lines.sizes)
    message = f"{counted(count, 'line')} of more than {LONG_LINE:,} bytes, the first of {tally.example}"
    return "info" if many else "warning", message, "" if many else remedies.drop_long_lines(LONG_LINE)


def _encoding(count: int, source: Source, corpus: Corpus) -> tuple[str, str, str]:
    message = f"{counted(count, 'byte')} that {'are' if count > 1 else 'is'} not UTF-8"
    if kind := re.search("this looks like .*", corpus.stats.faults.get("strict", "")):
        return "error", f"{message}; {kind[0]}", ""
    sample = bytes(source.sample)
    encoding = guess_encoding(_without_utf8(sample))
    if encoding is None and source.multibyte < count:
        # In an encoding of two bytes a character some are UTF-8 by chance. The end of a long line may be half of one.
        whole = guess_encoding(sample) or guess_encoding(sample[:-1])
        if whole is not None:
            return "error", f"{message}; probably {whole}", remedies.decode(whole)
    if encoding is None:
        return "error", f"{message}, nor any other encoding that is known", ""
    message += f"; probably {encoding}"
    if "bom" in source.found:
        return "error", message, remedies.decode_strays(encoding)  # in another encoding the mark would be letters
    if source.multibyte and (encoding == WESTERN or source.multibyte > count / 4):
        return "error", f"{message}, among {source.multibyte:,} other characters", remedies.decode_strays(encoding)
    return "error", message, remedies.decode(encoding)


def _without_utf8(sample: bytes) -> bytes:
    """Return the bytes that are ASCII or not UTF-8."""
    text = sample.decode("utf-8", "surrogateescape")
    return re.sub("[\x80-\ud7ff\ue000-\U0010ffff]+", "", text).encode("utf-8", "surrogateescape")


def guess_encoding(sample: bytes) -> str | None:
    """Return the likeliest encoding of lines that are not UTF-8, as Python calls it; None: they seem to be no text."""
    import codecs

    import charset_normalizer

    found = charset_normalizer.from_bytes(sample).best()
    western = charset_normalizer.from_bytes(sample, cp_isolation=[WESTERN], threshold=1.0).best()
    beyond_ascii = len(sample.translate(None, bytes(range(128))))
    likely = western is not None and (found is None or western.coherence >= found.coherence - 0.1)
    if likely and beyond_ascii < len(sample) / 3:  # among many as likely, the commonest
        return WESTERN
    return None if found is None else codecs.lookup(found.encoding).name


def _line_ends(source: Source) -> tuple[str, str]:
    """Return message and filter of lines that do not all end with a newline."""
    plain = source.newlines - source.pairs
    kinds = (("CR LF", source.pairs), ("CR", source.returns), ("LF", plain))
    message = "lines end with " + ", ".join(f"{name} ({count:,})" for name, count in kinds if count)
    if source.returns and source.pairs:
        return message, remedies.ALL_TO_NEWLINES
    return message, remedies.NO_RETURNS if source.pairs else remedies.RETURNS_TO_NEWLINES

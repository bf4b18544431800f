"""What is found in a text, and where."""

import codecs
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from charrnn.corpus.formats import TextFormat
from charrnn.corpus.reader import read_corpus
from charrnn.dataset.check import check_corpus, quick_findings
from charrnn.dataset.findings import Finding, guess_encoding
from charrnn.dataset.prepare import PrepareOptions
from charrnn.dataset.text_blocks import blocks
from tests.dataset.checks import CLEAN, WORDS, findings, of_kind
from tests.spoiled import KINDS, LINES, spoiled
from tests.tiny import shell

RNG = np.random.default_rng(0)


def faults(*args: object, **more: object) -> list[Finding]:
    return [each for each in findings(*args, **more) if each.severity != "info"]  # type: ignore[arg-type]


def changed(line: int, change: str | bytes) -> tuple[bytes, int]:
    """The clean text with something put before its line of this number; and where that is, in bytes."""
    encoded = change.encode() if isinstance(change, str) else change
    before = "".join(f"{each}\n" for each in CLEAN[: line - 1]).encode()
    return before + encoded + "".join(f"{each}\n" for each in CLEAN[line - 1 :]).encode(), len(before)


@pytest.mark.parametrize(
    ("change", "severity", "kind", "at", "count"),
    [
        (b"caf\xe9 ", "error", "encoding", 3, 1),
        ("\ufeff", "warning", "bom", 0, 1),
        ("a line\r\n", "warning", "line-ends", 6, 1),
        ("a line\r", "warning", "line-ends", 6, 1),
        ("\x07\x00", "warning", "control", 0, 2),
        ("é\x9b", "warning", "control", 2, 1),
        ("\u00e9 x\u0301 e\u0301 ", "warning", "normal-forms", 7, 1),
        ("\ud55c \u1112\u1161\u11ab ", "warning", "normal-forms", 4, 1),
        ("здесь cаt ", "warning", "look-alikes", 11, 1),
        ("pαge and ΑΒBΑ ", "warning", "look-alikes", 10, 1),
        (" ".join(RNG.choice(WORDS, 3000)) + "\n", "warning", "long-lines", 0, 1),
    ],
)
def test_where_a_fault_is(change: str | bytes, severity: str, kind: str, at: int, count: int, tmp_path: Path) -> None:
    """IN-09: composed characters among decomposed ones are found; and all else."""
    data, byte = changed(50, change)
    [found] = faults(data, tmp_path)
    assert (found.severity, found.kind, found.count) == (severity, kind, count)
    assert (found.file, found.line, found.byte) == (str(tmp_path / "text.txt"), 50, byte + at)
    assert found.option is not None
    assert str(tmp_path / "text.txt") in found.option
    assert found.filter in found.option


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ufeff",
        "ΔT = 3 μm, Ω, αβ and kΩ; В 3D-модели IPv4-адрес, SMSка\n",
        "fórm féed\x0c\n\tindented\n",
        "नमस्ते ไทย 𝒜 👩‍👩‍👧 ﬁ\n",
        "x̂ and a̐\n",
        "日本語の本 한국어\n",
    ],
)
def test_what_is_no_fault(text: str, tmp_path: Path) -> None:
    """Formulas, form feeds, marks that compose with nothing, words of one script beside another."""
    data = text.encode() + changed(1, "")[0]
    assert faults(data, tmp_path) == []


def test_decomposed_throughout_is_no_fault(tmp_path: Path) -> None:
    """But it is said."""
    data = unicodedata.normalize("NFD", "ça va déjà\n" * 3).encode()
    [found] = [each for each in findings(data, tmp_path) if each.kind == "normal-forms"]
    assert (found.severity, found.count) == ("info", 9)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_wide_encodings(encoding: str, tmp_path: Path) -> None:
    """IN-06."""
    [found] = findings("\n".join(CLEAN).encode(encoding), tmp_path)
    assert (found.severity, found.kind) == ("error", "encoding")
    assert found.option is not None
    assert found.option.startswith("iconv -f UTF-")


SENTENCES = {
    "cp1252": "Le café est près de l'hôtel, où “naïve” garçon déjà été à Noël.\n",
    "cp1250": "Zażółć gęślą jaźń, w Szczebrzeszynie chrząszcz brzmi w trzcinie.\n",
    "cp1251": "Мама мыла раму, а папа читал газету вечером дома.\n",
    "koi8-r": "Мама мыла раму, а папа читал газету вечером дома.\n",
    "gb18030": "本人是一名大一学生，大一的生活一直处于浑浑噩噩的状态\n",
}


@pytest.mark.parametrize("encoding", [*SENTENCES])
def test_encodings_are_guessed(encoding: str, tmp_path: Path) -> None:
    """IN-03."""
    data = (SENTENCES[encoding] * 20).encode(encoding)
    assert guess_encoding(data) == codecs.lookup(encoding).name
    found = findings(data, tmp_path)[0]
    assert found.kind == "encoding"
    assert f"probably {codecs.lookup(encoding).name}" in found.message


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "开学已经两个月了，室友之间的关系却越来越紧张，请问应该如何与他们相处？我想听听您的意见，谢谢。"),
        ("cp932", "これは日本語のテキストです。今日は天気がいいです。明日は友達と東京へ行きます。"),
    ],
)
def test_characters_of_two_bytes_some_of_which_are_utf8(encoding: str, text: str, end: str, tmp_path: Path) -> None:
    """IN-03: by chance; the whole text is converted, not what is left without these. Lines may be long."""
    text = (text + end) * 3000
    found = findings(text.encode(encoding), tmp_path)[0]
    assert f"probably {encoding}" in found.message
    done = shell(f"cd '{tmp_path}' && {found.option}")
    assert (done.code, done.err, (tmp_path / "NEW").read_text(encoding="utf-8")) == (0, b"", text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """IN-07: what they seem to be is said, and no conversion is advised."""
    found = findings(b"%PDF-1.7\n" + RNG.bytes(5000), tmp_path)[0]
    assert (found.severity, found.kind, found.option) == ("error", "encoding", "--errors replace")
    assert "this looks like a PDF document" in found.message


def test_lines_that_come_again(tmp_path: Path) -> None:
    """Of 20 bytes or more; short ones do in any text."""
    once, again = CLEAN[:200], CLEAN[:130]
    data = "".join(f"{line}\nshort\n\n" for line in (*once, *again)).encode()
    found = of_kind(findings(data, tmp_path), "duplicates")
    assert (found.severity, found.line, found.count) == ("warning", 601, 130)
    assert found.message.startswith("39.4% of lines of 20 bytes or more")
    some = of_kind(findings("".join(f"{line}\n" for line in (*once, *again[:50])).encode(), tmp_path), "duplicates")
    assert (some.severity, some.option) == ("info", None)


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
def test_records_that_come_again(separator: str, tmp_path: Path) -> None:
    names = [f"name{number}" for number in range(300)]
    data = separator.join([*names, *names[:200]]).encode()
    found = of_kind(findings(data, tmp_path, TextFormat(separator.encode())), "duplicates")
    assert (found.severity, found.count) == ("warning", 200)
    assert found.message == "40.0% of records are equal to earlier ones"


def test_leakage(tmp_path: Path) -> None:
    """From the text to train on to the end of it, or to a text of its own."""
    text = "".join(f"{line}\n" for line in CLEAN)
    leaked = text[:4000] + text[-4000:]
    found = of_kind(findings(text.encode(), tmp_path, val=leaked.encode(), share=0.0), "leakage")
    assert (found.severity, found.count) == ("warning", 8000)
    clean, end = text[:8000], text[8000:8400]
    found = of_kind(findings((clean + end + clean[:600]).encode(), tmp_path), "leakage")
    assert (found.severity, found.count) == ("warning", 600)
    assert of_kind(findings(text.encode(), tmp_path), "leakage").count == 0
    assert [each.kind for each in findings(text.encode(), tmp_path, share=0.0) if each.kind == "leakage"] == []


def test_repeats(tmp_path: Path) -> None:
    """Whether or not lines are the same."""
    text = " ".join(CLEAN)[:10_000]
    found = of_kind(findings((text + text.replace(" ", "\n") + text).encode(), tmp_path, share=0.0), "repeats")
    assert (found.severity, found.count) == ("warning", 10_000)


def test_too_short_to_be_split(tmp_path: Path) -> None:
    found = of_kind(findings(b"x", tmp_path), "split")
    assert (found.severity, found.option) == ("error", "--val 0")


def test_rare_characters(tmp_path: Path) -> None:
    data = ("".join(f"{line}\n" for line in CLEAN) * 4 + "QQQ ÄÄ Z").encode()
    found = of_kind(findings(data, tmp_path), "rare")
    assert found.count == 3
    assert "U+0051 LATIN CAPITAL LETTER Q (3), U+00C4 LATIN CAPITAL LETTER A WITH DIAERESIS (2), " in found.message
    assert found.option == f"--vocab-size {len(set(data.decode())) - 3}"


def test_texts_of_a_structured_file(tmp_path: Path) -> None:
    """Places are lines of the file; a filter of lines would damage it, so that none is advised."""
    (tmp_path / "a.jsonl").write_bytes(b'{"t": "one"}\n\n{"t": "t\\u0007wo\\n\\u0007"}\n')
    corpus = read_corpus([str(tmp_path / "a.jsonl")], TextFormat(jsonl="t"))
    found, _ = check_corpus(corpus, None, PrepareOptions())
    control = of_kind(found, "control")
    assert (control.line, control.byte, control.count, control.option) == (3, None, 2, None)


def test_many_files(tmp_path: Path) -> None:
    """Each has its own findings, and its own lines."""
    for name, data in {"a.txt": b"one\ntwo\n", "b.txt": b"three\r\n", "c.txt": b"four\nfive\x07\r\n"}.items():
        (tmp_path / name).write_bytes(data)
    found, scan = check_corpus(read_corpus([str(tmp_path)]), None, PrepareOptions())
    places = [(each.kind, Path(each.file or "").name, each.line) for each in found if each.severity == "warning"]
    assert places == [("line-ends", "b.txt", 1), ("line-ends", "c.txt", 2), ("control", "c.txt", 2)]
    assert scan is not None
    assert scan.chars == 27


@pytest.mark.parametrize("size", [1 << 10, 3 << 20, 9 << 20])
def test_blocks_are_whole_lines(size: int, tmp_path: Path) -> None:
    """Or parts of very long ones; together they are the text, each with its place."""
    rng = np.random.default_rng(size)
    lines = [b"\xe6\x97\xa5" * int(rng.choice([3, 30, 300])) for _ in range(size // 600)]
    lines.insert(3, b"\xe6\x97\xa5" * (size // 3))
    data = b"\r\n".join(lines)
    (tmp_path / "text.txt").write_bytes(data)
    end = 0
    for block in blocks(read_corpus([str(tmp_path / "text.txt")])):
        assert block.byte == end
        assert block.line == 1 + data.count(b"\n", 0, end)
        end += len(block.data)
        block.data.decode()
        assert block.data[-1:] != b"\r"
    assert end == len(data)


def test_the_first_part_alone(tmp_path: Path) -> None:
    """What every training finds: not what reading has found, nor what decoding will."""
    text = "".join(f"{line}\n" for line in CLEAN)
    data = "\ufeff" + "a\u0301 \u00e1\r\n" + "c\u0430t \x07\n" + text * 60 + "\x08"
    (tmp_path / "text.txt").write_bytes(data.encode())
    found = quick_findings(read_corpus([str(tmp_path / "text.txt")]))
    assert [each.kind for each in found] == ["control", "normal-forms", "look-alikes", "duplicates"]
    assert {each.kind: each.count for each in found} | {"duplicates": 0} == {
        "normal-forms": 1, "control": 1, "look-alikes": 1, "duplicates": 0
    }  # fmt: skip
    assert all(each.message.endswith(" in the first 1 MB") for each in found)


def test_every_command_mends(tmp_path: Path) -> None:
    """IN-05, IN-08: one command after another, each as it is printed, until there is no fault."""
    data, met = spoiled(), list[str]()
    while True:
        wrong = [each for each in findings(data, tmp_path) if each.severity != "info" or each.kind == "bom"]
        if not wrong:
            break
        first = next((each for each in wrong if each.kind == "bom"), wrong[0])  # it makes one line different
        assert first.kind not in met
        met.append(first.kind)
        assert first.option is not None
        done = shell(f"cd '{tmp_path}' && {first.option}")
        assert (done.code, done.err) == (0, b""), first
        data = (tmp_path / "NEW").read_bytes()
    assert {*met} >= KINDS - {"repeats", "leakage"}, met  # which lines that come again are
    assert [line.replace("\u00e9", "e") for line in data.decode().split("\n")[:-1]] == LINES

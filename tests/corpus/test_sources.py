"""What `charrnn train` takes for a corpus, and what becomes of it."""

import gzip
import io
import os
import sys
from pathlib import Path

import pytest

from charrnn.corpus import catalog as corpora
from charrnn.corpus.catalog import catalog
from charrnn.corpus.corpus import Corpus
from charrnn.corpus.documents import Document
from charrnn.corpus.reader import read_corpus
from charrnn.corpus.sources import resolve_sources
from charrnn.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with texts in it."""
    files = {
        "tinyshakespeare.txt": b"First Citizen:\r\n",
        "packed.txt.gz": gzip.compress(b"unpacked"),
        "tree/b.txt": b"b",
        "tree/a/c.txt": b"c",
        "tree/a/d.txt.gz": gzip.compress(b"d"),
        "tree/.hidden": b"hidden",
        "tree/.git/config": b"hidden",
        "tree/picture.png": b"\x89PNG\0",
        "tree/empty": b"",
        "one*.txt": b"literal",
        "one1.txt": b"1",
        "empty.txt": b"",
        "\u0416 \x1b.txt": b"name",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(text: Document) -> bytes:
    return b"".join(text.chunks())


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_recipes() -> None:
    recipes = catalog()
    assert list(recipes) == ["names", "python-docs", "python-stdlib", "shakespeare"]
    top = Path(corpora.__file__).parents[2] / "corpora"
    for name, recipe in recipes.items():
        assert recipe.name == name
        assert 0 < recipe.val_fraction < 1
        assert recipe.title
        assert recipe.licence
        assert recipe.source.startswith("https://")
        assert recipe.made
        if top.exists():
            assert f'name = "{name}"' in (top / f"{name}.toml").read_text()


@pytest.mark.parametrize(("key", "value"), [("kind", "magic"), ("val_fraction", 1.0), ("title", 3)])
def test_recipe_that_is_none(key: str, value: object) -> None:
    good = catalog()["python-docs"].__dict__
    with pytest.raises(ValueError, match=r"."):
        corpora.Recipe(**{**good, key: value})


@pytest.mark.parametrize("arguments", [[], ["python-docs"]])
def test_built_in_docs(arguments: list[str]) -> None:
    corpus = read_corpus(arguments)
    assert corpus.name == "python-docs"
    assert corpus.size > 300_000
    [text] = corpus.documents
    assert 'The "assert" statement' in data_of(text).decode()
    assert corpus.sha256 == read_corpus(arguments).sha256
    version = ".".join(map(str, sys.version_info[:3]))
    assert any(version in note for note in corpus.notes)


def test_built_in_library() -> None:
    corpus = read_corpus(["python-stdlib"])
    names = [text.name for text in corpus.documents]
    assert names == sorted(names)
    assert {"os.py", "json/decoder.py"} <= set(names)
    for part in ("test", "tests", "site-packages", "__pycache__"):
        assert not any(part in name.split("/") for name in names)
    assert corpus.size > 5_000_000
    assert all(text.size == len(data_of(text)) > 0 for text in corpus.documents)


@pytest.mark.parametrize(
    ("arguments", "name", "texts"),
    [
        (["tinyshakespeare.txt"], "tinyshakespeare", [b"First Citizen:\r\n"]),
        (["packed.txt.gz"], "packed", [b"unpacked"]),
        (["tree"], "tree", [b"c", b"d", b"b"]),
        (["tree/a/.."], "tree", [b"c", b"d", b"b"]),
        (["tree/**/*.txt"], "c-and-1-more", [b"c", b"b"]),
        (["one?.txt"], "one-and-1-more", [b"literal", b"1"]),
        (["one*.txt"], "one", [b"literal"]),
        (["one[1].txt"], "one1", [b"1"]),
        (["-", "one1.txt"], "stdin-and-1-more", [b"from stdin", b"1"]),
        (["one1.txt", "tree", "-"], "one1-and-2-more", [b"1", b"c", b"d", b"b", b"from stdin"]),
        (["one1.txt", "one1.txt"], "one1-and-1-more", [b"1", b"1"]),
        (["\u0416 \x1b.txt"], "\u0416", [b"name"]),
    ],
)
def test_arguments(monkeypatch: pytest.MonkeyPatch, arguments: list[str], name: str, texts: list[bytes]) -> None:
    """CL-18: files, folders, patterns, packed files and "-", in the order they are named."""
    stdin(monkeypatch, b"from stdin")
    corpus = read_corpus(arguments)
    assert corpus.name == name
    assert list(map(data_of, corpus.documents)) == texts
    assert corpus.size == sum(map(len, texts))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("日本語 の.txt", "日本語-の"),
        ("हिन्दी.txt", "हिन्दी"),
        ("cafe\u0301--x.txt", "café--x"),
        ("😀.txt", "corpus"),
        (".-..txt", "corpus"),
        ("a" * 250, "a" * 80),
        ("語" * 83, "語" * 66),
        (os.fsdecode(b"a\xffb"), "a-b"),
    ],
)
def test_the_name_of_a_run(file: str, name: str) -> None:
    """Letters of any script, in 200 bytes."""
    Path(file).write_bytes(b"text")
    assert resolve_sources([file]).name == name


def test_skipped_files_are_counted() -> None:
    os.mkfifo("tree/fifo")
    assert read_corpus(["tree"]).notes == [
        "skipped 1 binary file",
        "skipped 1 empty file",
        "skipped 1 hidden file",
        "skipped 1 special file",
    ]
    assert read_corpus(["one1.txt", "empty.txt"]).notes == ["skipped 1 empty file"]
    assert read_corpus(["tree/picture.png"]).size == 5  # what is named is read, whatever it is


def test_file_named_like_a_known_corpus() -> None:
    Path("python-docs").write_bytes(b"mine")
    corpus = read_corpus(["python-docs"])
    assert list(map(data_of, corpus.documents)) == [b"mine"]
    assert corpus.notes == ["'python-docs' is read from here; it is not the known corpus"]


def test_digest() -> None:
    """Where a text ends counts; what it is called does not."""

    def digest(*texts: bytes, name: str = "a") -> str:
        return Corpus.from_texts([(name, data) for data in texts]).sha256

    assert digest(b"ab", b"c") == digest(b"ab", b"c", name="b")
    assert len({digest(b"ab", b"c"), digest(b"a", b"bc"), digest(b"abc"), digest(b"c", b"ab")}) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["python-doc"],
            "no file, folder or known corpus is called 'python-doc'; did you mean 'python-docs'?",
        ),
        (
            ["tree/b.text"],
            "no file, folder or known corpus is called 'tree/b.text'; did you mean 'tree/b.txt'?",
        ),
        (["qqqqqq"], "no file, folder or known corpus is called 'qqqqqq'"),
        (["no/such"], "no file, folder or known corpus is called 'no/such'"),
        (["a\x1b\n"], "no file, folder or known corpus is called 'a\\x1b\\n'"),
        (["*.none"], "no file matches '*.none'"),
        (["empty.txt"], "no text in 'empty.txt'; skipped 1 empty file"),
        (["-"], "no text in '-'; skipped 1 empty file"),
        (["-", "-"], "stdin can be read only once"),
        (["dangling"], "cannot read 'dangling': it is a link to nothing"),
    ],
)
def test_what_is_no_corpus(monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    """IN-10, IN-18: one line that names it, with what was meant where that can be guessed."""
    stdin(monkeypatch, b"")
    Path("dangling").symlink_to("nothing")
    with pytest.raises(InputError) as error:
        read_corpus(arguments)
    assert str(error.value) == message
    assert error.value.exit_code == 4

"""SE-07: a known corpus is fetched whole and right, or not at all, from servers that do all they can to prevent it."""

import contextlib
import gzip
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from charrnn.corpus import catalog as corpora
from charrnn.corpus import download
from charrnn.corpus.catalog import Recipe, catalog
from charrnn.corpus.documents import no_progress
from charrnn.corpus.download import cached
from charrnn.errors import CharRNNError
from tests.tiny import Program, Ran

BODY = b"anna\nemma\nolivia\n" * 5000
GOOD = Recipe(
    name="names",
    title="names",
    licence="MIT",
    source="https://example.org",
    kind="download",
    made="as it is",
    val_fraction=0.1,
    records=True,
    url="http://127.0.0.1:1/names.txt",
    bytes=len(BODY),
    sha256=hashlib.sha256(BODY).hexdigest(),
)

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """Answers each request with the next of `answers`, the last one for ever."""

    url: str
    answers: list[Answer]
    asked: list[str] = field(default_factory=list)


def sends(body: bytes, *, code: int = 200, length: int | None = None, to: str = "", packed: bool = False) -> Answer:
    """An answer; `length` is what it says of its own, `to` where it says to go."""
    headers = {"Location": to} if to else {"Content-Encoding": "gzip"} if packed else {}

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        request.end_headers()
        request.wfile.write(body)

    return answer


def endless(request: BaseHTTPRequestHandler) -> None:
    """Without a length, and without end."""
    request.send_response(200)
    request.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(10_000):
            request.wfile.write(bytes(1 << 16))


def slow(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(BODY)))
    request.end_headers()
    request.wfile.write(BODY[:100])
    request.wfile.flush()
    done.wait(10)


done = threading.Event()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "RETRY_DELAYS", (0.0, 0.0))
    return tmp_path / "cache" / "charrnn" / "corpora"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[ThreadingHTTPServer] = []
    done.clear()

    def start(*answers: Answer) -> Server:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.answers[min(len(server.asked), len(server.answers)) - 1](self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        running.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        server = Server(f"http://127.0.0.1:{running[-1].server_port}/names.txt", list(answers))
        threading.Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return server

    yield start
    done.set()
    for each in running:
        each.shutdown()
        each.server_close()


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


Serve = Callable[..., Server]


def test_a_corpus_is_fetched_once(serve: Serve, cache: Path) -> None:
    """With its progress; the second time nothing is asked of anybody."""
    server = serve(sends(BODY))
    recipe = replace(GOOD, url=server.url)
    expected: list[int] = []

    @contextlib.contextmanager
    def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
        assert (title, total) == ("fetching names", len(BODY))
        yield expected.append

    assert cached(recipe.name, recipe.bytes, recipe.sha256) is None
    path = recipe.fetch(progress)
    assert path.read_bytes() == BODY
    assert path.parent == cache
    assert sum(expected) == len(BODY)
    assert recipe.fetch(progress) == cached(recipe.name, recipe.bytes, recipe.sha256) == path
    assert server.asked == ["/names.txt"]
    assert left(cache) == ["names.txt"]
    assert [text.data for text in recipe.documents()] == [BODY]
    assert recipe.is_available


RECOVERS: dict[str, list[Answer]] = {
    "the server fails twice": [sends(b"", code=503), sends(b"", code=500), sends(BODY)],
    "the connection is cut": [sends(BODY[:-5], length=len(BODY)), sends(BODY)],
    "nothing comes at all": [sends(b"", length=len(BODY)), sends(b"", length=len(BODY)), sends(BODY)],
    "it has moved": [sends(b"", code=302, to="/elsewhere.txt"), sends(BODY)],
    "it has moved often": [*[sends(b"", code=301, to="/again")] * 4, sends(BODY)],
}


@pytest.mark.parametrize("answers", RECOVERS.values(), ids=RECOVERS)
def test_se_07_what_is_got_over(answers: list[Answer], serve: Serve, cache: Path) -> None:
    """SE-07: tried again where that may help."""
    server = serve(*answers)
    assert replace(GOOD, url=server.url).fetch(no_progress).read_bytes() == BODY
    assert len(server.asked) == len(answers)
    assert left(cache) == ["names.txt"]


REFUSED: dict[str, tuple[Answer, str, int]] = {
    "another text": (sends(bytes(len(BODY))), "does not have the SHA-256", 1),
    "a shorter text": (sends(BODY[:-1]), "does not have the SHA-256", 1),
    "a longer text": (sends(BODY + b"x"), "more came than the 85,000 bytes", 1),
    "an endless one": (endless, "more came than the 85,000 bytes", 1),
    "a cut connection": (sends(BODY[:-5], length=len(BODY)), "IncompleteRead", 3),
    "no such file": (sends(b"no", code=404), "the server answers 404 Not Found", 1),
    "a failing server": (sends(b"", code=500), "the server answers 500", 3),
    "to http elsewhere": (sends(b"", code=302, to="http://example.invalid/x"), "which is not https", 1),
    "to a file": (sends(b"", code=302, to="file:///etc/passwd"), "which is not https", 1),
    "round in circles": (sends(b"", code=302, to="/names.txt"), "too many redirects", 6),
    "an empty redirect": (sends(b"", code=302), "the server answers 302", 1),
    "a bomb": (sends(gzip.compress(bytes(100_000_000), 1), packed=True), "more came than", 1),
}


@pytest.mark.parametrize(("answer", "expected", "asked"), REFUSED.values(), ids=REFUSED)
def test_se_07_what_is_refused(answer: Answer, expected: str, asked: int, serve: Serve, cache: Path) -> None:
    """SE-07: exit 1, one line with name, address and cause; nothing at the final path or beside it."""
    server = serve(answer)
    with pytest.raises(CharRNNError) as error:
        replace(GOOD, url=server.url).fetch(no_progress)
    message = str(error.value)
    assert error.value.exit_code == 1
    assert message.startswith(f"cannot fetch names from {server.url}: ")
    assert expected in message
    assert message.endswith("a file fetched in another way can be named by its path")
    assert "\n" not in message
    assert len(server.asked) == asked
    assert left(cache) == []


def test_se_07_a_slow_server(serve: Serve, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", (0.2, 0.2))
    server = serve(slow)
    with pytest.raises(CharRNNError, match="timed out"):
        replace(GOOD, url=server.url).fetch(no_progress)
    assert len(server.asked) == 3
    assert left(cache) == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/x", "Connection refused"),
        ("https://nobody.invalid/x", ""),
        ("http://example.invalid/x", "which is not https"),
        ("http://localhost.example.invalid/x", "which is not https"),
        ("ftp://127.0.0.1/x", "which is not https"),
    ],
)
def test_se_07_nobody_there(url: str, expected: str, cache: Path) -> None:
    """SE-08: no network is a sentence."""
    with pytest.raises(CharRNNError, match="cannot fetch names from .*" + expected):
        replace(GOOD, url=url).fetch(no_progress)
    assert left(cache) == []


@pytest.mark.parametrize("damaged", [b"", BODY[:-1], BODY + b"x", b"x" + BODY[1:]])
def test_a_damaged_copy_is_fetched_again(damaged: bytes, serve: Serve, cache: Path) -> None:
    server = serve(sends(BODY))
    cache.mkdir(parents=True)
    (cache / "names.txt").write_bytes(damaged)
    recipe = replace(GOOD, url=server.url)
    assert not recipe.is_available
    assert recipe.fetch(no_progress).read_bytes() == BODY
    assert len(server.asked) == 1


def test_se_09_a_planted_link_is_not_followed(serve: Serve, cache: Path, tmp_path: Path) -> None:
    """SE-09."""
    server = serve(sends(BODY))
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    cache.mkdir(parents=True)
    (cache / "names.txt").symlink_to(victim)
    path = replace(GOOD, url=server.url).fetch(no_progress)
    assert victim.read_bytes() == b"precious"
    assert path.read_bytes() == BODY
    assert not path.is_symlink()


def test_a_folder_that_cannot_be_written(serve: Serve, cache: Path) -> None:
    """RS-04."""
    server = serve(sends(BODY))
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"a file in its place")
    with pytest.raises(CharRNNError, match=r"^cannot keep names in '.*corpora': ") as error:
        replace(GOOD, url=server.url).fetch(no_progress)
    assert error.value.exit_code == 1


def test_an_interrupted_fetch_leaves_nothing(serve: Serve, cache: Path) -> None:
    server = serve(sends(BODY))

    @contextlib.contextmanager
    def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
        def interrupt(count: int) -> None:
            raise KeyboardInterrupt

        yield interrupt

    with pytest.raises(KeyboardInterrupt):
        replace(GOOD, url=server.url).fetch(progress)
    assert left(cache) == []


def test_two_at_once(serve: Serve, cache: Path) -> None:
    server = serve(sends(BODY))
    recipe = replace(GOOD, url=server.url)
    script = (
        "from charrnn.corpus.catalog import Recipe\n"
        f"from charrnn.corpus.documents import no_progress; print({recipe!r}.fetch(no_progress).stat().st_size)"
    )
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(3)]
    assert [each.communicate(timeout=60)[0] for each in running] == [b"85000\n"] * 3
    assert left(cache) == ["names.txt"]


# --- the recipes and the command -----------------------------------------------------------------


def test_the_recipes_are_those_of_the_shared_texts(shared: Path) -> None:
    for name, file in (("shakespeare", "tinyshakespeare.txt"), ("names", "names.txt")):
        recipe, data = catalog()[name], (shared / file).read_bytes()
        assert (recipe.bytes, recipe.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert recipe.url.startswith("https://raw.githubusercontent.com/")
        assert recipe.records == (name == "names")


@pytest.mark.parametrize(
    "wrong",
    [{"url": ""}, {"sha256": "0" * 63}, {"sha256": "G" * 64}, {"bytes": 0}, {"kind": "built-in"}, {"bytes": 1.5}],
)
def test_a_recipe_that_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(GOOD, **wrong)  # type: ignore[arg-type]


@pytest.fixture
def run(run: Program, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> Program:
    """The program, for which `names` is on a server of ours."""
    recipes = {**catalog(), "names": replace(GOOD, url=serve(sends(BODY)).url)}
    for module in ("charrnn.corpus.sources", "charrnn.cli.corpora"):
        __import__(module)
        monkeypatch.setattr(f"{module}.catalog", lambda: recipes)
    return run


def ok(done: Ran) -> str:
    assert done.code == 0, done.err
    return done.out.decode()


def test_the_command(run: Program, cache: Path) -> None:
    """`corpora`, `corpora get NAME`, `corpora NAME`, before and after."""
    assert "names\tnames\tto fetch, 0.1 MB\tMIT\thttps://example.org\n" in ok(run("corpora"))
    assert "anna" not in ok(run("corpora", "names"))
    assert ok(run("corpora", "get", "names")) == f"{cache / 'names.txt'}\n"
    assert "names\tnames\tfetched\tMIT" in ok(run("corpora"))
    shown = ok(run("corpora", "names"))
    assert shown.endswith("\n\nanna\nemma\nolivia\nanna\nemma\nolivia\nanna\nemma\n")
    assert GOOD.sha256 in shown
    assert "charrnn train names --records" in shown
    listed = [json.loads(line) for line in ok(run("corpora", "--json")).splitlines()]
    assert {each["name"]: each["is_available"] for each in listed} == {
        "names": True, "python-docs": True, "python-stdlib": True, "shakespeare": False,
    }  # fmt: skip
    assert json.loads(ok(run("corpora", "names", "--json")))["bytes"] == len(BODY)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("get", "get fetches one corpus: charrnn corpora get NAME"),
        ("got names", "no known corpus is called 'got'"),
        ("get namse", "no known corpus is called 'namse'; did you mean 'names'?"),
        ("qqqq", "no known corpus is called 'qqqq'; there are names, python-docs, python-stdlib, shakespeare"),
        ("get python-docs", "python-docs is built in"),
    ],
)
def test_mistakes(line: str, expected: str, run: Program) -> None:
    """CL-12."""
    done = run("corpora", *line.split())
    assert done.code == 2
    assert expected in done.error


def test_training_on_a_known_corpus(run: Program, cache: Path) -> None:
    """Fetched on the way; the note says that it is records."""
    command = ["train", "names", "--steps", "2", "--hidden", "8", "--lr", "0.01", "--threads", "1"]
    done = run(*command)
    assert done.out == b"checkpoints/names-lstm/model.safetensors\n"
    assert b"names is a list of records: the option records" in done.err
    assert left(cache) == ["names.txt"]
    again = run(*command, "--records", "--overwrite")
    assert again.code == 0
    assert b"list of records" not in again.err
    assert stat.S_ISREG((cache / "names.txt").stat().st_mode)
    assert corpora.DEFAULT == "python-docs"


def test_no_network_is_one_line(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """SE-08, CL-12."""
    gone = {"names": replace(GOOD, url="http://127.0.0.1:1/names.txt")}
    monkeypatch.setattr("charrnn.corpus.sources.catalog", lambda: gone)
    done = run("train", "names", "--steps", "2", "--out", "run")
    assert done.code == 1
    assert "Connection refused; a file fetched in another way can be named by its path" in done.error
    assert not Path("run").exists()

"""What may import what, as docs/architecture.md has it; and that importing does nothing."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import charrnn
from charrnn.engines.native import lib

PACKAGE = Path(charrnn.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"

LIGHT = (
    *("errors", "version", "machine", "files", "config.train", "config.sample", "config.eval", "config.manage"),
    *(
        "network.architecture",
        "network.cells",
        "runs.locate",
        "runs.events",
        "console.streams",
        "console.display",
    ),
    *(
        "console.format",
        "console.tables",
        "console.progress",
        "console.prompt",
        "console.terminal_text",
        "cli.app",
        "cli.options",
        "cli.help_topics",
    ),
)
"""Modules that help and completion need: they import nothing that takes long."""

STREAMS = {"stdin": {"corpus.inputs"}, "stdout": {"__main__"}, "stderr": set[str]()}
"""Who besides `console` touches a stream: `inputs` reads, `__main__` gives up stdout where nobody reads it."""


def rows(kind: str) -> dict[str, set[str]]:
    """A table of docs/architecture.md: each name before a colon, and the names after it."""
    block = re.search(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    table: dict[str, set[str]] = {}
    for line in block[1].splitlines():
        names, _, allowed = line.partition(":")
        for name in [names] if kind == "libraries" else names.split():
            table[name] = set(allowed.split())
    return table


ROOMS, LIBRARIES = rows("imports"), rows("libraries")


def modules() -> list[str]:
    """Every module's name, without the package's; a package is called by its folder."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_bytes())


def imports(node: ast.AST, *, late: bool = False) -> Iterator[tuple[str, bool]]:
    """The modules imported below a node, with full names; and whether only once a function runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, late) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative import"
            assert child.module is not None
            for alias in child.names:
                name = f"{child.module}.{alias.name}"
                is_module = (PACKAGE.parent / (name.replace(".", "/") + ".py")).exists()
                yield name if is_module else child.module, late
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, late=late or function)


def own_imports(module: str) -> set[str]:
    """The package's modules that a module imports, ever, without the package's name."""
    found = {name.partition(".")[2] for name, _ in imports(tree(module)) if name.partition(".")[0] == "charrnn"}
    return found - {""}


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_is_in_the_table() -> None:
    assert {room(module) for module in modules()} == set(ROOMS)


def test_the_table_points_down() -> None:
    """A row names rooms above it only, so that there can be no circle of rooms."""
    seen = {"errors", "version"}
    for name, allowed in ROOMS.items():
        assert allowed <= seen, f"{name} may import {allowed - seen}, which is not above it"
        seen.add(name)


def test_imports_are_those_of_the_table() -> None:
    for module in modules():
        allowed = ROOMS[room(module)] | {"errors", "version", room(module)}
        for name in own_imports(module):
            assert room(name) in allowed, f"{module} imports {name}"
            if room(name) == "engines" != room(module):
                assert name in ("engines.base", "engines.select"), f"{module} imports {name}"


def test_there_is_no_circle_of_files() -> None:
    graph = {module: own_imports(module) for module in modules()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_libraries_are_imported_where_the_table_says() -> None:
    """CL-14: and, but for NumPy, by nobody else."""
    known = {"charrnn", "numpy", *sys.stdlib_module_names}
    for module in modules():
        for name, late in imports(tree(module)):
            library = name.partition(".")[0]
            if library not in known:
                where = LIBRARIES.get(library, set()) | (LIBRARIES.get(f"{library}, late", set()) if late else set())
                assert module in where, f"{module} imports {name}"


def test_a_room_s_face_is_a_docstring() -> None:
    for module in modules():
        if module.endswith(".__init__"):
            assert [type(node) for node in tree(module).body] == [ast.Expr], module


def test_console_alone_touches_streams() -> None:
    for module in (name for name in modules() if room(name) != "console"):
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute):
                assert node.attr != "isatty", module
                if node.attr in STREAMS and ast.unparse(node) == f"sys.{node.attr}":
                    assert module in STREAMS[node.attr], f"{module} touches sys.{node.attr}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"print", "input"}, module


def test_nothing_is_called_utils() -> None:
    for module in modules():
        assert not {"utils", "util", "common", "helpers", "misc"} & set(module.split(".")), module


def test_files_are_short() -> None:
    """About 300 lines at most, or the docstring says why."""
    native = PACKAGE.parent / "native"
    for path in [*PACKAGE.rglob("*.py"), *native.glob("*.h"), *native.glob("*.cpp")]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300 or "This file is long" in text[:2000], path


IMPORTER = """
import importlib, json, os, random, sys, threading, warnings
import numpy, torch
warnings.simplefilter("error")

def state():
    numbers = numpy.random.get_state()
    return {
        "environment": dict(os.environ), "random": repr(random.getstate()),
        "numpy": repr((numbers[1].tolist(), numbers[2:])),
        "torch": torch.get_rng_state().tolist(), "threads": torch.get_num_threads(), "folder": os.getcwd(),
        "interop": torch.get_num_interop_threads(), "running": threading.active_count(), "hook": repr(sys.excepthook),
        "default": str(torch.get_default_dtype()), "deterministic": torch.are_deterministic_algorithms_enabled(),
        "errors": numpy.geterr(), "printing": repr(numpy.get_printoptions()),
    }

done = []
FORBIDDEN = "socket. subprocess. os.system os.exec os.putenv os.unsetenv os.mkdir os.remove os.rename signal.".split()

def watch(event, arguments):
    if event.startswith(tuple(FORBIDDEN)) or (event == "open" and set(str(arguments[1])) & set("wax+")):
        done.append([event, repr(arguments)])

for name in ("typer", "typer.core", "rich.live", "rich.table", "tqdm", "tomllib"):
    importlib.import_module(name)
before = state()
sys.addaudithook(watch)
for name in sys.argv[1:]:
    importlib.import_module(name)
sys.stderr.write(json.dumps([done, [key for key, value in state().items() if value != before[key]]]))
"""


def test_importing_does_nothing(tmp_path: Path) -> None:
    """No seeding, no environment, no threads, no files, no printing; every module, in a process of its own."""
    names = [f"charrnn.{module}".removesuffix(".__init__") for module in modules()]
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORTER, *names], capture_output=True, stdin=subprocess.DEVNULL, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
    assert json.loads(done.stderr) == [[], []]
    assert list(tmp_path.iterdir()) == []


def test_training_by_the_core_needs_no_torch(tmp_path: Path) -> None:
    """From text to model, and dynamic evaluation of it."""
    if lib.library() is None:
        pytest.skip("the compiled core was not built here")
    (tmp_path / "text").write_text("a rose is a rose is a rose\n" * 200)
    script = (
        "import sys; from charrnn.__main__ import main\n"
        "how = ['--steps', '20', '--dropout', '0.1', '--device', 'cpu', '--engine', 'native', '-q']\n"
        "assert main(['train', 'text', *how]) == 0\n"
        "assert main(['eval', 'text', '--adapt', 'weights']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_light_imports() -> None:
    """CL-14: what help needs imports none of the heavy ones; each in a process of its own would take long."""
    heavy = "{'torch', 'numpy', 'rich', 'tqdm', 'pydantic', 'safetensors', 'prompt_toolkit'}"
    names = ", ".join(f"charrnn.{module}" for module in LIGHT)
    script = f"import sys, charrnn, {names}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, b""), done.stderr.decode()

"""What may import what, and that importing does nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import charrnn
from charrnn.engines.native import lib as core

PACKAGE = Path(charrnn.__file__).parent

LAYERS = {
    "ground": "errors cells architecture options config machine files tokenizers draws",
    "parts": "data corpora checkpoint checkpoint_header runs engines ensemble initialisation",
    "work": "training scoring sampling baselines report library",
    "commands": "cli console __main__",
}
"""Every top-level module, by layer; imports point down, or stay within one layer."""

LAYER = {name: depth for depth, names in enumerate(LAYERS.values()) for name in names.split()}

AT_IMPORT = {
    "torch": {
        "engines.torch_training",
        "engines.torch.optimizer",
        "engines.torch",
    },
    "rich": {"console.live"},
    "typer": {"cli.__init__"},
    "tqdm": set[str](),
}
"""The only modules that import these when they are imported themselves; `LATER` do when they run."""

LATER = {
    "torch": {"engines.devices"},
    "rich": {"console.tables"},
    "tqdm": {"console.progress"},
    "typer": {"__main__"},
}

STREAMS = {"stdin": {"files"}, "stdout": {"__main__"}, "stderr": set[str]()}
"""Who besides `console` touches a stream: `files` reads, `__main__` gives up stdout where nobody reads it."""


def modules() -> list[str]:
    """Every module's name, without the package's."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    return sorted(".".join(path.parts) for path in paths)


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_bytes())


def imports(node: ast.AST, *, late: bool = False, typing: bool = False) -> Iterator[tuple[str, bool, bool]]:
    """The modules imported below a node, with full names; and whether only once a function runs, or only for types."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, late, typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "relative import"
            assert child.module is not None
            whole = child.module == "charrnn"
            for alias in child.names:
                yield f"charrnn.{alias.name}" if whole else child.module, late, typing
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            yield from imports(child, late=late or function, typing=typing or for_types)


def top(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_a_layer() -> None:
    assert {top(module) for module in modules()} - {"__init__"} == set(LAYER)


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    """From the layers below or the same one. What is for types alone counts too: it is known about."""
    for name, late, _ in imports(tree(module)):
        if top(name) != "charrnn":
            continue
        imported = top(name.removeprefix("charrnn").removeprefix("."))
        if module == "__init__":
            assert late or imported == "library", name  # the package's own face: nothing until it is used
        elif imported not in ("", "__version__"):
            assert LAYER[imported] <= LAYER[top(module)], f"{module} imports {name}"


@pytest.mark.parametrize("module", modules())
def test_who_imports_what_is_heavy(module: str) -> None:
    """CL-14: torch only where a network is trained or put on a device, and rich and tqdm only in `console`."""
    for name, late, typing in imports(tree(module)):
        package = top(name)
        if package in AT_IMPORT and not typing:
            assert module in AT_IMPORT[package] | (LATER[package] if late else set()), f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in modules() if LAYER.get(top(name)) == 0])
def test_the_ground_is_light(module: str) -> None:
    """Nothing but the standard library and, for arrays, NumPy; more only where it is wanted, when it is."""
    known = {"charrnn", "numpy", *sys.stdlib_module_names}
    outside = {(top(name), late) for name, late, _ in imports(tree(module)) if top(name) not in known}
    assert outside <= {"files": {("platformdirs", True)}, "tokenizers.sentencepiece": {("sentencepiece", True)}}.get(
        module, set()
    )


@pytest.mark.parametrize("module", [name for name in modules() if top(name) != "console"])
def test_console_alone_touches_streams(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {f"sys.{name}" for name in STREAMS}:
            assert module in STREAMS[node.attr], f"{module} touches sys.{node.attr}"
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "input"}), module
        assert not (isinstance(node, ast.Attribute) and node.attr == "isatty"), module


def test_nothing_is_called_utils() -> None:
    for module in modules():
        assert not {"utils", "util", "common", "helpers", "misc"} & set(module.split(".")), module


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
    if core.library() is None:
        pytest.skip("the compiled core was not built here")
    (tmp_path / "text").write_text("a rose is a rose is a rose\n" * 200)
    script = (
        "import sys; from charrnn.__main__ import main\n"
        "how = ['--steps', '20', '--dropout', '0.1', '--device', 'cpu', '--engine', 'native', '-q']\n"
        "assert main(['train', 'text', *how]) == 0\n"
        "assert main(['eval', 'text', '--dynamic']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    "module", ["charrnn", "charrnn.config.train", "charrnn.cli.app", "charrnn.cli.options", "charrnn.console.display"]
)
def test_light_imports(module: str) -> None:
    """CL-14: what help needs imports none of the heavy ones."""
    script = f"import sys, {module}; print(*{{'torch', 'numpy', 'rich', 'tqdm', 'pydantic'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, b""), done.stderr.decode()

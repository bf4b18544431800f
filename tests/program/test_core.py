"""The compiled core as the program finds it: of another version, damaged, on a lesser processor, and misused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.program.program import TREE, charrnn, command, environment

ROOT = Path(__file__).parents[2] if TREE is None else Path(TREE).absolute()
CORE = ROOT / "charrnn" / "core.so"

pytestmark = pytest.mark.skipif(not CORE.exists(), reason="the compiled core was not built here")

OTHER_VERSION = "int charrnn_abi_version(void) { return 6; }\nint *charrnn_struct_sizes(void) { return 0; }\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout like this one, without a core."""
    package = tmp_path / "tree" / "charrnn"
    package.mkdir(parents=True)
    for file in (ROOT / "charrnn").iterdir():
        if file.name not in ("core.so", "__pycache__"):
            (package / file.name).symlink_to(file)
    return package.parent


def test_a_core_that_cannot_be_used_is_named(tree: Path, stream_run: Path) -> None:
    """2.2: of another version it was said to be "not built"; cut short, it killed the program."""
    core = tree / "charrnn" / "core.so"
    env = {"PYTHONPATH": str(tree)}
    cases = [
        (CORE.read_bytes()[:200_000], "is not whole"),
        (b"no library" * 99, "cannot be loaded: .*invalid ELF header"),
    ]
    if compiler := shutil.which("gcc"):
        (tree / "other.c").write_text(OTHER_VERSION)
        subprocess.run([compiler, "-shared", "-fPIC", "other.c", "-o", "other"], cwd=tree, check=True, timeout=60)
        cases.append(((tree / "other").read_bytes(), r"is of another version \(ABI 6, needed is \d+\): .*; reinstall"))
    for data, fault in cases:
        core.write_bytes(data)
        ran = charrnn("eval", "-m", stream_run, "--engine", "native", stdin=b"to be", env=env)
        assert ran.code == 2, ran.err
        assert re.search(f"^Error: --engine native: the compiled core {fault}", ran.error)
    ran = charrnn("eval", "-m", stream_run, stdin=b"to be", env=env)
    assert (ran.code, ran.err) == (0, b"")  # without it
    assert re.search(f"the compiled core {fault}", charrnn("doctor", env=env).out.decode())


def test_the_core_exports_its_functions_alone() -> None:
    """2.2: 118 symbols of the C++ library were exported, and a failed `new` would have called abort()."""
    nm = shutil.which("nm")
    if nm is None or not CORE.read_bytes().startswith(b"\x7fELF"):
        pytest.skip("no nm, or no ELF")

    def symbols(which: str) -> set[str]:
        listed = subprocess.run([nm, "-D", which, CORE], check=True, capture_output=True, text=True, timeout=60)
        return {line.split()[-1].partition("@")[0] for line in listed.stdout.splitlines()}

    header = (ROOT / "native" / "charrnn.h").read_text(encoding="utf-8")
    assert symbols("--defined-only") == set(re.findall(r"^[a-z].*\b(charrnn_\w+)\(", header, re.MULTILINE))
    assert "abort" not in symbols("--undefined-only")


MISUSE = """
import sys, numpy as np, charrnn
model = charrnn.load(sys.argv[1])
engine = getattr(model, "engine", None) or model._engine
one, two = engine.zero_state(1), engine.zero_state(2)
far = 1 << 30
for call in (
    lambda: engine.score(np.array([[far]]), one),
    lambda: engine.score(np.array([[1]]), two),
    lambda: engine.score(np.full((500, 100), 1), one),
    lambda: engine.score(np.zeros((1, 0), np.int64), one),
    lambda: engine.step(np.array([-far]), one),
    lambda: engine.step(np.array([1]), tuple(layer[:, :, :1] for layer in one)),
    lambda: model.tokenizer.decode([-1]),
):
    try:
        call()
    except ValueError:
        continue
    sys.exit("not refused")
"""


def test_optimized_python_checks_too(stream_run: Path, tmp_path: Path) -> None:
    """2.1, 2.2: what guards memory, or what a user gives, was an assert; `python -O` has none, and the process died of
    a bad address."""
    words = [sys.executable, "-O", "-c", MISUSE, str(stream_run / "model.safetensors")]
    done = subprocess.run(words, env=environment(), cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_processor_that_lacks_an_instruction(stream_run: Path) -> None:
    """2.2: the core asked for AVX2 and FMA alone, and was killed where BMI, LZCNT, MOVBE or F16C was missing."""
    emulator = shutil.which("qemu-x86_64")
    if emulator is None or os.uname().machine != "x86_64":
        pytest.skip("no emulator of processors")
    for missing in ("bmi1,-bmi2", "bmi2", "abm", "f16c", "movbe"):  # NumPy itself wants BMI1 where there is BMI2
        words = command("sample", "-m", stream_run, "--seed", "1", "--length", "9")
        done = subprocess.run(
            [emulator, "-cpu", f"max,-{missing}", *words],
            env=environment(),
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b""), missing

"""The compiled core built apart from the package: with sanitizers, for another processor, and not at all."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NATIVE = ROOT / "native"

pytestmark = pytest.mark.slow

COMPILER = shutil.which(os.environ.get("CXX", "g++"))
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


def build(folder: Path, *flags: str, compiler: str, kernels: dict[str, str]) -> Path:
    """The program `selftest`, with one set of kernels for each name: the flags of its instruction set."""
    common = ["-std=gnu++17", "-ffp-contract=off", "-fno-math-errno", *flags]
    commands = [
        [
            compiler,
            *common,
            *more.split(),
            f"-DKERNELS={name}_kernels",
            "-c",
            str(NATIVE / ("int8.cpp" if name.endswith("_int8") else "kernels.cpp")),
            "-o",
            f"{name}.o",
        ]
        for name, more in kernels.items()
    ]
    running = [subprocess.Popen(command, cwd=folder) for command in commands]
    assert [process.wait(timeout=900) for process in running] == [0] * len(running)
    sources = [str(NATIVE / f"{name}.cpp") for name in ("selftest", "api", "dispatch", "thread_pool")]
    subprocess.run(
        [compiler, *common, *sources, *(f"{name}.o" for name in kernels), "-o", "selftest", "-lpthread"],
        cwd=folder, check=True, timeout=300,
    )  # fmt: skip
    return folder / "selftest"


def run(command: list[str], isa: str) -> list[str]:
    done = subprocess.run(
        command, env={**os.environ, "CHARRNN_ISA": isa}, capture_output=True, text=True, timeout=900, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


HALF = "-DCHARRNN_HALF"
INT8 = "-DCHARRNN_BYTE"
X86 = {
    "baseline": "",
    "baseline_half": HALF,
    "avx2": "-march=x86-64-v3",
    "avx2_half": f"{HALF} -march=x86-64-v3",
    "avx512": "-march=x86-64-v4",
    "avx512bf16_half": f"{HALF} -march=x86-64-v4 -mavx512bf16",
    "baseline_int8": INT8,
    "avx2_int8": f"{INT8} -march=x86-64-v3",
    "avxvnni_int8": f"{INT8} -march=x86-64-v3 -mavxvnni",
    "avx512_int8": f"{INT8} -march=x86-64-v4",
    "avx512vnni_int8": f"{INT8} -march=x86-64-v4 -mavx512vnni",
}
WIDE = "-DLANES=16 -DREGISTERS=32"


@needs_compiler
@pytest.mark.timeout(1800)
def test_sanitizers_find_nothing_and_processors_agree(tmp_path: Path) -> None:
    """Addresses and undefined behaviour, for each instruction set that this machine runs; and on aarch64 the same
    bits, where a compiler and an emulator for it are installed."""
    assert COMPILER is not None
    if os.uname().machine != "x86_64":
        pytest.skip("this machine is no x86-64")
    checked = build(
        tmp_path,
        "-O1",
        "-g",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        compiler=COMPILER,
        kernels=X86,
    )
    # in float32, all in bfloat16, what models put out in float32 and in int8, and some cells apart in both
    name, single, kind, half, *outputs, _, others = run([str(checked)], "baseline")
    assert (name, kind) == ("baseline", "emulated")
    for isa in ("avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"):
        found = run([str(checked)], isa)
        assert found[1] == single
        assert (found[3], found[-1]) == (half, others) or found[2] != "emulated"
        assert found[4:-2] == outputs
    wide = tmp_path / "wide"
    wide.mkdir()
    widened = {name: f"{X86[name]} {WIDE}" for name in ("baseline", "baseline_half", "baseline_int8")}
    longer = build(wide, "-O2", compiler=COMPILER, kernels=X86 | widened)
    assert run([str(longer)], "baseline") == ["baseline", single, "emulated", half, *outputs, _, others]
    other, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if other is None or emulator is None:
        pytest.skip("sanitizers found nothing; no compiler or emulator for aarch64")
    folder = tmp_path / "aarch64"
    folder.mkdir()
    arm = {
        "baseline": "",
        "baseline_half": HALF,
        "baseline_int8": INT8,
        "neondot_int8": f"{INT8} -march=armv8.2-a+dotprod",
        "neonbf16_half": f"{HALF} -march=armv8.2-a+bf16",
    }
    elsewhere = build(folder, "-O2", "-static", "-DCHARRNN_NEONBF16", compiler=other, kernels=arm)
    for isa in ("neon", "neondot"):
        assert run([emulator, "-cpu", "max", str(elsewhere)], isa) == [
            isa, single, "emulated", half, *outputs, _, others
        ]  # fmt: skip
    assert run([emulator, "-cpu", "max", str(elsewhere)], "")[:3] == ["neonbf16", single, "neonbf16"]


@pytest.mark.timeout(900)
def test_without_a_compiler_the_package_works(tmp_path: Path) -> None:
    """`CXX=/bin/false pip install`: pure Python, and it says so once."""
    venv.create(tmp_path / "env", with_pip=True, system_site_packages=False)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", str(ROOT)],
        env={**os.environ, "CXX": "/bin/false"}, check=True, timeout=600, capture_output=True,
    )  # fmt: skip
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    assert not (site / "charrnn" / "core.so").exists()
    here = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    (tmp_path / "corpus.txt").write_bytes(b"to be or not to be, that is the question\n" * 30)
    done = subprocess.run(
        [python, "-m", "charrnn", "train", "corpus.txt", "--steps", "2", "--hidden", "8", "--out", "run"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), here))},
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == "run/model.safetensors\n"
    assert "torch on cpu" in done.stderr
    assert done.stderr.count("the compiled core, several times faster, was not built") == 1
    refused = subprocess.run(
        [python, "-m", "charrnn", "eval", "-m", "run", "--engine", "native"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), here))},
        cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300, input="to be",
    )  # fmt: skip
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "--engine native: the compiled core was not built" in refused.stderr

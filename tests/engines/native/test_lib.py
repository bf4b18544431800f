"""The compiled core as a library: which file is taken, what it exports, what it asks of the processor, and that nothing
that it would read or write beyond an array reaches it."""

import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from charrnn.config.sample import SampleConfig
from charrnn.engines.base import Array, TokenDFA
from charrnn.engines.native import lib
from charrnn.engines.native.inference import NativeInference
from charrnn.engines.native.training import NativeTraining
from charrnn.engines.select import core_fault
from charrnn.network.architecture import Architecture
from tests.engines.models import drawn, requested

NATIVE = Path(__file__).parents[3] / "native"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
V, E = 5, 4
GRU = Architecture("gru", V, (7, 7), E)
CORE = Path(lib.__file__).parents[2] / "core.so"

needs_core = pytest.mark.skipif(lib.library() is None, reason="the compiled core was not built here")
needs_compiler = pytest.mark.skipif(COMPILER is None or os.uname().machine != "x86_64", reason="no compiler, or no x86")


@pytest.fixture
def core_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is loaded as the core; there is none yet."""
    monkeypatch.setattr(lib, "__file__", str(tmp_path / "engines" / "native" / "lib.py"))
    return tmp_path / "core.so"


def load() -> str:
    core, fault = lib._load.__wrapped__()
    assert (core is None) == bool(fault)
    return str(fault)


def test_a_core_that_cannot_be_loaded_is_none(core_file: Path) -> None:
    assert load() == "was not built when charrnn was installed here"
    for data in (b"", b"not a library"):
        core_file.write_bytes(data)
        assert load().startswith("cannot be loaded: ")
    core_file.unlink()
    core_file.mkdir()
    assert "Is a directory" in load()


@needs_core
def test_a_core_that_is_not_whole_is_none(core_file: Path) -> None:
    """The system's loader would be killed by a bus error."""
    data = CORE.read_bytes()
    if not data.startswith(b"\x7fELF"):
        pytest.skip("no ELF")
    for size in (len(data) - 1, len(data) // 2, 5000):
        core_file.write_bytes(data[:size])
        assert load() == f"is not whole: {core_file}; reinstall charrnn"
    core_file.write_bytes(data[:18] + b"\xb7\0" + data[20:])  # of aarch64
    assert load().startswith("cannot be loaded: ")


@needs_core
def test_a_core_of_another_version_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Larger(ctypes.Structure):
        _fields_ = [*lib.AdamWStep._fields_, ("more", ctypes.c_int64)]

    assert load() == ""
    monkeypatch.setattr(lib, "AdamWStep", Larger)
    assert load().startswith("is of another version (its structs have other sizes): ")
    monkeypatch.setattr(lib, "ABI_VERSION", lib.ABI_VERSION + 1)
    assert load().startswith(f"is of another version (ABI {lib.ABI_VERSION - 1}, needed is {lib.ABI_VERSION}): ")


def test_the_fault_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib, "_load", lambda: (None, "is of another version"))
    assert core_fault() == "is of another version"
    with pytest.raises(RuntimeError, match=r"^the compiled core is of another version$"):
        NativeTraining(GRU)


# --- the processor ------------------------------------------------------------------------------------

PROCESSOR = r"""
#include <stdio.h>
#include <stdlib.h>
#include "cpu.h"
// Print the features of a processor whose cpuid has all bits set but one, and what the system saves.
int main(int count, char **values) {
    const uint32_t leaf = strtoul(values[1], nullptr, 0), subleaf = strtoul(values[2], nullptr, 0);
    const uint32_t place = strtoul(values[3], nullptr, 0), bit = strtoul(values[4], nullptr, 0);
    const uint64_t saved = strtoul(values[5], nullptr, 0);
    const uint32_t last_leaf = strtoul(values[6], nullptr, 0);
    const auto cpuid = [&](uint32_t l, uint32_t s) {
        Cpuid found = {{~0u, ~0u, ~0u, ~0u}};
        if (l == 0) found.registers[EAX] = last_leaf;
        if (l == leaf && s == subleaf) found.registers[place] &= ~(1u << bit);
        return found;
    };
    const uint32_t features = cpu_features(cpuid, [&] { return saved; });
    for (unsigned n = 0; n < sizeof FEATURES / sizeof *FEATURES; n++)
        if (features >> n & 1) puts(FEATURES[n].name);
}
"""


@needs_compiler
def test_every_instruction_that_the_compiler_may_use_is_asked_for(tmp_path: Path) -> None:
    """The options of CMakeLists.txt allow more than AVX2: BMI, LZCNT, F16C, MOVBE; and the system must save the
    registers."""
    assert COMPILER is not None

    def macros(*options: str) -> set[str]:
        command = [COMPILER, *options, "-dM", "-E", "-x", "c++", os.devnull]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return set(re.findall(r"^#define (\w+) 1$", done.stdout, re.MULTILINE))

    build = (NATIVE / "CMakeLists.txt").read_text(encoding="utf-8")
    options = {words for words in re.findall(r"add_kernels\(\w+ (.*)\)", build) if "x86-64" in words}
    assert len(options) == 8
    (tmp_path / "processor.cpp").write_text(PROCESSOR, encoding="utf-8")
    command = [COMPILER, "-std=gnu++17", f"-I{NATIVE}", "processor.cpp", "-o", "processor"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=120)

    def features(*without: int, saved: int = 0xE7, leaves: int = 7) -> set[str]:
        words = [*map(str, without or (0x99, 0, 0, 0)), str(saved), str(leaves)]
        done = subprocess.run([tmp_path / "processor", *words], check=True, capture_output=True, text=True, timeout=60)
        return set(done.stdout.split())

    everything = features()
    for words in options:
        used = macros(*re.sub(r"-DCHARRNN_\w+", "", words).split()) - macros()
        used = {name for name in used if not name.startswith(("__FP_FAST", "__EVEX"))}
        assert used <= everything, words
    one, extended = 1, 0x80000001
    bits = {
        (one, 0, 2, 12): "__FMA__",
        (one, 0, 2, 22): "__MOVBE__",
        (one, 0, 2, 29): "__F16C__",
        (7, 0, 1, 3): "__BMI__",
        (7, 0, 1, 5): "__AVX2__",
        (7, 0, 1, 8): "__BMI2__",
        (7, 0, 2, 11): "__AVX512VNNI__",
        (7, 1, 0, 4): "__AVXVNNI__",
        (7, 1, 0, 5): "__AVX512BF16__",
        (extended, 0, 2, 5): "__LZCNT__",
    }
    for place, name in bits.items():
        assert everything - features(*place) == {name}
    wide = {name for name in everything if "AVX512" in name}
    vectors = wide | {"__AVX__", "__AVX2__", "__AVXVNNI__", "__FMA__", "__F16C__"}
    assert everything - features(saved=0x7) == wide
    assert everything - features(saved=0x3) == vectors
    assert everything - features(one, 0, 2, 27) == vectors | {"__XSAVE__"}  # the system saves nothing of it
    assert not features(leaves=1) & (wide | {"__AVX2__", "__AVXVNNI__", "__BMI__", "__BMI2__"})


# --- what it is handed --------------------------------------------------------------------------------


@needs_core
def test_inference_refuses_what_would_be_read_beyond() -> None:
    engine = NativeInference(GRU, drawn(GRU), 1)
    state = engine.zero_state(1)
    wrong_ids: list[list[list[float]]] = [[[-1]], [[2 * V + 1]], [[2**32 + 1]], [[1.5]], [[]], [[True]]]
    for ids in wrong_ids:
        for read in (engine.score, engine.predict):
            with pytest.raises(ValueError, match="out of range"):
                read(np.array(ids), state)
        with pytest.raises(ValueError, match="out of range"):
            engine.step(np.array(ids)[0], state)
    with pytest.raises(ValueError, match="out of range"):
        engine.step(np.array([V + 1]), state)
    for wrong in (engine.zero_state(2), state[:1], tuple(layer[:, :, :3] for layer in state)):
        with pytest.raises(ValueError, match="a state of shapes"):
            engine.score(np.array([[1]]), wrong)
    with pytest.raises(ValueError, match=r"not enough values|too many values"):
        engine.score(np.array([1]), state)
    for threads in (0, -1, 1 << 31):
        with pytest.raises(ValueError, match="threads"):
            NativeInference(GRU, drawn(GRU), threads)
    strided = np.arange(12).reshape(2, 6)[:, ::2] % V  # neither contiguous nor of the core's type
    wide = tuple(np.zeros((1, 2, 14))[:, :, ::2] for _ in GRU.hidden)
    nats, _ = engine.score(strided, wide)
    assert np.array_equal(nats, engine.score(np.ascontiguousarray(strided), engine.zero_state(2))[0])


@needs_core
def test_a_sampler_refuses_what_would_be_read_beyond() -> None:
    engine = NativeInference(GRU, drawn(GRU), 1)
    first = engine.step(np.array([V]), engine.zero_state(1))
    table = np.zeros((1, V), np.int32)
    for wrong in (
        {"batch_size": 1 << 31},
        {"per_prompt": 1 << 63},
        {"dfa_start": np.array([1])},
        {"dfa": np.zeros((1, V + 1), np.int32)},
    ):
        request = {"dfa": table, "batch_size": 1, "per_prompt": 1, **wrong}
        with pytest.raises(ValueError, match=r"requested|automaton|logits"):
            engine.sampler(requested(first, SampleConfig(length=3), seed=1, **request))  # type: ignore[arg-type]
    less = requested((first[0], first[1][:1]), SampleConfig(length=3), seed=1, dfa=TokenDFA(table), batch_size=1)
    with pytest.raises(ValueError, match="a state"):
        engine.sampler(less)


def _step(model: NativeTraining, inputs: Array, targets: Array) -> None:
    model.forward_backward(inputs, targets, model.zero_state(2))


@needs_core
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, ids: _step(model, np.full_like(ids, -1), ids), "out of range"),
        (lambda model, ids: _step(model, np.full_like(ids, V + 1), ids), "out of range"),
        (lambda model, ids: _step(model, ids + (1 << 32), ids), "out of range"),
        (lambda model, ids: _step(model, ids.astype(float), ids), "out of range"),
        (lambda model, ids: _step(model, ids, np.full_like(ids, V)), "out of range"),
        (lambda model, ids: _step(model, ids, np.full_like(ids, -1)), "out of range"),
        (lambda model, ids: _step(model, ids, ids[:, :2]), "of shape"),
        (lambda model, ids: _step(model, ids[:1], ids[:1]), "a state of shapes"),
        (lambda model, ids: model.forward(ids, model.zero_state(2)[:1]), "a state of shapes"),
        (lambda model, ids: model.loss(np.zeros((3, 2, 6), np.float32), ids), "of shape"),
        (lambda model, ids: model.backward(np.zeros((3, 2, 6), np.float32)), "of shape"),
        (lambda model, ids: model.backward(np.zeros((3, 2, 7), np.float32), model.zero_state(1)), "a state of shapes"),
        (lambda model, ids: model.set_num_threads(0), "threads"),
        (lambda model, ids: model.set_num_threads(1 << 31), "threads"),
    ],
)
def test_training_refuses_what_would_be_read_beyond(
    call: Callable[[NativeTraining, Array], object], message: str
) -> None:
    model = NativeTraining(GRU)
    model.load_weights(drawn(GRU))
    ids = np.arange(6).reshape(2, 3) % V
    model.forward(ids, model.zero_state(2))
    with pytest.raises(ValueError, match=message):
        call(model, ids)
    features, _ = model.forward(ids, model.zero_state(2))
    loss, grad = model.loss(features, ids)
    wide = np.zeros((*features.shape[:2], 14))  # float64, and not contiguous
    wide[:, :, ::2] = features
    assert model.loss(wide[:, :, ::2], ids)[0] == loss
    model.backward(grad.astype(np.float64))


# --- where the system gives no more -------------------------------------------------------------------

SHORT = """
import resource
import numpy as np
from charrnn.engines.native.inference import NativeInference
from charrnn.network.architecture import Architecture
from charrnn.network.init import initial_weights

architecture = Architecture("gru", 5, (256,), 4)
weights = initial_weights(architecture, 1)
ids = np.arange(400).reshape(8, 50) % 6
one, many = (NativeInference(architecture, weights, threads) for threads in (1, 8))
expected = one.score(ids, one.zero_state(8))[0]
assert np.array_equal(many.score(ids, many.zero_state(8))[0], expected)
status = open("/proc/self/status").read()
assert "Threads:\\t1\\n" in status, status
used = 1024 * int(status.split("VmSize:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used + (128 << 20), resource.RLIM_INFINITY))
try:
    many.score(np.zeros((1 << 16, 1), np.int64), many.zero_state(1 << 16))
except MemoryError:
    assert np.array_equal(many.score(ids, many.zero_state(8))[0], expected)
    print("no memory")
"""


@needs_core
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no Linux")
def test_without_threads_or_memory() -> None:
    """Where no thread can be started one does the work; where there is no memory, MemoryError says so."""

    def limit() -> None:
        """A stack of a thread that has no place in memory."""
        resource.setrlimit(resource.RLIMIT_STACK, (8 << 30, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))

    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(NATIVE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", SHORT],
        env=environment, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("no memory\n", "")

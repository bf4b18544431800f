"""The checkpoint file: valid, or refused in one sentence."""

import ast
import io
import itertools
import json
import os
import pickle
import random
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import charrnn
from charrnn.checkpoint import format as checkpoint
from charrnn.checkpoint import header
from charrnn.checkpoint.format import FORMAT_VERSION, Checkpoint, check_can_be_saved
from charrnn.errors import CheckpointError, NonFiniteError
from charrnn.network.architecture import Architecture
from charrnn.network.head import HeadLayout
from charrnn.tokenizers.byte import ByteTokenizer
from charrnn.tokenizers.char import CharTokenizer
from tests import tiny
from tests.surgery import Array, sealed, take_apart

FIXTURES = Path(__file__).parents[1] / "fixtures"
LSTM = Architecture("lstm", 20, (8,), 8)
TWO_LEVELS = replace(LSTM, clusters=bytes([0, 2, 1, 2, *[0] * 15, 2]))


def sample(architecture: Architecture = LSTM, step: int = 7) -> Checkpoint:
    rng = np.random.default_rng(step)
    shapes = architecture.shapes()
    return Checkpoint(
        architecture,
        CharTokenizer(np.arange(97, 97 + architecture.vocabulary - 1, dtype=np.uint32)),
        {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()},
        {"step": step, "metrics": {"nats": 1.5}, "corpus": {"sha256": "0f" * 32}},
        {"moments": np.full((3, 4), step, np.float32), "step": np.array(step)},
    )


def parts(model: Checkpoint) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what `sealed` needs to write this model's file."""
    document = {
        "format_version": FORMAT_VERSION,
        "program_version": "0.1.0",
        "tokenizer": model.tokenizer.name,
        "config": model.architecture.to_json(),
        "info": model.info,
    }
    clusters = np.frombuffer(model.architecture.clusters, np.uint8)
    tables = {"tokenizer.vocabulary": model.tokenizer.table, **({"head.clusters": clusters} if len(clusters) else {})}
    return document, {**tables, **model.weights}


def refused(path: Path) -> str:
    """Return the message with which `path` is refused: one line that names it."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(path)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 500
    return message


def saved(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("architecture", "version"), [(LSTM, 2), (TWO_LEVELS, 3)], ids=["one level", "two levels"])
def test_what_is_written_is_read(architecture: Architecture, version: int, tmp_path: Path) -> None:
    """A file is of the first version that has what is in it."""
    path = tmp_path / "m.safetensors"
    model = sample(architecture)
    model.weights["head.weight"] = np.asfortranarray(model.weights["head.weight"])
    checkpoint.write(path, model)
    for training in (True, False):
        found = checkpoint.read(path, training=training)
        assert found.architecture == model.architecture
        assert found.info == model.info
        assert found.tokenizer.table.tolist() == model.tokenizer.table.tolist()
        assert list(found.weights) == list(model.architecture.shapes())
        for name in model.weights:
            np.testing.assert_array_equal(found.weights[name], model.weights[name])
        assert found.training.keys() == (model.training.keys() if training else set())
        for name in found.training:
            np.testing.assert_array_equal(found.training[name], model.training[name])
            assert found.training[name].dtype == model.training[name].dtype
    metadata, _ = header.read_metadata(path)
    assert (metadata["info"], metadata["format_version"]) == (model.info, version)


def test_bytes_need_no_vocabulary(tmp_path: Path) -> None:
    architecture = Architecture("gru", 256, (4, 3), 2)
    weights = {name: np.ones(shape, np.float32) for name, shape in architecture.shapes().items()}
    model = Checkpoint(architecture, ByteTokenizer(), weights)
    path = tmp_path / "m.safetensors"
    checkpoint.write(path, model)
    assert b"tokenizer.vocabulary" not in path.read_bytes()
    assert checkpoint.read(path).tokenizer.name == "byte"
    document, tensors = parts(model)
    saved(path, sealed(document, tensors))
    assert "tokenizer.vocabulary: expected none, found U32 [0]" in refused(path)


@pytest.mark.parametrize("architecture", [LSTM, TWO_LEVELS], ids=["one level", "two levels"])
def test_sealed_is_the_same_format(architecture: Architecture, tmp_path: Path) -> None:
    model = sample(architecture)
    found = checkpoint.read(saved(tmp_path / "m.safetensors", sealed(*parts(model))))
    assert found.info == model.info
    data = checkpoint.to_bytes(model)
    found = checkpoint.read(saved(tmp_path / "m.safetensors", sealed(*take_apart(data))), training=True)
    assert checkpoint.to_bytes(found) == data


def run_block(number: int, path: Path) -> str:
    """Run a Python block of docs/format.md on a file, where charrnn cannot be imported; return what it prints."""
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[number].partition("```")[0]
    command: list[str | Path] = [
        sys.executable,
        "-I",
        "-W",
        "error",
        "-c",
        f"import sys; sys.modules['charrnn'] = None\n{code}",
        path,
    ]
    printed: str = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return printed


def test_the_page_loads_a_file_with_safetensors_alone(tmp_path: Path) -> None:
    model = sample()
    shape = list(model.weights["head.weight"].shape)
    printed = run_block(1, saved(tmp_path / "m.safetensors", checkpoint.to_bytes(model)))
    assert printed.splitlines() == [f"2 char lstm [8] abc {shape}"]


def test_the_page_makes_probabilities_of_two_levels() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {}
    exec(page.split("```python\n")[2].partition("```")[0], found)  # noqa: S102
    clusters, logits = np.frombuffer(TWO_LEVELS.clusters, np.uint8), np.random.default_rng(1).standard_normal(22)
    expected = HeadLayout.of(TWO_LEVELS).ln_p(logits[None])[0]
    np.testing.assert_allclose(found["ln_p"](logits, clusters), expected, rtol=1e-12)


def test_the_page_checks_the_digest(tmp_path: Path) -> None:
    data = checkpoint.to_bytes(sample())
    assert run_block(3, saved(tmp_path / "m.safetensors", data)) == "intact\n"
    assert run_block(3, saved(tmp_path / "m.safetensors", data + b"?")) == "corrupt\n"


def damage() -> dict[str, Callable[[bytes], bytes]]:
    """Return ways to damage a file, by name."""
    kinds: dict[str, Callable[[bytes], bytes]] = {
        "nothing": lambda data: b"",
        "appended": lambda data: data + b"\0",
        "header zeroed": lambda data: data[:8] + bytes(1000) + data[1008:],
        "length zeroed": lambda data: bytes(8) + data[8:],
        "all zeros": lambda data: bytes(len(data)),
        "digits in upper case": lambda data: data.replace(b"0f" * 32, b"0F" * 32),
    }
    for length in (1, 7, 8, 9, *range(1024, 5000, 1024)):
        kinds[f"cut at {length}"] = lambda data, length=length: data[:length]  # type: ignore[misc]
    return kinds


@pytest.mark.parametrize("kind", damage())
def test_ck09_damage_is_refused(kind: str, tmp_path: Path) -> None:
    """CK-09: exit 3, in one line that says "corrupt"."""
    data = checkpoint.to_bytes(sample())
    damaged = damage()[kind](data)
    assert damaged != data
    assert "corrupt" in refused(saved(tmp_path / "m.safetensors", damaged))


def test_ck09_every_flipped_bit_is_found(tmp_path: Path) -> None:
    """CK-09: a thousand trials, half of them in the header."""
    data = checkpoint.to_bytes(sample())
    header = 8 + int.from_bytes(data[:8], "little")
    rng = random.Random(9)  # noqa: S311
    path = tmp_path / "m.safetensors"
    for trial in range(1000):
        bit = rng.randrange(8 * (header if trial % 2 else len(data)))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert "corrupt" in refused(saved(path, bytes(damaged))), bit


class Marker:
    """Creates a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.path,)


def foreign(marker: Path) -> dict[str, bytes]:
    """Return files of other kinds, by what the message calls them."""
    evil = pickle.dumps(Marker(str(marker)))
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", evil)
        archive.writestr("archive/data/0", bytes(400))
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        member = tarfile.TarInfo("storages")
        member.size = len(evil)
        tar.addfile(member, io.BytesIO(evil))
    return {
        "a zip archive, which is how PyTorch saves": zipped.getvalue(),
        "a Python pickle, which is never opened": evil,
        "a tar archive": tarred.getvalue(),
        "a GGUF model": b"GGUF\x03\0\0\0" + bytes(64),
        "a PNG picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(64),
        "text": "To be, or not to be — ".encode() * 99,
        "gzip-compressed": b"\x1f\x8b\x08" + bytes(64),
    }


@pytest.mark.parametrize("kind", foreign(Path()))
def test_ck10_foreign_files_are_named_and_not_run(kind: str, tmp_path: Path) -> None:
    """CK-10: the message says what kind of file it is, and a pickle inside creates no marker."""
    marker = tmp_path / "marker"
    message = refused(saved(tmp_path / "model.pt", foreign(marker)[kind]))
    assert f"is not a charrnn checkpoint: it looks like {kind}" in message
    assert not marker.exists()


@pytest.mark.parametrize("place", [".", "/dev/zero", "/dev/null", "pipe"])
def test_ck10_only_regular_files_are_read(place: str, tmp_path: Path) -> None:
    """CK-10: folders, devices and pipes are refused without reading or waiting."""
    os.mkfifo(tmp_path / "pipe")
    assert "is not a charrnn checkpoint: it is not a regular file" in refused(tmp_path / place)


def test_ck10_another_programs_safetensors(tmp_path: Path) -> None:
    """CK-10."""
    data = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    message = refused(saved(tmp_path / "m", len(data).to_bytes(8, "little") + data + bytes(4)))
    assert "is not a charrnn checkpoint" in message


@pytest.mark.parametrize("name", ["absent", "nul\0"])
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    saved(tmp_path / "last.safetensors", b"")
    with pytest.raises(CheckpointError, match=r"cannot read .*(No such file.*there is 'last|null)"):
        checkpoint.read(tmp_path / name)


def test_ck11_nothing_can_run_a_file() -> None:
    """CK-11: no module imports, calls or passes what runs data."""
    found = []
    files = sorted(Path(charrnn.__file__).parent.rglob("*.py"))
    for file, node in ((path, node) for path in files for node in ast.walk(ast.parse(path.read_bytes()))):
        match node:
            case ast.Import():
                bad = any(name.name.split(".")[0] in BANNED for name in node.names)
            case ast.ImportFrom():
                bad = (node.module or "").split(".")[0] in BANNED
            case ast.Call(func=ast.Name(id="eval" | "exec" | "__import__")):
                bad = True
            case ast.Attribute(value=ast.Name(id="torch" | "yaml"), attr="load"):
                bad = True
            case ast.keyword(arg="allow_pickle"):
                bad = True
            case ast.keyword(arg="shell", value=ast.Constant(value=value)):
                bad = bool(value)
            case _:
                bad = False
        if bad:
            found.append((file.name, ast.unparse(node)))
    assert len(files) > 5
    assert not found


BANNED = ("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml")


def config(**changes: object) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    return lambda document, tensors: document["config"].update(changes)


def of_document(**changes: object) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    return lambda document, tensors: document.update(changes)


def of_tensors(**changes: Array | None) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    def change(document: dict[str, Any], tensors: dict[str, Array]) -> None:
        for name, tensor in changes.items():
            if tensor is None:
                del tensors[name.replace("__", ".")]
            else:
                tensors[name.replace("__", ".")] = tensor

    return change


TWICE = np.array([97, 97, *range(98, 115)], np.uint32)
HIGH = np.array([*range(97, 115), 0x110000], np.uint32)

INCONSISTENT = {
    "CK-12 hidden 10^7": (config(hidden=[10**7]), "hidden cannot be"),
    "CK-12 hidden 65536": (config(hidden=[65536] * 64), "tensor head.weight: expected F32 [20, 65536]"),
    "CK-12 vocabulary 2^31": (config(vocabulary=2**31), "vocabulary cannot be '2147483648'"),
    "CK-12 vocabulary of all": (config(vocabulary=0x110001), "expected F32 [1114114, 8], found F32 [21, 8]"),
    "CK-12 layers": (config(layers=-1), "config has the keys"),
    "CK-12 no layers": (config(hidden=[]), "hidden cannot be"),
    "CK-12 a long key": (config(**{"k" * 100_000: 1}), "config has the keys"),
    "CK-12 hidden a string": (config(hidden="8"), "hidden cannot be '8'"),
    "CK-12 hidden of strings": (config(hidden=["8"]), "hidden cannot be"),
    "CK-12 hidden of floats": (config(hidden=[8.0]), "hidden cannot be"),
    "CK-12 embedding true": (config(embedding=True), "embedding cannot be 'True'"),
    "CK-12 embedding -1": (config(embedding=-1), "embedding cannot be '-1'"),
    "CK-12 embedding huge": (config(embedding=int("7" * 4000)), "embedding cannot be"),
    "CK-12 embedding NaN": (config(embedding=float("nan")), "corrupt"),
    "CK-12 info infinite": (of_document(info={"loss": float("inf")}), "corrupt"),
    "CK-12 cell": (config(cell="os.system"), "cell cannot be 'os.system'"),
    "CK-12 cell a list": (config(cell=["lstm"]), "cell cannot be"),
    "CK-12 no config": (of_document(config=None), "config is not an object"),
    "CK-12 info": (of_document(info=[]), "lacks a tokenizer or info"),
    "CK-12 tokenizer 5": (of_document(tokenizer=5), "lacks a tokenizer or info"),
    "CK-12 tokenizer": (of_document(tokenizer="../x"), "tokenizer cannot be '../x'"),
    "CK-12 version 0": (of_document(format_version=0), "corrupt"),
    "CK-12 version a string": (of_document(format_version="1"), "corrupt"),
    "CK-12 duplicate tokens": (of_tensors(tokenizer__vocabulary=TWICE), "cannot be used"),
    "CK-12 no code point": (of_tensors(tokenizer__vocabulary=HIGH), "cannot be used"),
    "CK-12 too few tokens": (
        of_tensors(tokenizer__vocabulary=np.arange(9, dtype=np.uint32)),
        "20 tokens in its config, 10 in its vocabulary",
    ),
    "CK-13 extra": (
        of_tensors(bias=np.zeros(3, np.float32)),
        "tensor bias: expected none, found F32 [3]",
    ),
    "CK-13 missing": (of_tensors(head__bias=None), "tensor head.bias: expected F32 [20], found none"),
    "CK-13 dtype": (
        of_tensors(head__bias=np.zeros(20, np.float16)),
        "tensor head.bias: expected F32 [20], found F16 [20]",
    ),
    "CK-13 shape": (
        of_tensors(head__bias=np.zeros((1, 20), np.float32)),
        "tensor head.bias: expected F32 [20], found F32 [1, 20]",
    ),
    "CK-13 no vocabulary": (
        of_tensors(tokenizer__vocabulary=None),
        "tensor tokenizer.vocabulary: expected U32 [19], found none",
    ),
    "CK-13 vocabulary's dtype": (
        of_tensors(tokenizer__vocabulary=np.arange(19, dtype=np.int64)),
        "tensor tokenizer.vocabulary: expected U32 [19], found I64 [19]",
    ),
    "CK-13 vocabulary's shape": (
        of_tensors(tokenizer__vocabulary=np.zeros((1, 19), np.uint32)),
        "tensor tokenizer.vocabulary: expected U32 [19], found U32 [1, 19]",
    ),
    "CK-13 training dtype": (
        of_tensors(train__x=np.zeros(3, np.float16)),
        "tensor train.x: expected none, found F16 [3]",
    ),
    "CK-14 newer": (
        of_document(format_version=FORMAT_VERSION + 1),
        f"by a newer charrnn (format {FORMAT_VERSION + 1}; this program reads up to {FORMAT_VERSION})",
    ),
    "terminal escapes": (of_tensors(**{"\x1b]0;pwn\x07": np.zeros(3, np.float32)}), r"\x1b]0;pwn\x07"),
}


@pytest.mark.parametrize("case", INCONSISTENT)
def test_ck12_ck13_ck14_inconsistent_files_are_refused(case: str, tmp_path: Path) -> None:
    """CK-12, CK-13, CK-14: exit 3, and the message names what is wrong."""
    change, expected = INCONSISTENT[case]
    document, tensors = parts(sample())
    change(document, tensors)
    assert expected in refused(saved(tmp_path / "m.safetensors", sealed(document, tensors)))


def in_clusters(*clusters: int) -> Callable[[dict[str, Any], dict[str, Array]], None]:
    return of_tensors(head__clusters=np.array([*clusters, *[0] * (20 - len(clusters))], np.uint8))


CLUSTERED = {
    "CK-12 clusters 0": (config(clusters=0), "clusters cannot be '0'"),
    "CK-12 clusters 256": (config(clusters=256), "clusters cannot be '256'"),
    "CK-12 clusters a list": (config(clusters=[2]), "clusters cannot be '[2]'"),
    "CK-12 more clusters than tokens": (config(vocabulary=1), "clusters cannot be '2'"),
    "CK-12 more rows": (config(clusters=3), "tensor head.bias: expected F32 [23], found F32 [22]"),
    "CK-12 fewer clusters": (in_clusters(1, 1), "2 clusters in its config, 1 in head.clusters"),
    "CK-12 more clusters": (in_clusters(1, 2, 3), "2 clusters in its config, 3 in head.clusters"),
    "CK-12 no cluster": (in_clusters(), "clusters are not 0 to C"),
    "CK-12 an empty cluster": (in_clusters(2, 2), "clusters are not 0 to C"),
    "CK-13 no table": (of_tensors(head__clusters=None), "tensor head.clusters: expected U8 [20], found none"),
    "CK-13 table's dtype": (
        of_tensors(head__clusters=np.zeros(20, np.float32)),
        "tensor head.clusters: expected U8 [20], found F32 [20]",
    ),
    "CK-13 table's shape": (
        of_tensors(head__clusters=np.zeros(21, np.uint8)),
        "tensor head.clusters: expected U8 [20], found U8 [21]",
    ),
    "CK-13 table of one level": (
        lambda document, tensors: document["config"].pop("clusters"),
        "tensor head.bias: expected F32 [20], found F32 [22]",
    ),
    "CK-14 older": (of_document(format_version=2), "clusters in its config, which format 2 has not"),
}
"""Ways in which a head of two levels can be wrong."""


@pytest.mark.parametrize("case", CLUSTERED)
def test_ck12_ck13_ck14_inconsistent_clusters_are_refused(case: str, tmp_path: Path) -> None:
    """CK-12, CK-13, CK-14: exit 3, and the message names what is wrong."""
    change, expected = CLUSTERED[case]
    document, tensors = parts(sample(TWO_LEVELS))
    change(document, tensors)
    assert expected in refused(saved(tmp_path / "m.safetensors", sealed(document, tensors)))


OFFSETS = {
    "overlap": '"train.x":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}',
    "hole": '"train.x":{"dtype":"U8","shape":[0],"data_offsets":[9999999,9999999]}',
    "beyond": '"train.x":{"dtype":"U8","shape":[4611686018427387904],"data_offsets":[0,4611686018427387904]}',
    "overflow": '"train.x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}',
    "too large for anything": '"train.x":{"dtype":"U8","shape":[1%s],"data_offsets":[0,0]}' % ("0" * 99),
    "negative": '"train.x":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}',
    "many dimensions": '"train.x":{"dtype":"U8","shape":[%s0],"data_offsets":[END,END]}' % ("1," * 99),
    "no shape": '"train.x":{"dtype":"U8","data_offsets":[0,0]}',
    "null": '"train.x":null',
    "twice": '"head.bias":{"dtype":"F32","shape":[20],"data_offsets":[0,80]}',
    "nested": '"train.x":' + "[" * 400_000 + "]" * 400_000,
}


@pytest.mark.parametrize("case", OFFSETS)
def test_se05_hostile_headers_are_refused(case: str, tmp_path: Path) -> None:
    """SE-05: whatever the offsets, shapes and nesting."""
    document, tensors = parts(sample())
    end = sum(tensor.nbytes for tensor in tensors.values())
    extra = "," + OFFSETS[case].replace("END", str(end))
    message = refused(saved(tmp_path / "m.safetensors", sealed(document, tensors, extra)))
    assert "corrupt" in message


def huge(folder: Path) -> list[Path]:
    """Return files that would need much memory or time if their claims were trusted."""
    document, tensors = parts(sample())
    claims = []
    for number, case in enumerate(["CK-12 hidden 65536", "CK-12 vocabulary of all", "CK-12 embedding huge"]):
        changed = json.loads(json.dumps(document))
        INCONSISTENT[case][0](changed, tensors)
        claims.append(saved(folder / f"claim-{number}", sealed(changed, tensors)))
    many = ",".join(f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(10**6))
    few = ",".join(f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(1001))
    nested = sealed({**document, "info": 0}, {}).replace(b'\\"info\\": 0', b'\\"info\\": ' + b"[" * 800_000)
    nested = (len(nested) - 8).to_bytes(8, "little") + nested[8:]
    long = saved(folder / "long", (99 << 20).to_bytes(8, "little") + b'{"__metadata__":{"charrnn":"')
    os.truncate(long, 100 << 20)
    sparse = saved(folder / "sparse", sealed(document, tensors))
    os.truncate(sparse, 1 << 30)
    return [
        *claims,
        long,
        saved(folder / "many", sealed(document, {}, "," + many)),
        saved(folder / "few", sealed(document, {}, "," + few)),
        saved(folder / "nested", nested),
        sparse,
    ]


READ_ELSEWHERE = """
import resource, sys, time
from charrnn.checkpoint import format as checkpoint
from charrnn.errors import CheckpointError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    start = time.perf_counter()
    try:
        checkpoint.read(path)
    except CheckpointError as error:
        assert time.perf_counter() - start < 2, path
        print(error)
unit = 1 if sys.platform == "darwin" else 1024
assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 200e6
"""


def test_ck12_se05_refusing_is_quick_and_small(tmp_path: Path) -> None:
    """CK-12, SE-05: each in less than 2 s and 200 MB."""
    command: list[str | Path] = [sys.executable, "-c", READ_ELSEWHERE, *huge(tmp_path)]
    lines = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    assert len(lines) == 8, lines
    assert "a header of 103809024 bytes; at most 1000000" in lines[3]
    assert "1001 tensors; at most 1000" in lines[5]
    assert "is corrupt: it has 1,073,741,824 bytes, not the " in lines[7]


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("*.safetensors")), ids=lambda file: file.stem)
def test_ck14_files_of_every_version_load_and_score_the_same(file: Path) -> None:
    """CK-14: the fixtures of tests/fixtures, to 1e-6."""
    table = file.with_name(file.name[: len("format-1")] + ".json")
    expected = json.loads(table.read_text(encoding="utf-8"))[file.stem]
    model = checkpoint.read(file, training=True)
    assert model.info["step"] == 7
    assert model.training.get("step", 7) == 7
    assert model.separator == expected.get("separator", "").encode()
    ids = np.concatenate([[model.architecture.bos_id], model.tokenizer.encode(expected["text"].encode())])[None]
    assert ids[0].tolist() == expected["ids"]
    engine = tiny.engine_of(model)
    nats, _ = engine.score(ids, engine.zero_state(1))
    assert nats.sum() == pytest.approx(expected["nats"], rel=1e-6)


def test_ck14_a_newer_file_with_a_wrong_digest(tmp_path: Path) -> None:
    """CK-14: the message leaves open which of the two it is."""
    document, tensors = parts(sample())
    data = sealed({**document, "format_version": 9}, tensors)
    message = refused(saved(tmp_path / "m", data[:-1] + bytes([data[-1] ^ 1])))
    assert "corrupt" in message
    assert "or was written by a newer charrnn (format 9)" in message


def test_ck15_no_path_is_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CK-15: the file is read from another folder under another name."""
    path = tmp_path / "m.safetensors"
    checkpoint.write(path, sample())
    data = path.read_bytes()
    for inside in (tmp_path, Path.cwd(), Path.home(), Path(charrnn.__file__).parent, Path(sys.prefix)):
        assert os.fsencode(inside) + b"/" not in data
    assert b"/" not in data[: 8 + int.from_bytes(data[:8], "little")]
    (tmp_path / "else").mkdir()
    path.rename(tmp_path / "else" / "n")
    monkeypatch.chdir(tmp_path / "else")
    assert checkpoint.read("n").info["step"] == 7


def test_what_exceeds_a_limit_is_not_saved() -> None:
    """The writer checks what the reader checks."""
    training = {str(number): np.zeros(1, np.float32) for number in range(1000)}
    with pytest.raises(ValueError, match=r"^1008 tensors; at most 1000$"):
        checkpoint.to_bytes(replace(sample(), training=training))
    for changed, message in (
        (replace(sample(), separator=b"a" * 257), "the separator is not a list of at most 256 tokens"),
        (replace(sample(), separator=b"?"), "a token of the separator is not in the vocabulary"),
        (replace(sample(), info={"text": "x" * 1_000_000}), "a header of 100[0-9]+ bytes; at most 1000000"),
        (replace(sample(), training={"x": np.zeros(3, np.float16)}), "tensor train.x: expected none"),
        (replace(sample(), weights={}), "tensor embedding: expected"),
        (replace(sample(), tokenizer=ByteTokenizer()), "20 tokens in its config, 256 in its vocabulary"),
    ):
        with pytest.raises(ValueError, match=message):
            checkpoint.to_bytes(changed)


def test_what_cannot_be_saved_is_known_before_training() -> None:
    """As `to_bytes` decides, from the sizes alone."""
    tokenizer = sample().tokenizer
    check_can_be_saved(LSTM, tokenizer, b"a" * 256, {"plan": '"' * 90_000}, training_tensors=1000 - 7 - 1)
    for architecture, separator, count, message in (
        (LSTM, b"", 1000 - 7, "1001 tensors; at most 1000"),
        (LSTM, b"a" * 257, 0, "the separator is not a list of at most 256 tokens"),
        (Architecture("lstm", 21, (8,), 8), b"", 0, "21 tokens in its config, 20 in its vocabulary"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            check_can_be_saved(architecture, tokenizer, separator, {}, training_tensors=count)
    for text in ("x" * 800_000, '"' * 200_000, "\U00010000" * 60_000):  # escaped twice
        with pytest.raises(ValueError, match="bytes for the options and the names of tensors; at most 800,000"):
            check_can_be_saved(LSTM, tokenizer, b"", {"plan": text}, training_tensors=0)


def test_info_may_hold_anything_that_looks_like_a_digest(tmp_path: Path) -> None:
    model = replace(sample(), info={"zeros": "0" * 64, "sha256": "0" * 64})
    checkpoint.write(tmp_path / "m.safetensors", model)
    assert checkpoint.read(tmp_path / "m.safetensors").info == model.info


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["head.bias", "train.moments"])
def test_ck22_numbers_that_are_not_finite_are_not_saved(value: float, name: str, tmp_path: Path) -> None:
    """CK-22: exit 5, and the old file stays."""
    path = tmp_path / "m.safetensors"
    checkpoint.write(path, sample())
    before = path.read_bytes()
    model = sample()
    tensors = model.weights if name == "head.bias" else model.training
    tensors[name.removeprefix("train.")].flat[3] = value
    with pytest.raises(NonFiniteError, match=f"weight {name} is not finite; not saved") as caught:
        checkpoint.write(path, model)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_nu06_weights_that_are_not_finite_load(tmp_path: Path) -> None:
    document, tensors = parts(sample())
    tensors["head.bias"] = np.full(20, np.nan, np.float32)
    model = checkpoint.read(saved(tmp_path / "m.safetensors", sealed(document, tensors)))
    assert np.isnan(model.weights["head.bias"]).all()


def test_ck23_a_reader_sees_whole_files_only(tmp_path: Path) -> None:
    """CK-23: a hundred times."""
    path = tmp_path / "m.safetensors"
    small, large = sample(step=1), sample(Architecture("lstm", 20, (64,), 64), step=2)
    checkpoint.write(path, small)
    done = threading.Event()

    def overwrite() -> None:
        for model in itertools.islice(itertools.cycle([large, small]), 100):
            checkpoint.write(path, model)
        done.set()

    writer = threading.Thread(target=overwrite)
    writer.start()
    seen = []
    while not done.is_set():
        model = checkpoint.read(path)
        assert model.architecture.hidden == ((8,) if model.info["step"] == 1 else (64,))
        seen.append(model.info["step"])
    writer.join()
    assert set(seen) == {1, 2}


def test_ck24_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    """CK-24: in two processes with different hash seeds."""
    assert checkpoint.to_bytes(sample()) == checkpoint.to_bytes(sample())
    written = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        command: list[str | Path] = [sys.executable, FIXTURES / "format_1.py", folder]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        written.append({file.name: file.read_bytes() for file in folder.iterdir()})
    assert written[0] == written[1]
    assert len(written[0]) == 4


AUDITED = """
import sys
from charrnn.checkpoint import format as checkpoint
from charrnn.errors import CheckpointError
checkpoint.read(sys.argv[1])  # whatever is imported late is imported now
seen = []
names = ("open", "import", "exec", "compile", "socket.", "subprocess.", "os.", "ctypes.", "urllib.")
watching = True
def watch(event, arguments):
    if watching and event.startswith(names):
        seen.append((event, str(arguments[0])))
sys.addaudithook(watch)
for path in sys.argv[2:]:
    try:
        checkpoint.read(path, training=True)
    except CheckpointError as error:
        str(error)
watching = False
print(seen)
"""


def test_se04_nothing_inside_is_opened_imported_or_fetched(tmp_path: Path) -> None:
    """SE-04: an audit hook sees the files themselves opened, and nothing else."""
    hostile = ["/etc/passwd", "../../x", "https://example.org/x", "antigravity", "file:///etc/passwd"]
    document, tensors = parts(sample())
    paths: list[Path] = []
    for number, text in enumerate(hostile):
        for change in (
            of_document(info={"corpus": text, "config": [text], text: {"path": text}}),
            of_document(tokenizer=text),
            of_document(program_version=text),
            config(cell=text),
            of_tensors(**{f"train.{text}": np.zeros(2, np.float32)}),
            of_tensors(**{text: np.zeros(2, np.float32)}),
        ):
            changed = json.loads(json.dumps(document)), dict(tensors)
            change(*changed)
            paths.append(saved(tmp_path / f"{number}-{len(paths)}", sealed(*changed)))
    command: list[str | Path] = [
        sys.executable,
        "-c",
        AUDITED,
        FIXTURES / "format-1-lstm.safetensors",
        *paths,
    ]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    events = ast.literal_eval(printed)
    assert {name for name, _ in events} == {"open"}
    assert [Path(path) for _, path in events if not path.isdigit()] == paths

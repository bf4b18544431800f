"""CL-25: every command that the README shows works as it stands, on texts of the kind it names."""

import gzip
import json
import lzma
import re
import shlex
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tests.tiny import Program, char, drawn, saved, shell

README = Path(__file__).resolve().parents[1] / "README.md"

QUICK = {"STEPS": "3", "HIDDEN": "8", "BATCH": "2", "SEQ_LEN": "8", "LR": "0.01", "THREADS": "1"}
"""What makes a training short, given where the README's commands leave it open."""

LINE = "2024-02-13 15:06:57 ERROR 404 in a quiet log, 89\n"

TEXT = (LINE + "\n".join(topics[topic] for topic in sorted(topics)[:9])).encode()[:8000]


def commands() -> list[str]:
    """The README's lines of shell that run the program, without comments; those of the section "Pipelines" are run by
    tests/program/test_pipelines.py, those of "Bigger" by tests/program/test_torchrun.py, `doctor` by
    tests/cli/test_doctor.py."""
    elsewhere = re.compile(r"^### (?:Pipelines|Bigger[^\n]*)$.*?^## ", re.MULTILINE | re.DOTALL)
    text = elsewhere.sub("## ", README.read_text(encoding="utf-8"))
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    known = dict.fromkeys(re.sub(r"\s+#.*", "", line) for line in lines if re.search(r"\bcharrnn [\w-]", line))
    return [line for line in known if line != "charrnn doctor"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all that the commands read, and a model for each name they use."""
    folder = tmp_path / "readme"
    names = ("Anna", "Emma", "Olivia", "Ava", "Mia", "Isabella", "Sophia", "Susanna", "Joanna")
    files = {
        "corpus.txt": TEXT,
        "new.txt": TEXT[4000:],
        "held-out.txt": TEXT[:300],
        "a.txt": TEXT[300:400],
        "b.txt": TEXT[400:600],
        "lines.txt": TEXT[:200],
        "crawl.txt": TEXT[:900],
        "wiki.txt": TEXT[900:2000],
        "mixed.txt": TEXT[:300] + b"def one():\n    return 1\n",
        "test.txt": TEXT[:3000],
        "sentences.txt": TEXT[:200],
        "poem.txt": b"roses are red\nviolets are blue\n",
        "src/one.py": b"def one():\n    return 1\n" * 20,
        "src/two/three.py": b"class Two:\n    pass\n" * 20,
        "app.log": TEXT,
        "notes.txt.xz": lzma.compress(TEXT),
        "old.log.gz": gzip.compress(TEXT),
        "names.txt": "".join(f"{name}\n" for name in names * 9).encode(),
        "shakespeare": TEXT,
        "poems.txt": b"".join(b"roses are red\nviolets are blue\n%d\n\n" % n for n in range(20)),
        "counted.txt": b"".join(b"%d\t%s\n" % (n + 1, name.encode()) for n, name in enumerate(names * 3)),
        "proteins.fasta": b">one\nMKVLAAGIAK\nMKV\n>two\nMADEEKLPPGW\n" * 20,
        "docs.jsonl": b"".join(json.dumps({"id": n, "text": f"document {n}\n"}).encode() + b"\n" for n in range(40)),
        "table.tsv": b"id\tsmiles\n" + b"".join(b"%d\tC%dO\n" % (n, n) for n in range(60)),
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for seed, name in enumerate(("first", "second", "python", "english", "lstm", "gru")):
        run = folder / "checkpoints" / name
        run.mkdir(parents=True)
        saved(run / "model.safetensors", drawn(char(), seed=seed))
    run = folder / "checkpoints" / "molecules"
    run.mkdir()
    saved(run / "model.safetensors", drawn(char("CNOcl()=1.\n"), separator=b"\n"))
    return folder


def test_commands(folder: Path, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """CL-25. In the order of the README, as later commands use the models of earlier ones. What needs no shell runs in
    this process."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    for name, value in QUICK.items():
        monkeypatch.setenv(f"CHARRNN_{name}", value)
    assert len(commands()) > 50
    for command in commands():
        short = re.sub(r"\| (jq .*|less -R)", "", command)  # not everywhere installed
        for many, few in (("tail -f", "cat"), ("-n 10000", "-n 20"), ("--steps 20000", "--steps 5")):
            short = short.replace(many, few)
        with monkeypatch.context() as patch:
            if "--resume" not in short:
                patch.setenv("CHARRNN_OVERWRITE", "1")
            needs_shell = re.search(r"[|&;<>$*]", re.sub(r"'[^']*'", "", short))
            done = shell(f"set -o pipefail\n{short}\n") if needs_shell else run(*shlex.split(short)[1:])
        assert done.code in ((0, 141) if "| head" in short else (0,)), f"{command}: {done.err.decode()}"
        written = re.search(r"> (\S+)$", short)
        assert done.out or short.startswith("p=") or (written and (folder / written[1]).stat().st_size), command
        assert b"Error" not in done.err, command

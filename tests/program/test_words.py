"""Words that are no options, commands, fields or variables: what was meant is named where it is likely."""

from pathlib import Path

from tests.program.conftest import TINY
from tests.program.program import charrnn_each


def complaints(*lines: str) -> list[str]:
    """What the program says of lines that it cannot use; words are separated by spaces."""
    found = charrnn_each(*(line.split(" ") for line in lines))
    assert [(ran.code, ran.out) for ran in found] == [(2, b"")] * len(lines)
    return [ran.err.decode() for ran in found]


def test_no_guess_where_none_is_likely() -> None:
    """CL-15."""
    lines = (
        "sample --html",
        "eval --zoom",
        "eval --counts",
        "train --metric",
        "eval -f perplexity,foo",
    )
    for text in complaints(*lines):
        assert text.count("\n") == 1
        assert "did you mean" not in text


def test_one_way_to_say_what_was_meant() -> None:
    """CL-15."""
    meant = {
        "trian": "'train'",
        "train --hiden 5": "--hidden",
        "train --cell gur": "'gru'",
        "help cels": "'cells'",
        "corpora nmes": "'names'",
        "eval --fields nat": "'nats'",
    }
    for text, word in zip(complaints(*meant), meant.values(), strict=True):
        assert text.endswith(f"; did you mean {word}?\n")


def test_words_that_people_try() -> None:
    """CL-15."""
    use = {
        "sample --temperature 1": "use --temp",
        "sample --between |": "use --separator",
        "eval --max-perplexity 5": "use --keep",
        "train --preset zzz": "is now --time",
        "train --init old": "use --init-from MODEL",
        "train --finetune old": "use --init-from MODEL",
        "train --from old": "use --init-from MODEL",
        "ppl": "use charrnn eval -f perplexity",
        "cache": "use charrnn doctor",
    }
    for text, advice in zip(complaints(*use), use.values(), strict=True):
        assert advice in text


def test_variables_that_nothing_reads(stream_run: Path) -> None:
    """CL-21."""
    variables = {"CHARRNN_SED": "1", "CHARRNN_ISA": "baseline", "CHARRNN_ZZZ": "1", "_CHARRNN_COMPLETES": "1"}
    line = ("sample", "--model", stream_run, "--length", "3", "--seed", "1")
    ran, quiet = charrnn_each(line, (*line, "--quiet"), env=variables)
    assert ran.code == 0
    assert ran.err.decode().splitlines() == [
        "Warning: CHARRNN_SED is not read: there is no such option; did you mean CHARRNN_SEED?",
        "Warning: CHARRNN_ZZZ is not read: there is no such option",
    ]
    assert quiet.err == b""


def test_one_seed_for_all_commands(stream_run: Path) -> None:
    """CL-21: CHARRNN_SEED serves sample as it serves train, and help says so."""
    line = ("sample", "--model", stream_run, "--length", "30")
    seeded, by_flag, page = charrnn_each(line, (*line, "--seed", "5"), ("help", "config"), env={"CHARRNN_SEED": "5"})
    assert (seeded.err, seeded.out) == (b"", by_flag.out)
    assert b"CHARRNN_SEED=1 seeds train and sample" in page.out


def test_a_run_is_called_as_its_text_is(tmp_path: Path) -> None:
    """Letters of any script: all such files were `corpus-lstm`, and the second one was refused."""
    names = ("日本語", "語" * 83)
    for name in names:
        (tmp_path / f"{name}.txt").write_bytes(b"The text of a run.\n" * 30)
    lines = (("train", f"{name}.txt", *TINY[:-1], "2") for name in names)
    for name, ran in zip(names, charrnn_each(*lines, cwd=tmp_path), strict=True):
        assert ran.code == 0, ran.err
        assert ran.out.decode() == f"checkpoints/{name[:66]}-lstm/model.safetensors\n"

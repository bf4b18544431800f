"""Which file a model's name means. A run is a folder; a project's runs are the folders in `checkpoints/`."""

import os
from pathlib import Path

from charrnn.errors import CheckpointError, did_you_mean
from charrnn.files import quote

MODEL_FILES = ("model.safetensors", "last.safetensors")  # of a run, in order of preference


ROOT = Path("checkpoints")


def run_names(root: Path = ROOT) -> list[str]:
    """Return the names of the runs under `root` that have a model, sorted."""
    return sorted({file.parent.name for file_name in MODEL_FILES for file in root.glob(f"*/{file_name}")})


def find_model(name: str | None, *, root: Path = ROOT) -> Path:
    """Return the file that `--model NAME` means.

    Args:
        name: a file, a run's folder or the name of a run under `root`. None: the value of $CHARRNN_MODEL, else
            the run under `root` whose model was saved last.
        root: the folder of runs.

    Raises:
        CheckpointError: there is no such model; the message says what to do.
    """
    if name is None:
        name = os.environ.get("CHARRNN_MODEL") or None
    if name is None:
        for file_name in MODEL_FILES:
            files = [file for file in root.glob(f"*/{file_name}") if os.path.isfile(file)]
            if files:
                return max(files, key=lambda file: (file.stat().st_mtime_ns, file))
        raise CheckpointError("no model found; train one with `charrnn train`, or name one")
    if os.path.exists(name) and not os.path.isdir(name):
        return Path(name)
    # A folder without a model (a corpus, say) does not hide the run of the same name.
    for folder in (Path(name), root / name):
        for file_name in MODEL_FILES:
            if name and os.path.isfile(folder / file_name):
                return folder / file_name
    runs = run_names(root)
    there = f"; there {'are' if len(runs) > 1 else 'is'} {', '.join(map(quote, runs[:3]))}"
    advice = there if runs else "; train one with `charrnn train`"
    raise CheckpointError(
        f"no model {quote(name[:200])}: there is no such file, run's folder or run in"
        f" {quote(root)}{did_you_mean(name, runs) or advice}"
    )


def latest_run() -> Path | None:
    """Return the folder of the run under `checkpoints/` that was saved last; None if there is none."""
    files = list(ROOT.glob("*/last.safetensors"))
    return max(files, key=lambda file: file.stat().st_mtime_ns).parent if files else None

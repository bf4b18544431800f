"""Where trained models lie: a run is a folder, and the runs of a project are side by side."""

import difflib
import os
from pathlib import Path

from charrnn.errors import CheckpointError
from charrnn.files import quote

MODEL_FILES = ("model.safetensors", "last.safetensors")  # of a run, the better one first


ROOT = Path("checkpoints")


def run_names(root: Path = ROOT) -> list[str]:
    """The runs under `root` that have a model, sorted."""
    return sorted({file.parent.name for kind in MODEL_FILES for file in root.glob(f"*/{kind}")})


def find_model(name: str | None, *, root: Path = ROOT) -> Path:
    """The file that `--model NAME` means.

    Args:
        name: a file, a run's folder or the name of a run under `root`. None: what $CHARRNN_MODEL
            names, else the run under `root` whose model was saved last.
        root: where runs are.

    Raises:
        CheckpointError: there is none; the message tells what to do.
    """
    if name is None:
        name = os.environ.get("CHARRNN_MODEL") or None
    if name is None:
        for kind in MODEL_FILES:
            files = [file for file in root.glob(f"*/{kind}") if os.path.isfile(file)]
            if files:
                return max(files, key=lambda file: (file.stat().st_mtime_ns, file))
        raise CheckpointError("no model found; train one with `charrnn train` or name one with --model")
    if os.path.exists(name) and not os.path.isdir(name):
        return Path(name)
    # A folder without a model (a corpus, say) does not hide the run of the same name.
    for folder in (Path(name), root / name):
        for kind in MODEL_FILES:
            if name and os.path.isfile(folder / kind):
                return folder / kind
    runs = run_names(root)
    near = difflib.get_close_matches(name, runs) or runs[:3]
    advice = f"there is {', '.join(map(quote, near))}" if near else "train one with `charrnn train`"
    raise CheckpointError(
        f"no model {quote(name[:200])}: there is no such file, run's folder or run in {quote(root)}; {advice}"
    )


def latest_run() -> Path | None:
    """The run under `checkpoints/` that was saved last."""
    files = list(ROOT.glob("*/last.safetensors"))
    return max(files, key=lambda file: file.stat().st_mtime_ns).parent if files else None

"""A notebook trains, plots and samples; its stop button saves."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.filterwarnings("default"),  # of Jupyter's own
]

SIZES = "hidden=8, batch=4, seq_len=8, lr=0.01, threads=1"


class Notebook:
    """Cells that are run one after another in a kernel."""

    def __init__(self, folder: Path, *cells: str) -> None:
        self.page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        self.page.metadata["kernelspec"] = {"name": "here", "display_name": "here", "language": "python"}
        self.client = nbclient.NotebookClient(
            self.page, timeout=200, kernel_name="here", resources={"metadata": {"path": str(folder)}}, allow_errors=True
        )

    def outputs(self, number: int, kind: str) -> list[Any]:
        """The outputs of a cell of one kind."""
        return [each for each in self.page.cells[number].outputs if each.output_type == kind]


@pytest.fixture(autouse=True)
def _kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of this interpreter, which needs none that is installed; its files, and those of Matplotlib, here."""
    folder = tmp_path / "jupyter" / "kernels" / "here"
    folder.mkdir(parents=True)
    words = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (folder / "kernel.json").write_text(f'{{"argv": {words}, "display_name": "here", "language": "python"}}')
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    for name, place in (("JUPYTER_PATH", "jupyter"), ("JUPYTER_RUNTIME_DIR", "runtime"), ("IPYTHONDIR", "ipython"),
                        ("MPLCONFIGDIR", "matplotlib"), ("JUPYTER_DATA_DIR", "jupyter")):  # fmt: skip
        monkeypatch.setenv(name, str(tmp_path / place))
    (tmp_path / "poem.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 40)


CELLS = (
    "import charrnn, re\nseen = []\n"
    f"model = charrnn.train('poem.txt', out='run', steps=40, {SIZES}, callbacks=[seen.append])",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nfrom charrnn.runs.events import EvalEvent\n"
    "points = [(event.step, event.bits_per_char) for event in seen if isinstance(event, EvalEvent)]\n"
    "plt.plot(*zip(*points));",
    "print(model.sample('The ', length=20, seed=1))\nmodel.score('The dog').tokens",
    f"try:\n    charrnn.train('poem.txt', out='long', steps=100_000_000, eval_every=50, {SIZES})\n"
    "except charrnn.Interrupted as error:\n    step = int(re.search(r'after step (\\d+)', str(error))[1])\n    raise",
    "print(len(charrnn.load('long').sample(length=9)))\n"
    "model = charrnn.train(resume=True, out='long', steps=step + 20)\nprint(model.info['step'] <= step + 20)",
)


def test_a_notebook(tmp_path: Path) -> None:
    """It trains, plots and samples. A cell that the stop button ends has an error, as after any interrupt, and the
    kernel goes on: the run is there, and goes on too."""
    notebook = Notebook(tmp_path, *CELLS)
    log = tmp_path / "long" / "metrics.jsonl"

    async def interrupt() -> None:
        while not (log.exists() and b'"eval"' in log.read_bytes()):
            await asyncio.sleep(0.05)
        await notebook.client.km.interrupt_kernel()

    async def run() -> None:
        stopper = asyncio.create_task(interrupt())
        await notebook.client.async_execute()
        await stopper

    asyncio.run(run())
    assert not any(notebook.outputs(number, "error") for number in (0, 1, 2, 4)), notebook.page.cells
    [shown] = notebook.outputs(0, "display_data")  # one part of the page, drawn again and again
    for text in (shown.data["text/html"], shown.data["text/plain"]):
        assert "40 steps" in text
        assert "run/model.safetensors" in text
    assert "<pre" in shown.data["text/html"]
    assert notebook.outputs(0, "stream") == []
    [picture] = notebook.outputs(1, "display_data")
    assert len(picture.data["image/png"]) > 2000
    [said] = notebook.outputs(2, "stream")
    assert len(said.text) == 21
    assert notebook.outputs(2, "execute_result")[0].data["text/plain"] == "7"
    [error] = notebook.outputs(3, "error")
    assert error.ename == "Interrupted"
    assert "go on with: charrnn.train(resume=True, out='long'), or take the best model so far" in error.evalue
    [shown] = notebook.outputs(3, "display_data")
    assert "training" in shown.data["text/plain"]
    assert "".join(each.text for each in notebook.outputs(4, "stream")) == "9\nTrue\n"

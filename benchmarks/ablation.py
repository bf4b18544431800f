"""What a recurrent network needs to learn over a distance: one thing changed at a time.

    python benchmarks/ablation.py tinyshakespeare.txt --picture benchmarks/ablation.png

Two tasks. *Recall*: lines of four letters, a gap of dots, and the same four letters again; the result is the nats of a
letter that is to be recalled, of which a guess costs ln 8 = 2.079. *Text*: the validation part, its state carried.
The picture shows recall while it is learnt. Each step learns from 2,048 tokens, in rows of T.
"""

import argparse
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charrnn.machine import configure_threading

configure_threading()

from experiment import experiment  # noqa: E402

from charrnn.config.train import TrainConfig  # noqa: E402
from charrnn.corpus.reader import read_corpus  # noqa: E402
from charrnn.corpus.sources import resolve_sources  # noqa: E402
from charrnn.dataset.batches import Batch  # noqa: E402
from charrnn.dataset.dataset import Dataset  # noqa: E402
from charrnn.dataset.prepare import PrepareOptions, prepare  # noqa: E402
from charrnn.engines.base import Array  # noqa: E402
from charrnn.engines.select import ensemble_engine  # noqa: E402
from charrnn.errors import NonFiniteError  # noqa: E402
from charrnn.training.evaluation import evaluate_exact  # noqa: E402
from charrnn.training.learner import Learner, StepResult  # noqa: E402

CELLS = ("rnn", "lstm", "gru")
LETTERS, RECALLED, LINES = "abcdefgh", 4, 4000
TOKENS = 2048  # of a step
HIDDEN = 96


@dataclass(frozen=True)
class Variant:
    """What is changed.

    Attributes:
        length: T, tokens that gradients flow back through at most.
        clip: the largest norm of a gradient; 0: any.
        optimizer: as `charrnn train` has it. rate: of learning; None: as there.
        recurrent: how the recurrent matrices begin: "orthogonal", "xavier" (uniform, Glorot & Bengio 2010) or "zero".
        forget_bias: the initial bias of LSTM's forget gate.
    """

    length: int = 128
    clip: float = 1.0
    optimizer: str = "adamw"
    rate: float | None = None
    recurrent: str = "orthogonal"
    forget_bias: float = 1.0


VARIANTS = {
    "T = 128, clip 1, orthogonal, forget bias 1": Variant(),
    "T = 32": Variant(length=32),
    "T = 8": Variant(length=8),
    "no clipping": Variant(clip=0),
    "recurrent matrices Xavier": Variant(recurrent="xavier"),
    "recurrent matrices zero": Variant(recurrent="zero"),
    "forget bias 0": Variant(forget_bias=0.0),
    "SGD with momentum, rate 0.5": Variant(optimizer="sgd"),
    "the same, no clipping": Variant(optimizer="sgd", clip=0),
}


def recall_text(gap: int) -> str:
    """Lines to be remembered."""
    draw = np.random.default_rng(1)
    words = ["".join(draw.choice(list(LETTERS), RECALLED)) for _ in range(LINES)]
    return "".join(f"{word}{'.' * gap}{word}\n" for word in words)


class VariantLearner(Learner):
    """A learner whose first weights are the variant's, and which is asked to recall from time to time.

    Attributes, set by `experiment`:
        variant: what is changed. ids: of the lines to be recalled; None: the text is another. gap: dots in each line.
    """

    variant: Variant
    ids: Array | None
    gap: int
    curve: list[tuple[int, float]]

    def init_output_bias(self, ids: Array) -> None:
        super().init_output_bias(ids)
        weights = self.weights()
        for name, weight in weights.items():
            if name.endswith("weight_hh") and self.variant.recurrent != "orthogonal":
                limit = math.sqrt(3 / HIDDEN) if self.variant.recurrent == "xavier" else 0.0
                weight[:] = np.random.default_rng(1).uniform(-limit, limit, weight.shape)
            if name.endswith("bias_ih") and self.architecture.cell == "lstm":
                weight[HIDDEN : 2 * HIDDEN] = self.variant.forget_bias
        self.model.load_weights(weights)

    def step(self, batch: Batch, step: int, lr: float) -> StepResult:
        assert self.config.steps is not None
        if step % max(1, self.config.steps // 40) == 0:
            self.recall(step)
        return super().step(batch, step, lr)

    def recall(self, step: int) -> None:
        """Note the nats of a letter that is to be recalled, over a hundred lines less the first, which has nothing
        before it."""
        if self.ids is None:
            return
        length = 2 * RECALLED + self.gap + 1
        engine = ensemble_engine([(self.architecture, self.weights())])
        line = np.concatenate([[engine.vocabulary], self.ids[: 100 * length]])
        nats, _ = engine.score(line[None], engine.zero_state(1))
        letters: Array = nats[0, 1:].reshape(100, length)[1:, RECALLED + self.gap : -1]
        self.curve.append((step, float(letters.mean())))


def run(
    dataset: Dataset, cell: str, variant: Variant, steps: int, gap: int | None
) -> tuple[float, list[tuple[int, float]]]:
    """Train.

    Args:
        gap: of the text of lines; None: the dataset is another text.

    Returns:
        The figure at the end, NaN where numbers were no longer finite; and of recall what it was on the way, by step.
    """
    config = TrainConfig(
        cell=cell, hidden=(HIDDEN,), embedding=16, steps=steps, dropout=0.0, clip=variant.clip,
        batch=TOKENS // variant.length, seq_len=variant.length, optimizer=variant.optimizer, lr=variant.rate,
    )  # fmt: skip
    curve: list[tuple[int, float]] = []
    ids = None if gap is None else dataset.val.ids
    try:
        _, learner = experiment(config, dataset, VariantLearner, variant=variant, ids=ids, gap=gap or 0, curve=curve)
    except NonFiniteError:
        return math.nan, curve
    if gap is not None:
        learner.recall(steps)
        return curve[-1][1], curve
    engine = ensemble_engine([(learner.architecture, learner.weights())])
    return float(evaluate_exact(engine, dataset, 50_000, "strict", lambda tokens: None)["carried"]), curve


def draw(curves: dict[tuple[str, str], list[tuple[int, float]]], path: Path) -> None:
    """A panel for each cell."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(CELLS), figsize=(13, 4.2), sharey=True)
    for panel, cell in zip(panels, CELLS, strict=True):
        for number, name in enumerate(VARIANTS):
            if curve := curves.get((cell, name)):
                panel.plot(*zip(*curve, strict=True), label=name, color=f"C{number}", linewidth=1.2)
        panel.axhline(math.log(len(LETTERS)), color="grey", linestyle=":", linewidth=1)
        panel.set_title(cell)
        panel.set_xlabel("step")
    panels[0].set_ylabel("nats of a recalled letter")
    panels[0].set_ylim(-0.1, 3)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="lower center", ncols=3, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.14, 1, 1))
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print a Markdown table, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--gap", type=int, default=6)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "lines.txt")
        lines.write_text(recall_text(options.gap))
        recalled = prepare(read_corpus(resolve_sources([str(lines)])), None, PrepareOptions())
        text = prepare(read_corpus(resolve_sources([options.text])), None, PrepareOptions())
        print("| |", " | ".join(f"{cell}: recall | text" for cell in CELLS), "|\n|" + "---|" * (2 * len(CELLS) + 1))
        curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for name, variant in VARIANTS.items():
            row = []
            for cell in CELLS:
                if variant.forget_bias != 1 and cell != "lstm":
                    row += ["", ""]
                    continue
                figure, curves[cell, name] = run(recalled, cell, variant, options.steps, options.gap)
                metrics = (figure, run(text, cell, variant, options.steps, None)[0])
                row += ["diverges" if math.isnan(each) else f"{each:.3f}" for each in metrics]
            print("|", name, "|", " | ".join(row), "|", flush=True)
        if options.picture:
            draw(curves, options.picture)


if __name__ == "__main__":
    main()

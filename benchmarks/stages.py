"""What `charrnn sample` does up to its first character, and when: `startup.py` runs it. It imports nothing before."""

import sys
import time


def stages(model: str, begun: float) -> dict[str, float]:
    """What `charrnn sample` does to its first character, and the milliseconds that each part takes.

    Args:
        model: the file.
        begun: when the process was started, by `time.perf_counter`.
    """
    times = {"the interpreter": time.perf_counter()}
    from typer.exceptions import TyperException  # noqa: F401  (as the command does)

    times["import typer"] = time.perf_counter()
    import charrnn.cli.app

    times["import the command line"] = time.perf_counter()
    import numpy as np

    times["import numpy"] = time.perf_counter()
    import charrnn.cli.sample  # noqa: F401

    times["import the rest"] = time.perf_counter()
    from charrnn.checkpoint import format as checkpoint

    read = checkpoint.read(model)
    times["read and verify the model"] = time.perf_counter()
    from charrnn.engines.select import inference_engine, resolve

    engine = inference_engine(resolve(), read.architecture, read.weights)
    times["lay out the weights"] = time.perf_counter()
    from charrnn.config.sample import SampleConfig
    from charrnn.generation.generate import generate

    next(generate(engine, read.tokenizer, [np.zeros(0, np.int64)], SampleConfig(), seed=1))
    times["the first character"] = time.perf_counter()
    ends = [begun, *times.values()]
    return {name: 1e3 * (after - before) for name, before, after in zip(times, ends, ends[1:], strict=False)}


if __name__ == "__main__":
    found = stages(sys.argv[1], float(sys.argv[2]))
    import json

    print(json.dumps(found))

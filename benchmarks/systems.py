"""How long one configuration of a published system takes: run ``python benchmarks/systems.py``.

A configuration is one decode step of all layers; a run of the simulator is the mean step over all
tokens it generates. AttAcc's own simulator needs 0.4 to 24 s for each length and number of heads.
"""

import platform
import time
from collections.abc import Callable

import numpy as np

from kvlib import model
from kvlib.systems.attacc import Box, dgx, dgx_attacc

REPEATS = 20


def median_time(work: Callable[[], object]) -> float:
    """Return the median processor time of one call [s]."""
    work()  # the first call imports and caches
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def attacc(box: Box) -> tuple[float, float]:
    """Return the times of one decode step and of a run of 128 tokens [s]."""
    gpt = model("gpt-3-175b")
    step = median_time(lambda: box.decode(gpt, batch=54, context=2049))
    run = median_time(lambda: box.generate(gpt, batch=54, prompt=2048, tokens=128))
    return step, run


def main() -> None:
    """Print a line for each system."""
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one thread")
    boxes = {"DGX": dgx(), "DGX+AttAcc": dgx_attacc()}
    boxes["DGX+AttAcc, bank group"] = dgx_attacc("bank-group")
    for name, box in boxes.items():
        step, run = attacc(box)
        print(f"{name:24} decode step {1e3 * step:5.2f} ms, run of 128 tokens {1e3 * run:5.2f} ms")
        assert step < 5e-3, name


if __name__ == "__main__":
    main()

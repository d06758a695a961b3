"""How long a million decode steps take to evaluate: run ``python benchmarks/decode_step.py``.

Each point is a random batch and context of one of five models in the catalogue on a machine of
random peak and bandwidth: all operators of the step are evaluated and added up, and bounded by both
roofs. Nothing is shared between points: they are flat arrays, not a grid whose axes could be
evaluated apart.
"""

import platform
import time

import numpy as np

from kvlib import model
from kvlib.phases import decode_step
from kvlib.roofline import Bounds

MODELS = ("llama-2-7b", "llama-3-8b", "llama-2-70b", "mixtral-8x7b", "deepseek-v3")
POINTS = 1_000_000


def evaluate(name: str, points: int, random: np.random.Generator) -> float:
    """Evaluate decode steps of one model at random points and return the processor time [s]."""
    batch, context = random.integers(1, 512, points), random.integers(1, 100_000, points)
    peak, bandwidth = random.uniform(1e14, 1e15, points), random.uniform(1e12, 8e12, points)
    shape = model(name)
    start = time.process_time()
    step = decode_step(shape, batch=batch, context=context)
    work = step.work
    time_bound = Bounds(compute=work.flop / peak, memory=work.bytes / bandwidth).lower
    spent = time.process_time() - start
    assert time_bound.shape == work.flop.shape == work.kv.shape == work.weights.shape == (points,)
    once = decode_step(shape, batch=int(batch[-1]), context=int(context[-1])).work
    assert once.kv == work.kv[-1]
    assert np.isclose(once.flop, work.flop[-1])
    return spent


def main() -> None:
    """Print the time of each model's share and of all."""
    random = np.random.default_rng(0)
    evaluate(MODELS[0], 1000, random)  # the first call imports and caches
    times = {name: evaluate(name, POINTS // len(MODELS), random) for name in MODELS}
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, one thread")
    for name, spent in times.items():
        print(f"{name:14} {POINTS // len(MODELS):9,} points {spent:6.3f} s")
    print(f"{'all':14} {POINTS:9,} points {sum(times.values()):6.3f} s")


if __name__ == "__main__":
    main()

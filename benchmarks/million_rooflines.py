"""Time a million matrix products in one vectorised call: datasheet bounds, and the measured kernel.

Usage::

    python benchmarks/million_rooflines.py [--points 1000000]

Sizes are drawn anew with a fixed seed: m from 1 to 8192, n and k multiples of 32 up to 32,768.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kvlib import device
from kvlib.operators import gemm
from kvlib.roofline import bounds, gemm_time


def timed(label: str, action: Callable[[], Any], points: int) -> Any:
    """Run an action once and print what it took."""
    start = time.perf_counter()
    result = action()
    seconds = time.perf_counter() - start
    print(f"{label:12} {points:,} points in {seconds:.2f} s, {1e9 * seconds / points:.0f} ns each")
    return result


def main() -> None:
    """Draw the sizes, time both calls and check what they returned."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    points = parser.parse_args().points
    draw = np.random.default_rng(2026)
    m = draw.integers(1, 8193, points)
    n, k = 32 * draw.integers(1, 1025, (2, points))
    h100 = device("h100-sxm-80gb")

    pace = timed("bounds", lambda: bounds(gemm(m, n, k, element_bytes=2), h100, "bf16"), points)
    kernel = timed("gemm_time", lambda: gemm_time(h100, m=m, n=n, k=k, precision="bf16"), points)
    assert kernel.shape == (points,)
    assert (pace.lower <= pace.upper).all()
    assert (pace.lower < kernel).all(), "a kernel beats the roofline"
    print(f"memory-bound: {pace.memory_bound.mean():.0%}; ", end="")
    print(f"kernel over roofline: median {np.median(kernel / pace.lower):.2f}")


if __name__ == "__main__":
    main()

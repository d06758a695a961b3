"""The machine you are sitting at, measured with NumPy: one more device on the roofline."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from kvlib.checks import positive, whole
from kvlib.hardware import Compute, Device, Memory
from kvlib.operators import Work, gemm, gemv

__all__ = ["device", "fastest", "measure_gemm", "measure_gemv", "threads"]

_TYPE, _ELEMENT_BYTES, _PRECISION = np.float32, 4, "fp32"


def threads() -> int:
    """Threads that NumPy's linear algebra uses."""
    from threadpoolctl import threadpool_info

    return max((pool["num_threads"] for pool in threadpool_info()), default=1)


def fastest(action: Callable[[], Any], seconds: float = 0.2) -> float:
    """Shortest time of an action over repeated runs [s].

    Parameters
    ----------
    action : callable
        What to time; it runs once before the clock starts.
    seconds : float
        How long to keep trying [s]; at least three runs are timed.
    """
    action()
    best, runs, started = float("inf"), 0, time.perf_counter()
    while runs < 3 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - before)
        runs += 1
    return best


def measure_gemm(size: int) -> tuple[Work, float]:
    """Multiply two square matrices of fp32 and return the work and the time [s].

    Raises
    ------
    ValueError
        If `size` is not a whole number above zero.
    """
    whole(size=size)
    a, b, c = (_random(size, size) for _ in range(3))
    work = gemm(size, size, size, element_bytes=_ELEMENT_BYTES)
    return work, fastest(lambda: np.matmul(a, b, out=c))


def measure_gemv(size: int) -> tuple[Work, float]:
    """Multiply a square matrix of fp32 with a vector and return the work and the time [s].

    Raises
    ------
    ValueError
        If `size` is not a whole number above zero.
    """
    whole(size=size)
    a, x, y = _random(size, size), _random(size), _random(size)
    work = gemv(size, size, element_bytes=_ELEMENT_BYTES)
    return work, fastest(lambda: np.matmul(a, x, out=y))


def device(size: int = 2048, stream_bytes: float = 256e6) -> Device:
    """Measure this machine's two ceilings and return it as a device.

    Parameters
    ----------
    size : int
        Side of the square matrices whose product gives the compute ceiling.
    stream_bytes : float
        Bytes of the arrays whose copy and inner product give the memory ceiling [B]; far more than
        any cache holds.

    Raises
    ------
    ValueError
        If `size` is not a whole number above zero, or `stream_bytes` is not above zero.

    Notes
    -----
    The memory ceiling is the better of a copy (a read and a write of each byte) and an inner
    product (two reads), as in the STREAM benchmark :cite:`mccalpin1995stream`.
    """
    positive(stream_bytes=stream_bytes)
    work, seconds = measure_gemm(size)
    elements = max(1, int(stream_bytes / 2 / _ELEMENT_BYTES))
    a, b = _random(elements), _random(elements)
    moved = 2 * elements * _ELEMENT_BYTES
    stream = min(fastest(lambda: np.copyto(b, a)), fastest(lambda: np.dot(a, b)))
    return Device(
        name="this-machine",
        title=f"this machine, {threads()} threads",
        kind="cpu",
        memories=(Memory(name="dram", bandwidth=moved / stream),),
        computes=(Compute(name="cores", peak={_PRECISION: work.flop / seconds}),),
    )


def _random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape, dtype=_TYPE)

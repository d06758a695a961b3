"""Time of one dense matrix product on a GPU, from a few measured constants.

The ideal roofline says that C[m, n] = A[m, k] B[k, n] takes the larger of two times: moving the
operands once at the datasheet's bandwidth, and multiplying them at the datasheet's rate. A kernel
takes longer for six reasons, each with a constant of `GemmKernel`:

1. it must start, and its last blocks must drain (`kernel_floor`);
2. main memory sustains only part of its datasheet bandwidth (`bandwidth_fraction`);
3. the matrix units sustain only part of their datasheet rate (`matrix_fraction`) and wait for
   issue and barriers at each step along k (`issue_clocks`), which small tiles feel most;
4. C is cut into whole tiles and tiles are dealt to whole processors: tile and wave quantisation,
   softened by sharing a tile's k among several processors, at a price (`split_latency`);
5. a finished tile is stored before the next one starts (`store_rate`);
6. memory and matrix units overlap imperfectly (`overlap_exponent`).

A library tries several tile shapes and keeps the fastest; so does the model.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import fraction, positive, whole
from kvlib.hardware import Device
from kvlib.precision import itemsize

__all__ = ["GemmKernel", "gemm_kernel_time"]

_TILES = (
    (64, 64), (64, 128), (128, 64), (128, 128), (64, 256), (256, 64), (128, 256), (256, 128),
)  # fmt: skip
"""Tile shapes (rows, columns of C) that GEMM libraries offer on every recent GPU.

Assumed: 192-wide tiles made the error on A100 worse (5.9 to 6.7 %) and left H100's unchanged.
"""

_SPLITS = (2, 4, 8, 16, 32)
"""Processors that share one tile's k. Assumed; factors of 3 and 6 change errors by 0.1 points."""

_SHORTEST_SPLIT = 256
"""Shortest stretch of k given to one processor.

Assumed; 128 and 512 change errors by 0.2 points.
"""

_PARTIAL_BYTES = 4
"""Bytes of one partial sum, stored in single precision."""


@dataclass(frozen=True, kw_only=True)
class GemmKernel:
    """Measured constants of one GPU architecture's GEMM kernels.

    Rates are per clock cycle of one processor, so that they carry over to another clock or
    processor count.

    Parameters
    ----------
    kernel_floor : float
        Time of the smallest kernel: launch, first load, last store [s].
    bandwidth_fraction : float
        Sustained part of main memory's datasheet bandwidth, in (0, 1].
    matrix_fraction : float
        Sustained part of the datasheet's matrix rate in the inner loop, in (0, 1]; below 1 where
        power limits the clock.
    issue_clocks : float
        Clock cycles per element of k, in every tile, in which the matrix units wait for
        instruction issue and barriers [cycle].
    store_rate : float
        Bytes of a finished tile that one processor stores per clock cycle [B/cycle].
    split_latency : float
        Extra time of a split-k kernel: processors synchronise and add their partial sums [s].
    overlap_exponent : float
        Exponent p of the norm that joins memory time and processor time: 1 adds them (no overlap),
        infinity takes the larger one (perfect overlap).

    Raises
    ------
    ValueError
        If a constant is outside its range.
    """

    kernel_floor: float
    bandwidth_fraction: float
    matrix_fraction: float
    issue_clocks: float
    store_rate: float
    split_latency: float
    overlap_exponent: float

    def __post_init__(self) -> None:
        fraction(bandwidth_fraction=self.bandwidth_fraction, matrix_fraction=self.matrix_fraction)
        positive(store_rate=self.store_rate)
        positive(True, kernel_floor=self.kernel_floor, issue_clocks=self.issue_clocks)
        positive(True, split_latency=self.split_latency)
        if not self.overlap_exponent >= 1:
            raise ValueError(
                f"overlap_exponent = {self.overlap_exponent} must be 1 (no overlap) or more."
            )


def gemm_kernel_time(
    device: Device,
    kernel: GemmKernel,
    *,
    m: Any,
    n: Any,
    k: Any,
    precision: str,
    copies: Any = 1.0,
) -> Any:
    r"""Time of the fastest kernel for C[m, n] = A[m, k] B[k, n], operands in main memory [s].

    .. math::

        t = t_0 + \min_{M \times N,\; s} \left[ \left( T_\text{memory}^p
            + T_\text{processors}^p \right)^{1/p} + t_\text{split}\,[s > 1] \right]

        T_\text{memory} = \frac{e\,(mk + kn + mn)}{\eta B}

        T_\text{processors} = \left\lceil \frac{s}{U} \left\lceil \frac{m}{M} \right\rceil
            \left\lceil \frac{n}{N} \right\rceil \right\rceil
            \left[ \frac{k}{s} \left( \frac{2 M N U}{\mu P} + \frac{c}{f} \right)
            + \frac{e_C \min(m, M) \min(n, N)}{b f} \right]

    for tiles of M x N, each shared along k by s of the U processors: datasheet peak P and bandwidth
    B, clock f, element e, and :math:`e_C = e`, or 4 bytes for the partial sums of s > 1. The
    constants are the floor :math:`t_0`, the fractions :math:`\eta` (bandwidth) and :math:`\mu`
    (matrix), issue cycles c, store rate b, :math:`t_\text{split}` and p.

    With `copies`, as many products of that shape run in one launch: heads or experts that have a
    matrix each. Their tiles share the waves; no such kernel was measured.

    Never below the ideal roofline: every constant only slows a kernel down. Fitted on n and k that
    are multiples of 32; misaligned rows run on slower kernels.
    """
    whole(m=m, n=n, k=k)
    m, n, k = m * 1.0, n * 1.0, k * 1.0  # products of three integers would overflow
    element_bytes, peak = itemsize(precision), float(device.peak(precision))
    units, clock = float(device.compute().units), float(device.compute().clock)
    bandwidth = kernel.bandwidth_fraction * device.memory().bandwidth
    multiply_add = 2 * units / (kernel.matrix_fraction * peak)  # seconds, on one processor
    longest_split = np.maximum(np.floor(k / _SHORTEST_SPLIT), 1)
    alone: Any = np.inf  # best time on the processors with k whole
    shared: Any = np.inf  # and with k shared
    for rows, columns in _TILES:
        waves = copies * np.ceil(m / rows) * np.ceil(n / columns) / units  # before rounding up
        loop = k * (rows * columns * multiply_add + kernel.issue_clocks / clock)
        stored = np.minimum(m, rows) * np.minimum(n, columns) / (kernel.store_rate * clock)
        alone = np.minimum(alone, np.ceil(waves) * (loop + element_bytes * stored))
        for split in _SPLITS:
            s = np.minimum(split, longest_split)
            shared = np.minimum(shared, np.ceil(waves * s) * (loop / s + _PARTIAL_BYTES * stored))
    memory = copies * (m * k + k * n + m * n) * (element_bytes / bandwidth)
    return kernel.kernel_floor + np.minimum(
        _overlapped(memory, alone, kernel.overlap_exponent),
        _overlapped(memory, shared, kernel.overlap_exponent) + kernel.split_latency,
    )


def _overlapped(first: Any, second: Any, exponent: float) -> Any:
    """Join two times by the p-norm, without overflow [s]."""
    longer = np.maximum(first, second)
    return longer * (1 + (np.minimum(first, second) / longer) ** exponent) ** (1 / exponent)

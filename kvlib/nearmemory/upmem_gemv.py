"""Matrix times vector on UPMEM: executed in the cores' arithmetic, and its time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import whole
from kvlib.nearmemory.upmem import LARGEST_TRANSFER, System
from kvlib.precision import itemsize

__all__ = ["Executed", "GemvTime", "fits", "gemv", "gemv_time", "mac_instructions"]

_ACCUMULATORS = {
    "int8": "int32", "int32": "int32", "int64": "int64", "float32": "float32", "float64": "float64",
}  # fmt: skip


def mac_instructions(
    precision: str, system: System, *, loads: float = 2.0, loop: float = 3.0
) -> float:
    """Instructions of one multiply-add in an inner loop.

    Parameters
    ----------
    precision : str
        Number format of matrix and vector.
    system : System
        What the arithmetic takes.
    loads, loop : float
        Instructions that load the two factors, and that advance, compare and branch; a plain loop
        has two and three, an unrolled one fewer.

    Raises
    ------
    ValueError
        If no rate was ever measured for the precision.

    Examples
    --------
    >>> from kvlib import device
    >>> system = System.of(device("upmem-2556"), device("upmem-dpu"))
    >>> [round(mac_instructions(name, system)) for name in ("int8", "int32", "fp32")]
    [7, 35, 250]

    Loads and loop are five of the seven: leaving them out gains 3.5 at most. A hand-tuned kernel is
    reported to run 3.5 times as fast as the plain one :cite:`upmemunleashed2025`.

    >>> mac_instructions("int8", system) / mac_instructions("int8", system, loads=0, loop=0)
    3.5
    """
    if precision not in system.arithmetic:
        raise ValueError(
            f"{precision!r}: the core has neither hardware nor a measured software routine for it. "
            f"It computes in {', '.join(system.arithmetic)}."
        )
    multiply, add = system.arithmetic[precision]
    return float(loads + loop + multiply + add)


@dataclass(frozen=True)
class GemvTime:
    """Where the time of a matrix-vector product goes [s], and its energy.

    Parameters
    ----------
    pipeline, dma : float or array
        Time the busiest core issues instructions, and its bank delivers bytes; they overlap.
    host_in, host_out : float or array
        Time to broadcast the vector, and to gather the results.
    """

    pipeline: Any
    dma: Any
    host_in: Any
    host_out: Any

    @property
    def cores(self) -> Any:
        """Time of the cores: the larger of pipeline and transfers [s]."""
        return np.maximum(self.pipeline, self.dma)

    @property
    def total(self) -> Any:
        """Time from the vector in the host to the result in the host [s]."""
        return self.host_in + self.cores + self.host_out


def _shares(n: Any, k: Any, system: System, splits: Any) -> tuple[Any, Any]:
    """Rows and columns of the matrix that the busiest core holds."""
    whole(n=n, k=k, splits=splits)
    if np.any(np.asarray(splits) > system.dpus):
        raise ValueError(f"splits = {splits}, but there are {system.dpus:g} cores.")
    return np.ceil(n / (system.dpus // splits)), np.ceil(k / splits)


def fits(n: Any, k: Any, precision: str, system: System, *, splits: Any = 1) -> Any:
    """Whether each core's part of the matrix, the vector and the result fits in its bank."""
    rows, columns = _shares(n, k, system, splits)
    size = itemsize(precision)
    return rows * columns * size + columns * size + rows * max(size, 4.0) <= system.bank


def gemv_time(
    n: Any,
    k: Any,
    precision: str,
    system: System,
    *,
    tasklets: Any = 16,
    splits: Any = 1,
    loads: float = 2.0,
    loop: float = 3.0,
) -> GemvTime:
    r"""Time of a matrix-vector product whose matrix lies in the banks.

    .. math::
        t_\text{pipeline} &= \frac{k' c}{f} \max\left(m,\; 11 \lceil m / T \rceil\right) \\
        t_\text{DMA} &= \left\lceil \frac{b}{2048} \right\rceil \frac{\alpha + 2048\, \beta}{f}

    with m rows of k' columns and b bytes in the busiest core, and c instructions a multiply-add. T
    tasklets take whole rows, so fewer than eleven rows leave issue slots empty.

    Parameters
    ----------
    n, k : int or array
        Rows and columns of the matrix.
    precision : str
        Number format of matrix and vector.
    system : System
        The cores.
    tasklets : int or array
        Tasklets on each core.
    splits : int or array
        Groups of cores among which the columns are divided; their partial sums meet in the host.
    loads, loop : float
        As in `mac_instructions`.

    Raises
    ------
    ValueError
        If the matrix does not fit in the banks, the precision has no routine, or a core cannot run
        so many tasklets.

    Notes
    -----
    All ranks transfer at once, as the aggregate bandwidths of :cite:t:`gomezluna2022prim` suppose.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import ms
    >>> system = System.of(device("upmem-2556"), device("upmem-dpu"))
    >>> product = gemv_time(8192, 8192, "int8", system)
    >>> print(f"{product.pipeline / ms:.2f} ms to issue, {product.dma / ms:.2f} ms to read")
    1.80 ms to issue, 0.06 ms to read

    Each core has four rows, for four tasklets of sixteen. Four groups that share the columns give
    each core more rows, and the host four partial sums to add:

    >>> grouped = gemv_time(8192, 8192, "int8", system, splits=4)
    >>> more = grouped.host_out / product.host_out
    >>> print(f"{grouped.pipeline / ms:.2f} ms to issue, {more:.2f} times as long to gather")
    0.53 ms to issue, 3.25 times as long to gather
    """  # fmt: skip
    rows, columns = _shares(n, k, system, splits)
    each = mac_instructions(precision, system, loads=loads, loop=loop)
    if not np.all(fits(n, k, precision, system, splits=splits)):
        raise ValueError(
            f"a matrix of {n} x {k} in {precision} does not fit in {system.dpus:g} banks of "
            f"{system.bank / 2**20:g} MiB: `fits` tells which sizes do. Use more cores, a narrower "
            f"format or a smaller matrix."
        )
    size = itemsize(precision)
    turns = np.maximum(rows, system.reentry * np.ceil(rows / system.checked_tasklets(tasklets)))
    held = (rows * columns + columns) * size
    result = rows * max(size, 4.0) * system.dpus_per_rank
    return GemvTime(
        pipeline=columns * each * turns / system.clock,
        dma=np.ceil(held / LARGEST_TRANSFER) * system.dma_time(LARGEST_TRANSFER),
        host_in=columns * size * system.dpus_per_rank / system.host_broadcast,
        host_out=result / system.host_read,
    )


@dataclass
class Executed:
    """What executing a product took: the busiest core's work, and bytes over the host link.

    Parameters
    ----------
    multiply_adds, transfers : int
        Of the busiest core.
    host_in, host_out : int
        Bytes that arrived at all cores, and that left them [B].
    """

    multiply_adds: int = 0
    transfers: int = 0
    host_in: int = 0
    host_out: int = 0


def gemv(
    matrix: ArrayLike, vector: ArrayLike, *, dpus: int, splits: int = 1
) -> tuple[NDArray[Any], Executed]:
    """Multiply a matrix by a vector as the cores do: each its part, the host adds partial sums.

    Integers of 8 bits accumulate in 32, wider ones in their own width, modulo 2 to that width.
    Floats are multiplied and added one after the other in their own precision.

    Parameters
    ----------
    matrix : array_like, shape (n, k)
        Of int8, int32, int64, float32 or float64.
    vector : array_like, shape (k,)
        Of the same type.
    dpus, splits : int
        Cores, and groups among which the columns are divided.

    Raises
    ------
    TypeError
        If the types differ, or the core cannot compute with them.
    ValueError
        If the shapes do not match.

    Examples
    --------
    >>> gemv(np.int8([[100, 100], [1, -1]]), np.int8([100, 100]), dpus=2)[0]
    array([20000,     0], dtype=int32)
    """
    W, x = np.asarray(matrix), np.asarray(vector)
    if W.dtype != x.dtype or W.dtype.name not in _ACCUMULATORS:
        raise TypeError(
            f"a matrix of {W.dtype} and a vector of {x.dtype}: give both the same type, one of "
            f"{', '.join(_ACCUMULATORS)}."
        )
    if W.ndim != 2 or x.shape != W.shape[1:]:
        raise ValueError(f"a matrix of shape {W.shape} cannot multiply a vector of {x.shape}.")
    whole(dpus=dpus, splits=splits)
    if splits > dpus:
        raise ValueError(f"splits = {splits}, but there are {dpus} cores.")
    wide = np.dtype(_ACCUMULATORS[W.dtype.name])
    height, width = -(-len(W) // (dpus // splits)), -(-len(x) // splits)
    done, result = Executed(), np.zeros(len(W), wide)
    for left in range(0, len(x), width):
        columns = slice(left, left + width)
        for top in range(0, len(W), height):
            part = W[top : top + height, columns]
            result[top : top + height] += _core(part, x[columns], wide)
            done.multiply_adds = max(done.multiply_adds, part.size)
            held = part.nbytes + x[columns].nbytes
            done.transfers = max(done.transfers, -(-held // LARGEST_TRANSFER))
            done.host_in += x[columns].nbytes
            done.host_out += len(part) * wide.itemsize
    return result, done


def _core(part: NDArray[Any], x: NDArray[Any], wide: np.dtype[Any]) -> NDArray[Any]:
    """One core's rows, a multiply-add after the other."""
    sums = np.zeros(len(part), wide)
    for column, factor in zip(part.T, x.astype(wide), strict=True):
        sums += column.astype(wide) * factor
    return sums

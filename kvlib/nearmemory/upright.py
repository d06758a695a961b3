"""Numbers that stand upright in a subarray: bit i of all of them in one row, a bitline a lane.

A processor lays numbers down, one after the other in a row. Standing them up, and laying results
down again, takes them once over the memory channel each.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import positive, whole
from kvlib.nearmemory.subarray import Subarray

__all__ = ["read_upright", "transposition_time", "write_upright"]


def write_upright(array: Subarray, rows: range, values: ArrayLike, lanes: int) -> None:
    """Store integers upright, bit i in the i-th of `rows`, in the first lanes of a subarray.

    Raises
    ------
    TypeError
        If the values are not integers.
    ValueError
        If there is not one value to each lane, or one does not fit in the rows.

    Examples
    --------
    >>> write_upright(Subarray(rows=4, columns=8), range(4), [16], lanes=1)
    Traceback (most recent call last):
    ...
    ValueError: value 16 does not fit in 4 bits: -8 to 15 does.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "iub":
        raise TypeError(
            f"values of type {given.dtype}: in-array arithmetic works on integers, and no command "
            f"sequence for floating point is published. Quantise them, or use fixed point."
        )
    if given.shape != (lanes,):
        raise ValueError(f"{given.shape} values for {lanes} lanes: give one value to each lane.")
    width = len(rows)
    low, high = -(2 ** (width - 1)), 2**width - 1
    if outside := [int(value) for value in given if not low <= int(value) <= high]:
        raise ValueError(f"value {outside[0]} does not fit in {width} bits: {low} to {high} does.")
    words = given.astype(np.uint64 if given.dtype.kind == "u" else np.int64).view(np.uint64)
    for position, row in enumerate(rows):
        bits = (words >> np.uint64(position)) & np.uint64(1)
        array.write(row, np.pad(bits, (0, array.columns - lanes)))


def read_upright(
    array: Subarray, rows: range, lanes: int, *, signed: bool = False
) -> NDArray[np.uint64] | NDArray[np.int64]:
    """Read integers that stand upright, unsigned or in two's complement.

    Examples
    --------
    >>> array = Subarray(rows=4, columns=8)
    >>> write_upright(array, range(4), [-3, 7], lanes=2)
    >>> read_upright(array, range(4), 2), read_upright(array, range(4), 2, signed=True)
    (array([13,  7], dtype=uint64), array([-3,  7]))
    """
    words = np.zeros(lanes, np.uint64)
    for position, row in enumerate(rows):
        words |= array.read(row)[:lanes].astype(np.uint64) << np.uint64(position)
    if not signed:
        return words
    spare = np.int64(64 - len(rows))
    return words.view(np.int64) << spare >> spare


def transposition_time(elements: Any, bits: Any, bandwidth: Any) -> Any:
    """Time to stand numbers upright, or to lay them down [s].

    Parameters
    ----------
    elements, bits : int or array
        How many numbers, and their width.
    bandwidth : float or array
        Of the channel to the transposition unit, which sits in the memory controller [B/s].

    Notes
    -----
    :cite:t:`hajinazar2021simdram` report 7.1 % of the run time of their kernels for one bank and
    44.6 % for sixteen.

    Examples
    --------
    The three vectors of an 8-bit addition in 16 banks, which takes 3.1 us to compute:

    >>> from kvlib.units import GB, s, us
    >>> print(f"{3 * transposition_time(2**20, 8, 19.2 * GB / s) / us:.0f} us")
    164 us
    """
    whole(elements=elements, bits=bits)
    positive(bandwidth=bandwidth)
    return elements * bits / 8 / bandwidth

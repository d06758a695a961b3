"""Ambit: bulk bitwise logic by activating three rows of a DRAM subarray at once.

With a third row of zeros the majority of three cells is AND, with a row of ones it is OR; a
dual-contact cell gives NOT. Every other function follows. The operands must share a set of sense
amplifiers: those that live elsewhere are copied first, or refused.

>>> from kvlib import device
>>> from kvlib.nearmemory.array_time import ArrayTiming
>>> from kvlib.units import GB, KiB, s
>>> module = ArrayTiming.of(device("ambit-ddr3-1600"))
>>> print(f"{64 * KiB / time('and', 64 * KiB, module).commands / (GB / s):.0f} GB/s of result")
334 GB/s of result

The paper counts the commands of eight banks alone. If a rank may open four rows in 30 ns, as DDR3
may, the same module cannot issue them that fast:

>>> print(f"{64 * KiB / time('and', 64 * KiB, module).total / (GB / s):.0f} GB/s")
137 GB/s
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import choose, positive
from kvlib.nearmemory.array_time import ArrayTime, ArrayTiming, array_time
from kvlib.nearmemory.subarray import Commands, Subarray, parse

__all__ = [
    "PROGRAMS",
    "Copy",
    "Place",
    "bitwise",
    "commands",
    "copy",
    "copy_time",
    "evaluate",
    "time",
]

PROGRAMS: Mapping[str, str] = MappingProxyType({
    "not": "AAP a B5, AAP B4 out",
    "and": "AAP a B0, AAP b B1, AAP C0 B2, AAP B12 out",
    "or": "AAP a B0, AAP b B1, AAP C1 B2, AAP B12 out",
    "nand": "AAP a B0, AAP b B1, AAP C0 B2, AAP B12 B5, AAP B4 out",
    "nor": "AAP a B0, AAP b B1, AAP C1 B2, AAP B12 B5, AAP B4 out",
    "xor": "AAP a B8, AAP b B9, AAP C0 B10, AP B14, AP B15, AAP C1 B2, AAP B12 out",
    "xnor": "AAP a B8, AAP b B9, AAP C1 B10, AP B14, AP B15, AAP C0 B2, AAP B12 out",
})  # fmt: skip
"""Commands of each operation on rows `a` and `b` :cite:`seshadri2017ambit`.

XOR is :math:`(\\bar a \\wedge b) \\vee (a \\wedge \\bar b)`: two of the five copies also store a
complement on the way, and two AP compute the conjunctions in place.
"""


@dataclass(frozen=True)
class Place:
    """A data row of a subarray."""

    subarray: Subarray
    row: int


def bitwise(operation: str, a: Place, b: Place | None, out: Place) -> Commands:
    """Compute one row from one or two, command by command, in the subarray that holds them.

    Parameters
    ----------
    operation : str
        A key of `PROGRAMS`.
    a, b, out : Place
        Operand rows and the row of the result; `b` is None for NOT.

    Returns
    -------
    Commands
        What was issued.

    Raises
    ------
    UnknownName
        If Ambit has no such operation.
    ValueError
        If the rows lie in different subarrays, or an operand is missing or too many.

    Examples
    --------
    >>> left, right = Subarray(rows=4, columns=8), Subarray(rows=4, columns=8, bank=1)
    >>> bitwise("and", Place(left, 0), Place(right, 0), Place(left, 1))
    Traceback (most recent call last):
    ...
    ValueError: 'and': operand b lies in another subarray (bank 1) than operand a (bank 0).
    Three-row activation needs one set of sense amplifiers: copy the row there first.
    """
    program = PROGRAMS[choose(operation, PROGRAMS, "Ambit operation")]
    wanted = 1 if operation == "not" else 2
    if (b is None) != (wanted == 1):
        raise ValueError(f"{operation!r} takes {wanted} operand rows, but {2 - (b is None)} came.")
    places = {"a": a, "out": out} if b is None else {"a": a, "b": b, "out": out}
    for name, place in places.items():
        if place.subarray is not a.subarray:
            what = "the result" if name == "out" else f"operand {name}"
            raise ValueError(
                f"{operation!r}: {what} lies in another subarray (bank {place.subarray.bank}) than "
                f"operand a (bank {a.subarray.bank}). Three-row activation needs one set of sense "
                f"amplifiers: copy the row there first."
            )
    return a.subarray.run(program, **{name: place.row for name, place in places.items()})


def evaluate(operation: str, a: ArrayLike, b: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Compute a bitwise operation on vectors of zeros and ones in a subarray made for them.

    Raises
    ------
    ValueError
        If the vectors differ in length.

    Examples
    --------
    >>> evaluate("xor", [1, 1, 0, 0], [1, 0, 1, 0])
    array([0, 1, 1, 0], dtype=uint8)
    """
    vectors = [np.asarray(operand) for operand in (a, b) if operand is not None]
    length = vectors[0].size
    if any(vector.shape != (length,) for vector in vectors):
        raise ValueError(
            f"operands of shapes {', '.join(str(v.shape) for v in vectors)}: "
            f"give vectors of one length."
        )
    subarray = Subarray(rows=3, columns=-(-length // 8) * 8)
    for row, vector in enumerate(vectors):
        subarray.write(row, np.pad(vector, (0, subarray.columns - length)))
    second = None if b is None else Place(subarray, 1)
    bitwise(operation, Place(subarray, 0), second, Place(subarray, 2))
    return subarray.read(2)[:length]


@dataclass(frozen=True)
class Copy:
    """What a row copy takes: AAP within a subarray, or cache lines over the bus between banks."""

    aap: int = 0
    lines: int = 0


def copy(source: Place, destination: Place, *, line: int = 64) -> Copy:
    """Copy a row inside the memory, by the fast way if there is one.

    Within a subarray one AAP does it. Between banks the row goes cache line by cache line over the
    internal bus. Between two subarrays of one bank it does so twice, by way of another bank.

    Parameters
    ----------
    source, destination : Place
        The two rows.
    line : int
        Bytes in one transfer [B].

    Raises
    ------
    ValueError
        If the rows differ in length.

    Notes
    -----
    Fast-parallel and pipelined-serial mode of :cite:t:`seshadri2013rowclone`.

    Examples
    --------
    >>> near, far = Subarray(rows=2, columns=65536), Subarray(rows=2, columns=65536, bank=1)
    >>> copy(Place(near, 0), Place(near, 1)), copy(Place(near, 0), Place(far, 0))
    (Copy(aap=1, lines=0), Copy(aap=0, lines=128))
    """
    here, there = source.subarray, destination.subarray
    if here is there:
        here.aap(source.row, destination.row)
        return Copy(aap=1)
    if here.columns != there.columns:
        raise ValueError(
            f"a row of {here.columns} bits does not fit a row of {there.columns}: copy whole rows."
        )
    there.write(destination.row, here.read(source.row))
    hops = 2 if here.bank == there.bank else 1
    return Copy(lines=hops * -(-here.columns // (8 * line)))


def copy_time(made: Copy, timing: ArrayTiming, *, t_line: Any) -> Any:
    """Time of a row copy [s]: AAP at full length, lines at `t_line` [s], usually tCCD, each.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import ns
    >>> module = ArrayTiming.of(device("ambit-ddr3-1600"))
    >>> round(copy_time(Copy(aap=1), module, t_line=5 * ns) / ns)
    80
    >>> round(copy_time(Copy(lines=128), module, t_line=5 * ns) / ns)
    640
    """
    positive(t_line=t_line)
    return made.aap * timing.t_aap_apart + made.lines * t_line


def commands(operation: str) -> Commands:
    """Commands of one operation on rows.

    Examples
    --------
    >>> commands("xor")
    Commands(aap=5, ap=2, same_decoder=0)
    """
    return Commands.of(parse(PROGRAMS[choose(operation, PROGRAMS, "Ambit operation")]))


def time(operation: str, size: Any, timing: ArrayTiming) -> ArrayTime:
    r"""Time to compute `size` bytes of result that are spread evenly over the banks.

    .. math:: t = \left\lceil \frac{\text{size}}{n_\text{banks} \cdot \text{row}} \right\rceil
              (n_{AAP}\, t_{AAP} + n_{AP}\, t_{AP})

    Parameters
    ----------
    operation : str
        A key of `PROGRAMS`.
    size : float or array
        Bytes of result; each operand has as many [B].
    timing : ArrayTiming
        Of the part; its fields broadcast against `size`.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import KiB, ns
    >>> module = ArrayTiming.of(device("ambit-ddr3-1600"))
    >>> print(f"{time('xor', 64 * KiB, module).commands / ns:.0f} ns")
    335 ns
    """
    positive(size=size)
    passes = np.ceil(size / (timing.banks * timing.row))
    return array_time(commands(operation), timing).times(passes)

"""SIMDRAM: bit-serial arithmetic in a DRAM subarray, one number to a bitline.

`execute` runs an operation for real, on numbers stood upright in a subarray, command by command.
`commands` gives the closed form of the count, which broadcasts over numbers of bits; `time` turns
it into seconds on a part.

>>> from kvlib import device
>>> from kvlib.nearmemory.array_time import ArrayTiming
>>> from kvlib.units import s
>>> values, issued = execute("add", [100, 27], [55, 200], bits=8)
>>> values, issued.total, commands("add", 8).total
(array([155, 227], dtype=uint64), 65, 65)
>>> part = ArrayTiming.of(device("simdram-16"))
>>> lanes = part.banks * part.row * 8
>>> print(f"{lanes / time('add', lanes, 32, part).commands / 1e9:.1f} G additions/s")
85.0 G additions/s

That is the published reading, each bank by itself. Sixteen banks that share one activation window
issue a third of it:

>>> print(f"{lanes / time('add', lanes, 32, part).total / 1e9:.1f} G additions/s")
26.9 G additions/s
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import choose, whole
from kvlib.nearmemory import microprograms as micro
from kvlib.nearmemory.array_time import ArrayTime, ArrayTiming, array_time
from kvlib.nearmemory.subarray import Commands, Subarray
from kvlib.nearmemory.upright import read_upright, write_upright

__all__ = ["OPERATIONS", "Operation", "commands", "execute", "time"]


@dataclass(frozen=True)
class Operation:
    """A bit-serial operation.

    Parameters
    ----------
    operands : str
        One letter an operand: ``n`` as wide as the operation, ``1`` a single bit.
    result : {"n", "2n", "1", "count"}
        Bits of the result; ``count`` as many as the number n needs.
    printed : str
        Published commands of both kinds.
    counts : callable
        Commands of the program here, of the number of bits.
    """

    operands: str
    result: Literal["n", "2n", "1", "count"]
    printed: str
    counts: Callable[[Any], Commands]

    def result_bits(self, bits: int) -> int:
        """Rows that the result takes."""
        return {"n": bits, "2n": 2 * bits, "1": 1, "count": bits.bit_length()}[self.result]


def _division(n: Any) -> Commands:
    if np.any(np.asarray(n) < 3):
        raise ValueError(f"bits = {n}: the closed form of divide holds from three bits on.")
    steps = n * (n + 1) // 2
    return Commands(12 * steps + 7 * n - 7, 3 * steps + n - 1, 3 * steps)


def _bit_count(n: Any) -> Commands:
    levels = np.log2(n)
    if np.any(levels != np.floor(levels)):
        raise ValueError(
            f"bits = {n}: the closed form of bit_count holds for powers of two. "
            f"Execute the operation to count the commands at another width."
        )
    whole_levels = levels.astype(int)
    return Commands(6 * (n - 1) + 2 * whole_levels, 2 * (n - 1 - whole_levels), 2 * (n - 1))


def _and_reduction(n: Any) -> Commands:
    return Commands(2 + 3 * (n // 2) + 2 * (n % 2), n)


OPERATIONS: Mapping[str, Operation] = MappingProxyType({
    "add": Operation("nn", "n", "8n + 1", lambda n: Commands(6 * n + 1, 2 * n, 2 * n)),
    "subtract": Operation("nn", "n", "8n + 1", lambda n: Commands(7 * n + 1, n, 3 * n)),
    "multiply": Operation(
        "nn", "2n", "11n^2 - 5n - 1",
        lambda n: Commands(8 * n * n - 2 * n - 1, 3 * n * (n - 1), 2 * n * (n - 1) + 1),
    ),
    "divide": Operation("nn", "2n", "8.25n^2 + 12n", _division),
    "greater": Operation("nn", "1", "3n + 2", lambda n: Commands(2 * n + 2, n)),
    "greater_equal": Operation("nn", "1", "3n + 2", lambda n: Commands(2 * n + 2, n)),
    "equal": Operation("nn", "1", "4n + 3", lambda n: Commands(2 * n + 3, 2 * n)),
    "maximum": Operation("nn", "n", "10n + 2", lambda n: Commands(7 * n + 2, 3 * n)),
    "minimum": Operation("nn", "n", "10n + 2", lambda n: Commands(7 * n + 2, 3 * n)),
    "select": Operation("1nn", "n", "7n", lambda n: Commands(5 * n, 2 * n)),
    "relu": Operation(
        "n", "n", "3n + (n - 1) mod 2", lambda n: Commands(3 * n + (n - 1) % 2, 0, 1)
    ),
    "absolute": Operation("n", "n", "10n - 1", lambda n: Commands(8 * n - 1, 2 * n, 2)),
    "bit_count": Operation("n", "count", "8(n - 1), n a power of two", _bit_count),
    "and_reduce": Operation("n", "1", "5n/2 + 2, n even", _and_reduction),
    "or_reduce": Operation("n", "1", "5n/2 + 2, n even", _and_reduction),
    "xor_reduce": Operation(
        "n", "1", "3n + 2, n even",
        lambda n: Commands(2 + 4 * (n // 2), 2 * (n // 2), 2 * (n // 2)),
    ),
})  # fmt: skip
"""Every operation, with the closed form of its commands.

Printed counts: :cite:t:`mimdram2024repo`, from running the authors' loop nests. The counts here
equal them but for ``divide``, which needs :math:`7.5 n^2 + 15.5 n - 8`.
"""


def commands(operation: str, bits: Any) -> Commands:
    """Commands of an operation on numbers of `bits` bits, in closed form.

    Raises
    ------
    UnknownName
        If there is no such operation.
    ValueError
        If `bits` is not a whole number above zero, or the closed form does not hold for it.

    Examples
    --------
    >>> multiply = commands("multiply", 8)
    >>> multiply.aap, multiply.ap, multiply.total
    (495, 168, 663)
    >>> commands("add", np.array([8, 16, 32])).total
    array([ 65, 129, 257])
    """
    whole(bits=bits)
    return OPERATIONS[choose(operation, OPERATIONS, "SIMDRAM operation")].counts(bits)


def execute(
    operation: str, *operands: ArrayLike, bits: int, signed: bool = False
) -> tuple[NDArray[Any], Commands]:
    """Run an operation in a subarray made for it, and count what was issued.

    Parameters
    ----------
    operation : str
        A key of `OPERATIONS`.
    *operands : array_like of int
        One value a lane; one-bit operands are zero or one. ``select`` takes the condition first,
        a reduction combines the bits of each value.
    bits : int
        Width of the numbers.
    signed : bool
        Whether comparisons, and the values returned, are two's complement.

    Returns
    -------
    values : array
        One a lane; for ``divide`` two rows, the quotients and the remainders.
    issued : Commands
        Counted while running.

    Raises
    ------
    TypeError
        If a value is not an integer.
    ValueError
        If the operands are too few, too many, of different length or too large for `bits`.

    Examples
    --------
    >>> execute("maximum", [-3, 5], [2, -7], bits=4, signed=True)[0]
    array([2, 5])
    """
    kind = OPERATIONS[choose(operation, OPERATIONS, "SIMDRAM operation")]
    whole(bits=bits)
    if len(operands) != len(kind.operands):
        raise ValueError(f"{operation!r} takes {len(kind.operands)} operands, got {len(operands)}.")
    widths = [bits if letter == "n" else 1 for letter in kind.operands]
    ends = np.cumsum([0, *widths, kind.result_bits(bits), 2 * bits + 2]).tolist()
    *places, out, scratch = (range(first, last) for first, last in pairwise(ends))
    lanes = np.size(operands[0])
    array = Subarray(rows=ends[-1], columns=-(-lanes // 8) * 8)
    for place, values in zip(places, operands, strict=True):
        write_upright(array, place, values, lanes)
    _issue(operation, array, places, out, scratch, signed)
    issued = Commands.of(array.trace)
    if operation == "divide":
        halves = [read_upright(array, half, lanes) for half in (out[:bits], out[bits:])]
        return np.stack(halves), issued
    return read_upright(array, out, lanes, signed=signed and kind.result == "n"), issued


def _issue(
    operation: str,
    array: Subarray,
    operands: list[range],
    out: range,
    scratch: range,
    signed: bool,
) -> None:
    """Run the microprogram of an operation on rows that were allotted to it."""
    a, b, c = (*operands, range(0), range(0))[:3]
    match operation:
        case "add":
            micro.add(array, a, b, out)
        case "subtract":
            micro.subtract(array, a, b, out)
        case "multiply":
            micro.multiply(array, a, b, out)
        case "divide":
            micro.divide(array, a, b, out[: len(a)], out[len(a) :], scratch)
        case "greater" | "greater_equal":
            or_equal = operation == "greater_equal"
            micro.compare(array, a, b, out[0], or_equal=or_equal, signed=signed)
        case "equal":
            micro.equal(array, a, b, out[0])
        case "maximum" | "minimum":
            largest = operation == "maximum"
            micro.extremum(array, a, b, out, scratch[0], largest=largest, signed=signed)
        case "select":
            micro.select(array, a[0], b, c, out)
        case "relu":
            micro.relu(array, a, out, scratch[0])
        case "absolute":
            micro.absolute(array, a, out, scratch)
        case "bit_count":
            micro.bit_count(array, a, out, scratch)
        case reduction:
            micro.reduce(array, reduction.removesuffix("_reduce"), a, out[0])


def time(operation: str, elements: Any, bits: Any, timing: ArrayTiming) -> ArrayTime:
    r"""Time of an operation on many numbers that already stand upright in the banks.

    .. math:: t = \left\lceil \frac{\text{elements}}{8\, n_\text{banks}\, \text{row}} \right\rceil
              (n_{AAP}\, t_{AAP} + n_{AP}\, t_{AP})

    Parameters
    ----------
    operation : str
        A key of `OPERATIONS`.
    elements, bits : int or array
        How many numbers, and their width.
    timing : ArrayTiming
        Of the part.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import ns
    >>> part = ArrayTiming.of(device("simdram-16"))
    >>> print(f"{time('multiply', 65536, 8, part).commands / ns:.0f} ns")
    31815 ns
    """
    whole(elements=elements)
    passes = np.ceil(elements / (8 * timing.banks * timing.row))
    return array_time(commands(operation, bits), timing).times(passes)

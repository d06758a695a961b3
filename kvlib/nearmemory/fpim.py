r"""3D-FPIM: matrix-vector products in 3D NAND flash, as sums of currents.

A weight is stored as the conductance of cells, an input as the length of a pulse. All cells of a
bitline conduct at once, so the charge that leaves it is a sum of products, which a converter turns
into a number. Inputs and weights wider than one pulse or one cell are cut in slices, positive and
negative parts kept apart; the slices' sums are shifted and added digitally.

Weights that never change may live there. A KV cache may not: it is written anew with every token,
and the cells bear that only so often. At eight bits, in 16 GiB that bear 10,000 writings:

>>> from kvlib import model
>>> from kvlib.nearmemory.storage import lifetime, write_budget
>>> from kvlib.units import GiB, s
>>> budget = write_budget(16 * GiB, cycles=10_000, write_amplification=1)
>>> rate = 2000 / s * model("llama-3-8b").kv_bytes_per_token("int8")
>>> print(f"{lifetime(budget, rate) / 86400:.0f} days at 2,000 tokens a second")
15 days at 2,000 tokens a second
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import positive, whole
from kvlib.hardware import Device

__all__ = [
    "FlashArray", "converter_bits", "energy", "matvec", "time", "units",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FlashArray:
    """One 3D NAND unit that multiplies; every field may be an array.

    Parameters
    ----------
    rows, columns : int
        Cell pairs that add up on one bitline, and bitlines.
    layers : int
        Stacked layers, each of which holds other weights and is read by itself.
    input_bits : int
        Bits of an input that one pulse codes.
    cell_bits : int
        Bits of a weight that one cell holds.
    pulse_step : float
        Length of one step of a pulse [s].
    shared : int
        Bitlines that share one sense amplifier and converter.
    capacitance, voltage : float
        Load of a bitline [F], and the voltage it is charged to [V].
    """

    rows: Any
    columns: Any
    layers: Any
    input_bits: Any
    cell_bits: Any
    pulse_step: Any
    shared: Any
    capacitance: Any
    voltage: Any

    def __post_init__(self) -> None:
        positive(**vars(self))
        whole(rows=self.rows, columns=self.columns, layers=self.layers, shared=self.shared)
        whole(input_bits=self.input_bits, cell_bits=self.cell_bits)

    @classmethod
    def of(cls, part: Device, *, cell_bits: int) -> Self:
        """Circuit parameters of the catalogue; no source states how many bits a cell holds.

        That `rows` counts the terms of one sum, and `columns` the sums, is read from the names in
        the simulator's configuration :cite:`fpim2022repo`.
        """
        figures = part.parameters
        return cls(
            rows=figures["subarray_rows"],
            columns=figures["subarray_columns"],
            layers=figures["stacks"],
            input_bits=figures["input_bits"],
            cell_bits=cell_bits,
            pulse_step=figures["input_duration"],
            shared=figures["bitlines_per_sense_amplifier"],
            capacitance=figures["load_capacitance"],
            voltage=figures["load_voltage"],
        )


def converter_bits(array: FlashArray) -> Any:
    """Bits a converter needs so that no sum is rounded.

    Examples
    --------
    >>> from kvlib import device
    >>> int(converter_bits(FlashArray.of(device("3d-fpim"), cell_bits=1)))
    12
    """
    return np.ceil(np.log2(_full_scale(array) + 1))


def _full_scale(array: FlashArray) -> Any:
    return array.rows * (2**array.input_bits - 1) * (2**array.cell_bits - 1)


def matvec(
    weights: ArrayLike,
    inputs: ArrayLike,
    array: FlashArray,
    *,
    weight_bits: int,
    vector_bits: int,
    converter: int,
) -> NDArray[np.float64]:
    """Multiply a matrix by a vector as the flash does, slice by slice and sum by sum.

    Parameters
    ----------
    weights : array_like of int, shape (n, k)
        Signed, of `weight_bits` bits.
    inputs : array_like of int, shape (k,)
        Signed, of `vector_bits` bits.
    array : FlashArray
        How many terms a sum has, and what a cell and a pulse hold.
    weight_bits, vector_bits : int
        Bits of a weight and of an element of the vector.
    converter : int
        Bits of the converter; with `converter_bits` of them the product is exact.

    Raises
    ------
    TypeError
        If the numbers are not integers.
    ValueError
        If the shapes do not match or a number does not fit in its bits.

    Examples
    --------
    >>> from kvlib import device
    >>> flash = FlashArray.of(device("3d-fpim"), cell_bits=1)
    >>> matvec([[3, -2], [1, 5]], [4, -7], flash, weight_bits=4, vector_bits=5, converter=12)
    array([ 26., -31.])
    """
    W = _integers("weights", weights, weight_bits)
    x = _integers("inputs", inputs, vector_bits)
    if W.ndim != 2 or x.shape != W.shape[1:]:
        raise ValueError(f"a matrix of shape {W.shape} cannot multiply a vector of {x.shape}.")
    whole(converter=converter)
    step = max(1.0, _full_scale(array) / (2**converter - 1))
    result = np.zeros(len(W))
    for start in range(0, len(x), int(array.rows)):
        part = slice(start, start + int(array.rows))
        for sign, pulses, place in _slices(x[part], vector_bits, int(array.input_bits)):
            for side, cells, level in _slices(W[:, part], weight_bits, int(array.cell_bits)):
                charge = cells @ pulses
                result += sign * side * 2.0 ** (place + level) * step * np.rint(charge / step)
    return result


def _integers(name: str, values: ArrayLike, bits: int) -> NDArray[np.int64]:
    given = np.asarray(values)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} are {given.dtype}: cells and pulses code integers. Quantise them.")
    limit = 2 ** (bits - 1)
    if np.any((given < -limit) | (given >= limit)):
        raise ValueError(f"{name} reach beyond {bits} bits: {-limit} to {limit - 1}.")
    return given.astype(np.int64)


def _slices(
    values: NDArray[np.int64], bits: int, width: int
) -> list[tuple[int, NDArray[np.int64], int]]:
    """Sign, digits and place of each slice, the positive and the negative part apart."""
    return [
        (sign, (np.maximum(sign * values, 0) >> place) & (2**width - 1), place)
        for sign in (1, -1)
        for place in range(0, bits, width)
    ]


def _tiles(n: Any, k: Any, array: FlashArray, weight_bits: int) -> Any:
    """Layers of a unit that a matrix fills."""
    bitlines = n * np.ceil(weight_bits / array.cell_bits)
    return np.ceil(k / array.rows) * np.ceil(bitlines / array.columns)


def units(n: Any, k: Any, array: FlashArray, *, weight_bits: int) -> Any:
    """Units that a matrix of n rows and k columns fills, a pair of cells to each slice.

    Examples
    --------
    >>> from kvlib import device
    >>> flash = FlashArray.of(device("3d-fpim"), cell_bits=4)
    >>> int(units(4096, 4096, flash, weight_bits=8))
    16
    """
    whole(n=n, k=k, weight_bits=weight_bits)
    return np.ceil(_tiles(n, k, array, weight_bits) / array.layers)


def time(
    n: Any,
    k: Any,
    array: FlashArray,
    *,
    weight_bits: int,
    vector_bits: int,
    owned: Any,
    t_convert: Any,
) -> Any:
    r"""Time of one matrix-vector product [s].

    .. math:: t = n_\text{layers} \cdot n_\text{phases} \cdot n_\text{shared}
              \left(2^{b_\text{in}} t_\text{step} + t_\text{convert}\right)

    Layers of one unit take turns, so do the slices of the input (positive and negative apart) and
    the bitlines of one converter; units work side by side.

    Parameters
    ----------
    n, k : int or array
        Rows and columns of the matrix.
    array : FlashArray
        One unit.
    weight_bits, vector_bits : int
        Widths of the numbers.
    owned : int or array
        Units there are.
    t_convert : float or array
        Time of one conversion; no source states it [s].

    Raises
    ------
    ValueError
        If the matrix does not fit in the units.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import ns, us
    >>> flash = FlashArray.of(device("3d-fpim"), cell_bits=4)
    >>> widths = {"weight_bits": 8, "vector_bits": 8}
    >>> print(f"{time(4096, 4096, flash, **widths, owned=16, t_convert=10 * ns) / us:.1f} us")
    21.5 us
    """  # fmt: skip
    positive(t_convert=t_convert)
    whole(owned=owned, vector_bits=vector_bits)
    needed = units(n, k, array, weight_bits=weight_bits)
    if np.any(needed > owned):
        raise ValueError(
            f"a matrix of {n} x {k} at {weight_bits} bits needs {np.max(needed):.0f} units, but "
            f"there are {owned}. Use more units, fewer bits or a smaller matrix."
        )
    turns = np.ceil(_tiles(n, k, array, weight_bits) / owned)
    phases = 2 * np.ceil(vector_bits / array.input_bits)
    return turns * phases * array.shared * (2**array.input_bits * array.pulse_step + t_convert)


def energy(
    n: Any, k: Any, array: FlashArray, *, weight_bits: int, vector_bits: int, energy_convert: Any
) -> Any:
    r"""Energy of one matrix-vector product: every sum charges a pair of bitlines [J].

    .. math:: E = n_\text{sums} \left(2\, C V^2 + 2\, E_\text{convert}\right)

    Wordline drivers and the digital sums are left out: no source states them.

    Parameters
    ----------
    n, k : int or array
        Rows and columns of the matrix.
    array : FlashArray
        Terms of a sum, bits of a cell and of a pulse, capacitance and voltage of a bitline.
    weight_bits, vector_bits : int
        Bits of a weight and of an element of the vector.
    energy_convert : float or array
        Energy of one conversion; no source states it [J].

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import nJ, pJ
    >>> flash = FlashArray.of(device("3d-fpim"), cell_bits=4)
    >>> widths = {"weight_bits": 8, "vector_bits": 8}
    >>> print(f"{energy(4096, 4096, flash, **widths, energy_convert=0.0) / nJ:.0f} nJ at least")
    109 nJ at least
    """
    positive(True, energy_convert=energy_convert)
    whole(n=n, k=k, weight_bits=weight_bits, vector_bits=vector_bits)
    phases = 2 * np.ceil(vector_bits / array.input_bits)
    sums = phases * np.ceil(k / array.rows) * n * np.ceil(weight_bits / array.cell_bits)
    return sums * 2 * (array.capacitance * array.voltage**2 + energy_convert)

"""A DRAM subarray that computes: rows of bits, and two commands that overwrite them.

Activating three wordlines at once leaves the majority of the three cells on every bitline, and
writes it back into all three cells: the operands are gone, the result stands in their place.
A dual-contact cell hangs on both ends of its sense amplifier, so its second wordline stores and
reads the complement. `Ambit` and `SIMDRAM` are sequences of two commands built on this:

- ``AP``: activate, precharge - computes in place where the address raises three wordlines;
- ``AAP``: activate, activate, precharge - copies what the first address left on the bitlines into
  every row the second address raises.

The reserved addresses are those of :cite:t:`seshadri2017ambit`, table 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import choose, whole

__all__ = ["RESERVED", "Commands", "Step", "Subarray", "parse"]

RESERVED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "C0": ("C0",), "C1": ("C1",),
    "B0": ("T0",), "B1": ("T1",), "B2": ("T2",), "B3": ("T3",),
    "B4": ("DCC0",), "B5": ("~DCC0",), "B6": ("DCC1",), "B7": ("~DCC1",),
    "B8": ("~DCC0", "T0"), "B9": ("~DCC1", "T1"), "B10": ("T2", "T3"), "B11": ("T0", "T3"),
    "B12": ("T0", "T1", "T2"), "B13": ("T1", "T2", "T3"),
    "B14": ("DCC0", "T1", "T2"), "B15": ("DCC1", "T0", "T3"),
})  # fmt: skip
"""Wordlines each reserved address raises.

C0 and C1 hold zeros and ones. T0 to T3 are working rows, DCC0 and DCC1 rows of dual-contact cells;
``~`` marks their complementing wordline. One activation can write up to three rows.
"""

_CELLS = ("C0", "C1", "T0", "T1", "T2", "T3", "DCC0", "DCC1")


@dataclass(frozen=True)
class Commands:
    """How many commands a program issues.

    Parameters
    ----------
    aap, ap : int or array
        Activate-activate-precharge and activate-precharge commands.
    same_decoder : int or array
        Those AAP whose two addresses share a row decoder, so that their activations cannot overlap.

    Examples
    --------
    >>> (Commands(aap=6, ap=2) * 8 + Commands(aap=1)).total
    65
    """

    aap: Any = 0
    ap: Any = 0
    same_decoder: Any = 0

    @classmethod
    def of(cls, steps: "Sequence[Step]") -> Self:
        """Count the commands of a program or a trace."""
        aap = sum(step.destination is not None for step in steps)
        return cls(aap, len(steps) - aap, sum(step.same_decoder for step in steps))

    @property
    def total(self) -> Any:
        """Commands of both kinds."""
        return self.aap + self.ap

    @property
    def activations(self) -> Any:
        """Row activations: two in an AAP, one in an AP."""
        return 2 * self.aap + self.ap

    def __add__(self, other: "Commands") -> "Commands":
        return Commands(
            self.aap + other.aap, self.ap + other.ap, self.same_decoder + other.same_decoder
        )

    def __mul__(self, times: Any) -> "Commands":
        return Commands(self.aap * times, self.ap * times, self.same_decoder * times)

    __rmul__ = __mul__


@dataclass(frozen=True)
class Step:
    """One command of a program: ``AAP source destination`` or ``AP source``."""

    source: str | int
    destination: str | int | None = None

    @property
    def same_decoder(self) -> bool:
        """Whether both activations go through one decoder: both in the B group, or neither."""
        groups = [str(end).startswith("B") for end in (self.source, self.destination)]
        return self.destination is not None and groups[0] == groups[1]


@cache
def parse(program: str) -> tuple[Step, ...]:
    """Read a microprogram such as ``"AAP a B0, AAP b B1, AAP C0 B2, AAP B12 out"``.

    Names that are not reserved addresses are operands, bound when the program runs.

    Raises
    ------
    ValueError
        If a command is neither AAP with two addresses nor AP with one.
    """
    steps = []
    for text in program.split(","):
        match text.split():
            case ["AAP", source, destination]:
                steps.append(Step(source, destination))
            case ["AP", source]:
                steps.append(Step(source))
            case _:
                raise ValueError(
                    f"command {text.strip()!r}: write 'AAP source destination' or 'AP address'."
                )
    return tuple(steps)


@dataclass(eq=False)
class Subarray:
    """Rows of bits that share one set of sense amplifiers.

    Parameters
    ----------
    rows : int
        Data rows; the eight reserved rows come on top.
    columns : int
        Bitlines, a multiple of 8.
    bank : int
        The bank it belongs to.

    Attributes
    ----------
    trace : list of Step
        Every command issued so far.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero, or `columns` is not a multiple of 8.

    Examples
    --------
    >>> subarray = Subarray(rows=3, columns=8)
    >>> subarray.write(0, [1, 1, 0, 0, 1, 0, 1, 0])
    >>> subarray.write(1, [1, 0, 1, 0, 1, 1, 0, 0])
    >>> subarray.run("AAP a B0, AAP b B1, AAP C0 B2, AAP B12 out", a=0, b=1, out=2).total
    4
    >>> subarray.read(2)
    array([1, 0, 0, 0, 1, 0, 0, 0], dtype=uint8)
    """

    rows: int
    columns: int
    bank: int = 0
    trace: list[Step] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        whole(rows=self.rows, columns=self.columns)
        if self.columns % 8:
            raise ValueError(f"columns = {self.columns} must be a multiple of 8: bits are packed.")
        self._cells = np.zeros((self.rows + len(_CELLS), self.columns // 8), np.uint8)
        self._cells[self._index("C1")] = 0xFF

    def _index(self, cell: str) -> int:
        return self.rows + _CELLS.index(cell)

    def _wordlines(self, address: str | int) -> list[tuple[int, bool]]:
        """Cells an address raises, and whether by the complementing wordline."""
        if isinstance(address, str):
            lines = RESERVED[choose(address, RESERVED, "row address")]
            return [(self._index(line.lstrip("~")), line.startswith("~")) for line in lines]
        if not 0 <= address < self.rows:
            raise ValueError(
                f"row {address} lies outside this subarray of {self.rows} data rows: the operands "
                f"and results do not all fit. Use fewer bits or operands, or a larger subarray."
            )
        return [(int(address), False)]

    def _sense(self, address: str | int) -> NDArray[np.uint8]:
        """First activation after a precharge: what the bitlines settle at, written back."""
        lines = self._wordlines(address)
        values = [~self._cells[row] if flip else self._cells[row] for row, flip in lines]
        if len(values) == 2:
            raise ValueError(
                f"address {address} raises two wordlines: from precharged bitlines two cells that "
                f"differ leave no majority. Sense one row or three; use {address} as a destination."
            )
        bits: NDArray[np.uint8] = values[0].copy()
        if len(values) == 3:
            x, y, z = values
            bits = (x & y) | (x & z) | (y & z)
        self._drive(lines, bits)
        return bits

    def _drive(self, lines: list[tuple[int, bool]], bits: NDArray[np.uint8]) -> None:
        for row, flip in lines:
            self._cells[row] = ~bits if flip else bits

    def ap(self, address: str | int) -> None:
        """Activate, precharge: majority in place if the address raises three wordlines."""
        self._sense(address)
        self.trace.append(Step(address))

    def aap(self, source: str | int, destination: str | int) -> None:
        """Activate the source, activate the destination on the driven bitlines, precharge.

        Raises
        ------
        ValueError
            If the destination is a row of constants, a row does not exist, or the source raises
            two wordlines.
        """
        if destination in ("C0", "C1"):
            raise ValueError(f"{destination} holds constants: a copy into it would destroy them.")
        lines = self._wordlines(destination)
        self._drive(lines, self._sense(source))
        self.trace.append(Step(source, destination))

    def run(self, program: str, **operands: int) -> Commands:
        """Execute a microprogram command by command and count what was issued.

        Parameters
        ----------
        program : str
            Commands as `parse` reads them.
        **operands : int
            Data row of each name in it.

        Raises
        ------
        ValueError
            If a name is bound to no row, or a command breaks a rule of the array.
        """
        mark = len(self.trace)

        def bound(name: str | int) -> str | int:
            if name in RESERVED:
                return name
            if name not in operands:
                raise ValueError(f"operand {name!r} of {program!r} has no row: pass {name}=row.")
            return operands[str(name)]

        for step in parse(program):
            if step.destination is None:
                self.ap(bound(step.source))
            else:
                self.aap(bound(step.source), bound(step.destination))
        return Commands.of(self.trace[mark:])

    def write(self, row: int, bits: ArrayLike) -> None:
        """Write a row of zeros and ones over the channel; no command is counted.

        Raises
        ------
        ValueError
            If there are not as many bits as columns.
        """
        given = np.asarray(bits)
        if given.shape != (self.columns,):
            raise ValueError(
                f"bits of shape {given.shape} for a row of {self.columns} columns: give one each."
            )
        self._cells[self._wordlines(row)[0][0]] = np.packbits(given.astype(bool))

    def read(self, row: int) -> NDArray[np.uint8]:
        """Read a data row over the channel as zeros and ones."""
        return np.unpackbits(self._cells[self._wordlines(row)[0][0]])

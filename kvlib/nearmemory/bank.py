"""A processing unit beside every bank of a memory, driven in lockstep: what it is made of.

One type for HBM-PIM, GDDR6-AiM, AttAcc, NeuPIMs and CENT; they differ in these figures only.
`kvlib.nearmemory.designs` fills them in, `kvlib.nearmemory.lockstep` turns them into time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from kvlib.checks import choose, positive, whole
from kvlib.hardware import Timing
from kvlib.nearmemory.dram import check_timing, row_time
from kvlib.nearmemory.layout import Layout
from kvlib.precision import itemsize

__all__ = ["BankPim"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BankPim:
    """Units beside the banks of a memory, in lockstep within each channel.

    Parameters
    ----------
    name : str
        Short name.
    timing : Timing
        tRCD, tRP, tRAS, tRTP, tRFC, tREFI, and tMAC between two multiply commands; tFAW where a row
        takes several openings.
    channels : int
        Channels that work side by side.
    row, column : int
        Bytes in one row of a bank, and in one column: what a bank gives its unit at each command
        [B].
    banks_per_unit : int
        Banks that take turns behind one unit. With more than one, a row opens in the next bank
        while this one is read.
    banks_per_window : int
        Units whose rows may be opened in one activation window tFAW; as many as there are units in
        a channel if one command opens all rows at once.
    layouts : mapping of str to Layout
        How a ``"matrix"``, ``"keys"`` and ``"values"`` lie.
    results : {"gather", "tree", "lanes"}
        What one result read fetches: one sum from each of many units, several sums of one unit, or
        a column of sums that nobody has added along its lanes.
    vector_columns : float
        Columns of a vector that a unit can see before it must be written anew; may be infinite.
    accumulators : int
        Groups of outputs that a unit can sum up at the same time.
    write, read : float
        Time of writing one column of a vector and of one result read [s].
    write_setup : float
        Time lost before each run of vector writes [s].
    overlap : bool
        Whether vectors and results move on their own paths while the units multiply.
    reuse : int
        Vectors that a unit multiplies with one fetched column at once: 1 on today's parts.
    held : int
        Vectors served while a row stays open.
    dual_row_buffers : bool
        Whether the host can use a bank while its unit works.
    precisions : tuple of str
        Formats the units can multiply.
    capacity : float
        Bytes in all channels [B].
    energy : float or None
        Energy to bring one byte from the cells to a unit [J/B]; None if no source states it.
    unit_energy : float or None
        Energy of one operation in a unit [J/flop]; None if no source states it.

    Raises
    ------
    ValueError
        If timing parameters contradict each other, a count is not whole, or a row does not hold a
        whole number of columns.
    """

    name: str
    timing: Timing
    channels: int
    row: int
    column: int
    banks_per_unit: int
    banks_per_window: int
    layouts: Mapping[str, Layout]
    results: Literal["gather", "tree", "lanes"]
    vector_columns: float
    accumulators: int
    write: Any
    read: Any
    write_setup: Any
    overlap: bool
    reuse: int
    held: int
    dual_row_buffers: bool
    precisions: tuple[str, ...]
    capacity: float
    energy: float | None
    unit_energy: float | None

    def __post_init__(self) -> None:
        check_timing(self.timing)
        whole(channels=self.channels, row=self.row, column=self.column)
        whole(banks_per_unit=self.banks_per_unit, banks_per_window=self.banks_per_window)
        whole(accumulators=self.accumulators, reuse=self.reuse, held=self.held)
        positive(capacity=self.capacity)
        positive(True, write=self.write, read=self.read, write_setup=self.write_setup)
        choose(self.results, ["gather", "tree", "lanes"], "way to read results")
        if self.row % self.column:
            raise ValueError(
                f"{self.name!r}: a row of {self.row} B does not hold a whole number of columns of "
                f"{self.column} B."
            )
        if self.held < self.reuse:
            raise ValueError(
                f"{self.name!r}: held = {self.held} vectors to a row, but a unit multiplies "
                f"reuse = {self.reuse} of them at once. Raise held to {self.reuse} at least."
            )
        if len(units := {layout.banks for layout in self.layouts.values()}) != 1:
            raise ValueError(
                f"{self.name!r}: its layouts spread over {sorted(units)} units. One command drives "
                f"the same units in each: output_banks x input_banks must agree."
            )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other properties, for a what-if.

        `timing` may be given as a mapping of the parameters that change.
        """
        if isinstance(timing := changes.get("timing"), Mapping):
            changes["timing"] = self.timing.replace(parameters={**self.timing.parameters, **timing})
        return replace(self, **changes)

    @property
    def units(self) -> int:
        """Units that step together in one channel."""
        return next(iter(self.layouts.values())).banks

    @property
    def row_columns(self) -> int:
        """Columns in one row of a bank."""
        return self.row // self.column

    @property
    def openings(self) -> int:
        """Activation windows that opening a row in all units' banks takes."""
        return -(-self.units // self.banks_per_window)

    @property
    def open_time(self) -> Any:
        """Time from the first row's opening until all units may multiply [s]."""
        windows = self.openings - 1
        return self.timing["tRCD"] + (windows * self.timing["tFAW"] if windows else 0.0)

    @property
    def bandwidth(self) -> Any:
        """Rate at which the units would read their banks if nothing interrupted them [B/s]."""
        return self.channels * self.units * self.column / self.timing["tMAC"]

    @property
    def row_efficiency(self) -> Any:
        """Fraction of that rate left after opening and closing whole rows."""
        full = self.row_columns
        return full * self.timing["tMAC"] / self.row_period(full)

    def row_period(self, macs: Any) -> Any:
        """Time one row takes when rows of `macs` multiply commands follow each other [s]."""
        alone = row_time(macs, self.timing, self.openings)
        if self.banks_per_unit == 1:
            return alone
        return np.maximum(macs * self.timing["tMAC"], alone / self.banks_per_unit)

    def elements(self, precision: str) -> int:
        """Matrix elements in one column.

        Raises
        ------
        UnknownName
            If the units cannot multiply this format.
        """
        choose(precision, self.precisions, f"precision of {self.name!r}")
        return int(self.column // itemsize(precision))

    def layout(self, layout: str | Layout) -> Layout:
        """Return the layout called so, or the layout given."""
        if isinstance(layout, Layout):
            return layout
        return self.layouts[choose(layout, self.layouts, f"layout of {self.name!r}")]

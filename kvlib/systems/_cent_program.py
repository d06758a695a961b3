"""What the controller of one CENT device does, instruction by instruction, in closed form.

A product is a loop over the DRAM rows of its vector: fill the vector buffers, set the sums,
multiply one row of every bank for each output, read the sums. Setting and reading sums needs
another mode than multiplying, and each change of mode costs 16 ns. Whatever travels between the
controller and the banks passes one front end, 32 bytes a clock for all channels of the device
together :cite:p:`cent2025repo,aim2025repo`.

Sizes may be arrays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from kvlib.checks import whole
from kvlib.nearmemory import BankPim
from kvlib.quoted import Quoted
from kvlib.systems._cost import added
from kvlib.units import ns

__all__ = ["LATCHES", "Place", "Program"]


def _timing(clocks: float, note: str) -> Quoted:
    return Quoted(clocks * 0.5 * ns, source="aim2025repo", basis="paper", unit="ns", note=note)


MODE = _timing(32, "change between multiplying and access to registers")
READ = _timing(3, "one result read after another: the controller waits for each")
TURN = _timing(5, "from a result read to the next register write")
TABLE = _timing(86, "from opening the row of an activation table to its use")
COPY = _timing(48, "from opening a row to writing it from the vector buffer")
WRITE = _timing(6, "write latency")
ELEMENT_WISE = Quoted(
    47 * ns, source="cent2025repo", basis="paper", unit="ns", note="multiply two banks, and n ns"
)
LATCHES = Quoted(32, source="cent2025repo", basis="paper", note="sums that a unit holds")


@dataclass(frozen=True, eq=False)
class Program:
    """Instructions of one device: where the time goes, and DRAM commands by name.

    Parameters
    ----------
    time : dict of str to float or array
        Time by cause [s]: ``"multiply"``, opening and closing ``"rows"``, setting and reading
        ``"sums"``, filling ``"vectors"``, ``"element-wise"``, ``"front end"``.
    commands : dict of str to float or array
        Commands in all channels of the device.
    """

    time: Mapping[str, Any]
    commands: Mapping[str, Any]

    @cached_property
    def total(self) -> Any:
        """Time of all of it [s]."""
        return added(self.time.values())

    def __add__(self, other: "Program") -> "Program":
        return Program(_merged(self.time, other.time), _merged(self.commands, other.commands))

    def __mul__(self, count: Any) -> "Program":
        return Program(
            {name: count * time for name, time in self.time.items()},
            {name: count * number for name, number in self.commands.items()},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """Where a block lies: some channels of a device, or several devices.

    Parameters
    ----------
    pim : BankPim
        One device.
    channels : int
        Channels of the device that hold one block.
    devices : int
        Devices that share the block's matrices and keys.
    spread_values : bool
        Whether they share its values too, or one of them holds these.

    Raises
    ------
    ValueError
        If a number is not a whole number above zero.
    """

    pim: BankPim
    channels: int
    devices: int = 1
    spread_values: bool = False

    def __post_init__(self) -> None:
        whole(channels=self.channels, devices=self.devices)

    @property
    def blocks(self) -> int:
        """Blocks side by side in a device, all doing the same."""
        return self.pim.channels // self.channels

    @property
    def active(self) -> int:
        """Channels at work in a device."""
        return self.blocks * self.channels

    @cached_property
    def elements(self) -> int:
        """Matrix elements in a column of a bank."""
        return self.pim.elements("bf16")

    @property
    def row(self) -> int:
        """Matrix elements in a row of a bank."""
        return self.elements * self.pim.row_columns

    @property
    def banks(self) -> int:
        """Banks that hold one block in a device."""
        return self.pim.units * self.channels

    def columns(self, elements: Any) -> Any:
        """Columns that some elements fill."""
        return np.ceil(elements / self.elements)

    def program(self, time: Mapping[str, Any], **commands: Any) -> Program:
        """Make a program whose commands go to every channel at work."""
        return Program(time, {name: self.active * count for name, count in commands.items()})

    def product(self, outputs: Any, inputs: Any, *, activated: bool = False) -> Program:
        """Multiply a matrix with a vector, outputs over all banks of all devices.

        Sums leave the units after each row of the vector and come back for the next. With
        `activated`, a unit also looks up each sum in a table, and holds half as many.
        """
        t, sums = self.pim.timing, np.ceil(outputs / (self.banks * self.devices))
        columns, rows = self.columns(inputs), np.ceil(inputs / self.row)
        held = LATCHES / 2 if activated else LATCHES
        sets, tables = np.ceil(sums / held), float(activated)
        switch = self.pim.row_period(1) - t["tMAC"]
        return self.program(
            {
                "multiply": sums * columns * t["tMAC"],
                "rows": rows * (sums * switch - sets * t["tRTP"]),
                "sums": rows * (2 * sets * MODE + sums * (self.pim.write + READ)),
                "vectors": columns * self.pim.write,
                "element-wise": tables * (sums * (2 * MODE + TURN) + sets * (t["tRP"] + TABLE)),
            },
            MAC16=sums * columns,
            ACT16=rows * sums + tables * sets,
            WRGB=columns,
            WRMAC16=rows * sums,
            RDMAC16=rows * sums,
            AF16=tables * sums,
            RDAF16=tables * sums,
            TMOD=2 * (rows * sets + tables * sums),
        )

    def passes(self, count: Any, columns: Any, sums: Any, openings: Any) -> Program:
        """Multiply short runs of columns, sums set before and read after each.

        Parameters
        ----------
        count : int or array
            Runs.
        columns : int or array
            Columns of all runs together.
        sums : int or array
            Sums set and read; as many as runs, unless a unit works on several vectors at once.
        openings : int or array
            Rows opened.
        """
        t = self.pim.timing
        return self.program(
            {
                "multiply": columns * t["tMAC"],
                "rows": openings * (t["tRP"] + t["tRCD"]),
                "sums": count * 2 * MODE + sums * (self.pim.write + TURN),
            },
            MAC16=columns,
            ACT16=openings,
            WRMAC16=sums,
            RDMAC16=sums,
            TMOD=2 * count,
        )

    def fill(self, columns: Any) -> Program:
        """Write columns of vectors into the buffers of all channels."""
        return self.program({"vectors": columns * self.pim.write}, WRGB=columns)

    def move(self, written: Any, read: Any = 0.0) -> Program:
        """Write and read columns of single banks, for every block, through the front end."""
        t, blocks = self.pim.timing, self.blocks
        return Program(
            {"front end": blocks * (written + read) * t["tCK"]},
            {"WR": blocks * written, "RD": blocks * read},
        )

    def multiply_elements(self, columns: Any, runs: Any = 1) -> Program:
        """Multiply neighbours: one column of two banks into a third, in every bank group."""
        time = {"element-wise": runs * ELEMENT_WISE + columns * self.pim.timing["tMAC"]}
        return self.program(time, EWMUL16=columns, ACT16=runs)

    def copy(self, columns: Any) -> Program:
        """Copy columns from an open row to another bank, once in each of the four groups."""
        t = self.pim.timing
        time = {"element-wise": 4 * (2 * columns * t["tMAC"] + t["tRP"] + COPY)}
        return self.program(time, RDCP=4 * columns, WRCP=4 * columns, ACT=4)

    def scatter(self, rows: Any) -> Program:
        """Write one column into every bank of a channel, in some rows one after another."""
        t = self.pim.timing
        each = t["tRCD_WR"] + WRITE + t["tCCD_L"] + t["tWR"] + t["tRP"]
        return self.program({"element-wise": rows * each}, WRA16=rows)


def _merged(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one.get(name, 0.0) + two.get(name, 0.0) for name in {**one, **two}}

"""UPMEM: a small in-order core beside each DRAM bank, programmed like any other.

A core (DPU) runs up to 24 threads, tasklets, each of which issues at most every eleventh cycle. It
sees its own bank only, by explicit transfers into a scratchpad. Cores share nothing: what one has
and another needs goes through the host.

>>> from kvlib import device
>>> from kvlib.units import MB, s
>>> system = System.of(device("upmem-2556"), device("upmem-dpu"))
>>> [round(float(system.dma_bandwidth(size) / (MB / s)), 1) for size in (8, 2048)]
[34.6, 651.0]
>>> print(f"{system.issue_rate(tasklets=16) / system.add_int32 / 1e6:.1f} M additions/s per core")
58.3 M additions/s per core
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np

from kvlib.checks import choose, positive, whole
from kvlib.hardware import Device, UnknownFigure

__all__ = ["LARGEST_TRANSFER", "System", "exchange_time"]

LARGEST_TRANSFER = 2048
"""Bytes that one transfer between bank and scratchpad can move at most, in steps of 8 [B].

:cite:t:`gomezluna2022prim`; recalled, not read.
"""

_STREAM = 5  # instructions of a streaming addition besides the addition: load, store, three of loop


@dataclass(frozen=True, kw_only=True)
class System:
    """DPUs in a server; numbers may be arrays.

    Parameters
    ----------
    dpus, dpus_per_rank : int
        Cores, and how many of them one host transfer reaches.
    clock : float
        Clock of a core [Hz].
    reentry : float
        Cycles between two instructions of one tasklet.
    most_tasklets : int
        Tasklets a core can run.
    bank, scratchpad : float
        Bytes of a core's bank and of its scratchpad [B].
    dma_read, dma_write : float
        Fixed cycles of a transfer from and to the bank.
    dma_per_byte : float
        Further cycles for each byte.
    host_write, host_read, host_broadcast : float
        Bandwidth between the host and one rank [B/s]; broadcast counts the bytes that arrive.
    add_int32 : float
        Instructions of one streaming addition, loop included.
    arithmetic : mapping of str to (float, float)
        Instructions of one multiplication and one addition by precision.
    power : float
        Power of all modules [W].
    """

    dpus: Any
    dpus_per_rank: Any
    clock: Any
    reentry: Any
    most_tasklets: Any
    bank: Any
    scratchpad: Any
    dma_read: Any
    dma_write: Any
    dma_per_byte: Any
    host_write: Any
    host_read: Any
    host_broadcast: Any
    add_int32: Any
    arithmetic: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    power: Any = None

    def __post_init__(self) -> None:
        figures = {name: value for name, value in vars(self).items() if name != "arithmetic"}
        positive(**{name: value for name, value in figures.items() if value is not None})
        object.__setattr__(self, "arithmetic", MappingProxyType(dict(self.arithmetic)))

    @classmethod
    def of(cls, system: Device, core: Device) -> Self:
        """Figures of a system and of its core in the catalogue.

        A type's instructions follow from its measured rate, less the five that every streaming loop
        takes. Bytes are multiplied by one instruction, wider types in software.
        """
        figures, measured = system.parameters, core.parameters
        clock = core.compute().clock

        def arithmetic(operation: str) -> float:
            return float(clock / measured[f"measured_{operation}"]) - _STREAM

        wide = {
            name: (arithmetic(f"{name}_mul"), arithmetic(f"{name}_add"))
            for name in ("int64", "fp32", "fp64")
            if {f"measured_{name}_mul", f"measured_{name}_add"} <= set(measured)
        }
        single = float(measured["instructions_int32_add"]) - _STREAM
        narrow = {"int8": (single, single), "int32": (arithmetic("int32_mul"), single)}
        return cls(
            dpus=system.compute().units,
            dpus_per_rank=figures["dpus_per_rank"],
            clock=system.compute().clock,
            reentry=figures["pipeline_reentry"],
            most_tasklets=figures["tasklets"],
            bank=core.memory().capacity,
            scratchpad=core.memory("wram").capacity,
            dma_read=figures["dma_read_latency"],
            dma_write=figures["dma_write_latency"],
            dma_per_byte=figures["dma_cycles_per_byte"],
            host_write=figures["host_write_rank"],
            host_read=figures["host_read_rank"],
            host_broadcast=figures["host_broadcast_rank"],
            add_int32=measured["instructions_int32_add"],
            arithmetic={**narrow, **wide},
            power=getattr(system, "power", None),
        )

    def issue_rate(self, tasklets: Any) -> Any:
        r"""Instructions that one core issues in a second.

        .. math:: f \cdot \\min(T, 11) / 11

        Raises
        ------
        ValueError
            If a core cannot run so many tasklets.

        Examples
        --------
        >>> from kvlib import device
        >>> system = System.of(device("upmem-2556"), device("upmem-dpu"))
        >>> [round(float(system.issue_rate(tasklets)) / 1e6) for tasklets in (1, 11, 24)]
        [32, 350, 350]
        """
        busy = np.minimum(self.checked_tasklets(tasklets), self.reentry)
        return self.clock * busy / self.reentry

    def checked_tasklets(self, tasklets: Any) -> Any:
        """Return the number of tasklets after checking that a core can run so many."""
        whole(tasklets=tasklets)
        if np.any(np.asarray(tasklets) > self.most_tasklets):
            raise ValueError(
                f"tasklets = {tasklets}, but a core runs at most {self.most_tasklets:g}."
            )
        return tasklets

    def dma_time(self, size: Any, *, to: Literal["scratchpad", "bank"] = "scratchpad") -> Any:
        r"""Time of one transfer between bank and scratchpad [s].

        .. math:: t = (\alpha + \beta \cdot \text{bytes}) / f

        Parameters
        ----------
        size : int or array
            Bytes: a multiple of 8, at most 2048 [B].
        to : {"scratchpad", "bank"}
            Direction.

        Raises
        ------
        ValueError
            If the transfer engine cannot move so many bytes at once.

        Notes
        -----
        Measured by :cite:t:`gomezluna2022prim`.
        """
        whole(size=size)
        if np.any((np.asarray(size) % 8 != 0) | (np.asarray(size) > LARGEST_TRANSFER)):
            raise ValueError(
                f"size = {size} B: one transfer moves a multiple of 8 B, at most "
                f"{LARGEST_TRANSFER} B. Split it."
            )
        fixed = {"scratchpad": self.dma_read, "bank": self.dma_write}[
            choose(to, ("scratchpad", "bank"), "direction")
        ]
        return (fixed + self.dma_per_byte * size) / self.clock

    def energy(self, time: Any) -> Any:
        """Energy of all modules in some time [J].

        Raises
        ------
        UnknownFigure
            If no source states their power.
        """
        if self.power is None:
            raise UnknownFigure("no power is stated for this system: replace(system, power=...).")
        return self.power * time

    def dma_bandwidth(self, size: Any, *, to: Literal["scratchpad", "bank"] = "scratchpad") -> Any:
        """Bandwidth of transfers of one size, one after the other [B/s]."""
        return size / self.dma_time(size, to=to)


def exchange_time(size: Any, system: System) -> Any:
    """Time to bring data from every core of a rank to others: there is no path but the host [s].

    Parameters
    ----------
    size : float or array
        Bytes that each core sends [B].
    system : System
        Cores of a rank, and the rates at which the host reads and writes it.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import KiB, us
    >>> system = System.of(device("upmem-2556"), device("upmem-dpu"))
    >>> print(f"{exchange_time(4 * KiB, system) / us:.0f} us")
    95 us
    """
    positive(size=size)
    moved = size * system.dpus_per_rank
    return moved / system.host_read + moved / system.host_write

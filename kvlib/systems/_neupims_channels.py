"""The PIM channels of NeuPIMs: where requests lie, and how long their attention takes there.

All keys and values of a request lie in one channel. A row of all banks, a tile, holds the keys of
32 tokens for as many heads as fit in it, or the values of 512 tokens for 32 elements of one head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, whole
from kvlib.nearmemory import BankPim, neupims
from kvlib.precision import itemsize
from kvlib.quoted import Quoted

__all__ = ["Channels", "Heads"]

Balance = Literal["greedy", "round-robin"]

FILL = Quoted(
    6, source="neupims2024repo", basis="paper", unit="1",
    note="multiplications before the first sum leaves the adder trees",
)  # fmt: skip
QUEUE = Quoted(
    32, source="neupims2024repo", basis="paper", unit="1",
    note="accesses of the host that the memory controller sees ahead, 64 B each",
)  # fmt: skip


@dataclass(frozen=True)
class Heads:
    """Heads of one device: KV heads, query heads to each, elements of one."""

    kv: int
    group: int
    dim: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Channels:
    """Banks with units, and the scheduler that gives each request a channel.

    Parameters
    ----------
    pim : BankPim
        The units; `kvlib.nearmemory.neupims`.
    balance : {"greedy", "round-robin"}
        How requests are dealt out: the longest first, each to the channel with the least to do, or
        in turn.
    refresh : bool
        Whether banks refresh.

    Examples
    --------
    One request of 2,048 tokens, 8 heads of 128; the simulator says 35,620 and 27,960 cycles of 1 ns
    for the two products, its own scheduler's estimate is 50,504 for both:

    >>> channels, heads = Channels.of_neupims(), Heads(kv=8, group=1, dim=128)
    >>> [round(part * 1e9) for part in channels.times([2048], heads)]
    [37243, 28937]
    >>> round(channels.estimate(2048, heads) * 1e9)
    50504
    """

    pim: BankPim
    balance: Balance = "greedy"
    refresh: bool = True

    def __post_init__(self) -> None:
        choose(self.balance, ["greedy", "round-robin"], "way to deal out requests")

    @classmethod
    def of_neupims(cls) -> "Channels":
        """Return the simulated ones."""
        return cls(pim=neupims())

    @property
    def count(self) -> int:
        """Channels of one device."""
        return self.pim.channels

    @property
    def row(self) -> int:
        """Elements in one row of a bank."""
        return int(self.pim.row // itemsize("fp16"))

    def tiles(self, length: Any, heads: Heads) -> tuple[Any, Any]:
        """Tiles of one request's keys and of its values."""
        whole(length=length)
        units = self.pim.units
        keys = np.ceil(heads.kv * heads.dim / self.row) * np.ceil(length / units)
        values = heads.kv * np.ceil(length / self.row) * np.ceil(heads.dim / units)
        return keys, values

    def bytes(self, length: Any, heads: Heads) -> Any:
        """Bytes that one request takes in one layer, padding included [B]."""
        return sum(self.tiles(length, heads)) * self.pim.units * self.pim.row

    @property
    def tile(self) -> float:
        """Time of one tile whose sums are read once [s].

        A row that is used in part takes as long: the simulator begins to close a row as soon as its
        multiplication begins.
        """
        return float(self.pim.row_period(self.pim.row_columns))

    @property
    def sums(self) -> float:
        """Time to read the sums of one head before the next one may use the trees [s]."""
        known = self.pim.timing
        return float(known["tCL"] + (1 + FILL) * known["tCCD_L"])

    def request_times(self, length: Any, heads: Heads) -> tuple[Any, Any]:
        r"""Time of one request's scores, and of its outputs [s].

        .. math::

            t_\text{scores} &= g\,(c\,t_\text{write} + K\,t_\text{tile}
                + (h\,\lceil L/32 \rceil - K)\,t_\text{sums})

            t_\text{outputs} &= g\,(h\,\lceil L/512 \rceil\,t_\text{write} + V\,t_\text{tile})

        with K and V tiles, h heads in c rows, and g query heads that each read everything again.
        """
        keys, values = self.tiles(length, heads)
        write = self.pim.write_setup
        groups = np.ceil(length / self.pim.units)
        rows = np.ceil(heads.kv * heads.dim / self.row)
        scores = rows * write + keys * self.tile + (heads.kv * groups - keys) * self.sums
        outputs = heads.kv * np.ceil(length / self.row) * write + values * self.tile
        slower = heads.group / (1 - self._refreshing)
        return scores * slower, outputs * slower

    def estimate(self, length: Any, heads: Heads) -> Any:
        """Time of one request as the simulator's scheduler estimates it [s]."""
        keys, values = self.tiles(length, heads)
        writes = np.ceil(heads.kv * heads.dim / self.row) + heads.kv * np.ceil(length / self.row)
        return (100 * writes + 184 * (keys + values)) * self.pim.timing["tCK"]

    def deal(self, lengths: Sequence[int], heads: Heads) -> list[int]:
        """Give each request a channel."""
        if self.balance == "round-robin":
            return [number % self.count for number in range(len(lengths))]
        loads = np.zeros(self.count)
        found = [0] * len(lengths)
        work = self.estimate(np.asarray(lengths), heads)
        for request in np.argsort(-np.asarray(lengths), kind="stable"):
            channel = int(np.argmin(loads))
            found[request] = channel
            loads[channel] += work[request]
        return found

    def loads(
        self, lengths: Sequence[int], heads: Heads, channels: Sequence[int] | None = None
    ) -> tuple[Any, Any]:
        """Time of scores and of outputs in each channel, shape (channels,) [s]."""
        if not len(lengths):
            return np.zeros(self.count), np.zeros(self.count)
        places = self.deal(lengths, heads) if channels is None else channels
        each = self.request_times(np.asarray(lengths), heads)
        scores, outputs = (np.bincount(places, part, minlength=self.count) for part in each)
        return scores, outputs

    def times(
        self, lengths: Sequence[int], heads: Heads, channels: Sequence[int] | None = None
    ) -> tuple[float, float]:
        """Time until the last channel has its scores, and then its outputs [s].

        Every channel waits for the slowest one between the two.
        """
        scores, outputs = self.loads(lengths, heads, channels)
        return float(scores.max()), float(outputs.max())

    def stalls(self, heads: Heads) -> tuple[float, float]:
        r"""Part of the host's time that it loses while units do scores, and outputs.

        Opening a row in all banks takes every activation of :math:`o` windows tFAW. Meanwhile the
        host drains what its queue sees ahead and then waits, once a tile:

        .. math:: s = \frac{\max(o\,t_\text{FAW} - q\,t_\text{CCD}, 0)}{t_\text{tile}}
        """
        known = self.pim.timing
        lost = max(self.pim.openings * known["tFAW"] - QUEUE * known["tCCD_L"], 0.0)
        if self.pim.openings == 1:
            lost = 0.0
        in_row = min(self.row // heads.dim, heads.kv)
        slower = 1 / (1 - self._refreshing)
        scores = (self.tile + (in_row - 1) * self.sums) * slower
        return lost / scores, lost / (self.tile * slower)

    def multiplying(self, lengths: Sequence[int], heads: Heads) -> float:
        """Time in which the mean channel's units multiply [s]."""
        keys, values = self.tiles(np.asarray(lengths), heads)
        commands = self.pim.row_columns * self.pim.timing["tMAC"] * heads.group
        return float(np.sum(keys + values) * commands / self.count)

    def single_row_buffer(self) -> "Channels":
        """Return the same with one row buffer to a bank: units and host take turns."""
        return replace(self, pim=self.pim.replace(dual_row_buffers=False))

    @property
    def _refreshing(self) -> float:
        known = self.pim.timing
        return float(known["tRFC"] / known["tREFI"]) if self.refresh else 0.0

"""Processors on a memory module: one engine to each rank (AxDIMM), or one controller (CXL-PNM).

They use ordinary memory chips, so they see what the chips' own pins give: as many times the host's
channel as there are ranks or channels behind the module's connector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from kvlib.catalogue import device
from kvlib.checks import positive, whole
from kvlib.hardware import Timing
from kvlib.nearmemory.dram import check_timing
from kvlib.operators import Work

__all__ = ["MemoryModule", "axdimm", "cxl_pnm", "rank_gain"]


@dataclass(frozen=True, kw_only=True)
class MemoryModule:
    """A module with a processor beside its memory.

    Parameters
    ----------
    name : str
        Short name.
    bandwidth : float
        Rate at which its processor reads its memory [B/s].
    link : float
        Rate of its connector, in one direction [B/s].
    capacity : float
        Bytes it holds [B].
    peak : mapping of str to float
        Operations per second by precision [flop/s]; empty where no source states one.
    operations : tuple of str
        Tasks it knows, by `kvlib.nearmemory.Task.operation`.
    energy : float or None
        Energy to bring one byte to the processor [J/B]; None if no source states it.
    """

    name: str
    bandwidth: float
    link: float
    capacity: float
    operations: tuple[str, ...]
    peak: Mapping[str, float] = field(default_factory=dict)
    energy: float | None = None

    def __post_init__(self) -> None:
        positive(bandwidth=self.bandwidth, link=self.link, capacity=self.capacity)
        object.__setattr__(self, "peak", MappingProxyType(dict(self.peak)))

    def time(self, work: Work, precision: str) -> tuple[Any, Any, Any]:
        """Compute, memory and link time of some work [s].

        Only activations cross the link; weights and cache stay.
        """
        rate = self.peak.get(precision, np.inf)
        stays = work.weights + work.kv
        return work.flop / rate, stays / self.bandwidth, work.activations / self.link


def rank_gain(ranks: Any, timing: Timing) -> Any:
    r"""Speed-up of an engine in each rank over a host that reads all ranks through one channel.

    .. math:: \text{gain} = \text{ranks} \times \bigl(1 - t_\text{RFC} / t_\text{REFI}\bigr)

    The host keeps its channel busy while one rank refreshes, because another rank can send. An
    engine that owns one rank waits.

    Parameters
    ----------
    ranks : int or array
        Ranks on the channel.
    timing : Timing
        States tRFC and tREFI.

    Notes
    -----
    AxDIMM measured 1.89 with two ranks, :cite:t:`ke2022axdimm`; the refresh argument is ours.

    Examples
    --------
    >>> print(f"{rank_gain(2, device('ddr4-2400-channel').timing):.2f}")
    1.91
    """
    whole(ranks=ranks)
    check_timing(timing)
    return ranks * (1 - timing["tRFC"] / timing["tREFI"])


def axdimm() -> MemoryModule:
    """Samsung's AxDIMM prototype: two ranks, gather and reduce.

    Examples
    --------
    >>> print(f"{axdimm().bandwidth / axdimm().link:.2f} times its channel")
    1.91 times its channel
    """
    card = device("axdimm")
    memory, link = card.memory(), card.link()
    gain = rank_gain(int(memory.ranks), device("ddr4-2400-channel").timing)
    return MemoryModule(
        name="AxDIMM",
        bandwidth=gain * link.bandwidth,
        link=link.bandwidth,
        capacity=memory.capacity,
        operations=("gather-reduce",),
    )


def cxl_pnm(peak: Mapping[str, float]) -> MemoryModule:
    """Samsung's CXL-PNM: a language model in LPDDR5X with an accelerator in the CXL controller.

    Parameters
    ----------
    peak : mapping of str to float
        Operations per second by precision [flop/s]. Its source could not be read: say what to
        assume.

    Examples
    --------
    >>> module = cxl_pnm({"fp16": 8.2e12})
    >>> print(f"{module.peak['fp16'] / module.bandwidth:.1f} flop/B at the ridge")
    7.5 flop/B at the ridge
    """
    if not peak:
        raise ValueError("peak is empty: no source states CXL-PNM's rate. Give {'fp16': ...}.")
    positive(**{f"peak of {name}": rate for name, rate in peak.items()})
    card = device("cxl-pnm")
    memory = card.memory()
    return MemoryModule(
        name="CXL-PNM",
        bandwidth=memory.bandwidth,
        link=card.link().bandwidth,
        capacity=memory.capacity,
        operations=("matrix-vector", "attention"),
        peak=peak,
    )

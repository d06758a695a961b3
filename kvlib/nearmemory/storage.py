"""Processors in a solid-state drive: what the flash gives, what the link takes, what wears out.

A filter beside the flash is worth the ratio of what it reads to what it sends. It cannot read
faster than the flash channels and the dies behind them; and a cache that is written there wears it
out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.catalogue import device
from kvlib.checks import fraction, positive, whole
from kvlib.hardware import UnknownFigure

__all__ = ["Drive", "drive", "lifetime", "scan_time", "write_budget"]


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A solid-state drive with a processor inside.

    Parameters
    ----------
    name : str
        Short name.
    channel_bandwidth : float
        Rate of all flash channels together, or of the path from flash to processor [B/s].
    link : float
        Rate of the link to the host [B/s].
    die_bandwidth : float
        Rate at which all planes fill their page registers [B/s]; infinite where no source states
        it: then the channels alone bound the drive.
    read_time : float
        Time to the first page from the cells [s]; 0 where no source states it.
    capacity : float or None
        Bytes it holds [B]; None where no source states it: then nothing is too large for it.

    Examples
    --------
    >>> big = drive("genstore-h")
    >>> print(f"{big.bandwidth / 1e9:.1f} GB/s inside, {big.link / 1e9:.1f} GB/s to the host")
    19.2 GB/s inside, 8.0 GB/s to the host
    """

    name: str
    channel_bandwidth: float
    link: float
    die_bandwidth: float
    read_time: float
    capacity: float | None

    def __post_init__(self) -> None:
        positive(channel_bandwidth=self.channel_bandwidth, link=self.link)
        positive(True, read_time=self.read_time)

    @property
    def bandwidth(self) -> float:
        """Rate at which the processor inside can read: the slower of channels and dies [B/s]."""
        return min(self.channel_bandwidth, self.die_bandwidth)


def drive(name: str) -> Drive:
    """Return a drive of the catalogue.

    Parameters
    ----------
    name : str
        A card of kind ``ndp-ssd``. Planes, page and read time bound the dies where it states them.

    Examples
    --------
    >>> generic = drive("ssd-ndp-16ch")
    >>> print(f"{generic.die_bandwidth / 1e9:.0f} GB/s from the dies")
    373 GB/s from the dies
    """
    card = device(name)
    memory = card.memory()
    read_time = card.parameters.get("t_read", 0.0)
    try:
        dies = memory.channels * memory.banks * memory.row / read_time if read_time else np.inf
    except UnknownFigure:
        dies = np.inf
    return Drive(
        name=card.title,
        channel_bandwidth=memory.bandwidth,
        link=card.link().bandwidth,
        die_bandwidth=dies,
        read_time=read_time,
        capacity=memory.capacity if hasattr(memory, "capacity") else None,
    )


def scan_time(
    size: Any,
    here: Drive,
    *,
    selectivity: Any = 1.0,
    inside: bool = True,
    drives: Any = 1,
    host: Any = np.inf,
) -> Any:
    r"""Time to read stored bytes once, filtered in the drive or sent to the host whole [s].

    .. math::

        t = t_\text{R} + \max\Bigl(\frac{Q}{N B_\text{flash}},\;
            \frac{\sigma Q}{\min(N B_\text{link}, B_\text{host})}\Bigr)

    Parameters
    ----------
    size : float or array
        Bytes Q over all drives [B].
    here : Drive
        One of them.
    selectivity : float or array
        Fraction :math:`\sigma` that passes the filter.
    inside : bool
        Whether the filter is in the drive; else everything is sent.
    drives : int or array
        Drives N that share the bytes, each with a link of its own.
    host : float or array
        Rate at which the host can take what all of them send [B/s]; no limit unless given.

    Examples
    --------
    The most a filter can gain is the ratio of the two rates, when little passes:

    >>> for name in ("genstore-l", "genstore-m", "genstore-h", "smartssd"):
    ...     here = drive(name)
    ...     gain = scan_time(1e12, here, inside=False) / scan_time(1e12, here, selectivity=1e-3)
    ...     print(f"{name}: {gain:.2f}")
    genstore-l: 16.00
    genstore-m: 2.74
    genstore-h: 2.40
    smartssd: 1.00

    Where one drive gains nothing, many do, once together they outrun the host:

    >>> here = drive("smartssd")
    >>> outside = scan_time(1e12, here, inside=False, drives=12, host=12e9)
    >>> print(f"{outside / scan_time(1e12, here, selectivity=1e-3, drives=12, host=12e9):.1f}")
    3.0
    """
    positive(size=size)
    fraction(selectivity=selectivity)
    whole(drives=drives)
    flash = size / (drives * here.bandwidth)
    sent = size * (selectivity if inside else 1.0) / np.minimum(drives * here.link, host)
    return here.read_time + np.maximum(flash, sent)


def write_budget(capacity: Any, *, cycles: Any, write_amplification: Any) -> Any:
    r"""Bytes that may be written to a drive before its cells wear out [B].

    .. math:: \text{budget} = \text{cycles} \times \text{capacity} / \text{write amplification}

    Parameters
    ----------
    capacity : float or array
        Bytes the drive holds [B].
    cycles : float or array
        Program and erase cycles its cells endure.
    write_amplification : float or array
        Bytes written to flash per byte the host writes, 1 or more.

    Examples
    --------
    >>> budget = write_budget(7.68e12, cycles=3000, write_amplification=2)
    >>> print(f"{budget / 1e15:.1f} PB")
    11.5 PB
    """
    positive(capacity=capacity, cycles=cycles, write_amplification=write_amplification)
    if np.any(np.asarray(write_amplification) < 1):
        raise ValueError(
            f"write_amplification = {write_amplification} must be 1 or more: a drive writes at "
            f"least what it is given."
        )
    return cycles * capacity / write_amplification


def lifetime(budget: Any, rate: Any) -> Any:
    """How long a write budget lasts at a rate of writing [s].

    Parameters
    ----------
    budget : float or array
        Bytes that may be written [B].
    rate : float or array
        Bytes written per second, such as new tokens per second times cache bytes per token [B/s].

    Examples
    --------
    A 70B model with grouped queries adds 320 KiB to its cache with each token. At 3,000 tokens a
    second, drives good for 1.3 writes of 7.68 TB a day over five years last:

    >>> from kvlib import model
    >>> from kvlib.units import year
    >>> rate = 3000 * model("llama-2-70b").kv_bytes_per_token("fp16")
    >>> print(f"{lifetime(1.3 * 7.68e12 * 5 * 365, rate) / year:.2f} years")
    0.59 years
    """
    positive(budget=budget, rate=rate)
    return budget / rate

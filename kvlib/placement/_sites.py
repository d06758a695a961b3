"""Sites with what their processors were measured or computed to sustain, from cards and models."""

import numpy as np

from kvlib.checks import fraction, positive, whole
from kvlib.hardware import Device
from kvlib.nearmemory import BankPim, Drive, MemoryModule, attention
from kvlib.operators import plain
from kvlib.placement._system import Site
from kvlib.precision import itemsize
from kvlib.roofline import efficiency

__all__ = ["bank_level_site", "drive_level_site", "gpu_site", "host_site", "module_level_site"]


def gpu_site(
    device: Device,
    *,
    count: int = 1,
    precision: str = "bf16",
    usable: float = 0.9,
    head_dim: int = 128,
    name: str = "gpu",
) -> Site:
    r"""GPUs that share a model, with the rates of measured attention kernels.

    Bandwidth is the part of the datasheet's that decode attention reached. Peak is what prefill
    attention reaches, for a piece of large r is computed like it: with :math:`\mu` the matrix
    fraction, P the peak of C cores and :math:`\sigma` the softmax scores of a core a second,

    .. math:: F = 4 d\, C \Big/ \left( \frac{4 d\, C}{\mu P} + \frac{1}{\sigma} \right)

    Parameters
    ----------
    device : Device
        A GPU whose architecture was measured.
    count : int
        GPUs; requests are spread over them evenly.
    precision : str
        Format of queries and cache.
    usable : float
        Part of the memory that an engine plans with.
    head_dim : int
        Elements of a head.
    name : str
        Its name in the system.

    Raises
    ------
    UnknownFigure
        If no kernel was measured on the device's architecture.

    Examples
    --------
    >>> from kvlib import device
    >>> site = gpu_site(device("h100-sxm-80gb"))
    >>> print(f"{site.bandwidth / 1e12:.2f} TB/s, ridge {site.peak / site.bandwidth:.0f} flop/B")
    2.98 TB/s, ridge 229 flop/B
    """
    whole(count=count)
    fraction(usable=usable)
    kernels = efficiency(device)
    decode, prefill = kernels.decode_attention["flash"], kernels.prefill_attention
    cores = float(device.compute().units)
    products = 4.0 * head_dim * cores / (prefill.matrix_fraction * device.peak(precision))
    memory = device.memory()
    return Site(
        name=name,
        bandwidth=count * decode.bandwidth_fraction * memory.bandwidth,
        peak=count * cores * 4.0 * head_dim / (products + 1.0 / prefill.score_rate),
        capacity=count * usable * memory.capacity,
        latency=float(decode.kernel_floor),
        power=count * float(device.power) if hasattr(device, "power") else None,
    )


def bank_level_site(
    pim: BankPim,
    *,
    count: int = 1,
    context: int = 4096,
    head_dim: int = 128,
    precision: str = "fp16",
    latency: float = 0.0,
    beside: str | None = None,
    name: str = "pim",
) -> Site:
    """Units beside DRAM banks, with what their timing model sustains on decode attention.

    They read a column anew for each `pim.reuse` queries, so the energy of reading goes with the
    operations.

    Bandwidth is that of one query on a cache of `context` tokens, peak that of sixteen; rows to
    open, vectors to write, results to read and refresh are counted. Every channel has as many heads
    to work on as every other.

    Parameters
    ----------
    pim : BankPim
        Units of one device.
    count : int
        Devices.
    name : str
        Its name in the system.
    context, head_dim : int
        Sizes at which they are timed.
    precision : str
        Format of the cache.
    latency : float
        Time lost in each layer in which they are used [s].
    beside : str, optional
        The site in whose memory they work; their own unless given.

    Examples
    --------
    >>> from kvlib.nearmemory import attacc
    >>> site = bank_level_site(attacc("bank"))
    >>> print(f"{site.bandwidth / 1e12:.1f} TB/s, ridge {site.peak / site.bandwidth:.2f} flop/B")
    26.0 TB/s, ridge 0.99 flop/B
    """
    whole(count=count, context=context)
    positive(True, latency=latency)
    bytes_read = 2.0 * context * head_dim * itemsize(precision) * pim.channels
    seconds = {
        queries: float(plain(np.asarray(
            attention(pim, context, heads=pim.channels, head_dim=head_dim, precision=precision,
                      queries=queries, refresh="average").time)))
        for queries in (1, 16)
    }  # fmt: skip
    return Site(
        name=name,
        bandwidth=count * bytes_read / seconds[1],
        peak=count * 16 * 4.0 * context * head_dim * pim.channels / seconds[16],
        capacity=0.0 if beside else count * pim.capacity,
        beside=beside,
        dual_row_buffers=pim.dual_row_buffers,
        latency=latency,
        energy_per_byte=None if pim.energy is None else 0.0,
        energy_per_flop=_unit_energy(pim, itemsize(precision)),
    )


def _unit_energy(pim: BankPim, element_bytes: float) -> float | None:
    """Energy of one operation with its part of the reads from the cells [J/flop]."""
    if pim.energy is None or pim.unit_energy is None:
        return None
    return pim.unit_energy + pim.energy * element_bytes / (2.0 * pim.reuse)


def module_level_site(
    module: MemoryModule,
    *,
    sustained: float,
    count: int = 1,
    precision: str = "fp16",
    latency: float = 0.0,
    name: str = "module",
) -> Site:
    """Processors on memory modules.

    Parameters
    ----------
    module : MemoryModule
        One of them.
    sustained : float
        Part of bandwidth and peak that attention reaches; nobody has published it, so say it.
    count : int
        Modules.
    precision, latency, name
        As in `bank_level_site`.

    Examples
    --------
    >>> from kvlib.nearmemory import cxl_pnm
    >>> module_level_site(cxl_pnm({"fp16": 8.2e12}), sustained=0.8).rate(16.0) / 1e9
    410.0
    """
    fraction(sustained=sustained)
    whole(count=count)
    return Site(
        name=name,
        bandwidth=count * sustained * module.bandwidth,
        peak=count * sustained * module.peak[precision],
        capacity=count * module.capacity,
        latency=latency,
        energy_per_byte=module.energy,
    )


def host_site(
    device: Device, *, sustained: float, precision: str, latency: float = 0.0, name: str = "host"
) -> Site:
    """Build a host memory with its processor; one whose card states no peak only stores.

    Examples
    --------
    >>> from kvlib import device
    >>> host_site(device("xeon-8480plus"), sustained=0.8, precision="fp16").rate(1.0) / 1e9
    245.76
    """
    fraction(sustained=sustained)
    memory = device.memory()
    return Site(
        name=name,
        bandwidth=sustained * memory.bandwidth,
        peak=sustained * device.compute().peak.get(precision, 0.0),
        capacity=float(memory.capacity),
        latency=latency,
        power=float(device.power) if hasattr(device, "power") else None,
    )


def drive_level_site(
    drive: Drive, *, capacity: float, peak: float, count: int = 1, name: str = "ssd"
) -> Site:
    """Flash drives; `peak` is what a processor inside does, 0 if there is none [flop/s].

    Examples
    --------
    >>> from kvlib.nearmemory import drive
    >>> print(drive_level_site(drive("ssd-ndp-16ch"), capacity=8e12, peak=0.0).bandwidth / 1e9)
    19.2
    """
    whole(count=count)
    return Site(
        name=name, bandwidth=count * drive.bandwidth, peak=count * peak,
        capacity=count * capacity, latency=drive.read_time,
    )  # fmt: skip

"""The boxes of the study: a node of GPUs, and something beside it."""

from collections.abc import Mapping
from functools import lru_cache

from kvlib.catalogue import device
from kvlib.checks import choose
from kvlib.hardware import Link
from kvlib.nearmemory import MemoryModule, attacc, cent, cxl_pnm, neupims
from kvlib.placement import (
    Site,
    System,
    bank_level_site,
    gpu_site,
    host_site,
    module_level_site,
)
from kvlib.units import GB, TFLOP, s, us

__all__ = ["ASSUMED", "BOXES", "GPU", "WHAT_IFS", "Assumed", "alone", "box", "near", "storing"]

Assumed = Mapping[str, float]

GPU = "h200-sxm-141gb"
"""The card of the GPUs; their number is an argument."""

BOXES = ("AttAcc", "NeuPIMs", "CENT", "CXL-PNM", "DIMM NDP", "host", "all of them")
"""Systems of the study."""

WHAT_IFS = ("logic die", "one row buffer")
"""Systems that nobody has proposed in this form, for the wide grid."""

ASSUMED: dict[str, float] = {
    "near start-up": 6 * us,
    "link latency": 1 * us,
    "sustained": 0.8,
    "CXL-PNM peak": 8.2 * TFLOP / s,
    "DIMM ridge": 4.0,
    "host peak": 1.0,
    "near bandwidth": 1.0,
    "near peak": 1.0,
    "near capacity": 1.0,
    "link bandwidth": 1.0,
    "GPU bandwidth": 1.0,
    "GPU peak": 1.0,
    "GPU start-up": 1.0,
    "other operators": 1.0,
    "lifetime": 1.0,
}
"""What no source states, and factors on what one states.

A near site starts with two small kernels in each layer, which send queries and take results: each
the shortest elementwise kernel of `kvlib.roofline.efficiency`, 3 us. Processors on modules and
hosts sustain four fifths of their datasheet. CXL-PNM's peak was recalled and not read; of a
processor on a DIMM it is said by a ridge, in flop/B. The rest are factors.
"""

_BESIDE = {"all of them": ("AttAcc", "CXL-PNM", "host")}
_SOCKETS, _CHANNELS, _RANKS = 2, 12, 4  # of the host, in which the DIMMs are


@lru_cache(maxsize=256)
def _box(name: str, gpus: int, assumed: tuple[tuple[str, float], ...]) -> System:
    a = dict(assumed)
    hub = gpu_site(device(GPU), count=gpus)
    hub = hub.replace(
        bandwidth=hub.bandwidth * a["GPU bandwidth"], peak=hub.peak * a["GPU peak"],
        latency=hub.latency * a["GPU start-up"],
    )  # fmt: skip
    beside = [_beside(each, gpus, a) for each in _BESIDE.get(name, (name,))]
    return System(
        name,
        sites=(hub, *(_bent(site, a) for site, _ in beside)),
        links={("gpu", site.name): link for site, link in beside if link},
        hub="gpu",
    )


def box(name: str, *, gpus: int = 8, assumed: Assumed = ASSUMED) -> System:
    """Return one of `BOXES` or `WHAT_IFS`.

    Parameters
    ----------
    name : str
        Its name.
    gpus : int
        H200 in it; what stands beside them grows in proportion, the part of a host too.
    assumed : mapping of str to float
        Constants, as in `ASSUMED`.

    Examples
    --------
    >>> for site in box("AttAcc").sites:
    ...     ridge = site.peak / site.bandwidth
    ...     print(f"{site.name}: {site.bandwidth / 1e12:.0f} TB/s, ridge {ridge:.0f} flop/B")
    gpu: 34 TB/s, ridge 160 flop/B
    attacc: 208 TB/s, ridge 1 flop/B
    """
    choose(name, (*BOXES, *WHAT_IFS), "box")
    for constant in assumed:
        choose(constant, ASSUMED, "assumed constant")
    return _box(name, gpus, tuple((ASSUMED | dict(assumed)).items()))


def alone(system: System) -> System:
    """Return the GPUs without anything beside them."""
    return System(f"{system.name}, GPUs only", (system[system.hub],), {}, system.hub)


def storing(system: System) -> System:
    """Return the same memories with no processor but the GPUs: what is beside stores and streams.

    Units in the GPUs' own memory go.

    Examples
    --------
    >>> [str(option) for option in storing(box("CXL-PNM")).options]
    ['gpu', 'cxl-pnm to gpu']
    """
    sites = tuple(
        site if site.name == system.hub else site.replace(peak=0.0, latency=0.0)
        for site in system.sites if site.beside is None
    )  # fmt: skip
    return system.replace(name=f"{system.name}, storing", sites=sites)


def near(system: System) -> tuple[str, ...]:
    """Name the sites beside the GPUs that compute."""
    return tuple(site.name for site in system.sites if site.name != system.hub and site.peak)


def _beside(name: str, gpus: int, a: Assumed) -> tuple[Site, Link | None]:
    """Return what stands beside the GPUs, and the link to it."""
    start, latency = a["near start-up"], a["link latency"]
    nvlink, bus = (
        Link(name=kind, bandwidth=gpus * a["link bandwidth"] * float(device(card).link().bandwidth),
             latency=latency)
        for kind, card in (("nvlink", "nvlink4"), ("pcie", "pcie5-x16"))
    )  # fmt: skip
    if name == "AttAcc":
        return bank_level_site(attacc("bank"), count=gpus, latency=start, name="attacc"), nvlink
    if name in ("NeuPIMs", "one row buffer"):
        units = bank_level_site(neupims(), count=gpus, beside="gpu", latency=start, name="neupims")
        return units.replace(dual_row_buffers=name == "NeuPIMs"), None
    if name == "CENT":
        return bank_level_site(
            cent(), count=4 * gpus, precision="bf16", latency=start, name="cent"
        ), bus
    if name == "CXL-PNM":
        modules = cxl_pnm({"fp16": a["CXL-PNM peak"]})
        return module_level_site(
            modules, sustained=_part(a), count=gpus, latency=start, name="cxl-pnm"
        ), bus
    if name == "DIMM NDP":
        return _dimms(a, start, gpus / 8), bus
    if name == "host":
        return _host(a, start, gpus / 8), bus
    units = bank_level_site(attacc("bank"), count=gpus, latency=start, name="pim")
    rate = 4.0 * gpus * float(device("attacc-bank").memory("external").bandwidth)
    return units.replace(bandwidth=rate, peak=8.0 * rate), nvlink


def _host(a: Assumed, start: float, part: float) -> Site:
    """Part of two sockets, with 64 GB in each of their channels."""
    xeon = device("xeon-6980p")
    memory = xeon.memory().replace(capacity=_CHANNELS * 64 * GB)
    one = host_site(
        xeon.replace(memories=(memory, *xeon.memories[1:])), sustained=_part(a), precision="bf16",
        latency=start, name="host",
    )  # fmt: skip
    two = _SOCKETS * part
    return one.replace(
        bandwidth=two * one.bandwidth, peak=two * one.peak * a["host peak"],
        capacity=two * one.capacity,
    )  # fmt: skip


def _dimms(a: Assumed, start: float, part: float) -> Site:
    """The same host's modules with a processor beside each rank, which read at the same time."""
    rank = float(device("ddr5-6400-channel").memory().bandwidth)
    bandwidth = part * _SOCKETS * _CHANNELS * _RANKS * rank
    modules = MemoryModule(
        name="DIMM NDP", bandwidth=bandwidth, link=float(device("pcie5-x16").link().bandwidth),
        capacity=part * _SOCKETS * _CHANNELS * 64 * GB, operations=("attention",),
        peak={"fp16": a["DIMM ridge"] * bandwidth},
    )  # fmt: skip
    return module_level_site(modules, sustained=_part(a), latency=start, name="dimm")


def _part(a: Assumed) -> float:
    return min(a["sustained"], 1.0)


def _bent(site: Site, a: Assumed) -> Site:
    """Multiply by the factors on near sites; faster banks bring their arithmetic along."""
    return site.replace(
        bandwidth=site.bandwidth * a["near bandwidth"],
        peak=site.peak * a["near bandwidth"] * a["near peak"],
        capacity=site.capacity * a["near capacity"],
    )  # fmt: skip

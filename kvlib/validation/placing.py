"""The study of chapter 17: six models on six boxes under four workloads, placed by every rule.

Each box is a node of eight H200, with 8-bit weights and 16-bit cache, and something beside it.
"""

from functools import cache
from typing import Any

from kvlib.catalogue import device, model
from kvlib.hardware import Link
from kvlib.nearmemory import attacc, cent, cxl_pnm, neupims
from kvlib.parallel import Parallel
from kvlib.placement import (
    Case,
    Placement,
    Schedule,
    Shortage,
    Site,
    System,
    around,
    bandwidth_stripe,
    bank_level_site,
    best_single,
    coolest_near,
    evaluate,
    gpu_site,
    greedy,
    host_site,
    module_level_site,
    nature_blind,
    offloaded,
    optimum,
    rate_stripe,
    single,
)
from kvlib.segments import Requests, State, pieces

__all__ = ["BOXES", "MODELS", "WORKLOADS", "box", "case", "served", "times"]

MODELS = (
    "llama-2-7b", "llama-3.1-70b", "deepseek-v3", "gemma-3-27b", "gpt-oss-120b", "mixtral-8x7b",
)  # fmt: skip
WORKLOADS = ("chat", "long document", "agents", "speculation")
BOXES = ("AttAcc", "NeuPIMs", "CENT", "CXL-PNM", "host", "all of them")
GPUS = 8
CONTEXT = {
    "chat": 1155 + 106, "long document": 12035 + 172, "agents": 8596 + 91,
    "speculation": 1155 + 106,
}  # fmt: skip


@cache
def _sites() -> dict[str, tuple[Site, Link | None]]:
    """What can stand beside the GPUs, and the link to it."""
    pcie = float(device("pcie5-x16").link().bandwidth)
    nvlink = float(device("nvlink4").link().bandwidth)
    bus = Link(name="pcie", bandwidth=GPUS * pcie, latency=1e-6)
    xeon = device("xeon-6980p")
    hosts = host_site(
        xeon.replace(memories=(xeon.memory().replace(capacity=768e9), *xeon.memories[1:])),
        sustained=0.8, precision="bf16", name="host",
    )  # fmt: skip
    hosts = hosts.replace(
        bandwidth=2 * hosts.bandwidth, peak=2 * hosts.peak, capacity=2 * hosts.capacity
    )
    module = cxl_pnm({"fp16": 8.2e12})
    return {
        "AttAcc": (
            bank_level_site(attacc("bank"), count=GPUS, name="attacc"),
            Link(name="nvlink", bandwidth=GPUS * nvlink, latency=1e-6),
        ),
        "NeuPIMs": (bank_level_site(neupims(), count=GPUS, beside="gpu", name="neupims"), None),
        "CENT": (bank_level_site(cent(), count=4 * GPUS, precision="bf16", name="cent"), bus),
        "CXL-PNM": (module_level_site(module, sustained=0.8, count=GPUS, name="cxl-pnm"), bus),
        "host": (hosts, bus),
    }


@cache
def box(name: str) -> System:
    """Return one of `BOXES`.

    Examples
    --------
    >>> for site in box("AttAcc").sites:
    ...     ridge = site.peak / site.bandwidth
    ...     print(f"{site.name}: {site.bandwidth / 1e12:.0f} TB/s, ridge {ridge:.0f} flop/B")
    gpu: 34 TB/s, ridge 160 flop/B
    attacc: 208 TB/s, ridge 1 flop/B
    """
    names = ("AttAcc", "CXL-PNM", "host") if name == "all of them" else (name,)
    beside = [_sites()[each] for each in names]
    return System(
        name,
        sites=(gpu_site(device("h200-sxm-141gb"), count=GPUS), *(site for site, _ in beside)),
        links={("gpu", site.name): link for site, link in beside if link},
        hub="gpu",
    )


def served(name: str, workload: str, many: int = 64) -> State:
    """Return one of `MODELS` under one of `WORKLOADS`, as in chapter 16.

    Examples
    --------
    >>> len(served("llama-3.1-70b", "speculation").groups)
    2
    """
    shape, context = model(name), CONTEXT[workload]
    if workload == "speculation":
        half = [context] * (many // 2)
        verifying = Requests(shape, half, query_tokens=4, accepted=2)
        return State([Requests(shape, half), verifying])
    prefix = 4096 if workload == "agents" else 0
    return State([Requests(shape, [context] * many, prefix=prefix)])


def case(
    name: str,
    system: System,
    workload: str,
    *,
    many: int = 64,
    schedule: Schedule = "barrier",
    startup: bool = True,
) -> Case:
    """Return a step of one model on one system under one workload.

    Examples
    --------
    >>> print(case("llama-2-7b", box("AttAcc"), "agents").pieces.names)
    ('llama-2-7b MHA', 'llama-2-7b MHA prefix x64')
    """
    state = served(name, workload, many)
    found = pieces(state)
    rest = around(
        state, found, device("h200-sxm-141gb"), schedule=schedule,
        parallel=Parallel(tensor=GPUS), weight_precision="fp8",
    )  # fmt: skip
    return Case(pieces=found, system=system, startup=startup, **rest)


def times(placed: Case) -> dict[str, float]:
    """Evaluate every rule and the optimum: step times, and what is waited for attention [s].

    Returns
    -------
    dict
        Times by rule, infinite where the cache does not fit where the rule puts it; `bound` is the
        solver's lower bound, `attention` the part of the optimum's step in which attention is
        waited for, `split` the pieces it splits.
    """
    system = placed.system
    near = system.sites[1].name
    best = optimum(placed)
    if isinstance(best, Shortage):
        raise ValueError(best.reason)
    rules: dict[str, Any] = {
        "GPUs only": single(placed.replace(system=_alone(system)), "gpu"),
        "near only": offloaded(placed, near),
        "best single": best_single(placed),
        "bandwidth stripe": bandwidth_stripe(placed),
        "nature-blind": nature_blind(placed),
        "rate stripe": rate_stripe(placed),
        "Duplex": coolest_near(placed, near),
        "greedy": greedy(placed),
        "optimum": best.placement,
    }
    found = {
        rule: evaluate(each).time if isinstance(each, Placement) else float("inf")
        for rule, each in rules.items()
    }
    outcome = evaluate(best.placement)
    return found | {
        "bound": best.bound, "attention": outcome.attention, "split": best.placement.split,
    }  # fmt: skip


def _alone(system: System) -> System:
    """Return the hub without anything beside it."""
    return System(f"{system.name}, hub only", (system[system.hub],), {}, system.hub)

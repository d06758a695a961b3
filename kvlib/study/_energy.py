"""Energy of attention by rule, where a source states what the sites and the link take."""

import numpy as np

from kvlib.catalogue import device
from kvlib.placement import (
    Case,
    Placement,
    Shortage,
    System,
    affine_stripe,
    coolest_near,
    evaluate,
    offloaded,
    optimum,
    single,
)
from kvlib.study._boxes import near

__all__ = ["crossover", "energies", "frugal", "with_energies"]


def with_energies(system: System) -> System:
    """Return a system with the energies of AttAcc's simulator, where it states them.

    They are of HBM3 through the pins, of units beside its banks and of NVLink; the GPUs of the
    study have HBM3e, of which no source states it. An operation costs the same at both sites.
    Writing to memory is not counted, its way over the link is.

    Examples
    --------
    >>> from kvlib.study import box
    >>> print(with_energies(box("AttAcc"))["gpu"].energy_per_byte)
    2.872e-11
    """
    external = device("attacc-bank").memory("external").energy
    operation = device("attacc-bank").parameters["energy_multiply_add"] / 2
    known = system.change("gpu", energy_per_byte=float(external), energy_per_flop=operation)
    sent = float(device("attacc-bank").parameters["energy_link"])
    for site in near(known):
        known = known.change(site, energy_per_byte_out=float(external))
    links = {
        pair: link.replace(energy=sent) if link.name == "nvlink" else link
        for pair, link in system.links.items()
    }
    return known.replace(links=links)


def crossover(system: System, site: str) -> tuple[float, float]:
    """Reuse at which a near site stops being faster than the GPUs, and cheaper in energy.

    Parameters
    ----------
    system : System
        With energies.
    site : str
        The near site.

    Returns
    -------
    tuple of float
        By time and by energy [flop/B]; inf where it never stops.

    Raises
    ------
    ValueError
        If an energy is not stated.

    Examples
    --------
    >>> from kvlib.study import box
    >>> by_time, by_energy = crossover(with_energies(box("AttAcc")), "attacc")
    >>> print(f"{by_time:.1f} and {by_energy:.1f} flop/B")
    6.0 and 6.5 flop/B
    """
    gpu, other = system[system.hub], system[site]
    figures = (gpu.energy_per_byte, gpu.energy_per_flop, other.energy_per_byte,
               other.energy_per_flop)  # fmt: skip
    byte, flop, byte_near, flop_near = (np.nan if x is None else x for x in figures)
    if np.isnan([byte, flop, byte_near, flop_near]).any():
        raise ValueError(f"{system.name!r} states no energy of {system.hub!r} or of {site!r}.")
    saved, lost = byte - byte_near, flop_near - flop
    return other.peak / gpu.bandwidth, saved / lost if lost > 0 else float("inf")


def frugal(placed: Case) -> Placement:
    """Return the placement that takes the least energy, capacities left aside.

    Each piece goes by itself, so it is found way by way.

    Raises
    ------
    ValueError
        If an energy is not stated, or the placement does not fit.
    """
    pieces, options = len(placed.pieces), len(placed.system.options)
    joules = np.zeros((pieces, options))
    roomy = placed.system
    for memory in placed.system.memories:
        roomy = roomy.change(memory, capacity=1e18)
    for option in range(options):
        for piece in range(pieces):
            one = placed.replace(
                pieces=placed.pieces.take([piece]), system=roomy, weights=0.0
            )  # fmt: skip
            spent = evaluate(Placement(one, np.eye(options)[[option]])).dynamic_energy
            if spent is None:
                raise ValueError(f"{placed.system.name!r} does not state every energy.")
            joules[piece, option] = spent
    return Placement(placed, np.eye(options)[joules.argmin(axis=1)])


def energies(placed: Case) -> dict[str, tuple[float, float]]:
    """Time of a step and energy of its attention for each token gained, by rule [s], [J].

    Parameters
    ----------
    placed : Case
        A case in a system with energies and one near site.

    Raises
    ------
    ValueError
        If an energy is not stated.
    """
    site = near(placed.system)[0]
    best = optimum(placed)
    if isinstance(best, Shortage):
        raise ValueError(best.reason)
    rules = {
        "GPUs only": single(placed, "gpu"),
        "all near": offloaded(placed, site),
        "stripe by rates and start-up": affine_stripe(placed),
        "hottest to the GPU": coolest_near(placed, site),
        "shortest step": best.placement,
        "least energy": frugal(placed),
    }
    found = {}
    for name, rule in rules.items():
        if not isinstance(rule, Placement):
            continue
        outcome = evaluate(rule)
        if outcome.dynamic_energy is None:
            raise ValueError(f"{placed.system.name!r} does not state every energy.")
        found[name] = outcome.time, outcome.dynamic_energy / placed.tokens
    return found

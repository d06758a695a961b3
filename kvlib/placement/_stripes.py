"""Rules that divide every piece alike: by bandwidth, by its own rates, and with start-up counted.

Each returns a `Placement`, or a `Shortage`, which is false, if the cache does not fit.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.checks import choose
from kvlib.placement._case import Case, Placement, Shortage
from kvlib.placement._costs import Costs, costs
from kvlib.placement._fill import fill

__all__ = ["affine_stripe", "bandwidth_stripe", "best_stripe", "rate_stripe"]

Array = NDArray[Any]
_WAYS = ("local", "fastest", "all")


def bandwidth_stripe(case: Case) -> Placement | Shortage:
    """Split every piece in proportion to the bandwidths of the memories.

    From each memory in the way that is fastest for the piece: worked on there, or streamed.

    Notes
    -----
    BATMAN's rule (MEMSYS 2017) for any number of memories.
    """
    system, ways = case.system, _ways(costs(case), "fastest")
    weights = ways * np.array([system[option.home].bandwidth for option in system.options])
    return fill(case, weights, weights)


def rate_stripe(
    case: Case, memories: Sequence[str] | None = None, ways: str | None = None
) -> Placement | Shortage:
    r"""Split every piece in proportion to its own rates: the opponent that counts.

    .. math:: x_{ps} \propto a_s\, e_{ps}

    The rate of a way to serve a piece is that of the slowest resource it needs, links included. Of
    two processors that take turns in one memory, the faster one works. :math:`a_s = 1`, unless the
    hub has other work meanwhile, as in an overlapped schedule: then a is the part of the step for
    which it is free, such that all would end together. What finds a memory full goes to the others,
    there by its rates as well.

    Parameters
    ----------
    case : Case
        What to place.
    memories : sequence of str, optional
        Memories to stripe over; all unless given.
    ways : {"local", "fastest", "all"}, optional
        Whether pieces are worked on where they live, in the fastest way from there, or in all ways
        at once; for each piece what would be best if it were alone unless given.

    Notes
    -----
    What DAK (arXiv:2604.26074) and BOOST (arXiv:2609.13592) do with a GPU and its host, for sites
    that differ in more than bandwidth.
    """
    return _stripe(case, memories, ways, startup=False)


def affine_stripe(
    case: Case, memories: Sequence[str] | None = None, ways: str | None = None
) -> Placement | Shortage:
    r"""Split every piece by its own rates such that all sites end together, start-up included.

    A site that loses :math:`d_s` before it begins is available for a part :math:`a_s` of the wait
    T of a layer, and gets that much less; one for which :math:`d_s \ge T` is not woken:

    .. math::

        x_{ps} \propto a_s\, e_{ps}, \qquad
        a_s = \max\!\left(0,\; 1 - \frac{d_s}{T}\right), \qquad
        T = \sum_p \frac{w_p}{\sum_s a_s e_{ps}}

    The right side falls and the left rises with T, so there is one solution. Without delays it is
    `rate_stripe`.

    Parameters
    ----------
    case, memories, ways
        As for `rate_stripe`.

    Notes
    -----
    Divisible loads with affine costs, :cite:t:`beaumont2005scheduling`, for one round and sites
    that receive at once.

    Examples
    --------
    Half of a piece would do for the near site, but it starts 20 microseconds later:

    >>> from kvlib import model
    >>> from kvlib.placement import Case, Site, System, evaluate, rate_stripe
    >>> from kvlib.hardware import Link
    >>> from kvlib.segments import Requests, State, pieces
    >>> gpu = Site(name="gpu", bandwidth=3e12, peak=9e14, capacity=80e9)
    >>> system = System("two", (gpu, gpu.replace(name="near", latency=20e-6)),
    ...     {("gpu", "near"): Link(name="link", bandwidth=1e15, latency=1e-9)}, hub="gpu")
    >>> case = Case(pieces=pieces(State([Requests(model("llama-3-8b"), [4000] * 16)])),
    ...             system=system)
    >>> for rule in (rate_stripe, affine_stripe):
    ...     found = rule(case)
    ...     print(f"{1e3 * evaluate(found).time:.2f} ms, {found.share[0, 1]:.0%} near")
    2.04 ms, 50% near
    1.72 ms, 39% near
    """
    return _stripe(case, memories, ways, startup=True)


def best_stripe(case: Case) -> Placement | Shortage:
    """Stripe by rates over the memories and in the ways for which the step is shortest.

    Striping over all memories starts sites that take longer to start than they save.
    """
    cost, memories = costs(case), case.system.memories
    found = [
        rate_stripe(case, chosen, ways)
        for count in range(1, len(memories) + 1)
        for chosen in combinations(memories, count)
        for ways in (None, *_WAYS)
    ]
    if fits := [each for each in found if isinstance(each, Placement)]:
        return min(fits, key=lambda each: cost.time(each.share))
    return found[-1]


def _stripe(
    case: Case, memories: Sequence[str] | None, ways: str | None, *, startup: bool
) -> Placement | Shortage:
    """Stripe by rates, less what other work and, if asked, start-up take of a site's time."""
    cost, system = costs(case), case.system
    chosen = system.memories if memories is None else memories
    rates = 1.0 / np.maximum(cost.use.max(axis=0), 1e-30)
    rates *= np.isin([option.home for option in system.options], chosen)
    weights = {each: _ways(cost, each) * rates for each in (_WAYS if ways is None else (ways,))}
    with np.errstate(invalid="ignore"):  # where there is no such way
        alone = [
            np.einsum("rpo,po->rp", cost.use, w / w.sum(axis=1, keepdims=True)).max(axis=0)
            for w in weights.values()
        ]
    best = np.argmin(np.nan_to_num(alone, nan=np.inf), axis=0)
    striped = np.stack(list(weights.values()))[best, np.arange(len(best))]
    active = case.pieces.touched > 0
    hub = np.arange(len(system.options)) == system.local(system.hub)
    for stage, fixed in enumerate(cost.fixed[:, system.index(system.hub)]):
        here = (cost.stages == stage) & active
        if not here.any():
            continue
        lost = np.where(hub & (system.hub in chosen), fixed, 0.0)
        if startup:
            kinds = np.unique(cost.kind[here])
            lost += cost.delay[kinds].sum(axis=0)[cost.executor]
        if lost.any():
            striped[here] *= _available(striped[here], lost)
    striped[~active] = 1.0
    return fill(case, striped, _ways(cost, "all") * rates, memories)


def _available(rates: Array, lost: Array) -> Array:
    """Part of the wait for which each way is available, so that all end together."""

    def part(wait: float) -> Array:
        return np.asarray(np.maximum(1.0 - lost / wait, 0.0))

    def striped(wait: float) -> float:
        with np.errstate(divide="ignore"):
            return float(np.sum(1.0 / (rates @ part(wait))))

    low = float(lost[rates.any(axis=0)].min(initial=np.inf))  # nobody has begun yet
    high = low + float(np.sum(1.0 / rates.sum(axis=1))) + float(lost.max())
    while striped(high) > high:
        high *= 2.0
    for _ in range(100):
        middle = (low + high) / 2
        if striped(middle) > middle:
            low = middle
        else:
            high = middle
    return np.asarray(np.maximum(part(high), 1e-12 * (lost < high)))


def _ways(cost: Costs, which: str) -> Array:
    """Mark the ways to serve each piece that go together, of shape (pieces, options).

    Where processors take turns in a memory, only one of them.
    """
    choose(which, _WAYS, "choice of ways")
    system, times = cost.case.system, cost.use.max(axis=0)
    marks = np.zeros(times.shape)
    every = np.arange(len(times))
    for memory in system.memories:
        ways = [o for o, option in enumerate(system.options) if option.home == memory]
        local = [o for o in ways if system.memory(system.options[o].executor) == memory]
        if memory in system.shared:  # the fastest of those that take turns
            fastest = np.array(local)[np.argmin(times[:, local], axis=1)]
            here = np.eye(times.shape[1])[fastest]
        else:
            here = np.zeros(times.shape)
            here[:, local] = 1.0
        best = np.array(ways)[np.argmin(times[:, ways], axis=1)]
        if which == "all":
            here[:, [o for o in ways if o not in local]] = 1.0
        elif which == "fastest" or not local:
            streamed = ~np.isin(best, local)
            here[streamed] = 0.0
            here[every[streamed], best[streamed]] = 1.0
        marks += here
    return marks

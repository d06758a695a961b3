"""Rules that place a cache by one fixed idea: best single site, stripes, blind optimum, tiers.

All rules see the same sites and costs. Each returns a `Placement`, or a `Shortage`, which is
false, if the cache does not fit where the rule puts it.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.checks import choose
from kvlib.placement._case import Case, Placement, Shortage
from kvlib.placement._costs import Costs, costs
from kvlib.placement._fill import fill, fill_in_order
from kvlib.placement._optimum import optimum

__all__ = [
    "Result", "bandwidth_stripe", "best_single", "best_stripe", "flexgen_fractions",
    "nature_blind", "newest_first", "offloaded", "per_layer", "rate_stripe", "recency", "single",
]  # fmt: skip

Array = NDArray[Any]
Result = Placement | Shortage


def single(case: Case, memory: str) -> Result:
    """Put everything into one memory, and work on it by whichever way is fastest from there."""
    if (short := case.shortage([memory])) is not None:
        return short
    cost, options = costs(case), case.system.options
    ways = [o for o, option in enumerate(options) if option.home == memory]
    shares = [np.tile(np.eye(len(options))[o], (len(case.pieces), 1)) for o in ways]
    return Placement(case, min(shares, key=cost.time))


def best_single(case: Case) -> Result:
    """Put everything into the one memory that makes the step shortest."""
    cost, found = costs(case), [single(case, memory) for memory in case.system.memories]
    if fits := [each for each in found if isinstance(each, Placement)]:
        return min(fits, key=lambda each: cost.time(each.share))
    return min((e for e in found if isinstance(e, Shortage)), key=lambda each: each.missing)


def offloaded(case: Case, near: str) -> Result:
    """Do all attention beside one memory: AttAcc, L3, NeuPIMs and CENT.

    Notes
    -----
    :cite:t:`park2024attacc`: keys, values and decode attention on the units, in one batch: a case
    with the ``"barrier"``. :cite:t:`heo2024neupims` and L3 (arXiv:2504.17584): in two sub-batches,
    so ``"overlapped"``. :cite:t:`gu2025cent`: the same site is also the hub.
    """
    way = case.system.local(near)
    if (short := case.shortage([case.system.memory(near)])) is not None:
        return short
    return Placement(case, np.tile(np.eye(len(case.system.options))[way], (len(case.pieces), 1)))


def bandwidth_stripe(case: Case) -> Result:
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
) -> Result:
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
        if fixed > 0 and here.any() and system.hub in chosen:
            striped[here] *= np.where(hub, _free(striped[here], hub, float(fixed)), 1.0)
    striped[~active] = 1.0
    return fill(case, striped, _ways(cost, "all") * rates, memories)


_WAYS = ("local", "fastest", "all")


def best_stripe(case: Case) -> Result:
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


def _free(rates: Array, hub: Array, fixed: float) -> float:
    """Part of the time for which the hub is free for attention, so that all end together."""
    if not (hub.any() and np.all(rates[:, ~hub].sum(axis=1) > 0)):
        return 1.0

    def striped(free: float) -> float:
        return float(np.sum(1.0 / (rates @ np.where(hub, free, 1.0))))

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if striped(middle) * (1.0 - middle) > fixed:
            low = middle
        else:
            high = middle
    return max(low, 1e-12)


def nature_blind(case: Case) -> Result:
    """Find the best single set of shares for all pieces."""
    found = optimum(case, distinguish=())
    return found if isinstance(found, Shortage) else found.placement


def per_layer(case: Case) -> Result:
    """Find the best shares of each kind of layer, as H2M2 (arXiv:2504.14893) balances heads."""
    found = optimum(case, distinguish=("stage",))
    return found if isinstance(found, Shortage) else found.placement


def flexgen_fractions(case: Case) -> Result:
    """Choose one set of fractions by FlexGen's account, in which sites work one after another.

    Where times add up, the memory with the least time is filled first. Weights and activations stay
    at the hub; `flexgen_policy` is the program with all three, :cite:t:`sheng2023flexgen`.
    """
    return fill_in_order(case, _fastest_first(case), ranks=np.zeros(len(case.pieces)))


def newest_first(case: Case) -> Result:
    """Keep the newest tokens in the fastest memory, older ones in slower ones, idle ones last."""
    return fill_in_order(case, _fastest_first(case), ranks=recency(case))


def _fastest_first(case: Case) -> list[int]:
    """Ways to serve the whole cache, the fastest first."""
    return list(np.argsort(costs(case).use.max(axis=0).sum(axis=0)))


def recency(case: Case) -> Array:
    """Rank of each piece: newest tokens, first ones, whole caches, the middle, idle ones."""
    order = {"recent": 0, "sink": 1, "all": 2, "prefix": 2, "middle": 3}
    ranks = np.array([order[str(tokens)] for tokens in case.pieces.tokens])
    return np.where(case.pieces.touched > 0, ranks, 4)

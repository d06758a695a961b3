"""Rules that place a cache by one fixed idea: best single site, stripes, blind optimum, tiers.

All rules see the same sites and costs. Each returns a `Placement`, or a `Shortage`, which is
false, if the cache does not fit where the rule puts it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.placement._case import Case, Placement, Shortage
from kvlib.placement._costs import Costs, costs
from kvlib.placement._fill import fill, fill_in_order
from kvlib.placement._optimum import optimum

__all__ = [
    "Result", "bandwidth_stripe", "best_single", "flexgen_fractions", "nature_blind",
    "newest_first", "offloaded", "per_layer", "rate_stripe", "recency", "single",
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
    system, cost = case.system, costs(case)
    bandwidth = np.array([system[option.home].bandwidth for option in system.options])
    return fill(case, _ways(cost, streams=True) * bandwidth)


def rate_stripe(case: Case) -> Result:
    r"""Split every piece in proportion to its own rates: the opponent that counts.

    .. math:: x_{ps} \propto a_s\, e_{ps}

    The rate of a way to serve a piece is that of the slowest resource it needs, links included. Of
    two processors that take turns in one memory, the faster one works; streams are used where the
    piece, alone, would be served sooner with them. :math:`a_s = 1`, unless the hub has other work
    meanwhile, as in an overlapped schedule: then a is the part of the step for which it is free,
    such that all would end together.

    Notes
    -----
    What DAK (arXiv:2604.26074) and BOOST (arXiv:2609.13592) do with a GPU and its host, for sites
    that differ in more than bandwidth.
    """
    cost, system = costs(case), case.system
    rates = 1.0 / np.maximum(cost.use.max(axis=0), 1e-30)
    local, streaming = (_ways(cost, streams=each) * rates for each in (False, True))
    alone = [
        np.einsum("rpo,po->rp", cost.use, w / w.sum(axis=1, keepdims=True)).max(axis=0)
        for w in (local, streaming)
    ]
    weights = np.where((alone[0] <= alone[1])[:, None], local, streaming)
    active = case.pieces.touched > 0
    hub = np.arange(len(system.options)) == system.local(system.hub)
    for stage, fixed in enumerate(cost.fixed[:, system.index(system.hub)]):
        here = (cost.stages == stage) & active
        if fixed > 0 and here.any():
            weights[here] *= np.where(hub, _free(weights[here], hub, float(fixed)), 1.0)
    weights[~active] = 1.0
    return fill(case, weights)


def _ways(cost: Costs, *, streams: bool) -> Array:
    """Mark the ways to serve each piece that go together, of shape (pieces, options).

    From each memory, the fastest way, and other processors there if they do not take turns.
    """
    system, times = cost.case.system, cost.use.max(axis=0)
    marks = np.zeros(times.shape)
    for memory in system.memories:
        ways = [o for o, option in enumerate(system.options) if option.home == memory]
        local = [o for o in ways if system.memory(system.options[o].executor) == memory]
        if usable := ways if streams or not local else local:
            best = np.array(usable)[np.argmin(times[:, usable], axis=1)]
            marks[np.arange(len(times)), best] = 1.0
            if memory not in system.shared and len(local) > 1:
                marks[np.ix_(np.isin(best, local), np.array(local))] = 1.0
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
    times = costs(case).use[: len(case.system.sites)].sum(axis=(0, 1))
    return fill_in_order(case, list(np.argsort(times)), ranks=np.zeros(len(case.pieces)))


def newest_first(case: Case) -> Result:
    """Keep the newest tokens in the fastest memory, older ones in slower ones, idle ones last."""
    times = costs(case).use.max(axis=0).sum(axis=0)
    return fill_in_order(case, list(np.argsort(times)), ranks=recency(case))


def recency(case: Case) -> Array:
    """Rank of each piece: newest tokens, first ones, whole caches, the middle, idle ones."""
    order = {"recent": 0, "sink": 1, "all": 2, "prefix": 2, "middle": 3}
    ranks = np.array([order[str(tokens)] for tokens in case.pieces.tokens])
    return np.where(case.pieces.touched > 0, ranks, 4)

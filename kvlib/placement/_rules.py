"""Rules that place a cache by one fixed idea: best single site, blind optimum, tiers.

All rules see the same sites and costs. Each returns a `Placement`, or a `Shortage`, which is
false, if the cache does not fit where the rule puts it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.placement._case import Case, Placement, Shortage
from kvlib.placement._costs import costs
from kvlib.placement._fill import fill_in_order
from kvlib.placement._optimum import optimum

__all__ = [
    "Result", "best_single", "flexgen_fractions", "nature_blind", "newest_first", "offloaded",
    "per_layer", "recency", "single",
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

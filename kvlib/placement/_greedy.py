"""A nature-aware greedy placement: start from the best simple rule, and move what helps most."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.placement._balance import coolest_near
from kvlib.placement._case import Case, Placement
from kvlib.placement._costs import Costs, costs
from kvlib.placement._rules import Result, best_single, newest_first
from kvlib.placement._stripes import affine_stripe, best_stripe

__all__ = ["greedy"]

Array = NDArray[Any]


def greedy(case: Case, *, steps: tuple[float, ...] = (1 / 4, 1 / 16, 1 / 64)) -> Result:
    """Move shares from the busiest resource to where the step becomes shortest, until none helps.

    It starts from two rate stripings, the best and the one with start-up, the best single site, the
    fastest memories filled first, and, for each near memory, the coolest pieces put there; it keeps
    the best end. So without
    capacity limits and link costs it takes at most as many times the optimum as there are sites, as
    striping does; nothing is promised where memories are full.

    Parameters
    ----------
    case : Case
        What to place.
    steps : tuple of float
        Shares of a piece that are moved at a time, the coarsest first.

    Returns
    -------
    Placement or Shortage
        A shortage, which is false, if the cache does not fit.
    """
    cost = costs(case)
    hub = case.system.hub
    starts = [best_stripe(case), affine_stripe(case), best_single(case), newest_first(case)]
    starts += [coolest_near(case, o.executor) for o in case.system.options
               if o.executor != hub and case.system.memory(o.executor) == o.home]  # fmt: skip
    fits = [start.share for start in starts if isinstance(start, Placement)]
    if not fits:
        return starts[0]
    ends = [_improve(case, cost, share, steps) for share in fits]
    return Placement(case, min(ends, key=cost.time))


def _improve(case: Case, cost: Costs, share: Array, steps: tuple[float, ...]) -> Array:
    homes = [option.home for option in case.system.options]
    at = np.array([[1.0 * (home == memory) for home in homes] for memory in case.system.memories])
    rooms = np.array([max(case.room(memory), 0.0) for memory in case.system.memories])
    best = cost.time(share)
    for step in steps:
        while (move := _best_move(case, cost, share, step, at, rooms)) is not None:
            piece, source, target, amount = move
            trial = share.copy()
            trial[piece, source] -= amount
            trial[piece, target] += amount
            if (time := cost.time(trial)) >= best * (1 - 1e-9):
                break
            share, best = trial, time
    return share


def _best_move(
    case: Case, cost: Costs, share: Array, step: float, at: Array, rooms: Array
) -> tuple[int, int, int, float] | None:
    """Piece, source, target and amount of the move after which its stage waits least."""
    loads = cost.loads(share)
    free = np.maximum(rooms - at @ (case.pieces.bytes @ share), 0.0)
    found: tuple[float, tuple[int, int, int, float]] | None = None
    used: Array = np.any(cost.use, axis=2)
    for piece in range(len(share)):
        load = loads[cost.stages[piece]]
        if load[used[:, piece]].max(initial=0.0) < load.max():
            continue
        for source in np.flatnonzero(share[piece] > 0):
            amount = min(step, float(share[piece, source]))
            change = amount * (cost.use[:, piece] - cost.use[:, piece, [source]])
            starting = np.zeros_like(change)
            starting[cost.executor, np.arange(len(cost.executor))] = cost.delay[
                cost.kind[piece], cost.executor
            ] * (load[cost.executor] == 0)
            after = (load[:, None] + change + starting).max(axis=0) - load.max()
            moved = amount * float(case.pieces.bytes[piece]) * (at - at[:, [source]])
            after[(moved > free[:, None] + 1e-6).any(axis=0)] = np.inf
            target = int(np.argmin(after))
            if after[target] < -1e-12 * load.max() and (found is None or after[target] < found[0]):
                found = float(after[target]), (piece, int(source), target, amount)
    return None if found is None else found[1]

"""Contexts grow: keep the shares of the first step, or follow the optimum and move cache."""

from dataclasses import dataclass, replace

import numpy as np

from kvlib.placement import Case, Placement, Shortage, evaluate, migration, optimum
from kvlib.segments import Requests, State, pieces
from kvlib.study._points import Point, case
from kvlib.study._served import served

__all__ = ["Growth", "grown"]


@dataclass(frozen=True)
class Growth:
    """What some steps of growth cost.

    Parameters
    ----------
    kept : float
        Time of the last step with the first step's shares, over the optimum's; infinite if these
        overflow a memory.
    moved : float
        Bytes over links that following the optimum takes [B].
    moving : float
        Time of that, over the time of all the steps since.
    """

    kept: float
    moved: float
    moving: float


def grown(point: Point, steps: int) -> Growth:
    """Compare keeping the first shares with moving to the new optimum after some steps.

    Parameters
    ----------
    point : Point
        The point at the first step.
    steps : int
        Steps; each request gains a token in each, or as many as are accepted.

    Raises
    ------
    ValueError
        If the cache does not fit, before or after.

    Examples
    --------
    >>> found = grown(Point("llama-2-7b", "AttAcc", "agents"), 16)
    >>> print(f"kept {found.kept:.4f}, moving {found.moving:.4f}")
    kept 1.0003, moving 0.0001
    """
    before = case(point)
    state = served(point.model, point.workload, point.many)
    longer = State([
        replace(group, context=np.asarray(group.context) + round(steps * (group.accepted or 1.0)))
        for group in state.groups if isinstance(group, Requests)
    ])  # fmt: skip
    after = before.replace(pieces=pieces(longer))
    first, last = _best(before), _best(after)
    try:
        kept = evaluate(Placement(after, first.share)).time
    except ValueError:  # a memory is overfull
        kept = float("inf")
    best = evaluate(last).time
    move = migration(first, last)
    return Growth(kept / best, sum(move.moved.values()), move.time / (steps * best))


def _best(placed: Case) -> Placement:
    found = optimum(placed)
    if isinstance(found, Shortage):
        raise ValueError(found.reason)
    return found.placement

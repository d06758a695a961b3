"""Rules that divide pieces between the hub and a near memory, or even out times, in small moves."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.checks import fraction, positive
from kvlib.placement._case import Case, Placement, Shortage
from kvlib.placement._costs import Costs, costs
from kvlib.placement._fill import fill_in_order
from kvlib.placement._rules import Result, newest_first, recency

__all__ = ["attention_mass", "coolest_near", "shared_near", "threshold"]

Array = NDArray[Any]


def coolest_near(case: Case, near: str, *, chunk: float = 1 / 64) -> Result:
    """Put all pieces near the memory, then move the hottest to the hub while steps become shorter.

    The greedy rule of Duplex and Sieve on max(link, GPU, PIM); hot is a high r. Each kind of layer
    is balanced by itself, and pieces move in chunks, as single requests would.

    Notes
    -----
    Duplex (arXiv:2409.01141) and Sieve place experts so; here it is attention.
    """
    fraction(chunk=chunk)
    cost, reuse = costs(case), case.pieces.reuse
    start = _near_then_hub(case, near, ranks=reuse, first=0)
    if isinstance(start, Shortage):
        return start
    source, target = case.system.local(near), case.system.local(case.system.hub)
    share, best = start.share, cost.time(start.share)
    for stage in range(len(cost.fixed)):
        pieces = np.flatnonzero((cost.stages == stage) & (case.pieces.touched > 0))
        for piece in pieces[np.argsort(-reuse[pieces], kind="stable")]:
            while share[piece, source] > 0:
                trial = _move(share, piece, source, target, chunk)
                if not _fits(cost, trial) or (time := cost.time(trial)) >= best:
                    break
                share, best = trial, time
            if share[piece, source] > 0:
                break
    return Placement(case, share)


def threshold(case: Case, near: str) -> Result:
    """Put pieces above a threshold of r at the hub, the others near; the threshold is searched.

    Notes
    -----
    PAPI's rule (arXiv:2502.15470), which it applies to whole kernels: pieces do not split.
    """
    cost, reuse = costs(case), case.pieces.reuse
    found = [
        _near_then_hub(case, near, ranks=np.zeros(len(reuse)), first=(reuse > alpha) * 1)
        for alpha in (-1.0, *np.unique(reuse))
    ]
    fits = [each for each in found if isinstance(each, Placement)]
    return min(fits, key=lambda each: cost.time(each.share)) if fits else found[0]


def shared_near(case: Case, near: str, *, sharers: float = 2.0) -> Result:
    """Put what several requests share at the hub, and what is one request's own near.

    Notes
    -----
    The two classes of MoSKA (arXiv:2511.06010), whose shared cache has a machine for itself.
    """
    positive(sharers=sharers)
    hot = (case.pieces.sharers >= sharers) * 1
    return _near_then_hub(case, near, ranks=np.zeros(len(hot)), first=hot)


def attention_mass(case: Case, *, chunk: float = 1 / 64) -> Result:
    """Fill the fastest memory with the weightiest tokens, then even out the times, as PAM does.

    Tokens of the least attention mass move to where the step becomes shortest; mass is by recency,
    first and newest tokens above the others. Pieces of one rank move together: r does not count.

    Notes
    -----
    PAM (arXiv:2602.11521), after a summary: its evaluation was not read.
    """
    fraction(chunk=chunk)
    start = newest_first(case)
    if isinstance(start, Shortage):
        return start
    cost, ranks, share = costs(case), recency(case), start.share
    best = cost.time(share)
    for rank in np.unique(ranks)[::-1]:
        pieces, improved = np.flatnonzero(ranks == rank), True
        while improved:
            improved = False
            for source in np.flatnonzero(share[pieces].any(axis=0)):
                for target in range(share.shape[1]):
                    trial = _move(share, pieces, int(source), target, chunk)
                    if _fits(cost, trial) and (time := cost.time(trial)) < best * (1 - 1e-9):
                        share, best, improved = trial, time, True
    return Placement(case, share)


def _near_then_hub(case: Case, near: str, *, ranks: Array, first: Array | int) -> Result:
    system = case.system
    return fill_in_order(
        case, [system.local(near), system.local(system.hub)], ranks=ranks, first=first
    )


def _move(share: Array, pieces: Any, source: int, target: int, chunk: float) -> Array:
    trial = share.copy()
    moved = np.minimum(chunk, trial[pieces, source])
    trial[pieces, source] -= moved
    trial[pieces, target] += moved
    return trial


def _fits(cost: Costs, share: Array) -> bool:
    """Whether no memory overflows."""
    held = np.einsum("mpo,po->m", cost.homes, share)
    return all(
        size <= max(cost.case.room(memory), 0.0) * (1 + 1e-9)
        for memory, size in zip(cost.case.system.memories, held, strict=True)
    )

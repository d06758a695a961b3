"""Putting pieces into memories that fill up."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kvlib.placement._case import Case, Placement, Shortage

__all__ = ["fill", "fill_in_order"]

Array = NDArray[Any]


def fill(
    case: Case, weights: Array, spill: Array, memories: Sequence[str] | None = None
) -> Placement | Shortage:
    """Share out every piece in proportion to weights; what finds its memories full is spilt.

    Parameters
    ----------
    case : Case
        What to place.
    weights : array of shape (pieces, options)
        Where a piece would go. Pieces that no step reads take the room that the others leave.
    spill : array of shape (pieces, options)
        Weights for what finds no room there.
    memories : sequence of str, optional
        Memories that may be used; all unless given.
    """
    if (short := case.shortage(memories)) is not None:
        return short
    shelf = _Shelf(case, case.system.memories if memories is None else memories)
    active = (case.pieces.touched > 0) * 1.0
    for wanted in (active, 1.0 - active):
        left = shelf.put(weights, wanted)
        shelf.put(np.ones_like(spill), shelf.put(spill, left))
    return shelf.placement()


def fill_in_order(
    case: Case, options: Sequence[int], *, ranks: Array, first: Array | int = 0
) -> Placement | Shortage:
    """Put each piece into its first option until the memory is full, then into the next, around.

    Parameters
    ----------
    case : Case
        What to place.
    options : sequence of int
        Numbers of the options, the preferred one first.
    ranks : array of shape (pieces,)
        Pieces of the lowest rank choose first; those of one rank fill up together.
    first : int or array of shape (pieces,)
        Place in `options` at which each piece starts.
    """
    if (short := case.shortage({case.system.options[o].home for o in options})) is not None:
        return short
    shelf = _Shelf(case, case.system.memories)
    order = np.asarray(options)
    for rank in np.unique(ranks):
        left = (ranks == rank) * 1.0
        for turn in range(len(options)):
            column = order[(np.broadcast_to(first, ranks.shape) + turn) % len(options)]
            left = shelf.put(np.eye(len(case.system.options))[column], left)
    return shelf.placement()


class _Shelf:
    """Shares placed so far, and the room that is left."""

    def __init__(self, case: Case, memories: Sequence[str]) -> None:
        self.case = case
        self.homes = np.array([option.home for option in case.system.options])
        self.share = np.zeros((len(case.pieces), len(self.homes)))
        self.rooms = {name: max(case.room(name), 0.0) for name in memories}

    def put(self, weights: Array, left: Array) -> Array:
        """Place what is left of each piece, and return what is left then."""
        for _ in range(len(self.rooms) + 1):  # each round but the last fills a memory
            there = np.array([self.rooms.get(home, 0.0) > 0 for home in self.homes])
            total = (weights * there).sum(axis=1, keepdims=True)
            want = np.divide(weights * there, total, out=np.zeros(weights.shape), where=total > 0)
            want *= left[:, None]
            for memory, room in self.rooms.items():
                columns = self.homes == memory
                asked = float(self.case.pieces.bytes @ want[:, columns].sum(axis=1))
                if asked > room:
                    want[:, columns] *= room / asked
                self.rooms[memory] = max(room - asked, 0.0)
            self.share += want
            left = np.maximum(left - want.sum(axis=1), 0.0)
            left[left < 1e-12] = 0.0
        return left

    def placement(self) -> Placement:
        """What was placed, without slivers that rounding left."""
        share = np.where(self.share > 1e-9, self.share, 0.0)
        return Placement(self.case, share / share.sum(axis=1, keepdims=True))

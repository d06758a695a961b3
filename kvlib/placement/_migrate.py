"""Moving a cache from one placement to another: what it costs to follow contexts that grow."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from kvlib.placement._case import Placement

__all__ = ["Migration", "migration"]


@dataclass(frozen=True)
class Migration:
    """Bytes that move, and the time for which they keep the busiest link [s].

    Parameters
    ----------
    moved : dict of str to float
        Bytes over each link in each direction [B].
    time : float
        Time, if nothing else uses the links and all work at once [s].
    """

    moved: dict[str, float]
    time: float


def migration(old: Placement, new: Placement) -> Migration:
    """Least traffic from an old placement to a new one.

    Each piece moves only from memories where it has too much to those where it has too little, in
    proportion. Pieces are those of `new`; what was appended since the old placement was made is
    charged to the steps, not here.

    Raises
    ------
    ValueError
        If the two do not have the same pieces, by name, or the same options.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.hardware import Link
    >>> from kvlib.placement import Case, Placement, Site, System
    >>> from kvlib.segments import Requests, State, pieces
    >>> system = System("two", sites=(
    ...     Site(name="gpu", bandwidth=3e12, peak=900e12, capacity=80e9),
    ...     Site(name="pim", bandwidth=12e12, peak=12e12, capacity=80e9)),
    ...     links={("gpu", "pim"): Link(name="nvlink", bandwidth=450e9, latency=1e-6)}, hub="gpu")
    >>> case = Case(pieces=pieces(State([Requests(model("llama-2-7b"), context=[4096] * 8)])),
    ...             system=system)
    >>> found = migration(Placement(case, [[1, 0, 0]]), Placement(case, [[0.25, 0.75, 0]]))
    >>> print(f"{found.moved['gpu to pim'] / 1e9:.1f} GB in {1e3 * found.time:.1f} ms")
    12.9 GB in 28.6 ms
    """
    system, pieces = new.case.system, new.case.pieces
    if old.case.pieces.names != pieces.names or old.case.system.options != system.options:
        raise ValueError(
            "the two placements have different pieces or options: place the same kinds of pieces "
            "in the same system."
        )
    memories = system.memories
    at = np.array([[option.home == memory for memory in memories] for option in system.options])
    surplus = (old.share - new.share) @ at
    moved: dict[str, float] = defaultdict(float)
    links = list(system.links.items())
    for change, size in zip(surplus, pieces.bytes, strict=True):
        taken, given = np.maximum(change, 0.0), np.maximum(-change, 0.0)
        if taken.sum() < 1e-12:
            continue
        for a, out in zip(memories, taken, strict=True):
            for b, into in zip(memories, given, strict=True):
                amount = float(size * out * into / given.sum())
                for hop in system.path(a, b) if amount > 0 else ():
                    first, second = links[hop.link][0][:: hop.direction]
                    moved[f"{first} to {second}"] += amount
    rates = {f"{a} to {b}": float(link.bandwidth) for pair, link in links
             for a, b in (pair, pair[::-1])}  # fmt: skip
    return Migration(dict(moved), max((m / rates[name] for name, m in moved.items()), default=0.0))

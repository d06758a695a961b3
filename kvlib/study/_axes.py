"""What each axis of splitting adds by itself, on the finest pieces."""

import numpy as np

from kvlib.placement import Shortage, evaluate, optimum
from kvlib.segments import LABELS, by_part, by_tokens
from kvlib.study._points import Point, case

__all__ = ["AXES", "ablation"]

AXES: dict[str, str] = {
    "layer kind": "stage", "sharing": "sharers", "query tokens": "query_tokens",
    "tokens": "tokens", "keys and values": "part", "idle": "active",
}  # fmt: skip
"""Axes by name, with their label in `kvlib.segments`; models differ in layer kind."""


def ablation(point: Point, *, startup: bool = False) -> dict[str, float]:
    """Gains over one mix for all pieces, if shares may differ along one axis, all or all but one.

    Pieces are split by tokens, into the first four, the newest 1,024 and those between, and into
    keys and values where they differ. A prefix is an axis of its own, sharing: it is not told
    apart as a range of tokens.

    Parameters
    ----------
    point : Point
        The point.
    startup : bool
        Whether start-up times count; with so many pieces it takes longer.

    Returns
    -------
    dict
        ``all``, each of `AXES`, and ``all but`` each: how many times faster than one mix.

    Raises
    ------
    ValueError
        If the cache does not fit.

    Examples
    --------
    >>> found = ablation(Point("llama-2-7b", "AttAcc", "agents"))
    >>> {name: round(found[name], 2) for name in ("sharing", "keys and values", "all")}
    {'sharing': 1.16, 'keys and values': 1.0, 'all': 1.16}
    """
    placed = case(point, startup=startup)
    cache = by_part(by_tokens(placed.pieces, sinks=4, recent=1024))
    ranges = np.where(cache.tokens == "prefix", "middle", cache.tokens)
    placed = placed.replace(pieces=cache.take(range(len(cache)), tokens=ranges))

    def time(labels: tuple[str, ...] | None) -> float:
        found = optimum(placed, distinguish=labels)
        if isinstance(found, Shortage):
            raise ValueError(found.reason)
        return evaluate(found.placement).time

    blind = time(())
    found = {"all": blind / time(None)}
    found |= {name: blind / time((label,)) for name, label in AXES.items()}
    found |= {
        f"all but {name}": blind / time(tuple(x for x in LABELS if x not in (label, "head")))
        for name, label in AXES.items()
    }  # fmt: skip
    return found

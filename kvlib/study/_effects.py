"""What a box brings, taken apart: streaming, computing near, splitting by nature, and capacity."""

from functools import lru_cache

from kvlib.checks import positive
from kvlib.placement import Placement, Shortage, evaluate, optimum, single
from kvlib.study._boxes import alone, storing
from kvlib.study._opponents import PLAIN
from kvlib.study._points import Point, case

__all__ = ["EFFECTS", "effects", "largest_batch", "tokens_per_second"]

EFFECTS = ("stream", "compute near", "split by nature", "capacity")
"""What `effects` tells apart, in the order in which it is granted."""

_LADDER = (1.0, 1.19, 1.41, 1.68, 2.0, 2.83, 4.0, 5.66, 8.0, 11.3, 16.0)  # of the GPUs' batch
_MOST = 1 << 16


def effects(point: Point, limit: float = 50e-3) -> dict[str, float]:
    r"""Factors by which a box beats its GPUs alone, each granted after the one before.

    With :math:`N_0` the largest batch that the GPUs alone hold and serve within a limit on the time
    of a step, and t(N) tokens a second:

    .. math::

        \frac{t_\text{best}(N_1)}{t_\text{GPUs}(N_0)} =
        \underbrace{\frac{t_\text{store}(N_0)}{t_\text{GPUs}(N_0)}}_\text{stream}
        \underbrace{\frac{t_\text{plain}(N_0)}{t_\text{store}(N_0)}}_\text{compute near}
        \underbrace{\frac{t_\text{best}(N_0)}{t_\text{plain}(N_0)}}_\text{split by nature}
        \underbrace{\frac{t_\text{best}(N_1)}{t_\text{best}(N_0)}}_\text{capacity}

    where store is the optimum with memories that do not compute, plain the best of the rules that
    ignore nature, best the optimum, and :math:`N_1 \ge N_0` the batch with the most tokens a second
    within the same limit, of a ladder of ten steps up to :math:`16 N_0`.

    Parameters
    ----------
    point : Point
        Model, box and workload; its `many` does not count.
    limit : float
        Longest step [s].

    Returns
    -------
    dict
        The factors by `EFFECTS`, their product as ``all``, ``capacity, storing only`` for the last
        with memories that do not compute, and the batches ``GPUs' batch`` and ``box's batch``.

    Raises
    ------
    ValueError
        If not a single request is served within the limit.

    Examples
    --------
    >>> found = effects(Point("llama-3.1-70b", "CXL-PNM", "long document"))
    >>> {name: round(found[name], 2) for name in EFFECTS}
    {'stream': 1.01, 'compute near': 1.11, 'split by nature': 1.0, 'capacity': 1.02}
    """
    start = largest_batch(point.replace(schedule="barrier"), limit)
    if not start:
        raise ValueError(
            f"the GPUs alone do not serve one request of {point} within {1e3 * limit:g} ms: raise "
            f"the limit, or take more GPUs."
        )
    there = point.replace(many=start)
    placed = case(there)
    gpus = _seconds(single(placed.replace(system=alone(placed.system)), "gpu"))
    stored = _seconds(optimum(placed.replace(system=storing(placed.system))))
    best = _seconds(optimum(placed))
    plain = min(_seconds(rule(placed)) for rule in PLAIN.values())
    most, many = _most(there, limit, stores=False)
    dumb, _ = _most(there, limit, stores=True)
    return {
        "stream": gpus / stored, "compute near": stored / plain, "split by nature": plain / best,
        "capacity": most * best / placed.tokens, "all": most * gpus / placed.tokens,
        "capacity, storing only": dumb * stored / placed.tokens,
        "GPUs' batch": start, "box's batch": many,
    }  # fmt: skip


@lru_cache(maxsize=1024)
def _largest_batch(point: Point, limit: float) -> int:
    positive(limit=limit)

    def within(many: int) -> bool:
        placed = case(point.replace(many=many))
        alone_there = placed.replace(system=alone(placed.system))
        return _seconds(single(alone_there, "gpu")) <= limit

    low, high = 0, 64
    while high < _MOST and within(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if within(middle) else (low, middle)
    return low


def largest_batch(point: Point, limit: float) -> int:
    """Most requests that the GPUs alone hold and serve with steps within a limit.

    Parameters
    ----------
    point : Point
        The point; its `many` does not count, and of its box only the GPUs.
    limit : float
        Longest step [s].

    Returns
    -------
    int
        Requests; 0 if one is too many.

    Examples
    --------
    >>> largest_batch(Point("llama-3.1-70b", "CXL-PNM", "long document"), 50e-3)
    236
    """
    return _largest_batch(point.replace(box="host", many=1), limit)  # the same GPUs in each box


def tokens_per_second(point: Point, *, stores: bool = False) -> tuple[float, float]:
    """Throughput of the optimum [1/s], and the time of its step [s]; 0 and inf if nothing fits.

    Parameters
    ----------
    point : Point
        The point.
    stores : bool
        Whether what is beside the GPUs only stores.
    """
    placed = case(point)
    if stores:
        placed = placed.replace(system=storing(placed.system))
    seconds = _seconds(optimum(placed))
    return placed.tokens / seconds, seconds


def _most(point: Point, limit: float, *, stores: bool) -> tuple[float, int]:
    """Most tokens a second within the limit, and with how many requests."""
    best, at = 0.0, point.many
    for factor in _LADDER:
        many = round(point.many * factor)
        rate, seconds = tokens_per_second(point.replace(many=many), stores=stores)
        if seconds > limit * (1 + 1e-9) or rate < best:
            break
        best, at = rate, many
    return best, at


def _seconds(found: object) -> float:
    placement = getattr(found, "placement", found)
    if isinstance(found, Shortage) or not isinstance(placement, Placement):
        return float("inf")
    return evaluate(placement).time

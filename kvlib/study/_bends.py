"""How far a verdict moves with each assumed constant."""

from collections.abc import Callable, Sequence
from itertools import product

from kvlib.placement import Case
from kvlib.study._boxes import ASSUMED, box
from kvlib.study._opponents import against_plain
from kvlib.study._points import Point, case, sweep

__all__ = ["tornado"]


def tornado(
    points: Sequence[Point],
    *,
    by: float = 0.3,
    measure: Callable[[Case], float] = against_plain,
    processes: int = 1,
) -> dict[tuple[str, float], list[float]]:
    """Measure points with each constant of `ASSUMED` smaller and larger.

    Parameters
    ----------
    points : sequence of Point
        Points, with their batches: these do not change with the constants.
    by : float
        Relative change.
    measure : callable
        What is measured on a case; the gain over the best plain rule unless given.
    processes : int
        As for `sweep`.

    Returns
    -------
    dict
        (constant, factor) to what was measured on each point; ``("none", 1.0)`` is unchanged.

    Examples
    --------
    >>> found = tornado([Point("llama-3.1-70b", "host", "chat")], measure=lambda c: len(c.pieces))
    >>> len(found), found["sustained", 0.7]
    (31, [1])
    """
    base = sweep(_bent, [(measure, point, "none", 1.0) for point in points], processes=processes)
    bends = list(product(ASSUMED, (1 - by, 1 + by)))
    work = [
        (measure, point, *bend) for bend in bends for point in points if _moved(point, *bend)
    ]  # fmt: skip
    measured = iter(sweep(_bent, work, processes=processes))
    found = {
        bend: [next(measured) if _moved(p, *bend) else b for p, b in zip(points, base, strict=True)]
        for bend in bends
    }
    return {("none", 1.0): base} | found


def _moved(point: Point, name: str, factor: float) -> bool:
    """Whether a constant changes anything in a point's box, or outside it."""
    if name in ("other operators", "lifetime"):
        return True
    one = box(point.box, gpus=point.gpus)
    two = box(point.box, gpus=point.gpus, assumed={name: ASSUMED[name] * factor})
    return (one.sites, dict(one.links)) != (two.sites, dict(two.links))


def _bent(work: tuple[Callable[[Case], float], Point, str, float]) -> float:
    measure, point, name, factor = work
    assumed = {} if name == "none" else {name: ASSUMED[name] * factor}
    return measure(case(point, assumed=assumed))

"""One case of the study by name, and many of them in parallel."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any, TypeVar

from kvlib.catalogue import device
from kvlib.checks import positive, whole
from kvlib.parallel import Parallel
from kvlib.placement import Case, Schedule, System, around
from kvlib.segments import Pieces, pieces
from kvlib.study._boxes import ASSUMED, BOXES, GPU, Assumed, box
from kvlib.study._served import MODELS, WORKLOADS, fewest_gpus, served

__all__ = ["Point", "case", "filled", "grid", "sweep"]

Given = TypeVar("Given")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Point:
    """A model in a box under a workload.

    Parameters
    ----------
    model, box, workload : str
        Names, as `served` and `box` take them.
    many : int
        Requests that decode.
    schedule : {"barrier", "overlapped", "pipelined"}
        What runs at the same time.
    gpus : int
        GPUs in the box.
    """

    model: str
    box: str
    workload: str
    many: int = 64
    schedule: Schedule = "barrier"
    gpus: int = 8

    def replace(self, **changes: Any) -> "Point":
        """Return a copy with other parts."""
        return replace(self, **changes)


def case(
    point: Point,
    *,
    assumed: Assumed = ASSUMED,
    system: System | None = None,
    deduplicated: bool = True,
    startup: bool = True,
) -> Case:
    """Return a step of a point: 8-bit weights, 16-bit cache.

    Parameters
    ----------
    point : Point
        The point.
    assumed : mapping of str to float
        Constants, as in `ASSUMED`.
    system : System, optional
        Another system than the point's box.
    deduplicated : bool
        Whether what several requests share is read once, or once for each.
    startup : bool
        Whether start-up times count.

    Examples
    --------
    >>> case(Point("llama-2-7b", "AttAcc", "agents")).pieces.names
    ('llama-2-7b MHA', 'llama-2-7b MHA prefix x64')
    """
    constants = ASSUMED | dict(assumed)
    cache, rest = _everywhere(point.replace(box=""), deduplicated, constants["lifetime"])
    slower = {part: rest[part] * constants["other operators"] for part in ("dense", "outside")}
    there = box(point.box, gpus=point.gpus, assumed=assumed) if system is None else system
    return Case(pieces=cache, system=there, startup=startup, **(rest | slower))


@lru_cache(maxsize=128)
def _everywhere(point: Point, deduplicated: bool, lifetime: float) -> tuple[Pieces, dict[str, Any]]:
    """Pieces and other operators of a point, whatever its box."""
    state = served(point.model, point.workload, point.many, lifetime=lifetime)
    cache = pieces(state, deduplicated=deduplicated)
    rest = around(
        state, cache, device(GPU), schedule=point.schedule,
        parallel=Parallel(tensor=point.gpus), weight_precision="fp8",
    )  # fmt: skip
    return cache, rest


def filled(point: Point, part: float) -> Point:
    """Return the point with as many requests as take a part of what weights leave in the GPUs.

    Parameters
    ----------
    point : Point
        The point; its `many` does not count.
    part : float
        Part of the GPUs' free memory, above 1 for more than they hold.

    Examples
    --------
    >>> filled(Point("llama-3.1-70b", "CXL-PNM", "long document"), 0.9).many
    212
    """
    positive(part=part)
    few, more = (case(point.replace(many=many)) for many in (8, 16))
    one = (more.pieces.bytes.sum() - few.pieces.bytes.sum()) / 8
    room = part * few.room("gpu") - few.pieces.bytes.sum()
    return point.replace(many=max(int(8 + room / one), 1))


def grid(
    models: Sequence[str] = MODELS,
    boxes: Sequence[str] = BOXES,
    workloads: Sequence[str] = WORKLOADS,
    **others: Any,
) -> list[Point]:
    """Return all points of some models, boxes and workloads, in this order, as small as they get.

    Each has the fewest GPUs that hold the weights; see `fewest_gpus`.

    Examples
    --------
    >>> len(grid())
    168
    """
    names = product(models, boxes, workloads)
    return [Point(*each, **{"gpus": fewest_gpus(each[0]), **others}) for each in names]


def sweep(
    function: Callable[[Given], Found],
    points: Iterable[Given],
    *,
    processes: int = 1,
    progress: bool = False,
) -> list[Found]:
    """Call a function for each point, in the points' order.

    Parameters
    ----------
    function : callable
        Takes one point; with several processes it must be found by name in a module.
    points : iterable
        Points.
    processes : int
        How many work; with 1 nothing is started, as in a browser, where nothing can be.
    progress : bool
        Whether a bar on standard error shows how far it is.

    Raises
    ------
    ValueError
        If `processes` is not a whole number above zero.
    Exception
        What the function raises, from the first point in order that does so.

    Examples
    --------
    >>> sweep(abs, [-3, 2, -1])
    [3, 2, 1]
    """
    whole(processes=processes)
    given = list(points)
    if processes == 1:
        return list(_shown(map(function, given), len(given), progress))
    from concurrent.futures import ProcessPoolExecutor  # a browser's Python does not have it

    chunk = max(len(given) // (8 * processes), 1)
    with ProcessPoolExecutor(processes) as pool:
        found = pool.map(function, given, chunksize=chunk)
        return list(_shown(found, len(given), progress))


def _shown(found: Iterable[Found], count: int, progress: bool) -> Iterator[Found]:
    for number, each in enumerate(found, start=1):
        if progress:
            bar = "#" * (40 * number // count)
            end = "\n" if number == count else ""
            print(f"\r[{bar:40}] {number}/{count}", end=end, file=sys.stderr, flush=True)
        yield each

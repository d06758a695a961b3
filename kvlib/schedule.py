"""Who works when: stages on resources, put together by a small algebra.

A `Stage` keeps one resource busy for some time. Plans are put together from stages and plans:

- `serial`: one after the other;
- `parallel`: side by side on different resources, until the last is done;
- `repeat`: the same again and again, as layers do;
- `pipeline`: equal items follow each other through stages that have a resource each: heads,
  or the batches of pipeline parallelism;
- `interleave`: chains of stages that meet on the same resources, as sub-batches do;
- `spread`: the same stage on several resources at once, as tensor parallelism does.

A plan knows its makespan, how long it keeps each resource busy, and hence how well it uses them.
Times may be arrays of any shape that broadcast. Of one configuration it can draw a Gantt chart.

>>> layer = [Stage("projections", "GPU", 3.0), Stage("attention", "PIM", 5.0)]
>>> serial(*layer).makespan, pipeline(layer, 10).makespan / 10, interleave(layer, layer).makespan
(8.0, 5.3, 13.0)
>>> {name: round(part, 2) for name, part in pipeline(layer, 10).utilisation.items()}
{'GPU': 0.57, 'PIM': 0.94}
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np

from kvlib.checks import positive, whole
from kvlib.operators import plain

__all__ = [
    "Bar", "Plan", "Stage", "interleave", "parallel", "pipeline", "repeat", "serial", "spread",
]  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One bar of a Gantt chart: what keeps a resource busy, from when until when [s]."""

    resource: str
    stage: str
    start: float
    end: float


class Plan(ABC):
    """Stages in some order: what `Stage` and the functions of this module make."""

    @property
    @abstractmethod
    def makespan(self) -> Any:
        """Time from the start of the first stage to the end of the last [s]."""

    @property
    @abstractmethod
    def longest_chain(self) -> Any:
        """Time of the longest run of stages of which each waits for the one before [s]."""

    @property
    @abstractmethod
    def busy(self) -> dict[str, Any]:
        """Time in which each resource works [s]."""

    @abstractmethod
    def _bars(self, start: float) -> Iterator[Bar]:
        """Yield its bars if it starts at some time."""

    @property
    def utilisation(self) -> dict[str, Any]:
        """Fraction of the makespan in which each resource works."""
        whole_time = self.makespan
        return {resource: plain(time / whole_time) for resource, time in self.busy.items()}

    def gantt(self) -> list[Bar]:
        """Return the bars of a Gantt chart, by start; stages that take no time have none.

        Raises
        ------
        ValueError
            If times are arrays: a chart is of one configuration.

        Examples
        --------
        >>> chain = [Stage("write", "link", 1.0), Stage("read", "PIM", 2.0)]
        >>> for bar in pipeline(chain, 2).gantt():
        ...     print(bar.resource, bar.start, bar.end)
        link 0.0 1.0
        link 1.0 2.0
        PIM 1.0 3.0
        PIM 3.0 5.0
        """
        if np.ndim(self.makespan):
            raise ValueError(
                f"makespan has shape {np.shape(self.makespan)}: a Gantt chart is of one "
                f"configuration. Make the plan of one of them."
            )
        return sorted(
            (bar for bar in self._bars(0.0) if bar.end > bar.start), key=lambda bar: bar.start
        )


@dataclass(frozen=True)
class Stage(Plan):
    """One piece of work on one resource.

    Parameters
    ----------
    name, resource : str
        What is done, and what does it.
    time : float or array
        How long it takes [s].

    Raises
    ------
    ValueError
        If the time is negative or not finite.
    """

    name: str
    resource: str
    time: Any

    def __post_init__(self) -> None:
        positive(True, **{f"time of {self.name!r}": self.time})

    @property
    def makespan(self) -> Any:
        """Its time [s]."""
        return plain(self.time)

    @property
    def longest_chain(self) -> Any:
        """Its time [s]."""
        return plain(self.time)

    @property
    def busy(self) -> dict[str, Any]:
        """Its time, on its one resource [s]."""
        return {self.resource: self.makespan}

    def _bars(self, start: float) -> Iterator[Bar]:
        yield Bar(self.resource, self.name, start, start + float(self.time))


@dataclass(frozen=True)
class _Serial(Plan):
    parts: tuple[Plan, ...]

    @property
    def makespan(self) -> Any:
        return sum((part.makespan for part in self.parts), 0.0)

    @property
    def longest_chain(self) -> Any:
        return sum((part.longest_chain for part in self.parts), 0.0)

    @property
    def busy(self) -> dict[str, Any]:
        return _added(self.parts)

    def _bars(self, start: float) -> Iterator[Bar]:
        for part in self.parts:
            yield from part._bars(start)
            start += part.makespan


@dataclass(frozen=True)
class _Parallel(Plan):
    parts: tuple[Plan, ...]

    def __post_init__(self) -> None:
        _apart(self.parts, "work side by side")

    @property
    def makespan(self) -> Any:
        return _longest(part.makespan for part in self.parts)

    @property
    def longest_chain(self) -> Any:
        return _longest(part.longest_chain for part in self.parts)

    @property
    def busy(self) -> dict[str, Any]:
        return _added(self.parts)

    def _bars(self, start: float) -> Iterator[Bar]:
        for part in self.parts:
            yield from part._bars(start)


@dataclass(frozen=True)
class _Repeat(Plan):
    part: Plan
    count: Any

    @property
    def makespan(self) -> Any:
        return self.count * self.part.makespan

    @property
    def longest_chain(self) -> Any:
        return self.count * self.part.longest_chain

    @property
    def busy(self) -> dict[str, Any]:
        return {resource: self.count * time for resource, time in self.part.busy.items()}

    def _bars(self, start: float) -> Iterator[Bar]:
        for turn in range(int(self.count)):
            yield from self.part._bars(start + turn * self.part.makespan)


@dataclass(frozen=True)
class _Pipeline(Plan):
    stages: tuple[Plan, ...]
    count: Any

    def __post_init__(self) -> None:
        _apart(self.stages, "be stages of one pipeline")

    @property
    def makespan(self) -> Any:
        times = [stage.makespan for stage in self.stages]
        return sum(times, 0.0) + (self.count - 1) * _longest(times)

    @property
    def longest_chain(self) -> Any:
        return sum((stage.longest_chain for stage in self.stages), 0.0)

    @property
    def busy(self) -> dict[str, Any]:
        return {r: self.count * time for r, time in _added(self.stages).items()}

    def _bars(self, start: float) -> Iterator[Bar]:
        before, slowest = 0.0, 0.0
        for stage in self.stages:  # an item waits for the slowest stage so far
            slowest = max(slowest, stage.makespan)
            for item in range(int(self.count)):
                yield from stage._bars(start + before + item * slowest)
            before += stage.makespan


@dataclass(frozen=True)
class _Interleave(Plan):
    chains: tuple[tuple[Plan, ...], ...]

    def _starts(self) -> Iterator[tuple[Any, Plan]]:
        """Yield the start of each stage, in the order in which stages are issued [s]."""
        free: dict[str, Any] = {}
        ready: dict[int, Any] = {}
        turns = ((number, place) for number, chain in enumerate(self.chains)
                 for place in range(len(chain)))  # fmt: skip
        for number, place in sorted(turns, key=lambda turn: (sum(turn), -turn[1])):
            part = self.chains[number][place]
            waits = [free[name] for name in part.busy if name in free]
            begin = _longest([ready.get(number, 0.0), *waits])
            yield begin, part
            ready[number] = begin + part.makespan
            free.update(dict.fromkeys(part.busy, ready[number]))

    @property
    def makespan(self) -> Any:
        return _longest(begin + part.makespan for begin, part in self._starts())

    @property
    def longest_chain(self) -> Any:
        return _longest(sum((part.longest_chain for part in chain), 0.0) for chain in self.chains)

    @property
    def busy(self) -> dict[str, Any]:
        return _added(part for chain in self.chains for part in chain)

    def _bars(self, start: float) -> Iterator[Bar]:
        for begin, part in self._starts():
            yield from part._bars(start + begin)


def serial(*parts: Plan) -> Plan:
    """Run plans one after the other.

    Examples
    --------
    >>> serial(Stage("qkv", "GPU", 2.0), Stage("attention", "PIM", 3.0)).makespan
    5.0
    """
    return _Serial(_some(parts))


def parallel(*parts: Plan) -> Plan:
    """Run plans side by side, on different resources, until the last is done.

    Raises
    ------
    ValueError
        If two of them need the same resource.

    Examples
    --------
    >>> parallel(Stage("up", "GPU", 2.0), Stage("up", "PIM", 3.0)).makespan
    3.0
    """
    return _Parallel(_some(parts))


def repeat(part: Plan, count: Any) -> Plan:
    """Run a plan `count` times, each after the other.

    Examples
    --------
    >>> repeat(Stage("layer", "GPU", 2.0), 96).makespan
    192.0
    """
    whole(count=count)
    return _Repeat(part, count)


def pipeline(stages: Iterable[Plan], count: Any) -> Plan:
    r"""Send `count` equal items through stages, each stage with resources of its own.

    .. math:: T = \sum_i t_i + (n - 1) \max_i t_i

    Parameters
    ----------
    stages : iterable of Plan
        What happens to each item, in order; times of one item [s].
    count : int or array
        Items n. In steady state one leaves every :math:`\max_i t_i`.

    Raises
    ------
    ValueError
        If two stages need the same resource: use `interleave`, or count them as one stage.

    Examples
    --------
    >>> heads = pipeline([Stage("qkv", "GPU", 1.0), Stage("attention", "PIM", 4.0)], 12)
    >>> heads.makespan
    49.0
    """
    whole(count=count)
    return _Pipeline(_some(tuple(stages)), count)


def interleave(*chains: Iterable[Plan]) -> Plan:
    """Run chains of stages that share resources, each starting one stage after the one before.

    A resource takes its stages in a fixed order, diagonal by diagonal: the second stage of the
    first chain goes with the first stage of the second. Where two meet on one diagonal, the one
    that is further along goes first. A stage waits for the one before it in its chain, and for what
    its resources do before.

    Examples
    --------
    Two sub-batches of NeuPIMs: one is in the matrix unit while the other is in the memory.

    >>> half = [Stage("qkv", "NPU", 2.0), Stage("attention", "PIM", 3.0), Stage("ffn", "NPU", 4.0)]
    >>> interleave(half, half).makespan, serial(*half, *half).makespan
    (13.0, 18.0)
    """
    return _Interleave(tuple(_some(tuple(chain)) for chain in _some(chains)))


def spread(name: str, resources: Iterable[str], time: Any) -> Plan:
    """Run one stage on several resources at once.

    Examples
    --------
    >>> spread("qkv", ["GPU 0", "GPU 1"], 2.0).busy
    {'GPU 0': 2.0, 'GPU 1': 2.0}
    """
    return parallel(*(Stage(name, resource, time) for resource in resources))


def _some(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    if not parts:
        raise ValueError("a plan of 0 parts has no time: give at least one stage.")
    return parts


def _apart(parts: tuple[Plan, ...], what: str) -> None:
    for one, other in combinations(parts, 2):
        if shared := sorted(set(one.busy) & set(other.busy)):
            raise ValueError(
                f"two plans on {shared[0]!r} cannot {what}: a resource does one thing at a time. "
                f"Put them in series, or interleave them."
            )


def _added(parts: Iterable[Plan]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for part in parts:
        for resource, time in part.busy.items():
            total[resource] = total.get(resource, 0.0) + time
    return total


def _longest(times: Iterable[Any]) -> Any:
    return plain(reduce(np.maximum, times))

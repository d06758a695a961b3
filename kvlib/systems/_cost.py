"""What a step costs by part: times that add up to the step, and energies."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kvlib.operators import plain

__all__ = ["Cost"]

Parts = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Cost:
    """A step by part.

    Parameters
    ----------
    time : dict of str to float or array
        What each part adds to the step: of parts that overlap, only what shows [s].
    energy : dict of str to float or array
        Energy of each part, all devices together [J].
    assumptions : tuple of str
        What had to be assumed.

    Examples
    --------
    >>> layer = Cost({"attention": 2e-3, "feed-forward": 5e-3}, {"memory": 0.25})
    >>> (layer * 96).total, (layer * 96).total_energy
    (0.672, 24.0)
    """

    time: Parts
    energy: Parts
    assumptions: tuple[str, ...] = ()

    @property
    def total(self) -> Any:
        """Time of the step [s]."""
        return plain(added(self.time.values()))

    @property
    def total_energy(self) -> Any:
        """Energy of the step [J]."""
        return plain(added(self.energy.values()))

    def mean(self) -> "Cost":
        """Return the mean over the last axis of all that has one."""
        return self._each(lambda part: plain(np.mean(part, axis=-1)) if np.ndim(part) else part)

    def __add__(self, other: "Cost") -> "Cost":
        notes = dict.fromkeys(self.assumptions + other.assumptions)
        return Cost(_sum(self.time, other.time), _sum(self.energy, other.energy), tuple(notes))

    def __mul__(self, count: Any) -> "Cost":
        return self._each(lambda part: count * part)

    def _each(self, change: Callable[[Any], Any]) -> "Cost":
        time, energy = (
            {name: change(part) for name, part in parts.items()}
            for parts in (self.time, self.energy)
        )
        return replace(self, time=time, energy=energy)


def added(parts: Iterable[Any]) -> Any:
    """Sum of parts, zero for none."""
    return sum(parts, 0.0)


def _sum(one: Parts, two: Parts) -> Parts:
    return {name: one.get(name, 0.0) + two.get(name, 0.0) for name in {**one, **two}}

"""From numbers to places in a drawing: scales, their ticks, and the paths of marks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvlib.widgets._text import SUPERSCRIPT, number

__all__ = ["Scale", "box", "line", "linear", "logarithmic", "points"]

HAIR = 1e-3  # of a step between ticks
TINY = 1e-300  # what lies nearer together is one number

Place = tuple[float, float] | None


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    log: bool
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """The place of a number.

        Examples
        --------
        >>> Scale(1, 100, True, 0, 200, (1, 10, 100))(10)
        100.0
        """
        if self.log:
            if value <= 0:
                return self.start
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    @property
    def base(self) -> float:
        """Where bars begin: zero, or the lowest number of a logarithmic scale."""
        return self.low if self.log else 0.0

    def text(self, tick: float) -> str:
        """What is written at a tick."""
        power = math.log10(tick) if tick > 0 else 0.5
        if self.log and power.is_integer() and not -3 < power < 5:
            return f"10{str(int(power)).translate(SUPERSCRIPT)}"
        return number(tick, most=1e5)


def linear(values: Iterable[float], start: float, end: float, *, tight: bool = False) -> Scale:
    """A scale with round ends that holds every value, and zero unless it is `tight`.

    Examples
    --------
    >>> linear([3, 9.1], 0, 100).ticks
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    """
    found = list(values)
    low, high = min(found), max(found)
    if not tight:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < TINY:
        high = low + (abs(low) if abs(low) > TINY else 1.0)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= 0.999 * rough)
    if not tight:  # what is rounded, parts that add up to 100.003, may pass an end by a hair
        low, high = step * math.floor(low / step + HAIR), step * math.ceil(high / step - HAIR)
    first = math.ceil(low / step - 1e-9)
    ticks = [float(f"{step * n:.6g}") for n in range(first, first + 12)]
    return Scale(low, high, False, start, end, tuple(t for t in ticks if t <= high + 1e-9 * step))


def logarithmic(values: Iterable[float], start: float, end: float, *, tight: bool = False) -> Scale:
    """A logarithmic scale that holds every value, with a margin unless it is `tight`.

    Raises
    ------
    ValueError
        If a value is not above zero.

    Examples
    --------
    >>> logarithmic([1, 4096], 0, 100, tight=True).ticks
    (1.0, 10.0, 100.0, 1000.0)
    """
    found = list(values)
    low, high = min(found), max(found)
    if low <= 0:
        raise ValueError(f"a logarithmic scale of the chart meets {low:g}: give numbers above 0.")
    if not tight or high <= low:
        low, high = low / 1.25, high * 1.25
    decades = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    ticks = [10.0**n for n in decades]
    if len(ticks) < 3:
        around = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        fine = [float(f"{m}e{n}") for n in around for m in (1, 2, 5)]
        ticks = [tick for tick in fine if low * 0.999 <= tick <= high * 1.001] or [low, high]
    every = math.ceil(len(ticks) / 6)
    return Scale(low, high, True, start, end, tuple(ticks[::every]))


def line(places: Sequence[Place]) -> str:
    """The path through places; it breaks where there is none.

    Examples
    --------
    >>> line([(0, 1), (2, 3), None, (4, 5)])
    'M0 1L2 3M4 5'
    """
    parts, pen = [], "M"
    for place in places:
        if place is not None:
            parts.append(f"{pen}{_short(place[0])} {_short(place[1])}")
        pen = "M" if place is None else "L"
    return "".join(parts)


def points(places: Sequence[Place]) -> str:
    """The path of one dot per place; round line caps make the dots.

    Examples
    --------
    >>> points([(0, 1.5), None])
    'M0 1.5h0'
    """
    return "".join(f"M{_short(p[0])} {_short(p[1])}h0" for p in places if p is not None)


def box(spans: Sequence[Place], top: float, bottom: float) -> str:
    """The path of one box per span along the horizontal axis.

    Examples
    --------
    >>> box([(0, 20)], 1, 9)
    'M0 1H20V9H0Z'
    """
    return "".join(
        f"M{_short(span[0])} {_short(top)}H{_short(span[1])}V{_short(bottom)}H{_short(span[0])}Z"
        for span in spans
        if span is not None
    )


def _short(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")

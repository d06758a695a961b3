"""The three kinds of chart: curves, bars, spans in time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from kvlib.colours import COLOURS, colour
from kvlib.widgets._drawing import INSET, PLOT, Drawing, Mark
from kvlib.widgets._grid import Grid
from kvlib.widgets._scale import Scale, linear, logarithmic
from kvlib.widgets._text import split_unit

__all__ = ["Chart", "bars", "lines", "timeline"]

HEIGHT = 200  # of a plot with a vertical scale
ROW, BAR = 38, 16  # of one row of boxes: its height, and that of its boxes
NEUTRAL = ("#4477AA", "#997700", "#994455", "#556B2F")
DASHES = ("", "2 5", "9 5 2 5", "6 6")

Series: TypeAlias = Mapping[str, str] | Sequence[str]
Pair: TypeAlias = tuple[str, str]


class Chart(Protocol):
    """A chart that can be fitted to a grid."""

    def fit(self, grid: Grid) -> Drawing:
        """The drawing for that grid."""


@dataclass(frozen=True)
class _Lines:
    x: str
    y: Mapping[str, str]
    log: str
    dots: Mapping[str, Pair]
    extent: tuple[float, float] | None

    def fit(self, grid: Grid) -> Drawing:
        along = next((axis for axis in grid.axes if axis.name == self.x), None)
        if along and not along.is_number:
            raise ValueError(f"the chart's axis {self.x!r} holds words: lines need numbers.")
        for name in self.y:
            _check(grid, name, is_array=along is None)
        for pair in self.dots.values():
            for name in pair:
                _check(grid, name, is_array=False)
        if along is None:
            _check(grid, self.x, is_array=True)
        horizontal = [*along.values] if along else grid.numbers(self.x)
        vertical = [one for name in self.y for one in grid.numbers(name)]
        for across, up in self.dots.values():
            horizontal += grid.numbers(across)
            vertical += grid.numbers(up)
        unit = _one_unit([*self.y, *(up for _, up in self.dots.values())])
        only = split_unit(next(iter(self.y)))[0] if len(self.y) == 1 else ""
        shown = (along.label, along.unit) if along else split_unit(self.x)
        return Drawing(
            x=_scale(self.log, "x", horizontal, INSET, INSET + PLOT, tight=True),
            y=_scale(self.log, "y", self.extent or vertical, HEIGHT + INSET, INSET),
            x_label=_label(*shown),
            y_label=_label(only, unit),
            marks=tuple(self._marks(None if along else self.x)),
            height=HEIGHT,
            axis=along.name if along else None,
            axis_values=along.values if along else (),
        )

    def _marks(self, across: str | None) -> Iterable[Mark]:
        x = () if across is None else (across,)
        dashes = iter(DASHES)
        inks = _inks(self.y)
        for name, kind in self.y.items():
            shape = "points" if kind == "measured" else "line"
            dash = "6 6" if kind == "ideal" else "" if shape == "points" else next(dashes, "2 5")
            yield Mark(shape, x, (name,), inks[name], name, dash)
        if across is None:
            yield from (Mark("dot", (), (name,), inks[name], "") for name in self.y)
        dot_inks = _inks({name: name if name in COLOURS else "" for name in self.dots})
        for name, (right, up) in self.dots.items():
            yield Mark("dot", (right,), (up,), dot_inks[name], name)


@dataclass(frozen=True)
class _Boxes:
    rows: Mapping[str, tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...]]
    log: str
    is_array: bool

    def fit(self, grid: Grid) -> Drawing:
        flat = [segment for row in self.rows.values() for segment in row]
        names = [name for _, _, starts, ends in flat for name in (*starts, *ends)]
        for name in names:
            _check(grid, name, is_array=self.is_array)
        unit = _one_unit(names)
        ends = [end for _, _, starts, names in flat for end in _totals(grid, (starts, names))]
        inks = _inks({label: kind for label, kind, _, _ in flat})
        marks, heights = [], []
        for place, (label, row) in enumerate(self.rows.items()):
            top = INSET + place * ROW
            heights.append((top + 14.0, label))
            marks += [
                Mark("boxes", starts, names, inks[name], name, "", top + 19, top + 19 + BAR)
                for name, _, starts, names in row
            ]
        return Drawing(
            x=_scale(self.log, "x", ends, INSET, 404 + INSET),
            y=None,
            x_label=_label("", unit),
            y_label="",
            marks=tuple(marks),
            height=ROW * len(self.rows) + 4,
            rows=tuple(heights),
        )


def lines(
    x: str,
    y: Series,
    *,
    log: str = "",
    dots: Mapping[str, Pair] | None = None,
    range: tuple[float, float] | None = None,
) -> Chart:
    """Curves, and dots that move along them.

    Parameters
    ----------
    x : str
        A number axis of the widget: the curves are the grid along it, and a dot marks where the
        control stands.  Or a result that is an array: `y` are arrays of the same length.
    y : sequence of str, or mapping of str to str
        The results to draw; or result -> kind, a key of `kvlib.colours.COLOURS`.  What is
        "measured" is drawn as points, what is "ideal" dashed.
    log : {"", "x", "y", "xy"}
        Which scales are logarithmic.
    dots : mapping of str to (str, str), optional
        More dots: name -> the two results that are its place.
    range : (float, float), optional
        Ends of the vertical scale; what lies outside is cut off.  Fits every number unless given.

    Raises
    ------
    ValueError
        If `log` is none of the four.
    UnknownName
        If a kind has no colour.
    """
    if log not in {"", "x", "y", "xy"}:
        raise ValueError(f"log = {log!r} must be '', 'x', 'y' or 'xy'.")
    return _Lines(x, _kinds(y), log, dict(dots or {}), range)


def bars(y: Series | Mapping[str, Series], *, log: bool = False) -> Chart:
    """One horizontal bar per result; or, from a mapping of mappings, one stack per row.

    Parameters
    ----------
    y : sequence of str, mapping of str to str, or mapping of str to either
        The results to draw, or result -> kind; or row -> such a list or mapping, stacked.
    log : bool
        Whether the scale is logarithmic; not for stacks, whose parts could not be compared.

    Raises
    ------
    ValueError
        If a stack is asked for on a logarithmic scale.
    """
    if not isinstance(y, Mapping) or all(isinstance(row, str) for row in y.values()):
        single = {
            split_unit(name)[0]: ((name, kind, (), (name,)),) for name, kind in _kinds(y).items()
        }
        return _Boxes(single, "x" if log else "", is_array=False)
    if log:
        raise ValueError("stacked bars have no logarithmic scale: their parts add up.")
    stacks = {}
    for row, series in y.items():
        names = [*_kinds(series)]
        stacks[row] = tuple(
            (name, kind, tuple(names[:place]), tuple(names[: place + 1]))
            for place, (name, kind) in enumerate(_kinds(series).items())
        )
    return _Boxes(stacks, "", is_array=False)


def timeline(
    lanes: Mapping[str, Mapping[str, Pair]], *, kinds: Mapping[str, str] | None = None
) -> Chart:
    """Spans in time, one lane below the other.

    Parameters
    ----------
    lanes : mapping of str to mapping of str to (str, str)
        Lane -> what happens there -> the two results, arrays, that hold its starts and ends; nan
        where there is no span.
    kinds : mapping of str to str, optional
        What happens -> kind, a key of `kvlib.colours.COLOURS`.
    """
    known = dict(kinds or {})
    rows = {
        lane: tuple((what, known.get(what, ""), (a,), (b,)) for what, (a, b) in spans.items())
        for lane, spans in lanes.items()
    }
    return _Boxes(rows, "", is_array=True)


def _kinds(series: object) -> dict[str, str]:
    if isinstance(series, str) or not isinstance(series, Iterable):
        raise TypeError(f"{series!r} must be a list of results, or a mapping result -> kind.")
    return dict(series) if isinstance(series, Mapping) else dict.fromkeys(series, "")


def _inks(kinds: Mapping[str, str]) -> dict[str, str]:
    neutral = iter(NEUTRAL * len(kinds))
    return {name: colour(kind) if kind else next(neutral) for name, kind in kinds.items()}


def _check(grid: Grid, name: str, *, is_array: bool) -> None:
    result = grid.result(name)
    if result.is_word or (result.length is not None) != is_array:
        wanted = "an array" if is_array else "a plain number"
        raise ValueError(f"the chart needs {wanted} for {name!r}.")
    if not grid.numbers(name):
        raise ValueError(f"{name!r} is nowhere available: nothing to draw.")


def _totals(grid: Grid, sums: tuple[tuple[str, ...], ...]) -> Iterable[float]:
    """Every sum of results that a box reaches to, over the whole grid."""
    for names in sums:
        for answer in grid.answers:
            found = [answer.values[name] for name in names]
            if len(found) == 1 and isinstance(found[0], tuple):
                yield from (one for one in found[0] if one is not None)
            elif found and all(isinstance(one, float | int) for one in found):
                yield sum(one for one in found if isinstance(one, float | int))


def _scale(
    log: str, which: str, values: Iterable[float], start: float, end: float, *, tight: bool = False
) -> Scale:
    return (logarithmic if which in log else linear)(values, start, end, tight=tight)


def _one_unit(names: Sequence[str]) -> str:
    units = dict.fromkeys(split_unit(name)[1] for name in names)
    if len(units) > 1:
        raise ValueError(f"the chart's scale would carry {[*units]}: give its results one unit.")
    return next(iter(units), "")


def _label(name: str, unit: str) -> str:
    return f"{name} [{unit}]".strip() if unit else name

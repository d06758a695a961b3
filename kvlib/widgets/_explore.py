"""`explore` and the object it returns."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvlib.widgets._answer import Answer, Function, Value, answer, name_of
from kvlib.widgets._axis import axis
from kvlib.widgets._chart import Chart
from kvlib.widgets._drawing import Drawing, Frame
from kvlib.widgets._grid import Grid, fill, fitted
from kvlib.widgets._held import PAGES, grid_of
from kvlib.widgets._page import html
from kvlib.widgets._view import state, written

__all__ = ["BYTES", "Explore", "explore", "is_live"]

BYTES = 60_000
"""The most bytes that a widget may take on the page."""

NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, repr=False)
class Explore:
    """A function, the grid it was asked over, and how both are shown.

    A notebook shows it when it is the last expression of a cell.
    """

    function: Function
    name: str
    message: str
    grid: Grid
    start: tuple[int, ...]
    drawing: Drawing | None
    digits: int

    def at(self, **values: Any) -> Mapping[str, Value]:
        """The held results at one point; None where there is no answer.

        Parameters
        ----------
        **values
            A held value, or its label, for each axis; the start where none is given.

        Raises
        ------
        ValueError
            If a value is not held: the grid is never interpolated.
        TypeError
            If there is no such axis.
        """
        known = [axis.name for axis in self.grid.axes]
        if unknown := sorted(values.keys() - set(known)):
            raise TypeError(f"no axis {unknown[0]!r}; the axes are {', '.join(known)}.")
        positions = (
            own.position(values[own.name]) if own.name in values else at
            for own, at in zip(self.grid.axes, self.start, strict=True)
        )
        return self.grid.at(tuple(positions)).values

    def frame(self, positions: tuple[int, ...]) -> Frame:
        """What the page shows at a point of the grid."""
        if self.drawing is None or self.drawing.axis is None:
            return Frame(self.grid.at(positions))
        which = [axis.name for axis in self.grid.axes].index(self.drawing.axis)
        before, after = positions[:which], positions[which + 1 :]
        along = (self.grid.at((*before, at, *after)) for at in range(self.grid.shape[which]))
        values = self.drawing.axis_values
        return Frame(self.grid.at(positions), tuple(along), values, values[positions[which]])

    def ask(self, values: Mapping[str, Any]) -> Frame:
        """What a live kernel shows, at values that need not be held: then the function is asked."""
        now = self._answer(values)
        if self.drawing is None or self.drawing.axis is None:
            return Frame(now)
        name, here = self.drawing.axis, values[self.drawing.axis]
        places = tuple(sorted({*self.drawing.axis_values, here}))
        along = (now if at == here else self._answer({**values, name: at}) for at in places)
        return Frame(now, tuple(along), places, here)

    def _answer(self, values: Mapping[str, Any]) -> Answer:
        places = [own.find(values[own.name]) for own in self.grid.axes]
        if None not in places:
            return self.grid.at(tuple(place for place in places if place is not None))
        found = answer(self.function, values, self.digits)
        return fitted(found, self.grid.at(self.start), "these values")

    def __repr__(self) -> str:
        now = self.frame(self.start).answer
        texts = [own.text(at) for own, at in zip(self.grid.axes, self.start, strict=True)]
        numbers = (
            f"{result.label} {written(now.values[result.name])} {result.unit}".rstrip()
            for result in self.grid.results
            if result.length is None
        )
        return f"{self.message}\n{state(self, texts)}: {', '.join(numbers)}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        shown: dict[str, Any] = {"text/plain": repr(self), "text/html": html(self)}
        if is_live():
            from kvlib.widgets._jupyter import panel  # ipywidgets are there, and a kernel

            shown = panel(self)._repr_mimebundle_() | shown
        return shown


def explore(
    function: Function,
    *,
    message: str,
    name: str | None = None,
    start: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    chart: Chart | None = None,
    vectorised: bool = False,
    digits: int = 4,
    **axes: Any,
) -> Explore:
    """Let a reader move the arguments of a function and see its results.

    Parameters
    ----------
    function : callable
        Takes the axes by keyword.  Gives a number, or a mapping name -> number, word, or
        one-dimensional array; a name carries its unit in brackets, "time [µs]", and its number is
        divided by it.  The same names and lengths at every point.  Where it raises ValueError,
        ArithmeticError or LookupError, the point is shown as not available, with that reason.
    message : str
        What the start shows, in one sentence: most readers never move a control.
    name : str, optional
        Identifies the widget within its page; the function's name unless given.
    start : mapping of str to object, optional
        Axis -> the value, or its label, at which the widget starts; else its first.
    labels : mapping of str to str, optional
        Axis -> how it is called, a unit in brackets behind it; else its name.
    chart : Chart, optional
        What `lines`, `bars` or `timeline` gives.
    vectorised : bool
        Call the function with arrays over the number axes, not once per point; for plain numbers.
    digits : int
        Significant digits that are held and shown; whole numbers are kept whole.
    **axes
        Ascending numbers (a slider); words, or a mapping label -> object (a select).

    Returns
    -------
    Explore
        Shows itself in a notebook and on the page.

    Raises
    ------
    ValueError
        If an axis, the grid, the page or a name is not within the rules; the message says which.
    TypeError
        If an axis or a result is of the wrong kind.

    Examples
    --------
    >>> def square(side, weight_bytes):
    ...     return {"intensity [flop/B]": 2 * side**3 / (3 * weight_bytes * side**2)}
    >>> explore(square, message="It grows.", side=[128, 1024], weight_bytes=[1, 2])
    It grows.
    side 128, weight bytes 1: intensity 85.33 flop/B
    """
    if not str(message or "").strip():
        raise ValueError(f"message = {message!r} must say what the start shows.")
    if not axes:
        raise ValueError("no axis is given: write, for instance, rows=[1, 8, 64].")
    identity = name_of(function).replace("_", "-").lower() if name is None else name
    if not NAME.fullmatch(identity):
        raise ValueError(f"name = {identity!r} must be letters a-z, digits and hyphens.")
    if not 1 <= digits <= 15:
        raise ValueError(f"digits = {digits} must lie between 1 and 15.")
    for what, given in (("start", start or {}), ("labels", labels or {})):
        if unknown := sorted(given.keys() - axes.keys()):
            raise ValueError(f"{what} names {unknown[0]!r}; the axes are {', '.join(axes)}.")
    controls = tuple(axis(own, values, (labels or {}).get(own)) for own, values in axes.items())
    begin = tuple(
        own.position(start[own.name]) if start and own.name in start else 0 for own in controls
    )
    page = PAGES.get().get(identity)
    grid = grid_of(page, function, controls, begin, digits) if page else None
    grid = grid or fill(function, controls, begin, digits, vectorised=vectorised)
    drawing = chart.fit(grid) if chart is not None else None
    widget = Explore(function, identity, message.strip(), grid, begin, drawing, digits)
    if (size := len(html(widget).encode())) > BYTES:
        raise ValueError(
            f"widget {identity!r} takes {size} bytes on the page, over the budget of {BYTES}: "
            "give fewer values per axis, fewer results or shorter arrays."
        )
    return widget


def is_live() -> bool:
    """Whether a reader can move ipywidgets here: there is a kernel, and no page is being made.

    ``KVLIB_WIDGETS=page`` in the environment says that a page is being made.
    """
    if os.environ.get("KVLIB_WIDGETS") == "page":
        return False
    try:
        import ipywidgets  # noqa: F401 - asked whether it is there
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")

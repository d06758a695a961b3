"""The face on a page whose own Python runs, in the reader's browser: any value, asked anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kvlib.widgets._axis import Axis
from kvlib.widgets._view import view

if TYPE_CHECKING:
    from kvlib.widgets._explore import Explore

__all__ = ["axes", "drawn"]


def axes(widget: Explore) -> list[dict[str, Any]]:
    """What the page must know of each axis: the numbers it holds, if it holds numbers."""
    return [
        {"numbers": list(axis.values) if axis.is_number else None, "whole": axis.is_whole}
        for axis in widget.grid.axes
    ]


def drawn(widget: Explore, values: Sequence[float]) -> dict[str, Any]:
    """The view where the controls stand.

    Parameters
    ----------
    widget : Explore
        The widget.
    values : sequence of float
        For each axis its number, held or not; for a select the place of the choice.
    """
    point = {
        axis.name: _value(axis, value) for axis, value in zip(widget.grid.axes, values, strict=True)
    }
    texts = [axis.write(point[axis.name]) for axis in widget.grid.axes]
    return {"view": view(widget, widget.ask(point), texts), "texts": texts}


def _value(axis: Axis, value: float) -> Any:
    if not axis.is_number:
        return axis.values[int(value)]
    within = min(max(value, axis.values[0]), axis.values[-1])
    return round(within) if axis.is_whole else float(within)

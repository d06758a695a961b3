"""The grid that a page holds, read back: a live page need not ask for all of it again."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np

from kvlib.widgets._answer import Answer, Function, Value
from kvlib.widgets._axis import Axis
from kvlib.widgets._grid import Grid, Result, agree, first_answer, results_of

__all__ = ["PAGES", "grid_of"]

PAGES: ContextVar[Mapping[str, Any]] = ContextVar("PAGES", default={})  # noqa: B039 - never changed
"""Name of a widget -> what its page holds, as `kvlib.widgets._page.data` gave it."""


def grid_of(
    held: Mapping[str, Any],
    function: Function,
    axes: tuple[Axis, ...],
    start: tuple[int, ...],
    digits: int,
) -> Grid | None:
    """The grid that a page holds, or None if it is not that of these axes and this function.

    The function is asked at the start alone.
    """
    texts = [[axis.text(at) for at in range(len(axis.values))] for axis in axes]
    if texts != [axis["texts"] for axis in held["axes"]]:
        return None
    first = first_answer(function, axes, start, digits)
    results = results_of(first)
    if [result.label for result in results] != [column["label"] for column in held["results"]]:
        return None
    reasons = {place: reason for reason, places in held["reasons"] for place in places}
    shape = tuple(len(axis.values) for axis in axes)
    columns = {
        result.name: _whole(column, result, shape)
        for result, column in zip(results, held["results"], strict=True)
    }
    answers = tuple(
        Answer({name: column[place] for name, column in columns.items()}, reasons.get(place, ""))
        for place in range(int(np.prod(shape)))
    )
    grid = Grid(axes, results, answers)
    return grid if agree(grid.at(start).values, first.values, digits) else None


def _whole(column: Mapping[str, Any], result: Result, shape: tuple[int, ...]) -> list[Value]:
    """A column over every point, the last axis running fastest."""
    length = result.length or 1
    table = np.empty(len(column["values"]), dtype=object)
    table[:] = column["values"]
    every = np.broadcast_to(table.reshape((*column["shape"], length)), (*shape, length))
    rows = every.reshape(-1, length).tolist()
    if result.length is not None:
        return [None if None in row and set(row) == {None} else tuple(row) for row in rows]
    words = column.get("words")
    return [row[0] if words is None or row[0] is None else words[row[0]] for row in rows]

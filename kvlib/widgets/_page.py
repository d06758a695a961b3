"""The face on the page: HTML that needs no kernel; book/_static/widgets.js moves it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from kvlib.widgets._axis import Axis
from kvlib.widgets._grid import Grid, Result
from kvlib.widgets._scale import Scale
from kvlib.widgets._view import HIDDEN, view

if TYPE_CHECKING:
    from kvlib.widgets._explore import Explore

__all__ = ["html"]

TICKS = 8  # values written under a slider, at most
LETTERS = 37  # the width of a slider, in letters of those values


def html(widget: Explore) -> str:
    """The whole widget, at its start; the controls stay hidden until the script is there."""
    texts = [axis.text(at) for axis, at in zip(widget.grid.axes, widget.start, strict=True)]
    controls = "".join(
        _control(f"kv-{widget.name}-{axis.name.replace('_', '-')}", axis, at, place)
        for place, (axis, at) in enumerate(zip(widget.grid.axes, widget.start, strict=True))
    )
    held = json.dumps(data(widget), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    held = held.replace("<", "\\u003c")  # nothing in it ends the script
    return (
        f'<figure class="kv-explore" id="kv-{widget.name}">'
        f"<figcaption>{escape(widget.message)}</figcaption>"
        f'<div class="kv-controls" {HIDDEN}>{controls}</div>'
        f'<div class="kv-view">{view(widget, widget.frame(widget.start), texts)}</div>'
        '<p class="kv-said" role="status"></p>'
        "<noscript><p>Other values: run the cell, or allow this page its script.</p></noscript>"
        f'<script type="application/json">{held}</script></figure>'
    )


def _control(identity: str, axis: Axis, at: int, place: int) -> str:
    label = f'<label for="{identity}">{escape(axis.label)}</label>'
    common = f'id="{identity}" data-axis="{place}" autocomplete="off"'
    if not axis.is_number:
        options = "".join(
            f"<option{' selected' if own == at else ''}>{escape(text)}</option>"
            for own, text in enumerate(axis.texts)
        )
        return f'<div class="kv-control">{label}<select {common}>{options}</select></div>'
    last = len(axis.values) - 1
    every = _every(axis.texts)
    ticks = "".join(
        f'<span style="--at:{own / last:.4g}">{escape(text) if own % every == 0 else ""}</span>'
        for own, text in enumerate(axis.texts)
    )
    return (
        f'<div class="kv-control">{label}<output for="{identity}">{escape(axis.text(at))}</output>'
        f'<input type="range" min="0" max="{last}" step="1" value="{at}" '
        f'aria-valuetext="{escape(axis.text(at))}" {common}>'
        f'<div class="kv-ticks" aria-hidden="true">{ticks}</div></div>'
    )


def _every(texts: Sequence[str]) -> int:
    """Every how many values one is written under the slider, so that none runs into the next."""
    last = len(texts) - 1

    def clear(every: int) -> bool:
        shown = [len(text) * (2 if at in {0, last} else 1) for at, text in enumerate(texts)]
        pairs = pairwise(shown[::every])  # a text at an end stands inwards of it
        return all((a + b) / 2 + 1 <= LETTERS * every / last for a, b in pairs)

    fewest = -(-last // (TICKS - 1))
    return next((every for every in range(fewest, last) if clear(every)), last)


def data(widget: Explore) -> dict[str, Any]:
    """Everything that the script needs: axes, results, and how the chart is drawn."""
    grid, drawing = widget.grid, widget.drawing
    names = [result.name for result in grid.results]
    reasons: dict[str, list[int]] = {}
    for place, answer in enumerate(grid.answers):
        if answer.reason:
            reasons.setdefault(answer.reason, []).append(place)
    held: dict[str, Any] = {
        "axes": [
            {"label": axis.label, "texts": [axis.text(at) for at in range(len(axis.values))]}
            for axis in grid.axes
        ],
        "results": [_column(grid, result) for result in grid.results],
        "reasons": list(reasons.items()),
    }
    if drawing is None:
        return held
    along = next((at for at, axis in enumerate(grid.axes) if axis.name == drawing.axis), None)
    return held | {
        "along": along,
        "places": [drawing.x(value) for value in drawing.axis_values],
        "x": _numbers_of(drawing.x),
        "y": _numbers_of(drawing.y) if drawing.y else None,
        "marks": [
            {
                "shape": mark.shape,
                "x": [names.index(name) for name in mark.x],
                "y": [names.index(name) for name in mark.y],
                "top": mark.top,
                "bottom": mark.bottom,
            }
            for mark in drawing.marks
        ],
    }


def _column(grid: Grid, result: Result) -> dict[str, Any]:
    """A result over the grid; an axis along which it never changes is held once (size 1)."""
    values = [answer.values[result.name] for answer in grid.answers]
    words = sorted({value for value in values if isinstance(value, str)})
    length = result.length or 1
    flat = np.empty((len(values), length), dtype=object)
    for place, value in enumerate(values):
        if isinstance(value, str):
            flat[place, 0] = words.index(value)
        elif isinstance(value, tuple):
            flat[place] = value
        else:
            flat[place] = [value] * length
    table = flat.reshape((*grid.shape, length))
    for axis in range(len(grid.shape)):
        first = table.take([0], axis)
        if (table == first).all():
            table = first
    column: dict[str, Any] = {
        "label": result.label,
        "unit": result.unit,
        "shape": list(table.shape[:-1]),
        "length": result.length,
        "values": table.ravel().tolist(),
    }
    return column | ({"words": words} if result.is_word else {})


def _numbers_of(scale: Scale) -> list[float | bool]:
    return [scale.low, scale.high, scale.log, scale.start, scale.end]

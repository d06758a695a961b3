"""What both faces show: the numbers as a table that is the legend too, and the chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from kvlib.widgets._answer import Value
from kvlib.widgets._drawing import Frame, Mark, swatch
from kvlib.widgets._text import number

if TYPE_CHECKING:
    from kvlib.widgets._explore import Explore

__all__ = ["HIDDEN", "MISSING", "state", "view", "written"]

MISSING = "not available"
HIDDEN = 'hidden style="display:none"'  # twice, because JupyterLab drops the attribute


def written(value: Value) -> str:
    """A result as it is shown, without its unit."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    return "" if isinstance(value, tuple) else number(value)


def state(widget: Explore, texts: Sequence[str]) -> str:
    """Where the controls stand, in words.

    Parameters
    ----------
    widget : Explore
        The widget.
    texts : sequence of str
        The value of each control, with its unit.
    """
    labels = (axis.label for axis in widget.grid.axes)
    return ", ".join(f"{label} {text}" for label, text in zip(labels, texts, strict=True))


def view(widget: Explore, frame: Frame, texts: Sequence[str]) -> str:
    """The table and the chart of one moment, as HTML."""
    rows = "".join(
        f'<tr><th scope="row">{_swatch(widget, result.name)}{escape(result.label)}</th>'
        f'<td class="kv-value">{escape(written(frame.answer.values.get(result.name)))}</td>'
        f"<td>{escape(result.unit)}</td></tr>"
        for result in widget.grid.results
        if result.length is None
    )
    reason = escape(frame.answer.reason)
    shown = "" if reason else f" {HIDDEN}"
    why = f'<p class="kv-why"{shown}>{MISSING.capitalize()}: {reason}</p>'
    return (
        f'<table class="kv-numbers"><caption>{escape(state(widget, texts))}</caption>'
        f"<tbody>{rows}</tbody></table>{why}{_chart(widget, frame)}"
    )


def _chart(widget: Explore, frame: Frame) -> str:
    if widget.drawing is None:
        return ""
    marks = _legend(widget)
    tabled = {result.name for result in widget.grid.results if result.length is None}
    others = "".join(
        f"<li>{swatch(mark)}{escape(label)}</li>"
        for label, mark in marks.items()
        if label not in tabled
    )
    described = f"Chart of {', '.join(marks)}; {widget.message}"
    drawn = widget.drawing.svg(frame, described)
    return f'<div class="kv-drawn">{drawn}{f"<ul>{others}</ul>" if others else ""}</div>'


def _legend(widget: Explore) -> Mapping[str, Mark]:
    """The first mark of each label."""
    marks: dict[str, Mark] = {}
    for mark in widget.drawing.marks if widget.drawing else ():
        if mark.label:
            marks.setdefault(mark.label, mark)
    return marks


def _swatch(widget: Explore, name: str) -> str:
    mark = _legend(widget).get(name)
    return swatch(mark) if mark else ""

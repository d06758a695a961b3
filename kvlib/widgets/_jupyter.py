"""The face under a kernel: ipywidgets, every change asks the function again."""

from __future__ import annotations

import asyncio
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets

from kvlib.widgets._axis import Axis
from kvlib.widgets._view import view

if TYPE_CHECKING:
    from kvlib.widgets._explore import Explore

__all__ = ["panel"]

PAUSE = 0.02  # seconds without a further change before the view is drawn again
WIDE = {"description_width": "9rem"}
PAPER = (
    "background:white;color:#222;padding:0.6rem;max-width:50rem;"
    "display:grid;grid-template-columns:1fr 26rem;gap:1rem;align-items:start"
)


def panel(widget: Explore) -> ipywidgets.VBox:
    """Controls above the view; a number has a slider over what is held and a box for any other."""
    rows, controls = [], {}
    for axis, at in zip(widget.grid.axes, widget.start, strict=True):
        row, controls[axis.name] = (_slider if axis.is_number else _select)(axis, at)
        rows.append(row)
    shown = ipywidgets.HTML()
    waiting: list[asyncio.TimerHandle] = []

    def draw() -> None:
        values = {name: control.value for name, control in controls.items()}
        shown.value = f'<div style="{PAPER}">{_drawn(widget, values)}</div>'

    def changed(_: object) -> None:
        while waiting:
            waiting.pop().cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no kernel's loop: draw at once
            draw()
        else:
            waiting.append(loop.call_later(PAUSE, draw))

    for control in controls.values():
        control.observe(changed, names="value")
    draw()
    message = ipywidgets.HTML(f"<b>{escape(widget.message)}</b>")
    return ipywidgets.VBox([message, *rows, shown])


def _drawn(widget: Explore, values: dict[str, Any]) -> str:
    texts = [axis.write(values[axis.name]) for axis in widget.grid.axes]
    try:
        frame = widget.ask(values)
    except Exception as error:  # noqa: BLE001 - a mistake in the reader's function is shown to them
        return f"<p>{escape(type(error).__name__)}: {escape(str(error))}</p>"
    return view(widget, frame, texts)


def _select(axis: Axis, at: int) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
    options = list(zip(axis.texts, axis.values, strict=True))
    control = ipywidgets.Dropdown(options=options, index=at, description=axis.label, style=WIDE)
    return control, control


def _slider(axis: Axis, at: int) -> tuple[ipywidgets.Widget, ipywidgets.Widget]:
    """A slider over the held values, and a box that takes any number between the ends."""
    kind = ipywidgets.BoundedIntText if axis.is_whole else ipywidgets.BoundedFloatText
    low, high = axis.values[0], axis.values[-1]
    box = kind(min=low, max=high, value=axis.values[at], step=None, layout={"width": "8rem"})
    slider = ipywidgets.SelectionSlider(
        options=list(zip(axis.texts, axis.values, strict=True)),
        index=at,
        readout=False,
        description=axis.label,
        style=WIDE,
    )

    def moved(change: dict[str, Any]) -> None:
        box.value = change["new"]

    slider.observe(moved, names="value")
    return ipywidgets.HBox([slider, box, ipywidgets.Label(axis.unit)]), box

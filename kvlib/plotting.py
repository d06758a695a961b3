"""Figures drawn on an axis you give. Nothing here touches matplotlib's global state.

One look for the whole book: a kind of processor or operation has the same colour in every chapter,
lines are labelled at their ends, and the caption, not the legend, carries the message.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kvlib.colours import COLOURS, MARKERS, colour
from kvlib.hardware import Device
from kvlib.roofline import attainable

__all__ = ["COLOURS", "MARKERS", "colour", "curve", "label_end", "roof", "scatter", "style"]

def style(width: float = 6.4, height: float = 3.6) -> dict[str, Any]:
    """Settings of one figure, for ``matplotlib.rc_context`` or ``rcParams.update``.

    Parameters
    ----------
    width, height : float
        Size of the figure [inch].

    Examples
    --------
    >>> style()["axes.spines.top"]
    False
    """
    return {
        "figure.figsize": (width, height),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "svg.hashsalt": "kvlib",
        "svg.fonttype": "none",
    }


def roof(
    ax: Axes,
    device: Device,
    precision: str,
    *,
    intensity: Iterable[float] = (0.1, 10_000),
    kind: str = "GPU",
    label: str | None = None,
    **line: Any,
) -> Axes:
    """Draw a device's roofline and mark its ridge.

    Parameters
    ----------
    ax : Axes
        Where to draw; both scales become logarithmic.
    device : Device
        Whose roof.
    precision : str
        Number format of the peak.
    intensity : pair of float
        Range of the horizontal axis [flop/B].
    kind : str
        Colour to use, a key of `COLOURS`.
    label : str, optional
        Text at the flat end; the device's title unless given.
    **line
        Passed on to the line.
    """
    low, high = intensity
    ridge = device.ridge(precision)
    points = np.array(sorted({low, min(max(ridge, low), high), high}))
    rates = attainable(points, device, precision)
    ax.loglog(points, rates / 1e12, **{"color": colour(kind), **line})
    ax.plot(ridge, device.peak(precision) / 1e12, "|", ms=12, color=colour(kind))
    label_end(ax, points[-1], rates[-1] / 1e12, label or device.title, colour(kind))
    ax.set(xlabel="intensity [flop/B]", ylabel="rate [TFLOP/s]")
    return ax


def curve(ax: Axes, x: Any, y: Any, kind: str, *, label: str = "", **line: Any) -> Axes:
    """Draw a line in the colour of a kind, with its name at its end if it has one."""
    ax.plot(x, y, **{"color": colour(kind), **line})
    if label:
        label_end(ax, np.asarray(x)[-1], np.asarray(y)[-1], label, colour(kind))
    return ax


def scatter(ax: Axes, x: Any, y: Any, kind: str, **points: Any) -> Axes:
    """Draw points in the colour and marker of a kind."""
    given = {"color": colour(kind), "marker": MARKERS[kind], "linestyle": "none", **points}
    ax.plot(x, y, **given)
    return ax


def label_end(ax: Axes, x: float, y: float, text: str, colour: str, **options: Any) -> Axes:
    """Write a line's name at its end, in its colour."""
    placed = {"xytext": (4, 0), "va": "center", "ha": "left", "fontsize": 9, **options}
    ax.annotate(
        text, (x, y), textcoords="offset points", color=colour, annotation_clip=False, **placed
    )
    return ax

"""Figures drawn on an axis you give. Nothing here touches matplotlib's global state.

One look for the whole book: a kind of processor or operation has the same colour in every chapter,
lines are labelled at their ends, and the caption, not the legend, carries the message.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from kvlib.checks import choose
from kvlib.colours import COLOURS, MARKERS, colour
from kvlib.hardware import Device
from kvlib.nearmemory import Command
from kvlib.roofline import attainable
from kvlib.schedule import Bar

__all__ = [
    "COLOURS", "MARKERS",
    "colour", "command_chart", "curve", "gantt", "label_end", "roof", "scatter", "style",
]  # fmt: skip

_LANES = {
    "vectors": {"WRITE": "NPU"},
    "rows": {"ACT": "CPU", "PRE": "ideal"},
    "units": {"MAC": "PIM"},
    "results": {"READ": "NPU"},
    "refresh": {"REF": "SSD"},
    "host": {"HOST ACT": "CPU", "HOST RD": "GPU", "HOST PRE": "ideal"},
}
"""Lanes of a command chart: command names and the kinds whose colours they take."""

_IN_BAR: dict[str, Any] = {"fontsize": 7, "color": "white"}
"""Look of a name inside a bar."""


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


def command_chart(ax: Axes, commands: Sequence[Command], *, until: float | None = None) -> Axes:
    """Draw what a memory does when: one lane per resource, one bar per command.

    A bar begins when its command is issued and lasts until what it started is done; commands that
    follow each other at once are one bar. A pale bar between ACT and PRE is a row that stays open.
    Bars that are wide enough carry their name.

    Parameters
    ----------
    ax : Axes
        Where to draw; time runs to the right [ns].
    commands : sequence of Command
        From `kvlib.nearmemory.trace`, and `kvlib.nearmemory.host_reads` beside them.
    until : float, optional
        Where the chart ends [s]; after the last command unless given.

    Raises
    ------
    ValueError
        If there is no command.
    """
    if not commands:
        raise ValueError("commands is empty: nothing to draw. Give the list that trace returned.")
    last = until if until is not None else max(c.time + c.duration for c in commands)
    names = {command.name for command in commands}
    lanes = [lane for lane, kinds in _LANES.items() if names & set(kinds)]
    for place, lane in enumerate(lanes):
        opened = 0.0
        for name, start, stop in _runs(commands, _LANES[lane], last):
            if name.endswith("ACT"):
                opened = start
            elif name.endswith("PRE"):
                ax.barh(place, start - opened, 0.5, opened, color="#DDDDDD", zorder=0.5)
            ink, width = colour(_LANES[lane][name]), stop - start
            ax.barh(place, width, 0.5, start, color=ink, edgecolor="white", lw=0.4)
            if width > 0.055 * last * 1e9:
                text, middle = name.removeprefix("HOST "), start + width / 2
                ax.text(middle, place, text, ha="center", va="center", **_IN_BAR)
    ax.set(yticks=range(len(lanes)), yticklabels=lanes, xlabel="time [ns]", xlim=(0, last * 1e9))
    ax.set_ylim(len(lanes) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    return ax


def gantt(
    ax: Axes,
    bars: Iterable[Bar],
    kinds: Mapping[str, str],
    *,
    unit: float = 1e-6,
    until: float | None = None,
) -> Axes:
    """Draw a schedule: a lane for each resource, a bar for each stage, from left to right.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    bars : iterable of Bar
        What ``plan.gantt()`` returned.
    kinds : mapping of str to str
        Resources from top to bottom, and the kind whose colour each has, a key of `COLOURS`.
    unit : float
        What the horizontal axis counts [s]; the caller names it.
    until : float, optional
        Where the axis ends [s]; at the last bar unless given.

    Raises
    ------
    UnknownName
        If a bar is on a resource that `kinds` does not name, or a kind has no colour.
    """
    drawn = list(bars)
    end = until if until is not None else max(bar.end for bar in drawn)
    lanes = {resource: -lane for lane, resource in enumerate(kinds)}
    for bar in drawn:
        choose(bar.resource, lanes, "resource of the chart")
        ink, width = colour(kinds[bar.resource]), bar.end - bar.start
        edge = "white" if width > 0.005 * end else ink
        ax.barh(
            lanes[bar.resource], width / unit, left=bar.start / unit, height=0.7,
            color=ink, edgecolor=edge, linewidth=0.4,
        )  # fmt: skip
    for resource, lane in lanes.items():
        own = [bar for bar in drawn if bar.resource == resource]
        for stage, group in groupby(own, key=lambda bar: bar.stage):
            run = list(group)
            middle, width = (run[0].start + run[-1].end) / 2, run[-1].end - run[0].start
            filled = sum(bar.end - bar.start for bar in run) > 0.8 * width
            if filled and width > 0.014 * end * len(stage):  # room for its name
                ax.text(
                    middle / unit, lane, stage, ha="center", va="center", fontsize=8, color="white"
                )
    ax.set(xlim=(0, end / unit), ylim=(0.5 - len(kinds), 0.5))
    ax.set_yticks(list(lanes.values()), list(lanes))
    ax.grid(axis="y", visible=False)
    return ax


def _runs(
    commands: Sequence[Command], wanted: Iterable[str], last: float
) -> list[tuple[str, float, float]]:
    """Name, start and end [ns] of commands, equal ones that follow each other at once as one."""
    runs: list[tuple[str, float, float]] = []
    for command in commands:
        if command.name not in wanted or command.time >= last:
            continue
        start, stop = command.time * 1e9, min(command.time + command.duration, last) * 1e9
        if runs and runs[-1][0] == command.name and abs(start - runs[-1][2]) < 1e-6:
            start = runs.pop()[1]
        runs.append((command.name, start, stop))
    return runs

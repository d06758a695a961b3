"""A drawing: scales that stay, marks that move.

Scales are fixed over the whole grid.  Each `Mark` is one SVG path; book/_static/widgets.js computes
the same paths when a control moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from kvlib.widgets._answer import Answer, Value
from kvlib.widgets._scale import Place, Scale, box, line, points

__all__ = ["Drawing", "Frame", "Mark", "INSET", "PLOT", "swatch"]

WIDTH = 420
INSET = 8  # room for half a dot around the plot
LEFT, TOP, RIGHT, BOTTOM = 52, 26, 8, 46
PLOT = WIDTH - LEFT - RIGHT
"""Width of a plot that has a vertical scale."""

GRID = 'stroke="currentColor" stroke-opacity="0.18"'


@dataclass(frozen=True)
class Frame:
    """What is shown at one moment: the answer; where the chart has an axis, those along it too.

    `places` are the values of that axis for which `along` has answers, `position` the present one.
    """

    answer: Answer
    along: tuple[Answer, ...] = ()
    places: tuple[float, ...] = ()
    position: float | None = None


@dataclass(frozen=True)
class Mark:
    """One path: a "line", "points", a "dot" or "boxes", from named results.

    `y` names the vertical results; `x` the horizontal ones, or nothing where that is the chart's
    axis.  Boxes lie between `top` and `bottom`, from the sum of the results `x` to that of `y`.
    """

    shape: str
    x: tuple[str, ...]
    y: tuple[str, ...]
    ink: str
    label: str
    dash: str = ""
    top: float = 0
    bottom: float = 0

    def svg(self, path: str = "") -> str:
        """The mark drawn along a path."""
        if self.shape == "boxes":
            look = f'fill="{self.ink}" stroke="none"'
        else:
            width = {"line": 2.2, "points": 6, "dot": 11}[self.shape]
            look = f'fill="none" stroke="{self.ink}" stroke-width="{width}" stroke-linecap="round"'
            look += f' stroke-dasharray="{self.dash}"' if self.dash else ""
        return f'<path class="kv-{self.shape}" style="--ink:{self.ink}" {look} d="{path}"/>'


@dataclass(frozen=True)
class Drawing:
    """A chart fitted to a grid."""

    x: Scale
    y: Scale | None
    x_label: str
    y_label: str
    marks: tuple[Mark, ...]
    height: float  # of the plot
    axis: str | None = None
    axis_values: tuple[float, ...] = ()
    rows: tuple[tuple[float, str], ...] = ()  # what is written above boxes

    def path(self, mark: Mark, frame: Frame) -> str:
        """The path of a mark in a frame; empty where there is no answer."""
        values = frame.answer.values
        if mark.shape == "boxes":
            return box(self._spans(mark, values), mark.top, mark.bottom)
        if mark.x:
            across, up = _many(values.get(mark.x[0])), _many(values.get(mark.y[0]))
        elif mark.shape == "dot":
            across, up = [frame.position], _many(values.get(mark.y[0]))
        else:
            across = [*frame.places]
            up = [one for answer in frame.along for one in _many(answer.values.get(mark.y[0]))]
        places = [
            None if h is None or v is None or self.y is None else (self.x(h), self.y(v))
            for h, v in zip(across, up, strict=True)
        ]
        return line(places) if mark.shape == "line" else points(places)

    def _spans(self, mark: Mark, values: Mapping[str, Value]) -> list[Place]:
        ends = _sum(mark.y, values)
        starts = _sum(mark.x, values) if mark.x else [self.x.base] * len(ends)
        return [
            None if a is None or b is None else (self.x(a), self.x(b))
            for a, b in zip(starts, ends, strict=True)
        ]

    def svg(self, frame: Frame, description: str) -> str:
        """The drawing of a frame."""
        left = INSET if self.y is None else LEFT
        top = 0 if self.y is None else TOP
        end = WIDTH - RIGHT
        height = top + self.height + BOTTOM
        marks = "".join(mark.svg(self.path(mark, frame)) for mark in self.marks)
        return (
            f'<svg class="kv-chart" viewBox="0 0 {WIDTH} {height:g}" role="img" font-size="13" '
            f'fill="currentColor" aria-label="{escape(description)}">'
            f"{self._still(left, top)}"
            f'<svg x="{left - INSET}" y="{top - INSET}" width="{end - left + 2 * INSET}" '
            f'height="{self.height + 2 * INSET:g}">{marks}</svg></svg>'
        )

    def _still(self, left: float, top: float) -> str:
        """What does not move: grid lines, ticks, labels."""
        bottom, end = top + self.height, WIDTH - RIGHT
        parts = []
        for tick in self.x.ticks:
            at = left - INSET + self.x(tick)
            parts.append(f'<path {GRID} d="M{at:g} {top}V{bottom:g}"/>')
            parts.append(_text(at, bottom + 17, self.x.text(tick), "middle"))
        y = self.y
        for at, text in [(y(tick), y.text(tick)) for tick in y.ticks] if y else []:
            parts.append(f'<path {GRID} d="M{left} {top - INSET + at:g}H{end}"/>')
            parts.append(_text(left - 6, top - INSET + at + 4, text, "end"))
        parts += [_text(left + 3, top + at - INSET, label, "start") for at, label in self.rows]
        parts.append(_text((left + end) / 2, bottom + 37, self.x_label, "middle"))
        if self.y_label:
            parts.append(_text(2, 13, self.y_label, "start"))
        return "".join(parts)


def swatch(mark: Mark) -> str:
    """A small picture of a mark, for the table or the legend."""
    path = {
        "line": "M2 6H26",
        "points": "M4 6h0M14 6h0M24 6h0",
        "dot": "M14 6h0",
        "boxes": "M2 1H26V11H2Z",
    }[mark.shape]
    return (
        '<svg class="kv-swatch" viewBox="0 0 28 12" width="28" height="12" aria-hidden="true">'
        f"{mark.svg(path)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _many(value: Value) -> list[float | None]:
    if isinstance(value, tuple):
        return [*value]
    return [value if isinstance(value, float | int) else None]


def _sum(names: tuple[str, ...], values: Mapping[str, Value]) -> list[float | None]:
    columns = [_many(values.get(name)) for name in names]
    return [
        sum(one for one in row if one is not None) if None not in row else None
        for row in zip(*columns, strict=True)
    ]

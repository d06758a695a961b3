"""Widgets: one call, alive in Jupyter and on the page.

Under a kernel, `explore` gives ipywidgets.  On the page it gives HTML that holds the whole grid:
it moves without a kernel, without a network and without a click, it is the same bytes on every
run, and it shows only values that it holds.  book/widgets.md says how, and why it is a script of
our own.
"""

from kvlib.widgets._chart import Chart, bars, lines, timeline
from kvlib.widgets._explore import Explore, explore

__all__ = ["explore", "lines", "bars", "timeline", "Chart", "Explore"]

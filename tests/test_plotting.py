"""Figures are legible, tell kinds apart, and leave matplotlib as they found it."""

import subprocess
import sys

import matplotlib
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from kvlib import device
from kvlib.checks import UnknownName
from kvlib.nearmemory import gddr6_aim, host_reads, neupims, trace
from kvlib.plotting import (
    COLOURS,
    MARKERS,
    colour,
    command_chart,
    curve,
    label_end,
    roof,
    scatter,
    style,
)

PROCESSORS = ("GPU", "GPU older", "NPU", "CPU", "PIM", "NDP", "SSD", "NIC")
LOWEST_CONTRAST = 3.0  # WCAG 2.1, criterion 1.4.11: parts of a figure against what is beside them


@pytest.fixture
def ax():
    return Figure().subplots()


def luminance(colour):
    """Relative luminance by WCAG 2.1."""
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast_formula():
    assert 1.05 / (luminance("#FFFFFF") + 0.05) == pytest.approx(1)
    assert 1.05 / (luminance("#000000") + 0.05) == pytest.approx(21)


@pytest.mark.parametrize("kind", COLOURS)
def test_every_kind_is_seen_on_white(kind):
    assert 1.05 / (luminance(COLOURS[kind]) + 0.05) >= LOWEST_CONTRAST


def test_every_kind_has_a_colour_of_its_own_and_a_marker():
    assert set(COLOURS) == set(MARKERS)
    assert len(set(COLOURS.values())) == len(COLOURS)
    for marker in MARKERS.values():
        MarkerStyle(marker)
    for kinds in (PROCESSORS, ("GEMM", "GEMV")):
        assert len({MARKERS[kind] for kind in kinds}) == len(kinds)


def test_unknown_kind_offers_the_nearest(ax):
    assert colour("PIM") == COLOURS["PIM"]
    for draw in (
        colour,
        lambda kind: curve(ax, [1], [1], kind),
        lambda kind: scatter(ax, 1, 1, kind),
    ):
        with pytest.raises(UnknownName, match=r"kind 'GPUs' is unknown\. Nearest known:"):
            draw("GPUs")


def test_style_is_made_of_settings_that_exist():
    settings = matplotlib.RcParams(style(width=5, height=3))  # an unknown one is a KeyError
    assert settings["figure.figsize"] == [5, 3]
    assert settings["svg.hashsalt"]


def draw_everything(ax):
    roof(ax, device("h100-sxm-80gb"), "bf16")
    curve(ax, [1, 10], [1, 10], "model", label="model")
    scatter(ax, [1, 2], [1, 2], "measured")
    label_end(ax, 1, 1, "here", colour("GEMM"))
    command_chart(ax.figure.add_subplot(), trace(gddr6_aim(), 16, 64, precision="bf16"))


def test_drawing_leaves_no_trace(ax):
    import matplotlib.pyplot as plt

    before, figures = dict(matplotlib.rcParams), plt.get_fignums()
    draw_everything(ax)
    style()
    assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == figures


def test_importing_it_starts_no_pyplot():
    code = "import sys, kvlib.plotting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_functions_return_the_axis_they_drew_on(ax):
    assert roof(ax, device("h100-sxm-80gb"), "bf16") is ax
    assert curve(ax, [1, 2], [1, 2], "GEMM") is ax
    assert scatter(ax, [1, 2], [1, 2], "GEMV") is ax
    assert label_end(ax, 1, 1, "here", "black") is ax


def test_roof_bends_at_the_ridge(ax):
    h100 = device("h100-sxm-80gb")
    roof(ax, h100, "bf16", intensity=(1, 10_000), label="H100")
    line, mark = ax.lines
    ridge = 989.4e12 / 3.35e12
    assert line.get_xdata().tolist() == pytest.approx([1, ridge, 10_000], rel=1e-3)
    assert line.get_ydata().tolist() == pytest.approx([3.35, 989.4, 989.4], rel=1e-3)
    assert mark.get_xdata()[0] == pytest.approx(ridge, rel=1e-3)
    assert [text.get_text() for text in ax.texts] == ["H100"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "intensity [flop/B]"


def test_a_roof_seen_on_one_side_of_its_ridge_only(ax):
    roof(ax, device("h100-sxm-80gb"), "bf16", intensity=(1, 10))
    assert ax.lines[0].get_xdata().tolist() == [1, 10]
    with pytest.raises(ValueError, match=r"intensity = 0.* must be finite and above zero"):
        roof(ax, device("h100-sxm-80gb"), "bf16", intensity=(0, 10))


def test_points_have_marker_and_colour_of_their_kind(ax):
    scatter(ax, [1, 2], [1, 2], "PIM", label="bank")
    (points,) = ax.lines
    assert (points.get_color(), points.get_marker()) == (COLOURS["PIM"], MARKERS["PIM"])
    assert (points.get_linestyle(), points.get_label()) == ("None", "bank")
    curve(ax, [1, 2], [1, 2], "ideal", color="black")  # what the caller says goes
    assert ax.lines[-1].get_color() == "black"


def lanes(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_a_command_is_a_bar_in_the_lane_of_its_resource(ax):
    commands = trace(gddr6_aim(), 32, 1024, precision="bf16")
    assert command_chart(ax, commands) is ax
    assert lanes(ax) == ["vectors", "rows", "units", "results"]
    once = [command.name for command in commands if command.name != "MAC"]
    assert once == ["WRITE"] * 64 + ["ACT", "PRE", "READ"] * 2
    assert len(ax.patches) == 1 + 3 * 2 + 2 + 2  # writes and multiplications as runs, open rows
    units = [bar for bar in ax.patches if bar.get_facecolor() == to_rgba(colour("PIM"))]
    assert [bar.get_width() for bar in units] == pytest.approx([64, 64])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["WRITE", "ACT", "ACT", "MAC", "MAC", "READ", "READ"]
    read = max(ax.patches, key=lambda bar: bar.get_x() + bar.get_width())
    assert read.get_facecolor() == to_rgba(colour("NPU"))
    assert read.get_x() + read.get_width() == pytest.approx(ax.get_xlim()[1])
    assert ax.get_xlabel() == "time [ns]"


def test_a_command_chart_ends_where_it_is_told_to(ax):
    pim = neupims()
    commands = trace(pim, 64, 512, precision="fp16") + host_reads(pim, 64)
    command_chart(ax, commands, until=150e-9)
    assert lanes(ax)[-1] == "host"
    assert ax.get_xlim() == (0, 150)
    assert max(bar.get_x() + bar.get_width() for bar in ax.patches) <= 150
    with pytest.raises(ValueError, match="commands is empty"):
        command_chart(ax, [])

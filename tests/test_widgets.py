"""Widgets hold what the function says, in both faces, and refuse what they cannot hold."""

import asyncio
import json
import re
import subprocess
import sys
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from kvlib import device
from kvlib.checks import UnknownName
from kvlib.operators import linear
from kvlib.roofline import bounds
from kvlib.units import us
from kvlib.widgets import _explore as module
from kvlib.widgets import bars, explore, lines, timeline
from kvlib.widgets._held import PAGES
from kvlib.widgets._jupyter import panel
from kvlib.widgets._live import axes, drawn
from kvlib.widgets._page import _every, html
from kvlib.widgets._page import data as page_data
from kvlib.widgets._scale import linear as linear_scale
from kvlib.widgets._scale import logarithmic
from kvlib.widgets._text import held, number

ROWS = [1, 8, 64, 512, 4096]
GPUS = {"A100": device("a100-sxm-80gb"), "H100": device("h100-sxm-80gb")}
SAYS = "Up to the ridge it takes the same time."


def layer(rows, gpu):
    work = linear(rows, 8192, 8192, element_bytes=2)
    limits = bounds(work, gpu, "bf16")
    return {
        "time [µs]": limits.lower / us,
        "intensity [flop/B]": work.intensity,
        "waits for": "memory" if limits.memory > limits.compute else "arithmetic",
    }


def widget(function=layer, **given):
    options = {"message": SAYS, "rows": ROWS, "gpu": GPUS} | given
    return explore(function, **options)


def one(function, **given):
    return explore(function, **({"message": SAYS, "name": "one", "x": [1, 2, 3]} | given))


class Held(HTMLParser):
    """What a page's face carries: its grid, ids, and the numbers that it shows at once."""

    def __init__(self, text):
        super().__init__()
        self.inside, self.json, self.ids, self.cells = "", "", [], []
        self.feed(text)
        self.data = json.loads(self.json)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.inside = "json" if tag == "script" else values.get("class", "")
        if "id" in values:
            self.ids.append(values["id"])

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "json":
            self.json += data
        elif self.inside == "kv-value":
            self.cells.append(data)


# ---- what it holds ----------------------------------------------------------------


def test_every_held_number_is_what_the_function_gives():
    shown = widget()
    for rows in ROWS:
        for name, gpu in GPUS.items():
            now, true = shown.at(rows=rows, gpu=name), layer(rows, gpu)
            assert now["time [µs]"] == pytest.approx(true["time [µs]"], rel=5e-4)
            assert now["waits for"] == true["waits for"]


def test_the_page_carries_the_whole_grid():
    data = Held(html(widget())).data
    time = data["results"][0]
    assert time["shape"] == [5, 2]
    assert time["values"] == [widget().at(rows=r, gpu=g)["time [µs]"] for r in ROWS for g in GPUS]
    words = data["results"][2]
    assert [words["words"][at] for at in words["values"][:2]] == ["memory", "memory"]


def test_an_axis_that_changes_nothing_is_held_once():
    assert Held(html(widget())).data["results"][1]["shape"] == [5, 1]


def test_the_page_shows_the_start_at_once():
    shown = widget(start={"rows": 512, "gpu": "H100"})
    true = layer(512, GPUS["H100"])
    assert Held(html(shown)).cells[0] == number(held(true["time [µs]"], 4))
    assert f"rows 512, gpu H100: time {Held(html(shown)).cells[0]} µs" in repr(shown)


def test_the_same_bytes_on_every_run():
    chart = lines("rows", {"time [µs]": "GPU"}, log="xy")
    assert html(widget(chart=chart)) == html(widget(chart=chart))
    code = (
        "import sys; sys.path.insert(0, 'tests');"
        "from test_widgets import *; import hashlib;"
        "shown = html(widget(chart=lines('rows', ['time [µs]'])));"
        "print(hashlib.sha256(shown.encode()).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_one_per_cent_shows_on_the_page():
    def planted(rows, gpu):
        return {**layer(rows, gpu), "time [µs]": 1.01 * layer(rows, gpu)["time [µs]"]}

    assert html(widget(name="a")) != html(widget(planted, name="a"))


def test_ids_are_of_the_name_and_once():
    ids = Held(html(widget())).ids
    assert ids == ["kv-layer", "kv-layer-rows", "kv-layer-gpu"]


def test_nothing_a_caller_writes_becomes_markup():
    bad = "</script><b>&"
    shown = explore(
        lambda x: {f"{bad} [{bad}]": 1, "word": bad},
        name="bad",
        message=bad,
        x=["a", bad],
        labels={"x": bad},
    )
    text = html(shown)
    assert "<b>" not in text
    assert text.count("</script>") == 1
    assert Held(text).data["axes"][0]["texts"] == ["a", bad]


def test_whole_numbers_stay_whole_and_others_keep_four_digits():
    shown = one(lambda x: {"tokens": 1_048_577, "seconds": 1.234567})
    assert shown.at() == {"tokens": 1_048_577, "seconds": 1.235}


def test_a_plain_number_is_named_after_the_function():
    def reuse(heads):
        return heads / 8

    assert explore(reuse, message=SAYS, heads=[8, 16]).at(heads=16) == {"reuse": 2}


def test_nothing_between_held_values_is_made_up():
    with pytest.raises(ValueError, match=r"rows = 2 is not held\. Held: 1, 8, 64"):
        widget().at(rows=2)
    with pytest.raises(TypeError, match="no axis 'columns'; the axes are rows, gpu"):
        widget().at(columns=2)


def test_vectorised_holds_the_same():
    def time(rows, element_bytes):
        return {"time [µs]": linear(rows, 64, 64, element_bytes=element_bytes).bytes / 3.35}

    given = {"message": SAYS, "rows": ROWS, "element_bytes": [1, 2]}
    assert html(explore(time, **given)) == html(explore(time, vectorised=True, **given))


def test_vectorised_must_agree_with_single_calls():
    with pytest.raises(ValueError, match=r"gives .* for arrays but .* drop vectorised=True"):
        one(lambda x: {"y": np.max(x)}, vectorised=True)


# ---- what it refuses --------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ([1], ValueError, r"holds 1 value\(s\): a control needs two or more"),
        ([], ValueError, r"holds 0 value\(s\)"),
        ([3, 1, 2], ValueError, "goes from 3 to 1: give its values in ascending order"),
        ([1, float("nan")], ValueError, "holds nan: every value must be finite"),
        ([1, float("inf")], ValueError, "holds inf: every value must be finite"),
        ([1, 1, 2], ValueError, "holds 1 twice"),
        (["a", "a"], ValueError, "holds a twice"),
        ([1, "a"], TypeError, "numbers alone or words alone"),
        ([True, 2], TypeError, "numbers alone or words alone"),
        ([object(), object()], TypeError, "name objects by a dict"),
        (3, TypeError, "must be a list of values"),
        ("abc", TypeError, "must be a list of values"),
        ({1: 2, 3: 4}, TypeError, "must be a word or words"),
    ],
)
def test_a_bad_axis_is_refused(values, error, says):
    with pytest.raises(error, match=says):
        one(lambda x: 1, x=values)


def test_a_grid_over_budget_is_refused_with_its_size():
    called = []
    with pytest.raises(ValueError, match=r"200 × 100 = 20000 points is over the budget of 10000"):
        one(called.append, x=list(range(200)), y=list(range(100)))
    assert not called


def test_a_page_over_budget_is_refused_with_its_size():
    curve = np.random.default_rng(0).random(200)
    with pytest.raises(ValueError, match=r"takes \d+ bytes on the page, over the budget of 60000"):
        one(lambda x: {"y": curve * x}, x=list(range(100)))


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (Figure(), "Figure"),
        ({"y": Figure()}, "Figure"),
        ({"y": np.ones((2, 2))}, r"shape \(2, 2\)"),
        ({"y": []}, r"shape \(0,\)"),
        ({"y": 1j}, "complex"),
        ({1: 2}, "must be a word or words"),
        ({}, "must be a word or words"),
    ],
)
def test_what_is_no_number_is_refused(result, says):
    with pytest.raises(TypeError, match=says):
        one(lambda x: result)


@pytest.mark.parametrize(
    "later", [{"z": 1}, {"y": 1, "z": 2}, {"y": [1.0, 2.0]}, {"y": "a word"}, 7]
)
def test_results_that_change_are_refused(later):
    with pytest.raises(ValueError, match=r"the results change with the point: .* at x = 2"):
        one(lambda x: {"y": 1} if x == 1 else later)


def test_a_mistake_in_the_code_is_raised_with_the_point():
    def wrong(x):
        return {"y": 1 if x < 2 else None + 1}

    with pytest.raises(TypeError) as caught:
        one(wrong)
    assert caught.value.__notes__ == ["wrong() was asked at x = 2."]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"message": " "}, "must say what the start shows"),
        ({"name": "Two words"}, "letters a-z, digits and hyphens"),
        ({"start": {"y": 1}}, "start names 'y'; the axes are x"),
        ({"start": {"x": 7}}, "x = 7 is not held"),
        ({"labels": {"y": "why"}}, "labels names 'y'"),
        ({"digits": 0}, "digits = 0 must lie between 1 and 15"),
    ],
)
def test_a_bad_option_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        one(lambda x: 1, **given)


def test_no_axis_is_refused():
    with pytest.raises(ValueError, match="no axis is given"):
        explore(layer, message=SAYS)


# ---- points without an answer -----------------------------------------------------


def sometimes(x):
    if x == 2:
        raise ValueError("two does not fit")
    return {"y": float("inf") if x == 3 else x}


def test_a_point_without_an_answer_says_why():
    shown = one(sometimes, chart=lines("x", ["y"]))
    assert shown.at(x=2) == shown.at(x=3) == {"y": None}
    assert Held(html(shown)).data["reasons"] == [["two does not fit", [1]], ["y is inf", [2]]]


def test_a_line_breaks_where_there_is_no_answer():
    shown = one(lambda x: 1 / (x - 2), x=[0, 1, 2, 3, 4], chart=lines("x", ["value"]))
    path = shown.drawing.path(shown.drawing.marks[0], shown.frame((0,)))
    assert re.sub(r"[^ML]", "", path) == "MLML"


def test_the_start_must_have_an_answer():
    with pytest.raises(ValueError, match="two does not fit"):
        one(sometimes, start={"x": 2})
    with pytest.raises(ValueError, match=r"x = 3, the start, has no answer \(y is inf\)"):
        one(sometimes, start={"x": 3})


def test_vectorised_falls_back_to_points():
    def strict(x):
        if np.any(np.asarray(x) == 2):
            raise ValueError("two does not fit")
        return {"y": x * 2}

    shown = one(strict, vectorised=True)
    assert [shown.at(x=x)["y"] for x in (1, 2, 3)] == [2, None, 6]


# ---- charts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chart", "error", "says"),
    [
        (lines("x", ["z"]), ValueError, "asks for 'z'; the function gives 'a', 'b \\[s\\]'"),
        (lines("x", ["word"]), ValueError, "needs a plain number for 'word'"),
        (lines("x", ["array"]), ValueError, "needs a plain number for 'array'"),
        (lines("array", ["a"]), ValueError, "needs an array for 'a'"),
        (lines("way", ["a"]), ValueError, "holds words: lines need numbers"),
        (lines("x", ["a", "b [s]"]), ValueError, "give its results one unit"),
        (bars(["a", "b [s]"]), ValueError, "give its results one unit"),
        (lines("x", ["zero"], log="y"), ValueError, "meets 0: give numbers above 0"),
        (lines("x", {"a": "TPUX"}), UnknownName, "'TPUX' is unknown. Nearest known: NPU, GPU"),
        (timeline({"lane": {"what": ("a", "a")}}), ValueError, "needs an array for 'a'"),
    ],
)
def test_a_chart_that_cannot_be_drawn_is_refused(chart, error, says):
    def function(x, way):
        return {"a": x, "b [s]": x, "word": "w", "array": [1.0, 2.0], "zero": 0}

    with pytest.raises(error, match=says):
        one(function, way=["up", "down"], chart=chart)


def test_bad_chart_options_are_refused():
    with pytest.raises(ValueError, match="must be '', 'x', 'y' or 'xy'"):
        lines("x", ["y"], log="z")
    with pytest.raises(ValueError, match="no logarithmic scale"):
        bars({"row": ["a", "b"]}, log=True)
    with pytest.raises(TypeError, match="must be a list of results"):
        bars("time")


def test_stacks_add_up():
    shown = one(
        lambda x: {"a [s]": 1.0 * x, "b [s]": 3.0},
        chart=bars({"sum": {"a [s]": "GEMM", "b [s]": "GEMV"}}),
    )
    drawing = shown.drawing
    first, second = (drawing.path(mark, shown.frame((2,))) for mark in drawing.marks)
    end = f"{drawing.x(3):g}H"
    assert f"H{drawing.x(3):g}V" in first
    assert second.startswith("M" + end.removesuffix("H") + " ")
    assert f"H{drawing.x(6):g}V" in second


def test_a_timeline_leaves_out_spans_that_are_not():
    shown = one(
        lambda x: {"start [ns]": [0.0, 10.0], "end [ns]": [5.0, np.nan if x == 1 else 12.0]},
        chart=timeline({"bank 0": {"open": ("start [ns]", "end [ns]")}}),
    )
    mark = shown.drawing.marks[0]
    counts = [shown.drawing.path(mark, shown.frame((at,))).count("Z") for at in (0, 1)]
    assert counts == [1, 2]


def test_measured_values_are_points():
    shown = one(
        lambda x: {"model": x, "measured": x if x != 2 else None},
        chart=lines("x", {"model": "model", "measured": "measured"}),
    )
    assert [mark.shape for mark in shown.drawing.marks[:2]] == ["line", "points"]
    assert shown.at(x=2)["measured"] is None


@pytest.mark.parametrize(
    ("texts", "every"),
    [
        (["1", "2", "4", "8"], 1),
        ([str(2**n) for n in range(14)], 2),
        (["4608", "6144", "8192", "16 384", "32 768", "65 536"], 2),
        (["1000000000", "2000000000"], 1),
        (["0.123456789012345678901", "0.2", "0.3"], 2),
    ],
)
def test_no_value_under_a_slider_runs_into_the_next(texts, every):
    assert _every(texts) == every


def test_parts_that_are_rounded_do_not_stretch_the_scale():
    assert linear_scale([100.003], 0, 100).high == 100


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9))
def test_a_linear_scale_holds_every_value_and_its_ticks(values):
    scale = linear_scale(values, 0, 100)
    ends = [scale(value) for value in (*values, *scale.ticks)]
    assert min(ends) >= -0.1
    assert max(ends) <= 100.1
    assert 2 <= len(scale.ticks) <= 12


@given(st.lists(st.floats(1e-9, 1e12), min_size=1, max_size=9))
def test_a_logarithmic_scale_holds_every_value_and_its_ticks(values):
    scale = logarithmic(values, 0, 100)
    ends = [scale(value) for value in (*values, *scale.ticks)]
    assert min(ends) >= -0.1
    assert max(ends) <= 100.1
    assert 1 <= len(scale.ticks) <= 7


@given(st.floats(-1e15, 1e15))
def test_what_is_written_reads_back(value):
    kept = held(value, 4)
    text = number(kept).replace("\u202f", "").replace("−", "-")
    mantissa, _, power = text.partition(" × 10")
    exponent = int(power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")) or 0)
    assert float(mantissa) * 10.0**exponent == pytest.approx(kept, rel=1e-9)
    assert float(kept) == pytest.approx(value, rel=5e-4)


# ---- under a kernel -----------------------------------------------------------------


def boxes(shown):
    """The control of each axis: the number box of a slider's row, or the select."""
    rows = panel_of(shown).children[1:-1]
    return [row.children[1] if hasattr(row, "children") else row for row in rows]


def panel_of(shown):
    return shown if hasattr(shown, "children") else panel(shown)


def test_a_kernel_shows_any_value():
    live = panel(widget())
    rows, gpu = boxes(live)
    rows.value = 100
    gpu.value = GPUS["H100"]
    true = layer(100, GPUS["H100"])["time [µs]"]
    assert f">{number(held(true, 4))}</td>" in live.children[-1].value
    assert "rows 100, gpu H100" in live.children[-1].value


def test_a_slider_moves_its_box():
    live = panel(widget())
    slider, box, _ = live.children[1].children
    slider.value = 512
    assert box.value == 512


def test_a_kernel_says_why_there_is_no_answer():
    live = panel(one(sometimes))
    boxes(live)[0].value = 2
    assert "Not available: two does not fit" in live.children[-1].value


def test_a_kernel_shows_a_mistake():
    def wrong(x):
        return {"y": 1, **({"z": 2} if x == 1.5 else {}), "w": None + 1 if x == 2.5 else 1}

    live = panel(one(wrong, x=[1.0, 2.0, 3.0]))
    boxes(live)[0].value = 1.5
    assert "the results change with the point" in live.children[-1].value
    boxes(live)[0].value = 2.5
    assert "TypeError: unsupported operand" in live.children[-1].value


def test_both_live_faces_refuse_a_figure():
    def drawing(x):
        return {"y": Figure() if x == 1.5 else x}

    shown = one(drawing, x=[1.0, 2.0, 3.0])
    live = panel(shown)
    boxes(live)[0].value = 1.5
    assert "TypeError: gives Figure" in live.children[-1].value
    with pytest.raises(TypeError, match="gives Figure"):
        drawn(shown, [1.5])


def test_a_live_page_says_why_there_is_no_answer():
    assert "Not available: two does not fit" in drawn(one(sometimes), [2])["view"]


def test_quick_changes_are_drawn_once():
    calls = []

    def counted(x):
        calls.append(x)
        return x

    live = panel(one(counted, x=[float(x) for x in range(10)]))
    calls.clear()

    async def drag():
        for value in range(1, 9):
            boxes(live)[0].value = value + 0.5
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert calls == [8.5]


def test_what_is_held_is_not_asked_again():
    calls = []

    def counted(x, y):
        calls.append(x)
        return {"sum": x + y}

    shown = one(counted, x=[1, 2, 3], y=[1, 2], chart=lines("x", ["sum"]))
    calls.clear()
    assert shown.ask({"x": 2, "y": 1}).answer.values == {"sum": 3}
    assert calls == []
    assert shown.ask({"x": 2.5, "y": 1}).answer.values == {"sum": 3.5}
    assert calls == [2.5], "the curve is held"
    shown.ask({"x": 2.5, "y": 1.5})
    assert sorted(calls) == [1, 2, 2.5, 2.5, 3]


def test_a_live_page_is_given_any_value():
    shown = widget(chart=lines("rows", ["time [µs]"], log="xy"))
    assert axes(shown) == [{"numbers": ROWS, "whole": True}, {"numbers": None, "whole": False}]
    found = drawn(shown, [100.4, 1])
    assert found["texts"] == ["100", "H100"]
    assert f">{number(held(layer(100, GPUS['H100'])['time [µs]'], 4))}</td>" in found["view"]
    assert found["view"].count("L") == len(ROWS)  # the curve goes through the value asked for
    assert drawn(shown, [1e9, 0])["texts"] == ["4096", "A100"]


@pytest.mark.parametrize("chart", [None, lines("x", ["y"])])
def test_a_live_page_reads_its_grid_back(chart):
    calls = []

    def counted(x, way):
        calls.append(x)
        if x == 2 and way == "up":
            raise ValueError("two does not go up")
        return {"y": 1 / x, "z [s]": None if x == 3 else 5, "way": way, "array": [x, np.nan, 1.5]}

    def made():
        return one(counted, x=[1, 2, 3, 4], way=["up", "down"], chart=chart)

    first = made()
    assert len(calls) > 8
    calls.clear()
    token = PAGES.set({"one": json.loads(json.dumps(page_data(first)))})
    try:
        assert html(made()) == html(first)
        assert calls == [1]
        again = one(counted, x=[1, 2, 3, 5], way=["up", "down"])
        assert again.at(x=5)["y"] == 0.2, "other axes are another grid"
    finally:
        PAGES.reset(token)


def test_the_page_is_not_sent_a_live_view(monkeypatch):
    assert set(widget()._repr_mimebundle_()) == {"text/plain", "text/html"}
    monkeypatch.setattr(module, "is_live", lambda: True)
    live = widget()._repr_mimebundle_()
    assert live.keys() > {"text/html", "application/vnd.jupyter.widget-view+json"}


def test_a_kernel_that_makes_a_page_is_not_live(monkeypatch):
    monkeypatch.setenv("KVLIB_WIDGETS", "page")
    assert not module.is_live()


def test_functions_without_a_name_need_one():
    def two(x, y):
        return x * y

    assert one(partial(two, y=2)).at(x=2) == {"value": 4}

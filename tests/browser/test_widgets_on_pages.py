"""Every widget of the book, moved as a reader moves it, shows what kvlib computes."""

import ast
import contextlib
import io
import os
import re
from itertools import product

import execute_notebooks as store
import nbformat
import numpy as np
import pytest
from needed import needed
from test_built_book import contents
from test_pages import NARROW, WIDE, judged, opened

from kvlib.widgets import bars, explore, lines, timeline
from kvlib.widgets._page import html
from kvlib.widgets._view import written

pytestmark = pytest.mark.browser

STATIC = store.ROOT / "book" / "_static"
MOVES = 6  # points of a widget that are looked at, at most


# ---- the widgets of the chapters ------------------------------------------------------


def widgets_of(file):
    """Return the widgets that a chapter shows, by running here what leads to them."""
    cells = store.code_cells(nbformat.read(file, as_version=4))
    code = [cell.source for cell in cells]
    found = []
    for place, cell in enumerate(cells):
        if "kv-explore" in str(cell.outputs):
            body, names = ast.parse(needed(code, place)).body, {}
            last = ast.Expression(body.pop().value)
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(ast.Module(body, []), file.name, "exec"), names)
                found.append(eval(compile(last, file.name, "eval"), names))
    return found


def chapters():
    files = [store.ROOT / f"{name}.ipynb" for name in sorted(contents())]
    found = [f for f in files if f.exists() and "kv-explore" in f.read_text(encoding="utf-8")]
    return [pytest.param(f, id=f.stem) for f in found]


@pytest.fixture(scope="module", params=chapters())
def chapter(request, browser, address):
    seen = opened(browser, f"{address}/notebooks/{request.param.stem}.html")
    before = os.getcwd()
    os.chdir(request.param.parent)
    seen.widgets = widgets_of(request.param)
    os.chdir(before)
    yield seen
    seen.page.close()


def test_every_widget_stands_once_on_its_page(chapter):
    there = chapter.page.locator(".kv-explore").evaluate_all("all => all.map(one => one.id)")
    assert there == [f"kv-{widget.name}" for widget in chapter.widgets]
    ids = chapter.page.locator("[id]").evaluate_all("all => all.map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_every_widget_shows_what_kvlib_computes(chapter):
    for widget in chapter.widgets:
        follow(chapter.page, widget)
    assert chapter.faults == []


def test_every_widget_is_moved_by_keys(chapter):
    for widget in chapter.widgets:
        by_keys(chapter.page, widget)


def test_every_widget_fits_a_phone(chapter):
    chapter.page.set_viewport_size(NARROW)
    for widget in chapter.widgets:
        for control in controls(chapter.page, widget):
            box = control.bounding_box()
            assert box["width"] > 60 or control.evaluate("one => one.tagName") == "SELECT"
            assert 0 <= box["x"] <= box["x"] + box["width"] <= NARROW["width"]
        follow(chapter.page, widget, moves=1)
    chapter.page.set_viewport_size(WIDE)


def controls(page, widget):
    return page.locator(f"#kv-{widget.name} [data-axis]").all()


def move(page, widget, positions):
    """Set every control of a widget."""
    for control, axis, at in zip(controls(page, widget), widget.grid.axes, positions, strict=True):
        if axis.is_number:
            control.fill(str(at))
        else:
            control.select_option(index=at)


def shown(page, widget):
    return page.locator(f"#kv-{widget.name} .kv-value").all_inner_texts()


def expected(widget, positions):
    """Return what the page must show; kvlib has filled the widget's grid here and now."""
    values = widget.grid.at(positions).values
    plain = (result for result in widget.grid.results if result.length is None)
    return [written(values.get(result.name)) for result in plain]


def points(widget, moves):
    """Return the start, and points spread over the grid that move every control."""
    every = list(product(*(range(size) for size in widget.grid.shape)))
    spread = every[:: max(1, len(every) // moves)]
    alone = [
        (*widget.start[:axis], size - 1, *widget.start[axis + 1 :])
        for axis, size in enumerate(widget.grid.shape)
    ]
    return [widget.start, *alone, *spread]


def follow(page, widget, *, moves=MOVES):
    """Move a widget and compare its numbers, its words and its chart with Python's."""
    seen = set()
    for positions in points(widget, moves):
        move(page, widget, positions)
        assert shown(page, widget) == expected(widget, positions), (widget.name, positions)
        seen.add(tuple(shown(page, widget)))
        if widget.drawing is not None:
            paths = page.locator(f"#kv-{widget.name} .kv-chart svg > path")
            there = paths.evaluate_all("all => all.map(one => one.getAttribute('d'))")
            frame = widget.frame(positions)
            for path, mark in zip(there, widget.drawing.marks, strict=True):
                same_path(path, widget.drawing.path(mark, frame))
    assert len(seen) > 1, f"{widget.name}: no control changes a number"


def same_path(one, other):
    numbers = re.compile(r"-?[\d.]+")
    assert numbers.sub("n", one) == numbers.sub("n", other)
    places = [[float(found) for found in numbers.findall(path)] for path in (one, other)]
    assert places[0] == pytest.approx(places[1], abs=0.11)


def by_keys(page, widget):
    """Walk through the controls with Tab, move each with the arrows."""
    every = controls(page, widget)
    every[0].focus()
    for control, axis, start in zip(every, widget.grid.axes, widget.start, strict=True):
        assert control.evaluate("one => one === document.activeElement"), "Tab went elsewhere"
        back = start == len(axis.values) - 1
        keys = ("ArrowLeft", "ArrowRight") if axis.is_number else ("ArrowUp", "ArrowDown")
        move(page, widget, widget.start)
        control.focus()
        page.keyboard.press(keys[not back])
        positions = [*widget.start]
        positions[widget.grid.axes.index(axis)] += -1 if back else 1
        assert shown(page, widget) == expected(widget, tuple(positions))
        page.keyboard.press("Tab")
    move(page, widget, widget.start)


# ---- one widget of each kind, from a file ---------------------------------------------


def sometimes(x, way):
    if x == 2 and way == "up":
        raise ValueError("two does not go up")
    return {"time [s]": 10_000.5 * x, "other [s]": None if x == 3 else 2e-5, "word": way}


def curves(x):
    across = np.geomspace(1, 100, 5)
    return {"i [flop/B]": across, "roof [flop/s]": across * x, "at [flop/B]": 10, "rate": x}


def spans(x):
    return {"a [ns]": [0, 5.5], "b [ns]": [4.0, np.nan if x == 2 else 9.5], "n": x}


KINDS = [
    explore(sometimes, message="Some.", x=[1, 2, 3, 40_000], way=["up", "down"],
            chart=lines("x", {"time [s]": "GPU", "other [s]": "measured"}, log="xy")),
    explore(curves, message="Roofs.", x=[1, 2, 3],
            chart=lines("i [flop/B]", ["roof [flop/s]"], log="xy")),
    explore(lambda x: {"a": x, "b": -2.5 * x}, name="signs", message="Bars.", x=[0, 1, 2],
            chart=bars(["a", "b"])),
    explore(lambda x, y: {"a": x, "b": 2.0 * y}, name="stacks", message="Stacks.",
            x=[1.5, 2.5], y=[False, True],
            chart=bars({"one": {"a": "GPU", "b": "PIM"}, "two": {"b": "PIM"}})),
    explore(spans, message="Spans.", x=[1, 2, 3],
            chart=timeline({"bank": {"open": ("a [ns]", "b [ns]")}})),
    explore(lambda x: -x * 1e10, name="plain", message="No chart.", x=[1, 2, 33]),
]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return the address of a file that holds a widget of each kind."""
    place = tmp_path_factory.mktemp("page") / "page.html"
    head = f'<link rel="stylesheet" href="{(STATIC / "widgets.css").as_uri()}">'
    head += f'<script src="{(STATIC / "widgets.js").as_uri()}"></script>'
    body = "".join(html(widget) for widget in KINDS)
    place.write_text(
        f'<!doctype html><meta charset="utf-8"><title>All</title>{head}{body}', "utf-8"
    )
    return place.as_uri()


@pytest.mark.parametrize("widget", KINDS, ids=lambda widget: widget.name)
def test_each_kind_works_from_a_file(browser, file, widget):
    seen = opened(browser, file)
    follow(seen.page, widget, moves=99)
    by_keys(seen.page, widget)
    assert seen.faults == []
    seen.page.close()


def test_each_kind_is_accessible(browser, file):
    seen = opened(browser, file)
    seen.page.evaluate("document.documentElement.lang = 'en'")
    assert judged(seen.page, exclude=[]) == []
    seen.page.close()


def test_a_point_without_an_answer_says_why(browser, file):
    seen = opened(browser, file)
    first = seen.page.locator(".kv-explore").first
    why = first.locator(".kv-why")
    assert not why.is_visible()
    move(seen.page, KINDS[0], (1, 0))
    assert why.inner_text() == "Not available: two does not go up"
    move(seen.page, KINDS[0], (2, 0))
    assert why.inner_text() == "Not available: other [s] is None"
    move(seen.page, KINDS[0], (0, 0))
    assert not why.is_visible()
    seen.page.close()


def test_what_changed_is_said_once_the_control_rests(browser, file):
    seen = opened(browser, file)
    for at in (1, 2, 3):
        move(seen.page, KINDS[0], (at, 1))
    said = seen.page.locator("#kv-sometimes [role=status]")
    assert said.inner_text() == ""
    seen.page.wait_for_timeout(900)
    assert said.inner_text().startswith("x 40\u202f000, way down: time 400\u202f000\u202f000 s")
    seen.page.close()


def test_without_scripts_the_start_stands_there(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file)
    first = page.locator(".kv-explore").first
    assert first.locator("figcaption").inner_text() == "Some."
    assert shown(page, KINDS[0]) == expected(KINDS[0], (0, 0))
    assert not first.locator("select").is_visible()
    assert first.locator("noscript").is_visible()
    assert first.locator(".kv-chart").is_visible()
    context.close()


def test_paper_shows_values_and_no_sliders(browser, file):
    page = browser.new_page()
    page.goto(file)
    page.emulate_media(media="print")
    first = page.locator(".kv-explore").first
    assert not first.locator("input").is_visible()
    assert first.locator("output").is_visible()
    assert first.locator(".kv-chart").is_visible()
    page.close()


def test_a_wrong_number_is_seen(browser, file):
    """Plant one per cent in what a page holds."""
    page = browser.new_page()
    page.goto(file)
    page.evaluate("document.querySelector('#kv-plain').widget.held.results[0].values[1] *= 1.01")
    with pytest.raises(AssertionError):
        follow(page, KINDS[-1], moves=99)
    page.close()

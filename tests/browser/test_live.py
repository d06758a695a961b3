"""The Live button: a chapter's own Python in the reader's browser, from this host alone."""

import re

import execute_notebooks as store
import nbformat
import pytest
from needed import leading
from test_pages import judged, opened
from test_widgets_on_pages import controls, expected, shown, widgets_of

from kvlib.widgets._answer import answer
from kvlib.widgets._view import written

pytestmark = pytest.mark.browser

CHAPTER = store.ROOT / "notebooks" / "02_gemm_gemv.ipynb"
SCRIPT = store.ROOT / "_build" / "html" / "_static" / "live" / "live.js"
SOON = 60_000  # milliseconds: what a loaded machine may take; benchmarks/widgets.py has the target


@pytest.fixture(scope="module")
def url(address):
    if not SCRIPT.exists():
        pytest.skip("the book was built without Live (LIVE=0, or its assets could not be fetched)")
    return f"{address}/notebooks/{CHAPTER.stem}.html"


@pytest.fixture(scope="module")
def live(browser, url):
    seen = opened(browser, url)
    seen.page.locator(".live-bar button").click()
    seen.page.locator(".live-bar[data-live=yes]").wait_for(timeout=SOON)
    (seen.widget,) = widgets_of(CHAPTER)
    yield seen
    seen.page.close()


def cell_with(page, text):
    every = page.locator(".cell:has(.cell_input pre)")
    place = next(at for at, code in enumerate(every.all_text_contents()) if text in code)
    return every.nth(place), every.nth(place).locator(".cell_input pre")


def run(cell):
    cell.get_by_role("button", name="Run").click()
    cell.get_by_role("button", name="Run").wait_for(timeout=SOON)
    return cell.locator(".cell_output")


def test_a_slider_moves_a_number_to_what_kvlib_computes(live):
    slider = controls(live.page, live.widget)[0]
    for at in (0, 9, 13):
        slider.fill(str(at))
        live.page.locator("caption", has_text=f"rows {2**at}, GPU H100").wait_for()
        assert shown(live.page, live.widget) == expected(live.widget, (at, 1))


def test_a_widget_takes_any_value(live):
    live.page.locator(".kv-any").fill("300")
    live.page.locator("caption", has_text="rows 300, GPU H100").wait_for()
    point = {"rows": 300, "gpu": live.widget.grid.axes[1].values[1]}
    values = answer(live.widget.function, point, live.widget.digits).values
    assert shown(live.page, live.widget) == [written(value) for value in values.values()]


def test_a_cell_can_be_edited_and_run(live):
    cell, code = cell_with(live.page, "token = gemv(8192, 8192")
    assert run(cell).inner_text().strip() == "134 MFLOP on 134 MB\n1.00 flop/B"
    code.fill(code.inner_text().replace("8192, 8192", "4096, 8192"))
    assert "67 MFLOP" in run(cell).inner_text()
    code.fill("1 / 0")
    assert "ZeroDivisionError: division by zero" in run(cell).inner_text()
    code.fill("1 +")
    assert "SyntaxError" in run(cell).inner_text()


def test_a_table_is_shown_as_one(live):
    cell, _ = cell_with(live.page, 'pd.DataFrame({"side"')
    assert run(cell).locator("table td", has_text="1365.33").count() == 1


def test_a_cell_that_does_not_end_can_be_stopped(live):
    cell, code = cell_with(live.page, "constants = vars(")
    code.fill("while True: pass")
    cell.get_by_role("button", name="Run").click()
    cell.get_by_role("button", name="Stop").click()
    assert cell.locator(".live-error").inner_text() == "stopped"
    live.page.locator(".kv-any").fill("200")  # and the widget lives on, in a new worker
    live.page.locator("caption", has_text="rows 200, GPU H100").wait_for(timeout=SOON)


def test_a_live_page_is_accessible_and_without_fault(live):
    assert judged(live.page) == []
    assert live.faults == []


def test_without_python_the_page_stays(browser, url):
    page = browser.new_page()
    page.route(re.compile("pyodide.asm"), lambda route: route.abort())
    page.goto(url)
    (widget,) = widgets_of(CHAPTER)
    page.locator(".live-bar button").click()
    page.locator(".live-bar", has_text="could not be loaded").wait_for(timeout=SOON)
    controls(page, widget)[0].fill("3")
    assert shown(page, widget) == expected(widget, (3, 1))
    page.close()


@pytest.mark.parametrize("name", ["00_how_to_read", "09_gpu_against_pim", "16_subdividing"])
def test_other_chapters_are_live_too(browser, address, url, name):
    """What cells print there is what is stored; the first has no widget."""
    seen = opened(browser, f"{address}/notebooks/{name}.html")
    seen.page.locator(".live-bar button").click()
    seen.page.locator(".live-bar[data-live=yes]").wait_for(timeout=SOON)
    assert "keeps" not in seen.page.locator(".live-bar").inner_text()
    stored = store.code_cells(nbformat.read(store.ROOT / f"notebooks/{name}.ipynb", as_version=4))
    printed = [cell for cell in stored if any("claim(" in line for line in cell.source.split())]
    for cell in [cell for cell in printed if len(cell.outputs) == 1][:2]:
        found, _ = cell_with(seen.page, cell.source)
        assert run(found).inner_text().strip() == cell.outputs[0].text.strip()
    for face in seen.page.locator(".kv-explore").all():
        assert face.get_attribute("data-live") == "yes"
    assert seen.faults == []
    seen.page.close()


def test_the_placement_game_takes_any_value_without_a_solver(browser, address, url):
    """Chapter 17 solves programs with SciPy, which no page loads; its game needs none."""
    seen = opened(browser, f"{address}/notebooks/17_placing.html")
    seen.page.locator(".live-bar button").click()
    seen.page.locator(".live-bar[data-live=yes]").wait_for(timeout=SOON)
    seen.page.locator(".kv-explore[data-live=yes]").wait_for(timeout=SOON)
    (widget,) = widgets_of(store.ROOT / "notebooks" / "17_placing.ipynb")
    names = [axis.name for axis in widget.grid.axes]
    seen.page.locator(".kv-any").nth(names.index("r2")).fill("100")
    seen.page.locator("caption", has_text="r of the second piece 100").wait_for()
    point = {axis.name: axis.values[at]
             for axis, at in zip(widget.grid.axes, widget.start, strict=True)}  # fmt: skip
    values = answer(widget.function, {**point, "r2": 100}, widget.digits).values
    assert shown(seen.page, widget) == [written(value) for value in values.values()]
    seen.page.close()


def test_whole_numbers_do_not_run_over(live):
    cell, code = cell_with(live.page, "prompt = gemm(")
    code.fill("import numpy as np\nprint(4 * np.array([2**30]), 4 * np.arange(2**30, 2**30 + 1))")
    assert run(cell).inner_text().strip() == "[4294967296] [4294967296]"


def test_what_a_page_cannot_load_is_said(live):
    cell, code = cell_with(live.page, "gpus = [device(name)")
    code.fill("import matplotlib")
    assert "matplotlib is not among what this page can load" in run(cell).inner_text()


def test_no_cell_that_leads_to_a_widget_needs_more_than_numpy():
    found = store.code_cells(nbformat.read(CHAPTER, as_version=4))
    cells = [cell.source for cell in found]
    place = next(at for at, cell in enumerate(cells) if "explore(" in cell)
    assert "pandas" not in leading(cells, place)

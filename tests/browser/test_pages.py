"""Every page, opened as a reader opens it: nothing fails, nothing is fetched elsewhere.

A page is loaded once; then it is looked at narrow and wide, light and dark.
"""

import re
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from test_built_book import BUILT, contents

pytestmark = pytest.mark.browser

ALLOWED = ("Got invalid theme mode: . Resetting to auto.",)  # the theme's, on every first visit
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 360, "height": 740}
GRAVE = {"serious", "critical"}
CARDS = re.compile(r"book/generated/(?:devices|models)_")  # one template, many tables
ALIKE = ["svg", "mjx-container", ".highlight pre"]  # much of it, the same everywhere: judged once
THIN = """() => document.querySelectorAll("tbody, ul, ol, dl, .citation-list").forEach(
  list => [...list.children].slice(30).forEach(item => item.remove()))"""
STILL = "*, ::before, ::after { transition: none !important; animation: none !important; }"
JUDGE = """async ([rules, exclude]) => {
  const options = {resultTypes: ["violations"], preload: false};
  if (rules.length) options.runOnly = rules;
  const found = (await axe.run({exclude}, options)).violations;
  return found.map(({id, impact, nodes}) => ({id, impact, where: nodes.map(node => node.html)}));
}"""
OWN = """() => performance.getEntries()
  .filter(({name, encodedBodySize}) => encodedBodySize && !name.includes("/_static/"))
  .reduce((sum, {encodedBodySize}) => sum + encodedBodySize, 0)"""
HEAVY = 1_500_000  # bytes
BEYOND = """() => [...document.querySelectorAll("main *")]
  .filter(part => part.getBoundingClientRect().right > innerWidth + 1)
  .slice(0, 5).map(part => part.outerHTML.slice(0, 120))"""


def pages():
    """Return the documents of the book, of those that only hold cards a single one."""
    names = sorted(contents())
    cards = [name for name in names if CARDS.match(name)]
    return [name for name in names if name not in cards[1:]]


def opened(browser, url):
    """Return the page at `url` with what went wrong while it was loaded."""
    page, faults = browser.new_page(viewport=WIDE, color_scheme="light"), []
    host = urlsplit(url).netloc

    def asked(request):
        if urlsplit(request.url).netloc not in {"", host}:
            faults.append(f"asked another host: {request.url}")

    def answered(reply):
        if reply.status >= 400:
            faults.append(f"{reply.status}: {reply.url}")

    def said(message):
        if message.type == "error" and message.text not in ALLOWED:
            faults.append(f"console: {message.text}")

    page.on("request", asked)
    page.on("response", answered)
    page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
    page.on("console", said)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.goto(url)
    page.add_style_tag(content=STILL)
    return SimpleNamespace(page=page, faults=faults)


def judged(page, *rules, exclude=ALIKE):
    """Return the grave faults that axe finds, by those rules or by all."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_FILE_PATH.read_text(encoding="utf-8"))
    return [fault for fault in page.evaluate(JUDGE, [rules, exclude]) if fault["impact"] in GRAVE]


def weight(page):
    """Return the bytes that were fetched for this page alone: it and its figures."""
    return page.evaluate(OWN)


def darken(page):
    page.evaluate("document.documentElement.dataset.theme = 'dark'")


@pytest.fixture(scope="module", params=pages())
def visit(request, browser, address):
    seen = opened(browser, f"{address}/{request.param}.html")
    yield seen
    seen.page.close()


def test_a_page_loads_without_fault_and_from_this_host_alone(visit):
    assert visit.page.locator("h1").count()
    assert visit.faults == []


def test_chapters_have_a_live_button_and_no_other_page(visit):
    built_with = (BUILT / "_static/live/live.js").exists()
    wanted = built_with and "/notebooks/" in visit.page.url
    assert visit.page.locator(".live-bar button").count() == wanted


def test_a_page_is_light(visit):
    assert 10_000 < weight(visit.page) < HEAVY


def test_a_page_fits_a_phone(visit):
    visit.page.set_viewport_size(NARROW)
    width = visit.page.evaluate("document.documentElement.scrollWidth")
    assert width <= NARROW["width"], visit.page.evaluate(BEYOND)
    visit.page.wait_for_timeout(400)  # the theme, and book.js, let keys reach what scrolls now
    assert judged(visit.page, "scrollable-region-focusable", exclude=["mjx-container"]) == []
    visit.page.set_viewport_size(WIDE)


def test_a_page_is_accessible(visit):
    visit.page.evaluate(THIN)  # of many alike, the first thirty
    assert judged(visit.page) == []


def test_a_page_can_be_read_in_the_dark(visit):
    darken(visit.page)
    assert judged(visit.page, "color-contrast") == []


def test_code_formulas_and_charts_are_accessible_too(browser, address):
    seen = opened(browser, f"{address}/notebooks/03_memory_wall.html")
    assert judged(seen.page, exclude=[]) == []
    darken(seen.page)
    assert judged(seen.page, "color-contrast", exclude=[]) == []
    seen.page.close()


def test_a_figure_is_legible_on_a_phone_and_in_the_dark(browser, address):
    seen = opened(browser, f"{address}/notebooks/03_memory_wall.html")
    frame = seen.page.locator(".figure-frame").first
    image = frame.locator("img")
    assert frame.get_attribute("tabindex") == "-1"
    assert image.bounding_box()["width"] <= frame.bounding_box()["width"]
    seen.page.set_viewport_size(NARROW)
    assert image.bounding_box()["width"] > 400 > frame.bounding_box()["width"]
    frame.focus()
    seen.page.keyboard.press("ArrowRight")
    seen.page.wait_for_function("frame => frame.scrollLeft > 0", arg=frame.element_handle())
    darken(seen.page)
    assert "invert" in image.evaluate("image => getComputedStyle(image).filter")
    seen.page.close()


def test_sentences_are_wrapped_and_columns_are_not(browser, address):
    seen = opened(browser, f"{address}/notebooks/00_how_to_read.html")
    printed = seen.page.locator(".cell_output pre")
    looks = dict(zip(
        printed.all_inner_texts(),
        printed.evaluate_all("all => all.map(one => getComputedStyle(one).whiteSpace)"),
        strict=True,
    ))  # fmt: skip
    assert [look for text, look in looks.items() if "states no peak" in text] == ["pre-wrap"]
    assert [look for text, look in looks.items() if "median" in text] == ["pre"]
    seen.page.close()


def test_the_theme_follows_the_reader(browser, address):
    page = browser.new_page(color_scheme="dark")
    page.goto(f"{address}/book/intro.html")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.close()


def test_the_search_finds_a_term(browser, address):
    seen = opened(browser, f"{address}/search.html?q=ridge")
    seen.page.locator(".search-summary", has_text="found").wait_for()
    found = seen.page.locator("ul.search li a").all_inner_texts()
    assert any("GEMM" in title for title in found), found
    assert seen.faults == []
    seen.page.close()


def test_faults_are_seen(browser, address):
    """Plant what the tests above look for."""
    seen = opened(browser, f"{address}/book/intro.html")
    seen.page.evaluate("console.error('planted')")
    seen.page.evaluate("fetch('/gone.js')")
    seen.page.evaluate("fetch('https://example.org/a').catch(() => 0)")
    seen.page.evaluate("setTimeout(() => { throw Error('thrown') })")
    seen.page.wait_for_timeout(300)
    text = "\n".join(seen.faults)
    for fault in ("console: planted", "404: ", "another host: https://example.org", "thrown"):
        assert fault in text
    seen.page.evaluate("fetch('../searchindex.js').then((reply) => reply.text())")
    seen.page.wait_for_timeout(300)
    assert weight(seen.page) > 200_000
    planted = "<img src='data:,'><p style='color: #999'>pale</p><p>" + "w" * 99
    seen.page.evaluate("planted => { document.querySelector('main').innerHTML = planted }", planted)
    assert {"image-alt", "color-contrast"} <= {fault["id"] for fault in judged(seen.page)}
    seen.page.set_viewport_size(NARROW)
    assert seen.page.evaluate("document.documentElement.scrollWidth") > NARROW["width"]
    seen.page.close()

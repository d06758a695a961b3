"""How quickly a widget answers: on the static page, under a Jupyter kernel, live in the page.

Needs the built book (`make book`) and a Chromium; run it, where nothing else runs, as

    .venv/bin/python benchmarks/widgets.py [folder with the built pages]
"""

import gzip
import os
import re
import shutil
import statistics
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
from jupyter_client.manager import start_new_kernel
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BUILT = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROUNDS = 50
SLIDER = ".kv-explore:has(input[type=range])"

# From the event to the script's end, and to the frame that shows it.
STATIC = """async (rounds) => {
  const [slider] = document.querySelectorAll(".kv-explore input[type=range]"), times = [];
  for (let round = 0; round < rounds; round += 1) {
    await new Promise((done) => setTimeout(done, 20 + 17 * Math.random()));
    slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const changed = performance.now();
    const { port1, port2 } = new MessageChannel();
    const shown = await new Promise((done) => {
      port1.onmessage = () => done(performance.now());
      requestAnimationFrame(() => port2.postMessage(0));
    });
    times.push([changed - start, shown - start]);
  }
  return times;
}"""
LIVE = """async (rounds) => {
  const [slider] = document.querySelectorAll(".kv-explore input[type=range]"), times = [];
  const view = document.querySelector(".kv-explore .kv-view");
  for (let round = 0; round < rounds; round += 1) {
    const changed = new Promise((done) => new MutationObserver((_, observer) => {
      observer.disconnect();
      done(performance.now());
    }).observe(view, { childList: true }));
    slider.value = (Number(slider.value) + 1) % (Number(slider.max) + 1);
    const start = performance.now();
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    times.push((await changed) - start);
  }
  return times;
}"""
SHARED = """() => performance.getEntriesByType("resource")
  .filter(({name}) => name.includes("/_static/"))
  .reduce((sum, {encodedBodySize}) => sum + encodedBodySize, 0)"""
KERNEL = """
from kvlib import device
from kvlib.operators import linear
from kvlib.roofline import bounds, gemm_time
from kvlib.units import us
from kvlib.widgets import explore, lines

def layer(rows, gpu):
    work = linear(rows, 8192, 8192, element_bytes=2)
    return {"kvlib [µs]": gemm_time(gpu, m=rows, n=8192, k=8192, precision="bf16") / us,
            "datasheet [µs]": bounds(work, gpu, "bf16").lower / us}

explore(layer, message="Time.", rows=[2**n for n in range(14)],
        gpu={"A100": device("a100-sxm-80gb"), "H100": device("h100-sxm-80gb")},
        chart=lines("rows", ["kvlib [µs]", "datasheet [µs]"], log="xy"))
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


def middle(times: list[float]) -> str:
    """Return median and maximum."""
    return f"median {statistics.median(times):.1f} ms, longest {max(times):.0f} ms"


def static(page: Page) -> tuple[float, float]:
    """Time a slider of the static page; return the medians until changed and until painted [ms]."""
    times = page.evaluate(STATIC, ROUNDS)
    return tuple(statistics.median(column) for column in zip(*times, strict=True))


def live(page: Page) -> tuple[float, float] | None:
    """Time the Live button [s], and a slider that asks Python in the page [ms]."""
    start = time.perf_counter()
    page.locator(".live-bar button").click()
    page.locator(".live-bar[data-live=yes]").wait_for(timeout=120_000)
    seconds = time.perf_counter() - start
    if not page.locator(f"{SLIDER}[data-live=yes]").count():
        return None
    return seconds, statistics.median(page.evaluate(LIVE, ROUNDS))


def of_all(found: dict[str, float]) -> str:
    """Return the middle chapter and the slowest."""
    name = max(found, key=lambda chapter: found[chapter])
    return f"{statistics.median(found.values()):.1f}, slowest {found[name]:.1f} ({name})"


def in_chromium(page: Page, address: str) -> None:
    """Time every chapter with a slider."""
    page.goto(f"{address}/book/notation.html", wait_until="networkidle")  # formulas, no widget
    print(f"shared by all pages, not packed: {page.evaluate(SHARED) / 1e6:.2f} MB")
    changed, painted, clicked, asked = {}, {}, {}, {}
    for file in sorted(BUILT.glob("notebooks/*.html")):
        page.goto(f"{address}/notebooks/{file.name}")
        if page.locator(SLIDER).count():
            changed[file.stem], painted[file.stem] = static(page)
            if page.locator(".live-bar").count():
                if times := live(page):
                    clicked[file.stem], asked[file.stem] = times
                else:
                    print(f"{file.stem} keeps its held values: {status(page)}")
    if not changed:
        sys.exit(f"no page under {BUILT} has a widget: run `make book`, or name another folder")
    print(f"chapters with a slider: {len(changed)}; medians of {ROUNDS} moves in each")
    print(f"static page, until changed [ms]: {of_all(changed)}")
    print(f"static page, until painted [ms]: {of_all(painted)}")
    assert statistics.median(painted.values()) < 16
    if clicked:
        print(f"Live, click to live page [s]:    {of_all(clicked)}")
        print(f"Live, slider to numbers [ms]:    {of_all(asked)}")
        assert max(clicked.values()) < 10
        assert max(asked.values()) < 100


def status(page: Page) -> str:
    """Return what the Live bar says."""
    return page.locator(".live-bar [role=status]").inner_text().rpartition(": ")[2]


def kernel() -> None:
    """Time a change of a control until a Jupyter kernel has sent the view."""
    os.environ.pop("KVLIB_WIDGETS", None)
    manager, client = start_new_kernel()
    sent = []

    def heard(message: dict) -> None:
        if message["msg_type"] == "comm_open":
            opened.append(message["content"])
        if message["msg_type"] == "comm_msg":
            state = message["content"]["data"].get("state", {})
            if "kv-numbers" in str(state.get("value")):
                sent.append(time.perf_counter())

    opened: list[dict] = []
    client.execute_interactive(KERNEL, output_hook=heard, timeout=60)
    models = {one["comm_id"]: one["data"]["state"] for one in opened}
    slider = next(
        name for name, state in models.items() if state["_model_name"] == "SelectionSliderModel"
    )
    times = []
    for turn in range(ROUNDS):
        sent.clear()
        data = {"method": "update", "state": {"index": 1 + turn % 12}, "buffer_paths": []}
        message = client.session.msg("comm_msg", {"comm_id": slider, "data": data})
        start = time.perf_counter()
        client.shell_channel.send(message)
        while not sent:
            heard(client.get_iopub_msg(timeout=10))
        times.append(1e3 * (sent[0] - start))
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    print(f"Jupyter kernel, until sent:  {middle(times)}")
    assert statistics.median(times) < 100


def weight(page: Path) -> int:
    """Return the bytes of a page and of the figures in it."""
    text = page.read_text(encoding="utf-8")
    figures = {page.parent / found for found in re.findall(r'src="(\.\./_images/[^"]+)"', text)}
    return page.stat().st_size + sum(figure.stat().st_size for figure in figures)


def sizes() -> None:
    """Print what a reader's browser must fetch."""
    faces = []
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(file, as_version=4).cells:
            for output in cell.get("outputs", ()):
                text = output.get("data", {}).get("text/html", "")
                if "kv-explore" in text:
                    faces.append((len(text.encode()), file.stem))
    print(f"widgets: {len(faces)}, the largest {max(faces)[0] / 1e3:.0f} kB ({max(faces)[1]})")
    pages = [(weight(file), file.stem) for file in BUILT.glob("notebooks/*.html")]
    print(f"heaviest page, with its figures: {max(pages)[0] / 1e6:.2f} MB ({max(pages)[1]})")
    assert max(pages)[0] < 1.5e6
    folder = BUILT / "_static" / "live"
    if folder.exists():
        late = ("pandas", "xarray", "python_dateutil", "pytz", "six", "packaging")
        weights = {True: 0, False: 0}
        for file in folder.rglob("*.*"):
            packed = min(file.stat().st_size, len(gzip.compress(file.read_bytes())))
            weights[file.name.startswith(late)] += packed
        first, later = weights[False] / 1e6, weights[True] / 1e6
        print(f"Live, compressed: {first:.1f} MB on click, {later:.1f} MB more for pandas, xarray")
        assert first + later < 20


def main() -> None:
    """Run all of it."""
    before = os.getloadavg()[0]
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BUILT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        in_chromium(page, f"http://127.0.0.1:{server.server_port}")
        browser.close()
    print(f"load before and after: {before:.1f}, {os.getloadavg()[0]:.1f}")
    kernel()
    sizes()


if __name__ == "__main__":
    main()

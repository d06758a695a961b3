"""How quickly a widget answers: on the static page, under a Jupyter kernel, live in the page.

Needs the built book (`make book`) and a Chromium; run it as

    .venv/bin/python benchmarks/widgets.py
"""

import gzip
import os
import re
import shutil
import statistics
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
from jupyter_client.manager import start_new_kernel
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
BUILT = ROOT / "_build" / "html"
CHAPTER = "02_gemm_gemv"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROUNDS = 50

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


def static(page: Page) -> None:
    """Time a slider of the static page."""
    times = page.evaluate(STATIC, ROUNDS)
    print(f"static page, until changed:  {middle([changed for changed, _ in times])}")
    print(f"static page, until painted:  {middle([painted for _, painted in times])}")
    assert statistics.median(changed for changed, _ in times) < 16


def live(page: Page) -> None:
    """Time the Live button, and a slider that asks Python in the page."""
    start = time.perf_counter()
    page.locator(".live-bar button").click()
    page.locator(".live-bar[data-live=yes]").wait_for(timeout=120_000)
    print(f"Live, click to live widget:  {time.perf_counter() - start:.1f} s")
    times = page.evaluate(LIVE, ROUNDS)
    print(f"Live, slider to new numbers: {middle(times)}")
    assert statistics.median(times) < 100


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
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BUILT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/notebooks/{CHAPTER}.html")
        static(page)
        if page.locator(".live-bar").count():
            live(page)
        browser.close()
    kernel()
    sizes()


if __name__ == "__main__":
    main()

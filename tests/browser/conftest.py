"""A server for the built book, and the Chromium of this machine to read it with.

Chromium is found by the variable CHROMIUM or by its usual names.  Without one these tests are
skipped, except under continuous integration (CI=true), where they fail.
"""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Error, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "_build" / "html"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
HOW = "install Chromium (Debian, Ubuntu: apt install chromium) or set CHROMIUM to its path"


def chromium():
    """Return the path of a Chromium, or None."""
    if "CHROMIUM" in os.environ:
        return os.environ["CHROMIUM"]
    found = [path for path in map(shutil.which, NAMES) if path]
    return found[0] if found else str(MAC) if MAC.exists() else None


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def address():
    """Return the address at which the built book is served."""
    if os.environ.get("BOOK_TESTS") == "skip":
        pytest.skip("BOOK_TESTS=skip: no book was built, on purpose")
    if not (BUILT / "index.html").exists():
        pytest.fail(f"no built book in {BUILT}: run `make book` (or set BOOK_TESTS=skip)")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(BUILT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    """Return a Chromium that resolves no name: only this machine can be reached."""
    path = chromium()
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"no Chromium: {HOW}")
    alone = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(
                executable_path=path, args=[alone, "--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            pytest.fail(f"{path} does not start: {HOW}\n{error}")
        yield started
        started.close()

"""Put the Live button on the pages: their code runs in the reader's browser, served from the book.

What scripts/live_assets.py has fetched is copied beside the pages, with kvlib and the two programs
of book/live.  Where nothing has been fetched, or with ``LIVE=0``, the pages are built without.
"""

import importlib.util
import os
import shutil
import sys
import zipfile
from pathlib import Path

from sphinx.application import Sphinx

FETCHED = Path(sys.prefix) / "live"
SOURCES = Path(__file__).resolve().parent.parent / "live"
NEEDED = Path(__file__).with_name("needed.py")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the archive's bytes depend on the sources alone


def is_wanted() -> bool:
    """Return whether the pages get a Live button."""
    there = (FETCHED / "pyodide.asm.wasm").exists() and SOURCES.exists()
    return there and os.environ.get("LIVE") != "0"


def pack_kvlib(target: Path) -> None:
    """Write the kvlib that executed the pages to an archive."""
    found = importlib.util.find_spec("kvlib")
    if found is None or found.origin is None:
        return
    package = Path(found.origin).parent
    files = [file for file in sorted(package.rglob("*")) if file.suffix in {".py", ".toml", ".csv"}]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = zipfile.ZipInfo(file.relative_to(package.parent).as_posix(), EPOCH)
            archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def announce(app: Sphinx) -> None:
    """Load the script on every page."""
    if is_wanted():
        app.add_js_file("live/live.js", loading_method="defer")


def copy_assets(app: Sphinx, exception: Exception | None) -> None:
    """Copy everything that Live needs into the static files of a finished build."""
    if exception is not None or app.builder.format != "html" or not is_wanted():
        return
    target = Path(app.outdir) / "_static" / "live"
    (target / "pyodide").mkdir(parents=True, exist_ok=True)
    for file in FETCHED.iterdir():
        if not (target / "pyodide" / file.name).exists():
            shutil.copyfile(file, target / "pyodide" / file.name)
    shutil.copyfile(SOURCES / "pyodide-lock.json", target / "pyodide" / "pyodide-lock.json")
    for name in ("live.js", "worker.js", "kernel.py"):
        shutil.copyfile(SOURCES / name, target / name)
    shutil.copyfile(NEEDED, target / "needed.py")
    pack_kvlib(target / "kvlib.zip")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("builder-inited", announce)
    app.connect("build-finished", copy_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

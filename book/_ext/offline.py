"""Serve MathJax from the book itself, so that no page asks another host for it.

The package sphinx-mathjax-offline carries MathJax 3.2.2 (33 MB, with every output format).  This
extension copies what `mathjax_path` in `_config.yml` can load: the program, its fonts, the TeX
extensions it fetches by name, and its menu and reader for accessibility.
"""

import shutil
from importlib.metadata import distribution
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

PARTS = (
    "tex-mml-chtml.js",
    "output/chtml/fonts",
    "input/tex/extensions",
    "a11y",
    "ui",
    *(f"sre/mathmaps/{rules}.json" for rules in ("base", "en", "nemeth")),
)


def copy_mathjax(app: Sphinx, exception: Exception | None) -> None:
    """Copy MathJax into the static files of a finished build, if it is not there."""
    if exception is not None or app.builder.format != "html":
        return
    source = Path(str(distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline")))
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        found, wanted = source / "static" / "mathjax" / part, target / part
        if wanted.exists():
            continue
        wanted.parent.mkdir(parents=True, exist_ok=True)
        if found.is_dir():
            shutil.copytree(found, wanted)
        elif found.is_file():
            shutil.copyfile(found, wanted)
        else:
            raise ExtensionError(f"MathJax part {part} is not in {found}; run `make clean-env env`")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

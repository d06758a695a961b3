"""The Python side of Live: runs a cell with what it needs, answers a widget's questions."""

import ast
import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
from needed import code_of, leading

from kvlib.widgets import Explore
from kvlib.widgets._held import PAGES
from kvlib.widgets._live import axes, drawn

os.environ["KVLIB_WIDGETS"] = "page"  # a widget shows the page's face; live.js enlivens it
OWN = {"<this cell>", "<cells before>"}
WIDGETS: dict[str, Explore] = {}


def widened(make: Callable[..., Any]) -> Callable[..., Any]:
    """Give the arrays of whole numbers that a cell makes 64 bits; by itself the browser gives 32.

    Others, kvlib and pandas, index by such arrays and want them as they are here.
    """

    def made(*given: Any, **options: Any) -> Any:
        found = make(*given, **options)
        by_cell = sys._getframe(1).f_globals.get("__name__") == "__main__"
        return found.astype(np.int64) if by_cell and found.dtype == "i4" else found

    return made


for name in ("array", "asarray", "arange"):
    setattr(np, name, widened(getattr(np, name)))


def answer(what: str, given: str) -> str:
    """Answer a message of the page; both are JSON."""
    try:
        found = {"run": run, "ask": ask}[what](**json.loads(given))
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        why = f"{name} is not among what this page can load. The notebook runs on your machine."
        found = {"missing": name, "error": why}
    except Exception as error:  # noqa: BLE001 - the reader's code: whatever it raises is shown
        found = {"error": told(error)}
    return json.dumps(found)


def run(cells: list[str], place: int, held: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a cell after what it needs, in a namespace of its own.

    `held` is what its widget holds on the page, by the widget's name, while nothing is edited.
    """
    PAGES.set(held or {})
    ast.parse(code_of(cells[place]))
    cells = [cell if at == place or is_python(cell) else "" for at, cell in enumerate(cells)]
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(leading(cells, place), "<cells before>", "exec"), names)
    tree = ast.parse(code_of(cells[place]))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<this cell>", "exec"), names)
        found = {}
        if last:
            code = compile(ast.Expression(last.value), "<this cell>", "eval")
            found = shown(eval(code, names))
    return {"text": printed.getvalue(), **found}


def is_python(cell: str) -> bool:
    """Whether a cell can be read; one that a reader has half edited must not stop the others."""
    try:
        ast.parse(code_of(cell))
    except SyntaxError:
        return False
    return True


def shown(value: Any) -> dict[str, Any]:
    """How a value is shown: a widget, HTML, or its text."""
    if value is None:
        return {}
    if isinstance(value, Explore):
        WIDGETS[value.name] = value
        html = value._repr_mimebundle_()["text/html"]
        return {"html": html, "widget": value.name, "axes": axes(value)}
    if hasattr(value, "_repr_html_") and (html := value._repr_html_()):
        return {"html": html}
    return {"value": repr(value)}


def ask(cells: list[str], place: int, name: str, values: list[float]) -> dict[str, Any]:
    """The view of a widget where its controls stand: a number, or a place in a list."""
    if name not in WIDGETS:  # this kernel is a new one
        run(cells, place)
    return drawn(WIDGETS[name], values)


def told(error: Exception) -> str:
    """The error and the lines of the reader's code that led to it."""
    lines = [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename in OWN]
    lines += [f"  in {frame.filename.strip('<>')}, line {frame.lineno}" for frame in own]
    return "\n".join(lines)

"""The code that leads to a cell is all that it needs, and none of the figures."""

import contextlib
import io

import execute_notebooks as store
import nbformat
import pytest
from needed import needed

CHAPTERS = list(store.chosen([], store.ROOT / "notebooks"))
ALL_OF_IT = [
    ["x = 1"],
    ["x = 1", "y = x", "x = y"],
    ["a, (b, *x) = f()"],
    ["x = 1", "x += 1"],
    ["x = {}", "x['a'] = 1", "x.b = 2", "x.update(c=3)", "x['d'].append(4)", "x['e'] += 1"],
    ["x = []", "def add(z):\n    x.append(z)", "add(1)"],
    ["x = []", "def add(z):\n    z.append(1)", "y = add(x)"],
    ["for i in range(3):\n    x = i"],
    ["x = 0", "if y:\n    x = 1"],
    ["with open(p) as x:\n    pass"],
    ["(x := 3)"],
    ["def x():\n    return y", "y = 1"],
    ["def z():\n    return y", "y = 1", "def x():\n    return z()"],
    ["y = 1", "x = lambda z: z + y"],
    ["y = 1", "x = [z + y for z in range(3)]"],
    ["import numpy as x"],
    ["from numpy import *", "x = pi"],
]


@pytest.mark.parametrize("before", ALL_OF_IT)
def test_what_a_cell_needs_is_kept(before):
    assert needed([*before, "print(x)"], len(before)) == "\n".join([*before, "print(x)"])


@pytest.mark.parametrize(
    "statement",
    [
        "y = 2",
        "y = x",
        "print(y)",
        "x = 0",  # bound again before it is read
        "def f(x):\n    x = 1\n    return x",
        "z = [x for x in range(3)]",
        "fig = plot()\nfig.show(1)",
        "%config InlineBackend.figure_formats = ['svg']",
        "np.sort(y)",
        "claim('name', x)",
        "import b",
    ],
)
def test_what_a_cell_does_not_need_is_left_out(statement):
    cells = ["import numpy as np", statement, "x = np.zeros(3)", "print(x)"]
    assert needed(cells, 3) == "import numpy as np\nx = np.zeros(3)\nprint(x)"


def test_later_cells_are_not_needed():
    assert needed(["x = 1", "x", "x = 2"], 1) == "x = 1\nx"


def test_an_import_keeps_what_is_used():
    cells = ["import a.b, c as d", "from e import f as g, h", "d, h"]
    assert needed(cells, 2) == "import c as d\nfrom e import h\nd, h"


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda file: file.stem)
def test_every_widget_runs_with_what_it_needs(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    cells = store.code_cells(nbformat.read(file, as_version=4))
    code = [cell.source for cell in cells]
    for place, cell in enumerate(cells):
        if "kv-explore" in str(cell.outputs):
            leading = needed(code, place)
            assert "plt" not in leading, "a widget needs no figure"
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(leading, file.name, "exec"), {})

"""The code that leads to a cell is all that it needs, and none of the figures."""

import contextlib
import io

import execute_notebooks as store
import nbformat
import pytest
from needed import code_of, leading, needed

CHAPTERS = list(store.chosen([], store.ROOT / "notebooks"))
QUICK = [file for file in CHAPTERS if "_placing" not in file.stem]  # whose study takes long
ALL_OF_IT = [
    ["x = 1"],
    ["x = 1", "y = x", "x = y"],
    ["a, (b, *x) = f()"],
    ["x = 1", "x += 1"],
    ["x = {}", "x['a'] = 1", "x.b = 2", "x.update(c=3)", "x['d'].append(4)", "x['e'] += 1"],
    ["x = []", "def add(z):\n    x.append(z)", "add(1)"],
    ["x = []", "def add(z):\n    z.append(1)", "y = add(x)"],
    ["for i in range(3):\n    x = i"],
    ["x = pool()", "found = x.start(1).found[0]"],
    ["y = 1", "x = table.query('rows < @y')"],
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
        "for x in range(3):\n    fig.plot(x)",
        "%config InlineBackend.figure_formats = ['svg']",
        "np.sort(y)",
        "claim('name', x)",
        "import b",
    ],
)
def test_what_a_cell_does_not_need_is_left_out(statement):
    cells = ["import numpy as np", statement, "x = np.zeros(3)", "print(x)"]
    assert needed(cells, 3) == "import numpy as np\nx = np.zeros(3)\nprint(x)"


def test_what_a_loop_binds_itself_is_not_needed():
    loop = "for name in ['a', 'b']:\n    part = name + 'c'\n    print(part)"
    assert needed(["name, part = 1, 2", loop], 1) == loop
    assert needed(["part = 2", "while part:\n    part = part - 1"], 1).startswith("part = 2")


def test_later_cells_are_not_needed():
    assert needed(["x = 1", "x", "x = 2"], 1) == "x = 1\nx"


def test_an_import_keeps_what_is_used():
    cells = ["import a.b, c as d", "from e import f as g, h", "d, h"]
    assert needed(cells, 2) == "import c as d\nfrom e import h\nd, h"


@pytest.mark.parametrize("file", QUICK, ids=lambda file: file.stem)
def test_cells_print_the_same_after_what_they_need(file, monkeypatch):
    """Every third of those that print and show nothing else, figures aside."""
    monkeypatch.chdir(file.parent)
    cells = store.code_cells(nbformat.read(file, as_version=4))
    code = [cell.source for cell in cells]
    compared = [place for place, cell in enumerate(cells) if prints_alone(cell)]
    for place in compared[::3]:
        names, printed = {"__name__": "__main__"}, io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(leading(code, place), file.name, "exec"), names)
        with contextlib.redirect_stdout(printed):
            exec(compile(code_of(code[place]), file.name, "exec"), names)
        assert printed.getvalue() == "".join(output.text for output in cells[place].outputs)


def prints_alone(cell):
    streams = [output.output_type == "stream" for output in cell.outputs]
    return bool(streams) and all(streams) and store.IGNORED not in store.tags(cell)


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

"""The chapters keep the rules that make comparing their outputs worth something.

nbval compares a cell's stored output with a new one, and says nothing of a cell that stores none.
So here each chapter is read, not run: what is stored must be whole, in order and of this code.
"""

import ast
from typing import Any

import execute_notebooks as store
import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

CHAPTERS = list(store.chosen([], store.ROOT / "notebooks"))  # none found is an error
LONGEST_DEFINITION = 8  # lines; longer ones belong in kvlib, where they are documented and tested
UNCOMPARED = {"nbval-ignore-output", "nbval-skip", "no-output"}
LAYOUT = {"hide-input", "hide-output", "hide-cell", "margin", "full-width"}


def faults(notebook: Any) -> list[str]:
    """Return what is wrong with `notebook`, each with its cell and its remedy."""
    found = []
    if "executed" not in notebook.metadata:
        found.append("was never stored by `make notebooks`")
    elif notebook.metadata["executed"] != store.code_hash(notebook):
        found.append("its code has changed since its outputs were stored: run `make notebooks`")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not any(cell.outputs and not UNCOMPARED & store.tags(cell) for cell in cells):
        found.append("stores no output that is compared, so nothing in it is checked")
    for number, cell in enumerate(cells, start=1):
        found += [f"code cell {number}: {fault}" for fault in faults_of_cell(cell, number)]
    return found


def faults_of_cell(cell: Any, number: int) -> list[str]:
    """Return what is wrong with the code cell that stands at place `number`."""
    found = []
    tags = store.tags(cell)
    if unknown := tags - UNCOMPARED - LAYOUT:
        found.append(f"unknown tags {sorted(unknown)}; known: {sorted(UNCOMPARED | LAYOUT)}")
    if not cell.source.strip():
        found.append("is empty: delete it")
    if cell.source.rstrip().endswith(";"):
        found.append("ends with ';', which does not hide a value from nbval: end on a statement")
    if not cell.outputs and not tags & UNCOMPARED:
        found.append("has no stored output: run `make notebooks`, or tag it no-output")
    if cell.outputs and "no-output" in tags:
        found.append("is tagged no-output and stores one")
    if cell.execution_count != number:
        found.append(f"was stored as run {cell.execution_count}, not {number}: `make notebooks`")
    for output in cell.outputs:
        found += faults_of_output(output, cell)
    for name, lines in definitions(cell.source):
        if lines > LONGEST_DEFINITION:
            found.append(f"defines {name} in {lines} lines: put it in kvlib ({LONGEST_DEFINITION})")
    return found


def faults_of_output(output: Any, cell: Any) -> list[str]:
    """Return what is wrong with one stored output of `cell`."""
    if output.output_type == "error":
        return [f"stores an error: {output.ename}: {output.evalue}"]
    if output.output_type == "stream":
        return ["stores text written to stderr"] if output.name == "stderr" else []
    if not any(kind.startswith("image/") for kind in output.data):
        return []
    found = []
    if "nbval-ignore-output" not in store.tags(cell):
        found.append("stores an image: tag it nbval-ignore-output, assert its numbers elsewhere")
    if not cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "").strip():
        found.append('stores an image without alt text: {"mystnb": {"image": {"alt": "..."}}}')
    return found


def definitions(source: str) -> list[tuple[str, int]]:
    """Return name and number of lines of each function and class in a cell's `source`."""
    tree = ast.parse(TransformerManager().transform_cell(source))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [(node.name, node.end_lineno - node.lineno + 1) for node in nodes]


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda file: file.stem)
def test_chapter_keeps_the_rules(file):
    found = faults(nbformat.read(file, as_version=4))
    assert not found, f"{file.name}:\n  " + "\n  ".join(found)


@pytest.mark.parametrize("file", CHAPTERS, ids=lambda file: file.stem)
def test_chapter_is_stored_in_normal_form(file):
    text = file.read_text(encoding="utf-8")
    normal = store.as_text(store.normalise(nbformat.reads(text, as_version=4)))
    assert text == normal, f"{file.name} is not in normal form: run `make notebooks`"


# ---- the guard bites ------------------------------------------------------------


@pytest.fixture
def chapter():
    """Return a chapter without fault: an import, a compared number, a figure."""
    figure = {"tags": ["nbval-ignore-output"], "mystnb": {"image": {"alt": "A roofline."}}}
    image = new_output("display_data", {"image/svg+xml": "<svg/>", "text/plain": "<Figure>"})
    cells = [
        new_markdown_cell("# A chapter"),
        new_code_cell("import math", metadata={"tags": ["no-output"]}, execution_count=1),
        new_code_cell("print(2 * 3)", execution_count=2),
        new_code_cell("plot()", metadata=figure, outputs=[image], execution_count=3),
    ]
    cells[2].outputs = [new_output("stream", name="stdout", text="6\n")]
    notebook = new_notebook(cells=cells)
    notebook.metadata["executed"] = store.code_hash(notebook)
    return notebook


def set_source(cell, source):
    cell.source = source


def drop_all_outputs(chapter):
    for cell in store.code_cells(chapter):
        cell.outputs = []


DEFINITION = "def f():\n" + "    x = 1\n" * LONGEST_DEFINITION + "f()"
FAULTY = {
    "no output": (lambda c: c.cells[2].outputs.clear(), "code cell 2: has no stored output"),
    "no outputs at all": (drop_all_outputs, "nothing in it is checked"),
    "only ignored": (lambda c: c.cells[2].metadata.update(tags=["nbval-skip"]), "no output that"),
    "lying tag": (lambda c: c.cells[2].metadata.update(tags=["no-output"]), "no-output and stores"),
    "misspelt tag": (lambda c: c.cells[2].metadata.update(tags=["nbval-ignore"]), "unknown tags"),
    "out of order": (lambda c: c.cells[2].update(execution_count=7), "was stored as run 7, not 2"),
    "not executed": (lambda c: c.cells[2].update(execution_count=None), "run None, not 2"),
    "code changed": (lambda c: set_source(c.cells[2], "print(3 * 2)"), "its code has changed"),
    "never stored": (lambda c: c.metadata.pop("executed"), "was never stored"),
    "empty cell": (lambda c: set_source(c.cells[2], " "), "is empty"),
    "semicolon": (lambda c: set_source(c.cells[2], "6;"), "ends with ';'"),
    "long function": (lambda c: set_source(c.cells[2], DEFINITION), "defines f in 9 lines"),
    "image compared": (lambda c: c.cells[3].metadata.update(tags=[]), "tag it nbval-ignore-output"),
    "image without alt": (lambda c: c.cells[3].metadata.pop("mystnb"), "without alt text"),
    "error stored": (
        lambda c: c.cells[2].outputs.append(new_output("error", ename="E", evalue="v")),
        "stores an error: E: v",
    ),
    "stderr stored": (
        lambda c: c.cells[2].outputs.append(new_output("stream", name="stderr", text="!")),
        "stderr",
    ),
}


def test_a_good_chapter_has_no_fault(chapter):
    assert faults(chapter) == []


@pytest.mark.parametrize(("spoil", "expected"), FAULTY.values(), ids=FAULTY.keys())
def test_guard_names_what_was_planted(chapter, spoil, expected):
    spoil(chapter)
    assert any(expected in fault for fault in faults(chapter)), faults(chapter)


def test_magics_are_no_syntax_error_and_eight_lines_are_allowed():
    assert definitions("%config A.b = 1\n!ls\n" + DEFINITION.replace("    x = 1\n", "", 1)) == [
        ("f", LONGEST_DEFINITION)
    ]


def test_no_notebook_at_all_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no notebook"):
        list(store.chosen([], tmp_path))

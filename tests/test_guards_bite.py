"""Plant the faults that a build or a comparison could let pass, and see it turn red, twice.

Twice, because a second run finds caches: an executed notebook, a page that is thought up to date.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import execute_notebooks as store
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent
CONTENTS = "format: jb-book\nroot: book/intro\nchapters:\n  - file: notebooks/01_one\n"
SOURCE = "@misc{someone2026, title={T}, author={A. Body}, year={2026}}\n"


@pytest.fixture
def book(tmp_path):
    """Return the folder of a book of two pages with the settings of the real one."""
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(ROOT / "book/_ext", tmp_path / "book/_ext")
    shutil.copytree(ROOT / "book/_static", tmp_path / "book/_static")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").write_text(CONTENTS)
    (tmp_path / "book/references.bib").write_text(SOURCE)
    (tmp_path / "book/intro.md").write_text("# Intro\n")
    set_cell(tmp_path, "print(6)", outputs=["6\n"])
    return tmp_path


def set_cell(book, source, outputs=()):
    cell = new_code_cell(source, execution_count=1)
    cell.outputs = [new_output("stream", name="stdout", text=text) for text in outputs]
    notebook = store.normalise(new_notebook(cells=[new_markdown_cell("# One"), cell]))
    nbformat.write(notebook, book / "notebooks/01_one.ipynb")


def build(book):
    command = [sys.executable, ROOT / "scripts/build_book.py", "--root", book]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compare(book):
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-q"]
    command += ["-c", "/dev/null", f"--rootdir={book}", str(book / "notebooks")]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=book)


def test_a_cell_that_raises_ends_the_build_twice_in_a_row(book):
    set_cell(book, "raise ValueError('planted')")
    for _ in range(2):
        done = build(book)
        assert done.returncode != 0, done.stdout + done.stderr
        assert "notebooks/01_one.ipynb" in done.stderr
        assert "ValueError: planted" in done.stderr


def test_a_cell_that_warns_ends_the_build_twice_in_a_row(book):
    set_cell(book, "import warnings\nwarnings.warn('planted')")
    for _ in range(2):
        done = build(book)
        assert done.returncode != 0, done.stdout + done.stderr
        assert "stderr was found" in done.stderr


def test_a_broken_reference_ends_the_build_twice_and_its_repair_mends_it(book):
    set_cell(book, "# nothing runs here", outputs=["kept\n"])
    page = book / "book/intro.md"
    good = page.read_text()
    page.write_text(good + "\nSee {ref}`nowhere` and {cite}`nobody1999`.\n")
    for _ in range(2):
        done = build(book)
        assert done.returncode != 0, done.stdout + done.stderr
        assert "nowhere" in done.stderr
        assert "nobody1999" in done.stderr
    page.write_text(good)
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(book / "_build/html/index.html") in done.stdout


def test_comparison_sees_one_per_cent(book):
    set_cell(book, "print(4.00)", outputs=["4.0\n"])
    assert compare(book).returncode == 0
    set_cell(book, "print(4.00 * 1.01)", outputs=["4.0\n"])
    assert compare(book).returncode == 1


WIDGET = """
from kvlib.widgets import explore
from formula import seconds

explore(seconds, message="It grows.", rows=[1, 2, 4])
"""


def test_comparison_sees_one_per_cent_in_a_widget(book):
    formula = book / "notebooks/formula.py"
    formula.write_text("def seconds(rows):\n    return 4.0 if rows < 4 else 5.0\n")
    set_cell(book, WIDGET)
    store.store(book / "notebooks/01_one.ipynb")
    assert compare(book).returncode == 0
    later = "def seconds(rows):\n    return 4.0 if rows < 4 else 5.05\n"  # the start is as it was
    formula.write_text(later)
    assert compare(book).returncode == 1

"""Storing outputs again leaves the same bytes, keeps what it should and never half a file."""

import execute_notebooks as store
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

IGNORED = {"tags": ["nbval-ignore-output"]}
FORM = "application/vnd.jupyter.widget-view+json"


def write(folder, *cells):
    file = folder / "07_chapter.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), file)
    return file


def outputs(file):
    return [cell.outputs for cell in nbformat.read(file, as_version=4).cells]


def test_second_run_changes_no_byte_and_keeps_a_timing(tmp_path):
    clock = "import time\nprint(time.perf_counter_ns())"
    file = write(tmp_path, new_code_cell("print(6)"), new_code_cell(clock, metadata=IGNORED))
    assert store.store(file) == "07_chapter.ipynb: stored"
    first = file.read_bytes()
    assert "unchanged; 1 ignored" in store.store(file)
    assert file.read_bytes() == first
    assert store.store(file, refresh=True) == "07_chapter.ipynb: stored"
    assert outputs(file)[1][0].text != nbformat.reads(first, as_version=4).cells[1].outputs[0].text


def test_failing_cell_leaves_the_file_and_is_named(tmp_path, capsys):
    file = write(tmp_path, new_code_cell("print(6)"), new_code_cell("raise ValueError('planted')"))
    before = file.read_bytes()
    assert store.main(["--folder", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert "07_chapter.ipynb, code cell 2" in message
    assert "ValueError: planted" in message
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("stored_for", "stored_number", "kept"),
    [("same", "6", 1), ("other code", "6", 0), ("same", "5", 0)],
    ids=["nothing changed", "code changed", "a compared number changed"],
)
def test_ignored_output_is_kept_only_with_its_code_and_results(stored_for, stored_number, kept):
    def notebook(executed, number, timing):
        cells = [new_code_cell("print(6)"), new_code_cell("clock()", metadata=IGNORED)]
        for cell, text in zip(cells, (number, timing), strict=True):
            cell.outputs = [new_output("stream", name="stdout", text=text)]
        return new_notebook(cells=cells, metadata={"executed": executed})

    new = notebook("same", "6", "1.5 s")
    assert store.keep_ignored(new, notebook(stored_for, stored_number, "1.4 s")) == kept
    assert new.cells[1].outputs[0].text == ("1.4 s" if kept else "1.5 s")


def test_normal_form_drops_what_varies_and_is_stable():
    def notebook(first, second):
        view = new_output("display_data", {FORM: {"model_id": first}})
        states = {second: {"state": {}}, first: {"state": {"layout": f"IPY_MODEL_{second}"}}}
        cell = new_code_cell("slider", outputs=[view], metadata={"execution": {"a": "09:00"}})
        cell["id"] = "one"
        widgets = {store.WIDGETS: {"state": states, "version_major": 2}}
        return new_notebook(cells=[cell], metadata={"widgets": widgets, "toc": {}})

    once = store.normalise(notebook("a" * 32, "b" * 32))
    assert store.as_text(once) == store.as_text(store.normalise(notebook("c" * 32, "0" * 31 + "d")))
    assert store.as_text(once) == store.as_text(store.normalise(once))
    assert set(once.metadata) == {"kernelspec", "language_info", "widgets"}
    assert once.cells[0].metadata == {}


def test_streams_in_pieces_are_joined():
    pieces = [new_output("stream", name="stdout", text=text) for text in ("a", "b")]
    assert [output.text for output in store.merged_streams(pieces)] == ["ab"]


def test_names_choose_chapters_and_an_unknown_one_is_an_error(tmp_path):
    file = write(tmp_path, new_code_cell("1"))
    beside = tmp_path / "07a_more.ipynb"
    beside.write_text("")
    assert list(store.chosen(["07"], tmp_path)) == [file]
    assert list(store.chosen(["07a"], tmp_path)) == [beside]
    beside.unlink()
    with pytest.raises(FileNotFoundError, match="known: 07_chapter"):
        list(store.chosen(["08"], tmp_path))

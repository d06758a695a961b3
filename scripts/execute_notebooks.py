"""Execute the chapters again and store their outputs, byte for byte the same when nothing changed.

A notebook is executed whole, in its own folder, in a fresh kernel.  What is stored is in one normal
form: keys sorted, no timings, no editor's metadata, stable cell and widget ids, streams merged.

Cells tagged ``nbval-ignore-output`` hold figures and what depends on the machine.  Their stored
outputs are kept as they are while the code of the notebook and its compared outputs stay the same,
so that a timing does not change the file on every run; ``--refresh`` stores them again.  For that
the notebook's metadata hold a hash of the code that was executed (``executed``).

When a cell fails, its file stays as it was; so do the files of the chapters that follow.
"""

import argparse
import copy
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
IGNORED = "nbval-ignore-output"
WIDGETS = "application/vnd.jupyter.widget-state+json"
WIDGET_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class NotExecuted(Exception):
    """A cell failed; the message names the notebook, the cell and the error."""


def code_cells(notebook: Any) -> list[Any]:
    """Return the code cells of `notebook`, those without any code left out."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def tags(cell: Any) -> set[str]:
    """Return the tags of `cell`."""
    return set(cell.metadata.get("tags", ()))


def code_hash(notebook: Any) -> str:
    """Return a hash of the code of `notebook` and of its cells' tags."""
    code = [[cell.source, sorted(tags(cell))] for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def execute(notebook: Any, folder: Path, name: str) -> Any:
    """Return a copy of `notebook` with the outputs of a run in a fresh kernel in `folder`.

    Raises
    ------
    NotExecuted
        If a cell raises, times out or ends the kernel.
    """
    ran = copy.deepcopy(notebook)
    ran.metadata.kernelspec = KERNEL
    ran.metadata.pop("widgets", None)
    os.environ["KVLIB_WIDGETS"] = "page"  # the kernel inherits it
    client = NotebookClient(
        ran,
        timeout=600,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        number = sum(bool(cell.get("execution_count")) for cell in code_cells(ran))
        what = ESCAPES.sub("", str(error)).strip()
        raise NotExecuted(f"{name}, code cell {max(number, 1)}: {what}") from error
    return ran


def normalise(notebook: Any) -> Any:
    """Return `notebook` in normal form; doing it twice changes nothing more."""
    plain = copy.deepcopy(notebook)
    used: set[str] = set()
    for position, cell in enumerate(plain.cells):
        cell.metadata.pop("execution", None)
        for key in ("collapsed", "scrolled", "trusted", "ExecuteTime", "jupyter", "editable"):
            cell.metadata.pop(key, None)
        if cell.metadata.get("tags") == []:
            del cell.metadata["tags"]
        identity = cell.get("id")
        if not identity or identity in used:
            digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
            cell["id"] = f"cell-{position}-{digest}"
        used.add(cell["id"])
        cell.source = cell.source.rstrip("\n")
        if cell.cell_type == "code":
            cell.outputs = merged_streams(cell.outputs)
    kept = {key: plain.metadata[key] for key in ("executed", "mystnb") if key in plain.metadata}
    if WIDGETS in plain.metadata.get("widgets", {}):
        kept["widgets"] = {WIDGETS: plain.metadata["widgets"][WIDGETS]}
    plain.metadata = nbformat.from_dict(
        {**kept, "kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    plain.nbformat, plain.nbformat_minor = 4, 5
    return with_widgets_numbered(plain)


def merged_streams(outputs: list[Any]) -> list[Any]:
    """Return `outputs` with neighbouring pieces of one stream joined, as a page shows them."""
    merged: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def with_widgets_numbered(notebook: Any) -> Any:
    """Return `notebook` with its widgets' random ids replaced by numbers, in order of display."""
    if "widgets" not in notebook.metadata:
        return notebook
    states = notebook.metadata.widgets[WIDGETS]["state"]
    shown = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    order = [*WIDGET_ID.findall(shown), *WIDGET_ID.findall(json.dumps(states)), *states]
    names = {old: f"{number:032x}" for number, old in enumerate(dict.fromkeys(order), start=1)}
    text = WIDGET_ID.sub(lambda match: names.get(match.group(), match.group()), as_text(notebook))
    return nbformat.reads(text, as_version=4)


def compared(notebook: Any) -> list[Any]:
    """Return the outputs of `notebook` that are compared on every check."""
    return [cell.outputs for cell in code_cells(notebook) if IGNORED not in tags(cell)]


def keep_ignored(new: Any, old: Any) -> int:
    """Put the ignored outputs of `old` into `new` if both belong to the same code and results.

    Returns the number of outputs that would have been different.
    """
    same_code = old.metadata.get("executed") == new.metadata.get("executed")
    if not same_code or compared(new) != compared(old) or "widgets" in new.metadata:
        return 0
    pairs = zip(code_cells(new), code_cells(old), strict=True)
    different = [(n, o) for n, o in pairs if n.outputs != o.outputs]
    for fresh, stored in different:
        fresh.outputs = stored.outputs
    return len(different)


def as_text(notebook: Any) -> str:
    """Return the text of the file that stores `notebook`."""
    text: str = nbformat.writes(notebook, indent=1, sort_keys=True, ensure_ascii=False)
    return text.rstrip("\n") + "\n"


def write_whole(file: Path, text: str) -> None:
    """Write `text` to `file` in one step: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
        Path(temporary).chmod(mode)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def store(file: Path, *, refresh: bool = False) -> str:
    """Execute the notebook in `file`, store it, and return a line that says what became of it."""
    text = file.read_text(encoding="utf-8")
    old = nbformat.reads(text, as_version=4)
    new = execute(old, file.parent, file.name)
    new.metadata["executed"] = code_hash(new)
    new = normalise(new)
    kept = 0 if refresh else keep_ignored(new, normalise(old))
    note = f"; {kept} ignored outputs came out differently and were kept" if kept else ""
    if as_text(new) == text:
        return f"{file.name}: unchanged{note}"
    write_whole(file, as_text(new))
    return f"{file.name}: stored{note}"


def chosen(names: list[str], folder: Path) -> Iterator[Path]:
    """Yield the notebooks that `names` mean: files, or beginnings of names in `folder`; else all.

    Raises
    ------
    FileNotFoundError
        If a name fits no notebook, or there is none.
    """
    known = sorted(folder.glob("*.ipynb"))
    if not names and not known:
        raise FileNotFoundError(f"no notebook (*.ipynb) in {folder}")
    for name in names:
        fitting = [Path(name)] if Path(name).is_file() else []
        for beginning in (f"{name}_", name):  # 17 is chapter 17, not 17a as well
            fitting = fitting or [file for file in known if file.name.startswith(beginning)]
        if not fitting:
            listed = ", ".join(file.stem for file in known) or "none"
            raise FileNotFoundError(f"no notebook {name!r} in {folder}; known: {listed}")
        yield from fitting
    if not names:
        yield from known


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", help="files, or beginnings such as 02; else all")
    parser.add_argument("--refresh", action="store_true", help="store ignored outputs again too")
    parser.add_argument("--folder", type=Path, default=ROOT / "notebooks", help="where they are")
    options = parser.parse_args(arguments)
    try:
        for file in chosen(options.notebooks, options.folder):
            print(store(file, refresh=options.refresh), flush=True)
    except (NotExecuted, FileNotFoundError) as error:
        print(f"execute_notebooks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

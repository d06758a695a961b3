"""Execute the chapters and build the book, strictly: any warning or failing cell ends it in error.

Runs Jupyter Book with ``-W -n --keep-going`` and adds what it leaves open:

* The pages made from data are written first, by ``generate_pages.py``.
* Stored executions are thrown away when something that a cell can read has changed (kvlib, a data
  file beside the notebooks, the pinned packages, Python); Jupyter Book looks at the cells alone.
* Pages are built anew when the settings have changed or the last build failed, because a second,
  incremental build does not repeat the warnings of pages that stayed the same.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import live_assets

ROOT = Path(__file__).resolve().parent.parent
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
PROBLEM = re.compile(r": (WARNING|ERROR|CRITICAL|SEVERE): |^(WARNING|ERROR): ")
RAISED = re.compile(r"An error occurred while executing.*?(?=\n+The above exception)", re.DOTALL)
SETTINGS = ("_config.yml", "_toc.yml", "requirements.txt", "book/references.bib")


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """Return one hash for the names and contents of `files` and for this Python."""
    total = hashlib.sha256(sys.version.encode())
    for file in sorted(set(files)):
        total.update(f"\0{file.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def files_under(*folders: Path) -> list[Path]:
    """Return the files under `folders`, less those that Python or Jupyter leave behind."""
    passing = {"__pycache__", ".ipynb_checkpoints", ".virtual_documents"}
    found = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return [file for file in found if not passing.intersection(file.parts)]


def read_by_cells(root: Path) -> str:
    """Return the fingerprint of what a cell can read: kvlib, data beside notebooks, pins."""
    beside = [file for file in files_under(root / "notebooks") if file.suffix != ".ipynb"]
    pins = [file for file in [root / "requirements.txt"] if file.exists()]
    return fingerprint(root, [*files_under(root / "kvlib"), *beside, *pins])


def read_by_pages(root: Path) -> str:
    """Return the fingerprint of what shapes every page: settings, extension, style, sources."""
    settings = [root / name for name in SETTINGS if (root / name).exists()]
    shaping = [root / "book" / name for name in ("_ext", "_static", "live")]
    return fingerprint(root, [*settings, *files_under(*shaping)]) + os.environ.get("LIVE", "")


def text_of(file: Path) -> str:
    """Return the text of `file`, or nothing when it is absent."""
    return file.read_text() if file.exists() else ""


def build(root: Path, *, fresh: bool = False) -> int:
    """Build the book under `root` and return the exit status; `fresh` builds every page anew."""
    output = root / "_build"
    executed_for, built_for = output / ".executed_for", output / ".built_for"
    cells = read_by_cells(root)
    pages = cells + read_by_pages(root)
    output.mkdir(exist_ok=True)
    if text_of(executed_for) != cells:
        shutil.rmtree(output / ".jupyter_cache", ignore_errors=True)
        executed_for.write_text(cells)
    if fresh or text_of(built_for) != pages:
        for stale in ("html", ".doctrees", "jupyter_execute"):
            shutil.rmtree(output / stale, ignore_errors=True)
    built_for.unlink(missing_ok=True)  # comes back only if this build succeeds
    if status := write_generated_pages(root):
        return status
    if (root / "book" / "live").exists() and (note := live_assets.provide()):
        print(f"  {note}", flush=True)
    status, log = run_jupyter_book(root)
    (output / "build.log").write_text(log)
    if status == 0:
        built_for.write_text(pages)
    else:
        print(f"\n{reasons(log)}\n\nThe whole log: {output / 'build.log'}", file=sys.stderr)
    return status


def write_generated_pages(root: Path) -> int:
    """Write the pages that are made from data, where the book has such, and return the status."""
    script = root / "scripts" / "generate_pages.py"
    if not script.exists():
        return 0
    return subprocess.run([sys.executable, str(script)], cwd=root, check=False).returncode


def run_jupyter_book(root: Path) -> tuple[int, str]:
    """Run Jupyter Book, name each chapter as it is executed, and return exit status and log."""
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(root), "-W", "-n", "--keep-going"]
    lines = []
    with subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "KVLIB_WIDGETS": "page"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for coloured in process.stdout or ():
            line = COLOUR.sub("", coloured).replace(f"{root}/", "")
            lines.append(line)
            if "Executing notebook using" in line:
                print(f"  {line.partition(': ')[0]}", flush=True)
    return process.returncode, "".join(lines)


def reasons(log: str) -> str:
    """Return the part of a failed build's log that says why: warnings, and the cell that raised."""
    found = [line for line in log.splitlines() if PROBLEM.search(line)]
    found += [match.group().rstrip() for match in RAISED.finditer(log)]
    return "\n".join(found or log.splitlines()[-30:])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fresh", action="store_true", help="build every page anew")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder that holds _config.yml")
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    print("Executing the chapters and building the pages ...", flush=True)
    start = time.perf_counter()
    pages_from_data = root / "scripts" / "generate_pages.py"
    if pages_from_data.exists() and subprocess.run([sys.executable, pages_from_data]).returncode:
        print("The pages made from data were NOT written; the reason is above.", file=sys.stderr)
        return 1
    status = build(root, fresh=options.fresh)
    seconds = time.perf_counter() - start
    if status:
        print(f"\nThe book was NOT built ({seconds:.0f} s), see above.", file=sys.stderr)
        return status
    print(f"The book is built ({seconds:.0f} s). Open it in a browser:")
    print(f"  {root / '_build' / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

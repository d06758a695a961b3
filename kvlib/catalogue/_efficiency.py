"""Measured constants of GPU kernels, one card per architecture."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kvlib.catalogue._cards import Figures, catalogue_names, find, load
from kvlib.checks import choose
from kvlib.quoted import Quoted

__all__ = ["architectures", "constants"]

_DIMENSIONS = {
    "kernel_floor": "s", "bandwidth_fraction": "1", "matrix_fraction": "1",
    "issue_clocks": "cycle", "store_rate": "B/cycle", "split_latency": "s",
    "overlap_exponent": "1",
    "merge_latency": "s", "block_latency": "s", "cache_share": "1", "block_rate": "1/s",
    "blocks_per_core": "1", "tokens_per_split": "1", "splits_ungrouped": "1",
    "latency": "s", "hop": "s", "rate": "B/s",
    "score_rate": "1/s", "query_rows": "1", "key_rows": "1", "tail": "1", "packs_group": "1",
}  # fmt: skip
"""Dimension of each constant; the kernel models in `roofline` document what it means."""


def architectures() -> tuple[str, ...]:
    """Names of the GPU architectures whose kernels were measured."""
    return tuple(catalogue_names("efficiency"))


def constants(architecture: str) -> dict[str, dict[str, Quoted]]:
    """Return the constants of an architecture by kernel and name.

    Raises
    ------
    UnknownName
        If no kernel of this architecture was measured.
    CardError
        If its card is malformed.

    Examples
    --------
    >>> from kvlib.units import us
    >>> constants("hopper")["gemm"]["kernel_floor"] / us
    2.56
    """
    choose(architecture, architectures(), "architecture")
    return _cached(find(architecture, "efficiency", "architecture"))


@cache
def _cached(path: Path) -> dict[str, dict[str, Quoted]]:
    return load(path, _build)


def _build(card: Figures) -> dict[str, dict[str, Quoted]]:
    card.text("title")
    card.table.pop("dated", None)
    found = {kernel: _figures(kernel, section) for kernel, section in _kernels(card)}
    card.close("title, dated, and one table per kernel")
    return found


def _kernels(card: Figures) -> Iterator[tuple[str, Figures]]:
    for kernel in list(card.table):
        section = card.section(kernel)
        entries = section.table.values()
        if any(isinstance(entry, dict) and "value" not in entry for entry in entries):
            for variant in list(section.table):
                name = f"{kernel}.{variant}"
                yield name, Figures(card.path, name, section.table[variant], card.provenance)
        else:
            yield kernel, section


def _figures(kernel: str, section: Figures) -> dict[str, Quoted]:
    found: dict[str, Quoted] = {}
    if "like" in section.table:
        lender, reason = section.text("like"), section.text("note")
        section.close("like, note")
        return {name: _lent(old, lender, reason) for name, old in constants(lender)[kernel].items()}
    for name in list(section.table):
        choose(name, _DIMENSIONS, f"constant of [{section.where}]")
        if (figure := section.figure(name, _DIMENSIONS[name])) is not None:
            found[name] = figure
    return found


def _lent(figure: Quoted, lender: str, reason: str) -> Quoted:
    return Quoted(
        float(figure),
        source=figure.source,
        basis="assumed",
        unit=figure.unit,
        note=f"taken from {lender}: {reason}",
    )

"""One colour and one marker per kind of operation, processor and evidence, the whole book over."""

from kvlib.checks import choose

__all__ = ["COLOURS", "MARKERS", "colour"]

COLOURS: dict[str, str] = {
    "GEMM": "#332288", "GEMV": "#CC6677",
    "GPU": "#117733", "GPU older": "#55A068", "NPU": "#2E93A0", "CPU": "#777777",
    "PIM": "#D55E00", "NDP": "#B8860B", "SSD": "#882255", "NIC": "#AA4499",
    "measured": "#222222", "model": "#0072B2", "ideal": "#8C8C8C",
}  # fmt: skip
"""One colour per kind of operation, processor and evidence, each at least 3:1 against white.

Among operations, and among processors, each also has its own marker, so that none is told by colour
alone.
"""

MARKERS: dict[str, str] = {
    "GEMM": "s", "GEMV": "o", "GPU": "s", "GPU older": "d", "NPU": "D", "CPU": "X",
    "PIM": "o", "NDP": "^", "SSD": "v", "NIC": "P",
    "measured": "o", "model": "none", "ideal": "none",
}  # fmt: skip


def colour(kind: str) -> str:
    """Colour of a kind.

    Raises
    ------
    UnknownName
        If the kind has none.

    Examples
    --------
    >>> colour("PIM")
    '#D55E00'
    """
    return COLOURS[choose(kind, COLOURS, "kind")]

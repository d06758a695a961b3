"""Number formats and the bytes an element of each takes in memory."""

from typing import Any

from kvlib.checks import choose, positive

__all__ = ["BITS", "element_size", "itemsize"]

BITS: dict[str, float] = {
    "fp64": 64, "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "fp6": 6, "fp4": 4,
    "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4, "int1": 1,
    "mxfp8": 8.25, "mxfp6": 6.25, "mxfp4": 4.25, "nvfp4": 4.5,
}  # fmt: skip
"""Bits per element [bit].

Block formats include their shared scale: MX formats carry 8 bits for 32 elements, NVFP4 carries 8
bits for 16 :cite:`ocp2023mx`.
"""


def itemsize(precision: str) -> float:
    """Bytes that one element takes in memory [B].

    Parameters
    ----------
    precision : str
        Name of a number format, a key of `BITS`.

    Raises
    ------
    UnknownName
        If the format is unknown; the message lists those alike.

    Examples
    --------
    >>> itemsize("fp16")
    2.0
    >>> itemsize("mxfp4")
    0.53125
    """
    return BITS[choose(precision, BITS, "precision")] / 8


def element_size(precision: Any) -> Any:
    """Bytes of one element, from the name of a format or from the bytes themselves [B].

    Parameters
    ----------
    precision : str, float or array
        A key of `BITS`, or bytes per element of any shape, for a sweep over formats.

    Examples
    --------
    >>> element_size("fp8"), element_size(0.5)
    (1.0, 0.5)
    """
    if isinstance(precision, str):
        return itemsize(precision)
    positive(precision=precision)
    return precision

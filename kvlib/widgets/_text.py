"""How a number is held and written; book/_static/widgets.js writes numbers the same way."""

import math
import re
from decimal import Decimal

__all__ = ["held", "number", "split_unit"]

PLAIN = (1e-3, 1e9)  # sizes written without a power of ten
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
UNIT = re.compile(r"\s*\[([^\]]*)\]\s*$")


def held(value: float, digits: int) -> float | int:
    """A number as the widget holds it: whole numbers whole, others to some significant digits.

    Examples
    --------
    >>> held(49.3456, 4), held(131072, 4), held(2.0, 4)
    (49.35, 131072, 2)
    """
    if isinstance(value, int):
        return value
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e15 else rounded


def number(value: float, most: float = PLAIN[1]) -> str:
    """A held number as it is shown; from `most` on with a power of ten.

    Examples
    --------
    >>> number(0.5), number(1365.3), number(1.25e-5), number(2e6, 1e5)
    ('0.5', '1365.3', '1.25 × 10⁻⁵', '2 × 10⁶')
    """
    if value == 0:
        return "0"
    sign, size = "−" if value < 0 else "", abs(value)
    plain = format(Decimal(repr(size)), "f")
    if PLAIN[0] <= size < most:
        whole, _, rest = plain.partition(".")
        grouped = f"{int(whole):,}".replace(",", "\u202f") if len(whole) > 4 else whole
        return sign + grouped + (f".{rest}" if rest.strip("0") else "")
    exponent = math.floor(math.log10(size))
    mantissa = format(Decimal(repr(size)).scaleb(-exponent).normalize(), "f")
    power = f"10{str(exponent).translate(SUPERSCRIPT)}"
    return f"{sign}{mantissa} × {power}"


def split_unit(name: str) -> tuple[str, str]:
    """A name and its unit, which stands behind it in brackets.

    Examples
    --------
    >>> split_unit("time [µs]"), split_unit("rows")
    (('time', 'µs'), ('rows', ''))
    """
    found = UNIT.search(name)
    return (name[: found.start()], found[1].strip()) if found else (name, "")

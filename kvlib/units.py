"""Units as plain floats: multiply to attach one, divide to read it.

Everything inside `kvlib` is in SI base units: seconds, bytes, floating-point operations, joules.
A unit is a number, so it costs nothing and works on any array.

>>> from kvlib.units import GB, ms, s
>>> time = 40 * GB / (2000 * GB / s)
>>> time / ms
20.0

Decimal and binary prefixes are different units, never guessed: a capacity of 80 GB is 74.5 GiB.

>>> from kvlib.units import GiB
>>> round(80 * GB / GiB, 1)
74.5

Files carry their units as text; `parse` turns the text into a factor and a dimension.

>>> parse("pJ/bit")
(8e-12, 'J/B')
"""

from collections import Counter

_BASES: dict[str, tuple[float, dict[str, int]]] = {
    "B": (1.0, {"B": 1}),
    "bit": (1 / 8, {"B": 1}),
    "s": (1.0, {"s": 1}),
    "flop": (1.0, {"flop": 1}),
    "FLOP": (1.0, {"flop": 1}),
    "OP": (1.0, {"flop": 1}),  # vendors count integer operations in OP; one multiply-add is two
    "J": (1.0, {"J": 1}),
    "W": (1.0, {"J": 1, "s": -1}),
    "Hz": (1.0, {"s": -1}),
    "T": (1.0, {"transfer": 1}),  # transfers on a pin, as in MT/s
    "m2": (1.0, {"m": 2}),
    "mm2": (1e-6, {"m": 2}),
    "USD": (1.0, {"USD": 1}),
    "V": (1.0, {"V": 1}),
    "A": (1.0, {"A": 1}),
    "F": (1.0, {"F": 1}),
    "minute": (60.0, {"s": 1}),
    "hour": (3600.0, {"s": 1}),
    "year": (365.25 * 86400.0, {"s": 1}),
    "cycle": (1.0, {"cycle": 1}),
    "token": (1.0, {"token": 1}),
    "1": (1.0, {}),
}
_DECIMAL = {
    "P": 1e15, "T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0,
    "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15,
}  # fmt: skip
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_PREFIXED = ("B", "bit", "s", "flop", "FLOP", "OP", "J", "W", "Hz", "T", "V", "A", "F")


def _table() -> dict[str, tuple[float, dict[str, int]]]:
    table = dict(_BASES)
    for base in _PREFIXED:
        factor, dimension = _BASES[base]
        for prefix, scale in _DECIMAL.items():
            table.setdefault(prefix + base, (scale * factor, dimension))
    for prefix, scale in _BINARY.items():
        table[prefix + "B"] = (scale, {"B": 1})
        table[prefix + "bit"] = (scale / 8, {"B": 1})
    for prefix, scale in _DECIMAL.items():  # bare prefixes count things: 8.03 G parameters
        if prefix in {"k", "M", "G", "T", "P"}:
            table.setdefault(prefix, (scale, {}))
    return table


_UNITS = _table()


def parse(text: str) -> tuple[float, str]:
    """Read a unit such as ``"TB/s"`` or ``"pJ/bit"``.

    Parameters
    ----------
    text : str
        Unit names joined by ``*`` and ``/``, read from left to right.

    Returns
    -------
    factor : float
        What one such unit is in SI base units.
    dimension : str
        Its dimension in base units, ``"1"`` for a pure number.

    Raises
    ------
    ValueError
        If a name is unknown; the message says what a unit looks like.
    TypeError
        If the unit is not text.

    Examples
    --------
    >>> parse("TB/s")
    (1000000000000.0, 'B/s')
    >>> parse("GiB")
    (1073741824.0, 'B')
    """
    if not isinstance(text, str):
        raise TypeError(f"unit {text!r} must be text, such as 'TB/s'.")
    factor, powers = 1.0, Counter[str]()
    for position, word in enumerate(text.replace("*", "/*").split("/")):
        sign = 1 if position == 0 or word.startswith("*") else -1
        name = word.removeprefix("*").strip()
        if name not in _UNITS:
            raise ValueError(
                f"unit {text!r}: {name!r} is not a known unit. "
                f"Write products and quotients of names such as GB, GiB, TFLOP, TOP, us, MHz, pJ, "
                f"bit, W, USD, cycle, 1 (for example 'TB/s' or 'pJ/bit')."
            )
        scale, dimension = _UNITS[name]
        factor *= scale**sign
        for base, power in dimension.items():
            powers[base] += sign * power
    over = [_power(base, power) for base, power in sorted(powers.items()) if power > 0]
    under = [_power(base, -power) for base, power in sorted(powers.items()) if power < 0]
    return factor, "/".join(["*".join(over) or "1", *under])


def _power(base: str, power: int) -> str:
    return base if power == 1 else f"{base}{power}"


def check(text: str, dimension: str) -> float:
    """Return the factor of a unit after checking that it measures `dimension`.

    Raises
    ------
    ValueError
        If the unit measures something else.

    Examples
    --------
    >>> check("GB", "B")
    1000000000.0
    >>> check("GB/s", "B")
    Traceback (most recent call last):
    ...
    ValueError: unit 'GB/s' measures B/s, but a figure in B is needed here.
    """
    factor, found = parse(text)
    if found != dimension:
        raise ValueError(
            f"unit {text!r} measures {found}, but a figure in {dimension} is needed here."
        )
    return factor


byte, kB, MB, GB, TB, PB = (_UNITS[name][0] for name in ("B", "kB", "MB", "GB", "TB", "PB"))
KiB, MiB, GiB, TiB = (_UNITS[name][0] for name in ("KiB", "MiB", "GiB", "TiB"))
bit, Gbit = _UNITS["bit"][0], _UNITS["Gbit"][0]
s, ms, us, ns, ps = (_UNITS[name][0] for name in ("s", "ms", "us", "ns", "ps"))
minute, hour, year = (_UNITS[name][0] for name in ("minute", "hour", "year"))
flop, MFLOP, GFLOP, TFLOP, PFLOP = 1.0, 1e6, 1e9, 1e12, 1e15
Hz, kHz, MHz, GHz = (_UNITS[name][0] for name in ("Hz", "kHz", "MHz", "GHz"))
J, mJ, uJ, nJ, pJ = (_UNITS[name][0] for name in ("J", "mJ", "uJ", "nJ", "pJ"))
W, mW, kW = (_UNITS[name][0] for name in ("W", "mW", "kW"))
USD = 1.0

__all__ = [
    "parse", "check",
    "byte", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "bit", "Gbit",
    "s", "ms", "us", "ns", "ps", "minute", "hour", "year",
    "flop", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "Hz", "kHz", "MHz", "GHz",
    "J", "mJ", "uJ", "nJ", "pJ", "W", "mW", "kW", "USD",
]  # fmt: skip

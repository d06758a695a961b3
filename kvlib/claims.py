"""The claims ledger: every headline number of the book, recomputed where it is claimed.

A chapter states a number by calling `claim` with the value it has just computed. The ledger,
``claims.toml``, holds what the book says, how far the two may differ, and where the number comes
from. A value outside its tolerance stops the notebook, and with it the book.
"""

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from kvlib.checks import choose

__all__ = ["STATUSES", "Claim", "claim", "ledger"]

STATUSES = ("derived", "reproduced", "quoted", "disputed", "not reproduced")


@dataclass(frozen=True)
class Claim:
    """One line of the ledger.

    Parameters
    ----------
    name : str
        Identifier, unique in the book.
    chapter : str
        Stem of the notebook that computes it.
    says : str
        The sentence.
    value : float
        The number in it.
    unit : str
        Its unit, as written in the sentence.
    tolerance : float
        Largest relative difference allowed; absolute where the value is zero.
    status : str
        One of `STATUSES`.
    source : str
        Bibliography key of whoever printed the number first; "kvlib" for our own.
    note : str
        What a reader should know, above all for disputed claims.
    """

    name: str
    chapter: str
    says: str
    value: float
    unit: str
    tolerance: float
    status: str
    source: str
    note: str = ""

    def holds(self, value: float) -> bool:
        """Whether a recomputed value agrees."""
        scale = abs(self.value) or 1.0
        return math.isfinite(value) and abs(value - self.value) <= self.tolerance * scale


@cache
def ledger() -> dict[str, Claim]:
    """Return all claims by name.

    Raises
    ------
    ValueError
        If a line of the ledger lacks a field, has one too many, or has no meaning.
    """
    lines = tomllib.loads(files("kvlib").joinpath("claims.toml").read_text("utf-8"))
    found = {}
    for name, fields in lines.items():
        try:
            found[name] = Claim(name=name, **fields)
        except TypeError as problem:
            raise ValueError(f"claims.toml: [{name}]: {problem}") from None
        choose(fields["status"], STATUSES, f"claims.toml: [{name}]: status")
        if not 0 <= fields["tolerance"] < 1:
            raise ValueError(f"claims.toml: [{name}]: tolerance must lie in [0, 1).")
    return found


def claim(name: str, value: Any) -> None:
    """Check a computed value against the ledger, and print it.

    Raises
    ------
    UnknownName
        If the ledger has no such claim.
    AssertionError
        If the value differs from the ledger's by more than its tolerance.

    Examples
    --------
    >>> claim("ridge-h100", 295.3)
    ridge-h100: 295.3 flop/B, the book says 295 (derived, within 1 %)
    """
    line = ledger()[choose(name, ledger(), "claim")]
    number = float(value)
    if not line.holds(number):
        raise AssertionError(
            f"claim {name!r}: computed {number:.6g} {line.unit}, but the book says {line.value:g} "
            f"within {line.tolerance:.3g}: “{line.says}” "
            f"Correct the sentence and the ledger, or find what changed."
        )
    print(
        f"{name}: {number:.4g} {line.unit}, the book says {line.value:g} "
        f"({line.status}, within {100 * line.tolerance:g} %)"
    )

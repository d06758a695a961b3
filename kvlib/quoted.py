"""A number, a flag or a word that remembers who said it."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = ["BASES", "Basis", "Quoted", "Stated"]

Basis = Literal["vendor", "measured", "paper", "derived", "assumed", "unconfirmed"]
BASES: tuple[str, ...] = get_args(Basis)


class Quoted(float):
    """A float with a source: the value as quoted, and why anyone should believe it.

    Arithmetic gives a plain `float`, so a number computed from a datasheet, or changed in a
    what-if, can never pass for the datasheet's own.

    Parameters
    ----------
    value : float
        The figure in SI base units.
    source : str
        Key of the bibliography entry that prints the figure.
    basis : {"vendor", "measured", "paper", "derived", "assumed", "unconfirmed"}
        What kind of statement it is. ``unconfirmed`` marks a figure that was recalled, not read.
    unit : str, optional
        The unit in which the source prints it, for display.
    note : str, optional
        What a reader must know before using it.
    low, high : float, optional
        The range over which sources disagree, in SI base units.

    Raises
    ------
    ValueError
        If the value is not finite, the source is empty, the basis is unknown or the value lies
        outside its own range.

    Examples
    --------
    >>> bandwidth = Quoted(3.35e12, source="nvidia2023h100", basis="vendor", unit="TB/s")
    >>> bandwidth.source, bandwidth.basis
    ('nvidia2023h100', 'vendor')
    >>> type(bandwidth * 2)
    <class 'float'>
    """

    __slots__ = ("source", "basis", "unit", "note", "low", "high")
    source: str
    basis: str
    unit: str
    note: str
    low: float | None
    high: float | None

    def __new__(
        cls,
        value: float,
        *,
        source: str,
        basis: str,
        unit: str = "",
        note: str = "",
        low: float | None = None,
        high: float | None = None,
    ) -> "Quoted":
        """Check the figure and bind it to its source."""
        self = super().__new__(cls, value)
        if not math.isfinite(self):
            raise ValueError(f"value {value!r} is not finite. Quote a number, or leave it out.")
        if not source:
            raise ValueError(
                f"value {value!r} has no source. Give the key of a bibliography entry."
            )
        if basis not in BASES:
            raise ValueError(f"basis {basis!r} is unknown. Choose one of {', '.join(BASES)}.")
        if (low is not None and low > self) or (high is not None and high < self):
            raise ValueError(
                f"value {float(self):g} lies outside its own range {low} to {high}. "
                f"`low` and `high` bound what the sources say, the chosen value included."
            )
        figure = (source, basis, unit, note, low, high)
        for name, entry in zip(cls.__slots__, figure, strict=True):
            object.__setattr__(self, name, entry)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a quoted figure is fixed: cannot set {name!r}. Quote a new one.")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _restore, (float(self), {name: getattr(self, name) for name in self.__slots__})

    def __repr__(self) -> str:
        return f"Quoted({float(self)!r}, source={self.source!r}, basis={self.basis!r})"

    def __str__(self) -> str:
        return repr(float(self))


@dataclass(frozen=True)
class Stated:
    """A flag or a word with a source, for what is no number.

    Parameters
    ----------
    value : bool or str
        What is stated.
    source, basis, note : str
        As for `Quoted`.

    Raises
    ------
    ValueError
        If the source is empty or the basis is unknown.

    Examples
    --------
    >>> tied = Stated(True, source="gemma2025gemma3", basis="paper")
    >>> tied.value, tied.source
    (True, 'gemma2025gemma3')
    """

    value: bool | str
    source: str
    basis: str
    note: str = ""

    def __post_init__(self) -> None:
        _check_origin(self.value, self.source, self.basis)


def _check_origin(value: Any, source: str, basis: str) -> None:
    if not source:
        raise ValueError(f"value {value!r} has no source. Give the key of a bibliography entry.")
    if basis not in BASES:
        raise ValueError(f"basis {basis!r} is unknown. Choose one of {', '.join(BASES)}.")


def _restore(value: float, figure: dict[str, Any]) -> Quoted:
    return Quoted(value, **figure)

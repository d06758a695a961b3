"""Checks on what a caller hands in: each error gives the value, the rule and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import numpy as np

__all__ = ["UnknownName", "choose", "positive", "finite", "whole", "fraction"]


class UnknownName(KeyError):
    """A name that is not in a closed list; the message offers the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


def choose(name: Any, known: Iterable[str], what: str) -> str:
    """Return `name` if it is one of `known`.

    Raises
    ------
    UnknownName
        If it is not; the message lists the nearest known names.

    Examples
    --------
    >>> choose("fp61", ["fp16", "fp8"], "precision")
    Traceback (most recent call last):
    ...
    kvlib.checks.UnknownName: precision 'fp61' is unknown. Nearest known: fp16, fp8.
    """
    names = list(known)
    if isinstance(name, str) and name in names:
        return name
    spelt = {known.lower(): known for known in names}
    alike = get_close_matches(str(name).lower(), spelt, n=4, cutoff=0.4)
    near = [spelt[known] for known in alike]
    listing = f"Nearest known: {', '.join(near)}." if near else f"Known: {_few(names)}."
    raise UnknownName(f"{what} {name!r} is unknown. {listing}")


def positive(allow_zero: bool = False, /, **values: Any) -> None:
    """Check that every number given by keyword is finite and above zero.

    Parameters
    ----------
    allow_zero : bool, optional
        Whether zero passes.
    **values : float or array_like
        Numbers of any shape, named as the caller knows them.

    Raises
    ------
    ValueError
        For a negative, zero, NaN or infinite value.
    TypeError
        For something that is not a number.

    Examples
    --------
    >>> positive(bandwidth=-1.0)
    Traceback (most recent call last):
    ...
    ValueError: bandwidth = -1.0 must be finite and above zero.
    """
    for name, value in values.items():
        array = _numbers(name, value)
        bad = ~(np.isfinite(array) & ((array >= 0) if allow_zero else (array > 0)))
        if np.any(bad):
            rule = "finite and not negative" if allow_zero else "finite and above zero"
            raise ValueError(f"{name} = {_first(array, bad)} must be {rule}.")


def finite(**values: Any) -> None:
    """Check that every number given by keyword is finite; zero and negative ones pass.

    Raises
    ------
    ValueError
        For a NaN or infinite value.
    TypeError
        For something that is not a number.

    Examples
    --------
    >>> finite(alpha=float("nan"))
    Traceback (most recent call last):
    ...
    ValueError: alpha = nan must be finite.
    """
    for name, value in values.items():
        array = _numbers(name, value)
        bad = ~np.isfinite(array)
        if np.any(bad):
            raise ValueError(f"{name} = {_first(array, bad)} must be finite.")


def whole(allow_zero: bool = False, /, **values: Any) -> None:
    """Check that every number given by keyword is a whole number above zero.

    Raises
    ------
    ValueError
        For a fraction, or a negative, zero, NaN or infinite value.
    TypeError
        For something that is not a number.

    Examples
    --------
    >>> whole(m=1, n=4096.5)
    Traceback (most recent call last):
    ...
    ValueError: n = 4096.5 must be a whole number: it counts things.
    """
    positive(allow_zero, **values)
    for name, value in values.items():
        array = _numbers(name, value)
        bad = array != np.floor(array)
        if np.any(bad):
            raise ValueError(
                f"{name} = {_first(array, bad)} must be a whole number: it counts things."
            )


def fraction(**values: Any) -> None:
    """Check that every number given by keyword lies above zero and at most at one.

    Raises
    ------
    ValueError
        For a value outside (0, 1].

    Examples
    --------
    >>> fraction(efficiency=1.2)
    Traceback (most recent call last):
    ...
    ValueError: efficiency = 1.2 must lie above 0 and at most at 1.
    """
    for name, value in values.items():
        array = _numbers(name, value)
        bad = ~((array > 0) & (array <= 1))
        if np.any(bad):
            raise ValueError(f"{name} = {_first(array, bad)} must lie above 0 and at most at 1.")


def _numbers(name: str, value: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} = {value!r} must be a number or an array of numbers.")
    return array


def _first(array: np.ndarray[Any, Any], bad: np.ndarray[Any, Any]) -> Any:
    return array[bad].flat[0].item() if array.ndim else array.item()


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"

"""What the function answers at one point: numbers, words, arrays, or why not."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

from kvlib.widgets._text import held

__all__ = ["NO_ANSWER", "Answer", "Function", "Value", "answer", "name_of", "read"]

NO_ANSWER = (ValueError, ArithmeticError, LookupError)
"""Errors that say "no answer here"; any other is a mistake in the code."""

Value: TypeAlias = float | int | str | tuple[float | int | None, ...] | None
Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Answer:
    """The results at one point; `reason` says why some are not available (None)."""

    values: Mapping[str, Value]
    reason: str = ""


def answer(function: Function, point: Mapping[str, Any], digits: int) -> Answer:
    """The answer at any point, held or not; no answer is an answer with its reason."""
    try:
        given = function(**point)
    except NO_ANSWER as error:
        return Answer({}, str(error) or type(error).__name__)
    return read(given, name_of(function), digits)


def name_of(function: Function) -> str:
    """The name of a function; of a lambda, a partial or another object, a plain word."""
    return str(getattr(function, "__name__", "value")).replace("<lambda>", "value")


def read(given: Any, name: str, digits: int) -> Answer:
    """What the function gave, as numbers, words and tuples.

    Raises
    ------
    TypeError
        If it holds something else.
    """
    if not isinstance(given, Mapping):
        given = {name.replace("_", " "): given}
    if not given or not all(isinstance(key, str) and key.strip() for key in given):
        raise TypeError(f"gives the names {list(given)}: each must be a word or words.")
    values = {key: _value(key, value, digits) for key, value in given.items()}
    missing = [key for key, value in values.items() if value is None]
    return Answer(values, ", ".join(f"{key} is {given[key]}" for key in missing))


def _value(name: str, given: Any, digits: int) -> Value:
    if given is None or isinstance(given, str):
        return given
    array = np.asarray(given)
    if array.dtype.kind not in "iufbUO" or array.ndim > 1 or (array.ndim and not array.size):
        raise TypeError(f"gives {type(given).__name__} of shape {array.shape} for {name!r}")
    if array.ndim == 1:
        return tuple(_number(name, one, digits) for one in array.tolist())
    one = array.item()
    if isinstance(one, bool):
        return "yes" if one else "no"
    return one if isinstance(one, str) else _number(name, one, digits)


def _number(name: str, one: Any, digits: int) -> float | int | None:
    if isinstance(one, bool) or not isinstance(one, Real):
        raise TypeError(f"gives {type(one).__name__} for {name!r}")
    if isinstance(one, Integral):
        return int(one)
    return held(float(one), digits) if math.isfinite(one) else None

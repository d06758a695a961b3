"""An axis: what one control of a widget can be set to."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

from kvlib.widgets._text import held, number, split_unit

__all__ = ["Axis", "axis"]

SHOWN_DIGITS = 6  # of a slider's value; the function is called with the value as given


@dataclass(frozen=True)
class Axis:
    """The values of one control, and how each is written."""

    name: str
    label: str
    unit: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    is_number: bool

    def text(self, position: int) -> str:
        """The value at `position` with its unit."""
        return f"{self.texts[position]} {self.unit}".rstrip()

    def write(self, value: Any) -> str:
        """Any value, held or not, with its unit."""
        if not self.is_number:
            return self.text(self.position(value))
        return f"{number(held(value, SHOWN_DIGITS))} {self.unit}".rstrip()

    @property
    def is_whole(self) -> bool:
        """Whether it counts things: every value is a whole number."""
        return self.is_number and all(isinstance(value, int) for value in self.values)

    def position(self, value: Any) -> int:
        """The position of a value, or of its label.

        Raises
        ------
        ValueError
            If the axis does not hold it.
        """
        place = self.find(value)
        if place is None and value in self.texts:
            place = self.texts.index(value)
        if place is None:
            listed = ", ".join(self.texts)
            raise ValueError(f"{self.name} = {value!r} is not held. Held: {listed}.")
        return place

    def find(self, value: Any) -> int | None:
        """The position of a value, or None if it is not held."""
        for position, own in enumerate(self.values):
            if own is value or (self.is_number and own == value):
                return position
        return None


def axis(name: str, given: Any, label: str | None = None) -> Axis:
    """An axis from what a caller gives: ascending numbers, words, yes and no, or label -> object.

    Raises
    ------
    TypeError
        If it is a single value, or holds neither numbers alone nor words alone.
    ValueError
        If it holds fewer than two values, one twice, numbers that are not finite or not ascending.

    Examples
    --------
    >>> axis("rows", [1, 8, 64]).texts
    ('1', '8', '64')
    >>> axis("rows", [8, 1])
    Traceback (most recent call last):
    ...
    ValueError: axis 'rows' goes from 8 to 1: give its values in ascending order.
    """
    texts, values, is_number = _texts_and_values(name, given)
    if len(values) < 2:
        raise ValueError(
            f"axis {name!r} holds {len(values)} value(s): a control needs two or more. "
            "Write a fixed value into the function."
        )
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise ValueError(f"axis {name!r} holds {twice} twice: list each value once.")
    shown, unit = split_unit(label if label is not None else name.replace("_", " "))
    return Axis(name, shown, unit, tuple(values), tuple(texts), is_number)


def _texts_and_values(name: str, given: Any) -> tuple[list[str], list[Any], bool]:
    if isinstance(given, Mapping):
        texts = list(given)
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise TypeError(f"axis {name!r} has labels {texts}: each must be a word or words.")
        return texts, list(given.values()), False
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"axis {name!r} = {given!r} must be a list of values, or label -> object.")
    values = [value.item() if hasattr(value, "item") else value for value in given]
    if all(isinstance(value, bool) for value in values):
        return ["yes" if value else "no" for value in values], values, False
    if all(isinstance(value, str) for value in values):
        return values, values, False
    if any(isinstance(value, bool) or not isinstance(value, Real) for value in values):
        raise TypeError(
            f"axis {name!r} = {values!r} must hold numbers alone or words alone; "
            "name objects by a dict: label -> object."
        )
    plain = [int(value) if isinstance(value, Integral) else float(value) for value in values]
    for value in plain:
        if not math.isfinite(value):
            raise ValueError(f"axis {name!r} holds {value}: every value must be finite.")
    for before, after in pairwise(plain):
        if before > after:
            raise ValueError(
                f"axis {name!r} goes from {number(before)} to {number(after)}: "
                "give its values in ascending order."
            )
    return [number(held(value, SHOWN_DIGITS)) for value in plain], plain, True

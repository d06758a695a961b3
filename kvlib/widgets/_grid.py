"""What the function answers at every point of the grid, computed once and held."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from kvlib.widgets._answer import NO_ANSWER, Answer, Function, Value, name_of, read
from kvlib.widgets._axis import Axis
from kvlib.widgets._text import split_unit

__all__ = ["POINTS", "Grid", "Result", "agree", "fill", "first_answer", "fitted", "results_of"]

POINTS = 10_000
"""The most points that a grid may have."""


@dataclass(frozen=True)
class Result:
    """A name the function answers to; `length` is that of an array, None for one number or word."""

    name: str
    is_word: bool
    length: int | None

    @property
    def label(self) -> str:
        """The name without its unit."""
        return split_unit(self.name)[0]

    @property
    def unit(self) -> str:
        """The unit that the name carries."""
        return split_unit(self.name)[1]


@dataclass(frozen=True)
class Grid:
    """Axes, results, and the answer at each point, the last axis running fastest."""

    axes: tuple[Axis, ...]
    results: tuple[Result, ...]
    answers: tuple[Answer, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of values on each axis."""
        return tuple(len(axis.values) for axis in self.axes)

    def at(self, positions: tuple[int, ...]) -> Answer:
        """The answer at a point."""
        return self.answers[int(np.ravel_multi_index(positions, self.shape))]

    def result(self, name: str) -> Result:
        """The result of that name.

        Raises
        ------
        ValueError
            If the function gives none; the message lists what it gives.
        """
        for result in self.results:
            if result.name == name:
                return result
        names = ", ".join(repr(result.name) for result in self.results)
        raise ValueError(f"the chart asks for {name!r}; the function gives {names}.")

    def numbers(self, name: str) -> list[float]:
        """Every available number of a result over the whole grid."""
        found = (each.values[name] for each in self.answers)
        flat = (one for value in found for one in (value if isinstance(value, tuple) else (value,)))
        return [one for one in flat if isinstance(one, float | int)]


def fill(
    function: Function,
    axes: tuple[Axis, ...],
    start: tuple[int, ...],
    digits: int,
    *,
    vectorised: bool = False,
) -> Grid:
    """Ask the function at every point; the start comes first and must have an answer.

    Raises
    ------
    ValueError
        If the grid is over its budget, or names or lengths of the results change.
    TypeError
        If the function gives something other than numbers and words.
    """
    shape = tuple(len(axis.values) for axis in axes)
    if math.prod(shape) > POINTS:
        written = " × ".join(map(str, shape))
        raise ValueError(
            f"the grid of {written} = {math.prod(shape)} points is over the budget of {POINTS}: "
            "give fewer values per axis, or fewer axes."
        )
    first = first_answer(function, axes, start, digits)
    asked = _asked_at_once if vectorised else _asked_one_by_one
    answers = {
        positions: fitted(found, first, _where(axes, positions))
        for positions, found in asked(function, axes, digits)
    }
    if vectorised and not agree(answers[start].values, first.values, digits):
        raise ValueError(
            f"{name_of(function)}() gives {dict(answers[start].values)} for arrays but "
            f"{dict(first.values)} for numbers at {_where(axes, start)}: drop vectorised=True."
        )
    return Grid(axes, results_of(first), tuple(answers[point] for point in np.ndindex(*shape)))


def first_answer(
    function: Function, axes: tuple[Axis, ...], start: tuple[int, ...], digits: int
) -> Answer:
    """The answer at the start, after which the others are modelled.

    Raises
    ------
    ValueError
        If there is none.
    """
    first = _read(_called(function, axes, start), function, axes, start, digits)
    if not first.values or None in first.values.values():
        raise ValueError(
            f"{_where(axes, start)}, the start, has no answer ({first.reason}): start elsewhere."
        )
    return first


def results_of(first: Answer) -> tuple[Result, ...]:
    """What the function answers to, by its first answer."""
    return tuple(
        Result(name, isinstance(value, str), len(value) if isinstance(value, tuple) else None)
        for name, value in first.values.items()
    )


def _read(
    given: Any, function: Function, axes: tuple[Axis, ...], at: tuple[int, ...], digits: int
) -> Answer:
    try:
        return read(given, name_of(function), digits)
    except TypeError as error:
        raise TypeError(
            f"{name_of(function)}() {error} at {_where(axes, at)}: return a number, or a dict of "
            "name -> number, word or one-dimensional array."
        ) from error


def _asked_one_by_one(
    function: Function, axes: tuple[Axis, ...], digits: int
) -> Iterator[tuple[tuple[int, ...], Answer]]:
    for positions in product(*(range(len(axis.values)) for axis in axes)):
        yield positions, _asked(function, axes, positions, digits)


def _asked(
    function: Function, axes: tuple[Axis, ...], positions: tuple[int, ...], digits: int
) -> Answer:
    try:
        given = _called(function, axes, positions)
    except NO_ANSWER as error:
        return Answer({}, str(error) or type(error).__name__)
    return _read(given, function, axes, positions, digits)


def _asked_at_once(
    function: Function, axes: tuple[Axis, ...], digits: int
) -> Iterator[tuple[tuple[int, ...], Answer]]:
    """Ask with arrays over the number axes; where that raises, point by point."""
    numbers = [axis for axis in axes if axis.is_number]
    shape = tuple(len(axis.values) for axis in numbers)
    arrays = dict(zip((a.name for a in numbers), np.ix_(*(a.values for a in numbers)), strict=True))
    others = [range(1) if axis.is_number else range(len(axis.values)) for axis in axes]
    for chosen in product(*others):
        try:
            given = function(**{**_point(axes, chosen), **arrays})
        except NO_ANSWER:
            given = None
        named = given if isinstance(given, Mapping) else {name_of(function): given}
        whole = {name: np.broadcast_to(np.asarray(value), shape) for name, value in named.items()}
        for within in np.ndindex(*shape):
            steps = iter(within)
            positions = tuple(
                next(steps) if axis.is_number else own
                for axis, own in zip(axes, chosen, strict=True)
            )
            if given is None:
                yield positions, _asked(function, axes, positions, digits)
            else:
                here = {name: value[within].item() for name, value in whole.items()}
                yield positions, _read(here, function, axes, positions, digits)


def _called(function: Function, axes: tuple[Axis, ...], positions: tuple[int, ...]) -> Any:
    try:
        return function(**_point(axes, positions))
    except Exception as error:
        error.add_note(f"{name_of(function)}() was asked at {_where(axes, positions)}.")
        raise


def fitted(found: Answer, first: Answer, where: str) -> Answer:
    """`found`, with None for each name of `first` if it has no answer at all.

    Raises
    ------
    ValueError
        If it has other names, or values of another kind or length.
    """
    if not found.values:
        return Answer(dict.fromkeys(first.values), found.reason)
    there, here = _shape(first.values), _shape(found.values)
    if there.keys() != here.keys() or any(
        here[name] not in (there[name], "no answer") for name in there
    ):
        raise ValueError(
            f"the results change with the point: {there} at the start, {here} at {where}. "
            "Give the same names and lengths at every point."
        )
    return found


def _shape(values: Mapping[str, Value]) -> dict[str, str]:
    def of(value: Value) -> str:
        if isinstance(value, tuple):
            return f"array of {len(value)}"
        if value is None:
            return "no answer"
        return "word" if isinstance(value, str) else "number"

    return {name: of(value) for name, value in values.items()}


def agree(one: Mapping[str, Value], other: Mapping[str, Value], digits: int) -> bool:
    """Whether two answers are the same but for rounding."""

    def near(a: Value, b: Value) -> bool:
        if isinstance(a, float | int) and isinstance(b, float | int):
            return math.isclose(a, b, rel_tol=2 * 10.0 ** (1 - digits))
        return a == b

    return one.keys() == other.keys() and all(near(one[name], other[name]) for name in one)


def _point(axes: tuple[Axis, ...], positions: tuple[int, ...]) -> dict[str, Any]:
    return {axis.name: axis.values[at] for axis, at in zip(axes, positions, strict=True)}


def _where(axes: tuple[Axis, ...], positions: tuple[int, ...]) -> str:
    return ", ".join(f"{a.name} = {a.texts[at]}" for a, at in zip(axes, positions, strict=True))

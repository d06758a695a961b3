"""Count what NumPy does while it does it.

A `Watched` array is an ordinary array that reports to a `Tally`: NumPy hands every operation on it
to `__array_ufunc__`, and the tally writes down how many operations that was, by the shapes of the
arrays that met. Arrays that live in memory (weights, cache, activations) also carry a mark for each
element: an element is moved once by each operator that reads it, and once by each that writes it.
What an operator makes and uses up itself stays on chip and moves nothing.

Operators are plain functions under the decorator `operator`. An operation that the tally does not
know, or one outside any operator, is an error: nothing goes uncounted. The rules:

- a product of matrices m x k and k x n is 2 m n k operations;
- a sum, difference, product, quotient, maximum, change of sign, exponential, hyperbolic tangent or
  square root is one operation for each element of the result;
- a sum or maximum over elements is one operation for each element that goes in;
- sorting, joining and copying are none; anything else is refused.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np

from kvlib.checks import choose
from kvlib.operators import Work

__all__ = ["Array", "Tally", "Watched", "on_chip_operator", "operator"]

_ONE_EACH = frozenset(
    {np.add, np.subtract, np.multiply, np.divide, np.maximum}
    | {np.exp, np.tanh, np.sqrt, np.negative}
)
_MOVES = frozenset({np.argsort, np.concatenate, np.empty_like, np.take_along_axis})
_STREAMS = ("weights", "kv", "activations")

Array: TypeAlias = Any  # a watched array: NumPy's annotations forget the subclass
P = ParamSpec("P")
R = TypeVar("R")


class Watched(np.ndarray[Any, Any]):
    """An array whose every operation is counted."""

    tally: "Tally"

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, Watched):
            self.tally = parent.tally

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        result = np.asarray(getattr(ufunc, method)(*map(_bare, inputs), **options))
        self.tally.count(ufunc, method, inputs, result)
        return self.tally.watch(result)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        if function not in _MOVES:
            raise TypeError(
                f"numpy.{function.__name__} on a watched array would go uncounted: "
                f"write it with operators, or np.asarray() the array outside the model."
            )
        if function is not np.empty_like:
            for array in _watched(arguments):
                self.tally.mark(array, "read")
        return super().__array_function__(function, types, arguments, options)

    def __getitem__(self, key: Any) -> Any:
        if _picks_elements(key):
            self.tally.mark(self, "read", key)
        return super().__getitem__(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        for array in _watched(value):
            self.tally.mark(array, "read")
        self.tally.mark(self, "written", key)
        super().__setitem__(key, _bare(value))


class _Buffer:
    """A block of memory: the stream it belongs to, and which elements an operator has moved."""

    def __init__(self, owner: np.ndarray[Any, Any], stream: str) -> None:
        self.owner, self.stream = owner, stream
        self.start = owner.__array_interface__["data"][0]
        self.marks = {how: np.zeros(owner.size, dtype=bool) for how in ("read", "written")}
        self.held = 0

    def mark(self, array: np.ndarray[Any, Any], how: str, key: Any) -> None:
        size = self.owner.itemsize
        offset = (array.__array_interface__["data"][0] - self.start) // size
        strides = tuple(step // size for step in array.strides)
        view = np.ndarray(array.shape, bool, self.marks[how], offset, strides)
        view[key] = True

    def moved(self) -> int:
        """Bytes marked since the last call, or since `clear`."""
        total = sum(int(marks.sum()) for marks in self.marks.values()) * self.owner.itemsize
        new, self.held = total - self.held, total
        return new

    def clear(self) -> None:
        for marks in self.marks.values():
            marks[:] = False
        self.held = 0


class Tally:
    """Operations and bytes of every operator that ran, by layer.

    Parameters
    ----------
    fused : bool
        Whether results of operators marked `on_chip` stay on chip until the next other operator has
        used them, as in a fused attention kernel.

    Examples
    --------
    >>> tally = Tally()
    >>> matrix = tally.place(np.ones((3, 4)), "weights")
    >>> vector = tally.place(np.ones(4), "activations")
    >>> @operator
    ... def product(matrix, vector):
    ...     return matrix @ vector
    >>> _ = product(matrix, vector)
    >>> tally["product"]
    Work(flop=24, weights=96, kv=0, activations=56)
    """

    def __init__(self, fused: bool = True) -> None:
        self.fused = fused
        self.layer: int | None = None
        self.records: dict[tuple[int | None, str], dict[str, int]] = {}
        self._buffers: dict[int, _Buffer] = {}
        self._marked: dict[int, _Buffer] = {}
        self._current: dict[str, int] | None = None

    def place(self, array: np.ndarray[Any, Any], stream: str) -> Watched:
        """Put an array in memory, as a part of a stream, and watch it."""
        choose(stream, _STREAMS, "stream")
        owner = _owner(array)
        self._buffers[id(owner)] = _Buffer(owner, stream)
        watched = array.view(Watched)
        watched.tally = self
        return watched

    def watch(self, result: np.ndarray[Any, Any]) -> Watched:
        """Watch an array that is not in memory."""
        watched = result.view(Watched)
        watched.tally = self
        return watched

    def count(self, ufunc: Any, method: str, inputs: tuple[Any, ...], result: Any) -> None:
        """Count one NumPy operation by the shapes it met."""
        if self._current is None:
            raise RuntimeError(f"{ufunc.__name__} ran outside any operator: it would go uncounted.")
        if ufunc is np.matmul:
            operations = 2 * result.size * inputs[0].shape[-1]
        elif ufunc in _ONE_EACH and method in ("__call__", "reduce"):
            operations = result.size if method == "__call__" else inputs[0].size
        else:
            raise TypeError(f"{ufunc.__name__} ({method}) has no count: add it to the rules.")
        self._current["flop"] += operations
        for array in _watched(inputs):
            self.mark(array, "read")

    def mark(self, array: Watched, how: str, key: Any = ...) -> None:
        """Mark elements of an array as moved, if it is in memory."""
        identity = id(_owner(array))
        if identity in self._buffers:
            self._marked[identity] = self._buffers[identity]
            self._buffers[identity].mark(array, how, key)

    def run(self, name: str, on_chip: bool, function: Callable[[], R]) -> R:
        """Run one operator and write down what it did."""
        if self._current is not None:
            raise RuntimeError(f"{name} ran inside another operator: each counts for itself.")
        blank = dict.fromkeys(("flop", *_STREAMS), 0)
        self._current = self.records.setdefault((self.layer, name), blank)
        try:
            result = function()
        except BaseException:
            self._forget_marks()
            raise
        finally:
            record, self._current = self._current, None
        for buffer in self._marked.values():
            record[buffer.stream] += buffer.moved()
        if not (on_chip and self.fused):
            self._forget_marks()
            for array in _watched(result):
                record["activations"] += array.nbytes
                self.place(array, "activations")
        return result

    def _forget_marks(self) -> None:
        for buffer in self._marked.values():
            buffer.clear()
        self._marked = {}

    def __getitem__(self, name: str) -> Work:
        """Work of the operators called `name`, of all layers."""
        choose(name, [each for _, each in self.records], "operator")
        return sum((self.work(*key) for key in self.records if key[1] == name), Work(0, 0, 0, 0))

    @property
    def operators(self) -> dict[str, Work]:
        """Work of all operators, of all layers, in the order of their first run."""
        return {name: self[name] for name in dict.fromkeys(name for _, name in self.records)}

    def held(self, stream: str) -> int:
        """Bytes in memory that belong to a stream [B]."""
        choose(stream, _STREAMS, "stream")
        return sum(b.owner.nbytes for b in self._buffers.values() if b.stream == stream)

    def work(self, layer: int | None, name: str) -> Work:
        """Work of one operator in one layer; layer None for what is outside the layers."""
        return Work(**self.records[layer, name])

    def clear(self) -> None:
        """Forget all counts and activations, and keep weights and caches in memory."""
        self.records = {}
        self._buffers = {
            key: buffer for key, buffer in self._buffers.items() if buffer.stream != "activations"
        }


def operator(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of watched arrays count as the operator of its name."""
    return _operator(function, on_chip=False)


def on_chip_operator(function: Callable[P, R]) -> Callable[P, R]:
    """The same, for a result that a fused kernel keeps on chip for the operator after it."""
    return _operator(function, on_chip=True)


def _operator(function: Callable[P, R], on_chip: bool) -> Callable[P, R]:
    @wraps(function)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        tally = next(_watched(arguments)).tally
        return tally.run(function.__name__, on_chip, lambda: function(*arguments, **options))

    return run


def _watched(values: Any) -> Iterator[Watched]:
    """Watched arrays among some values, however nested."""
    if isinstance(values, Watched):
        yield values
    elif isinstance(values, dict):
        for value in values.values():
            yield from _watched(value)
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _watched(value)


def _bare(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, Watched) else value


def _owner(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _picks_elements(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, np.ndarray | list) for part in parts)

"""Pieces of a cache as columns: one entry for all cache of one nature."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kvlib.checks import choose, positive, whole

__all__ = ["LABELS", "SUMS", "Column", "Pieces", "Stage", "concatenate", "merge"]

LABELS = ("stage", "part", "head", "tokens", "sharers", "query_tokens", "active")
"""Axes along which pieces differ."""

SUMS = (
    "bytes", "touched", "flop", "appended", "dropped", "renewed",
    "queries", "results", "scores", "units",
)  # fmt: skip
"""Columns that add up when pieces are joined."""

_COLUMNS = (*LABELS, *SUMS, "heads")

Column = NDArray[Any]


@dataclass(frozen=True)
class Stage:
    """Layers of one kind in a model: all alike, each a barrier for the next.

    Parameters
    ----------
    model : str
        Name of the model.
    kind : str
        Kind of layer.
    layers : int
        Layers.
    layer : int
        Number of a single layer within its kind; -1 for all of them.
    """

    model: str
    kind: str
    layers: int
    layer: int = -1

    def __post_init__(self) -> None:
        whole(layers=self.layers)

    def __str__(self) -> str:
        return f"{self.model} {self.kind}" + (f" layer {self.layer}" if self.layer >= 0 else "")


@dataclass(frozen=True, eq=False, kw_only=True)
class Pieces:
    """Pieces of a cache as columns, one entry a piece, all layers of its stage together.

    Parameters
    ----------
    stage : array of int
        Number of its `Stage` in `stages`.
    part, tokens : array of str
        ``"KV"``, ``"K"``, ``"V"`` or ``"latent"``; which tokens of a request.
    head : array of int
        KV head; -1 for all.
    sharers, query_tokens : array of float
        Requests that read each byte in one step, and new tokens of each.
    active : array of bool
        Whether a step reads the piece.
    bytes, touched : array of float
        Bytes held, and bytes read in one step, each once [B].
    flop : array of float
        Operations of attention on them in one step [flop].
    appended, dropped, renewed : array of float
        Bytes of one step: new tokens written, tokens that leave a window, and the caches of
        requests that arrive in place of others [B].
    queries, results, scores : array of float
        Bytes of one step if attention is done away from the other operators: queries there, results
        with softmax statistics back; scores if keys and values part [B].
    units : array of float
        Parts of a layer that cannot be divided: KV heads of all requests.
    heads : array of int
        KV heads that `by_head` can part.
    stages : tuple of Stage
        What stands between two barriers.
    spans : tuple of array
        Start and number of tokens of each request's cache in each piece.

    Raises
    ------
    ValueError
        If a piece holds no bytes, a column is negative, or columns differ in length.
    """

    stage: Column
    part: Column
    head: Column
    tokens: Column
    sharers: Column
    query_tokens: Column
    active: Column
    bytes: Column
    touched: Column
    flop: Column
    appended: Column
    dropped: Column
    renewed: Column
    queries: Column
    results: Column
    scores: Column
    units: Column
    heads: Column
    stages: tuple[Stage, ...] = field(repr=False)
    spans: tuple[Column, ...] = field(repr=False)

    def __post_init__(self) -> None:
        for name in (*_COLUMNS, "spans"):
            if (length := len(getattr(self, name))) != len(self.bytes):
                raise ValueError(
                    f"column {name!r} has {length} entries for {len(self.bytes)} pieces: give one "
                    f"for each."
                )
        empty = np.flatnonzero(~(self.bytes > 0))
        if empty.size:
            raise ValueError(
                f"piece {self.names[empty[0]]!r} holds {self.bytes[empty[0]]} bytes: "
                f"leave out what is not there."
            )
        positive(True, **{name: getattr(self, name) for name in SUMS})

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def reuse(self) -> Column:
        """Operations for each byte read, r; zero where nothing is read [flop/B]."""
        return np.divide(self.flop, self.touched, out=np.zeros(len(self)), where=self.touched > 0)

    @property
    def lifetime(self) -> Column:
        """Steps until bytes must be written again, for the request ended or the window moved on.

        Examples
        --------
        Of requests of 200 steps, a window of 1,024 tokens keeps its rows for less than that:

        >>> from kvlib import model
        >>> from kvlib.segments import Requests, State, pieces
        >>> chat = Requests(model("gemma-3-27b"), context=5000, lifetime=200)
        >>> pieces(State([chat])).lifetime.round()
        array([167., 200.])
        """
        leaving, steps = self.dropped + self.renewed, np.full(len(self), np.inf)
        np.divide(self.bytes, leaving, out=steps, where=leaving > 0)
        return steps

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each piece."""
        return tuple(map(self._name, range(len(self))))

    def _name(self, i: int) -> str:
        words = [str(self.stages[self.stage[i]])]
        words += [str(self.part[i])] if self.part[i] in ("K", "V") else []
        words += [f"head {self.head[i]}"] if self.head[i] >= 0 else []
        words += [str(self.tokens[i])] if self.tokens[i] != "all" else []
        words += [f"x{self.sharers[i]:.3g}"] if self.sharers[i] > 1 else []
        words += [f"verifying {self.query_tokens[i]}"] if self.query_tokens[i] > 1 else []
        return " ".join(words if self.active[i] else [*words, "idle"])

    @property
    def parted(self) -> tuple[tuple[int, int], ...]:
        """Entries of keys and of the values that belong to them, where they are parted."""
        other = [label for label in LABELS if label != "part"]
        twins = self.groups(*other)
        values = {int(twins[i]): int(i) for i in np.flatnonzero(self.part == "V")}
        return tuple((int(i), values[int(twins[i])]) for i in np.flatnonzero(self.part == "K"))

    def groups(self, *labels: str) -> Column:
        """Number the pieces, alike if they agree in these labels; all alike without labels.

        Examples
        --------
        >>> from kvlib import model
        >>> from kvlib.segments import Requests, State, pieces
        >>> mixed = pieces(State([Requests(model("llama-3-8b"), context=[9000] * 2, prefix=1000)]))
        >>> print(mixed.groups(), mixed.groups("sharers"))
        [0 0] [0 1]
        """
        for label in labels:
            choose(label, LABELS, "axis of splitting")
        keys = list(zip(*(getattr(self, label).tolist() for label in labels), strict=True))
        keys = keys or [()] * len(self)
        order = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return np.array([order[key] for key in keys])

    def take(self, index: Any, **changes: Any) -> Self:
        """Return the pieces with these numbers, with some columns changed."""
        chosen = np.asarray(index, dtype=int)
        columns = {name: getattr(self, name)[chosen] for name in _COLUMNS}
        spans = tuple(self.spans[i] for i in chosen)
        return replace(self, **({**columns, "spans": spans} | changes))


def merge(split: Pieces) -> Pieces:
    """Join pieces that agree in all labels: their bytes and traffic add up."""
    if not len(split):
        return split
    numbers = split.groups(*LABELS)
    members = [np.flatnonzero(numbers == n) for n in range(numbers.max() + 1)]
    sums = {name: np.bincount(numbers, getattr(split, name)) for name in SUMS}
    spans = tuple(np.concatenate([split.spans[i] for i in group]) for group in members)
    return split.take([group[0] for group in members], **sums, spans=spans)


def concatenate(parts: Sequence[Pieces]) -> Pieces:
    """Put pieces of the same stages one after another."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    spans = tuple(span for part in parts for span in part.spans)
    return Pieces(**columns, stages=parts[0].stages, spans=spans)

"""Who is being served: requests with their lengths, what they share and what they verify."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import positive, whole
from kvlib.precision import itemsize
from kvlib.workload import Transformer

__all__ = ["Prefix", "Requests", "Sparse", "State"]


@dataclass(frozen=True)
class Sparse:
    """Declared sparse attention: a query reads the first and the newest tokens, and some others.

    Parameters
    ----------
    sinks, recent : int
        Tokens at the start and at the end that every query reads.
    fraction : float
        Part of the tokens between them that a step reads. This is an approximation of the model;
        what it costs in quality is not modelled.
    """

    sinks: int
    recent: int
    fraction: float

    def __post_init__(self) -> None:
        whole(True, sinks=_one(sinks=self.sinks), recent=_one(recent=self.recent))
        positive(True, fraction=_one(fraction=self.fraction))
        if self.fraction > 1:
            raise ValueError(f"fraction = {self.fraction} of the tokens must not exceed 1.")


@dataclass(frozen=True, eq=False)
class Requests:
    """Requests that one model serves in the same way.

    Parameters
    ----------
    model : Transformer
        The model.
    context : int or sequence of int
        Tokens in the cache of each request once a step's new tokens are appended, the prefix
        included.
    prefix : int
        Tokens at the start that all these requests share: stored once.
    query_tokens : int
        New tokens of a request in one step: 1, or those to be verified.
    accepted : float, optional
        Tokens that a request gains in a step; must be said where several are verified.
    lifetime, prefix_lifetime : float
        Steps for which a request stays, and the prefix: each byte is written once in that time.
    active : bool
        Whether they decode; the cache of an idle session is held and not read.
    sparse : Sparse, optional
        Declared sparse attention in layers without a window. Not with a prefix: how many of its
        tokens several requests select together is not known.

    Raises
    ------
    ValueError
        If a length is not a whole number above zero, or shorter than the prefix and the new tokens;
        if more is accepted than verified; if sparse requests have a prefix.
    TypeError
        If something is not of its type.
    """

    model: Transformer
    context: Any
    prefix: int = 0
    query_tokens: int = 1
    accepted: float | None = None
    lifetime: float = np.inf
    prefix_lifetime: float = np.inf
    active: bool = True
    sparse: Sparse | None = None

    def __post_init__(self) -> None:
        _is(self.model, Transformer, "model", "kvlib.model(name)")
        _is(self.active, bool | np.bool_, "active", "True or False")
        _is(self.sparse, Sparse | None, "sparse", "Sparse(sinks, recent, fraction)")
        object.__setattr__(self, "context", np.atleast_1d(np.array(self.context)))
        if self.context.ndim != 1 or not self.context.size:
            raise ValueError(
                f"context of shape {self.context.shape} must be one length, or a sequence of them: "
                f"one for each request."
            )
        whole(context=self.context, query_tokens=_one(query_tokens=self.query_tokens))
        whole(True, prefix=_one(prefix=self.prefix))
        _steps(lifetime=self.lifetime, prefix_lifetime=self.prefix_lifetime)
        if self.accepted is None and self.query_tokens > 1:
            raise ValueError(
                f"query_tokens = {self.query_tokens} are verified, but not how many are accepted: "
                f"give accepted, from 1 to {self.query_tokens}."
            )
        if self.accepted is not None and not 1 <= self.accepted <= self.query_tokens:
            raise ValueError(
                f"accepted = {self.accepted} must lie from 1 to query_tokens = "
                f"{self.query_tokens}: a step gains a token at least, and no more than it verifies."
            )
        if self.sparse and self.prefix:
            raise ValueError(
                f"sparse requests share a prefix = {self.prefix}: how many of its tokens they "
                f"select together is not known. Give one or the other."
            )
        if np.min(self.context) < self.prefix + self.query_tokens:
            raise ValueError(
                f"context = {int(np.min(self.context))} is shorter than prefix + new tokens = "
                f"{self.prefix + self.query_tokens}, which it includes."
            )

    @property
    def count(self) -> int:
        """Requests."""
        return int(self.context.size)


@dataclass(frozen=True)
class Prefix:
    """Cached tokens outside `Requests`, each read by several requests in every step.

    For sharing at several levels, as in a trace: the tokens of one multiplicity are one prefix.

    Parameters
    ----------
    model : Transformer
        The model; without windows.
    tokens : float
        Tokens held.
    sharers : float
        Requests that read each of them in a step.
    readers : float
        Different requests that read any of them, `sharers` or more: each sends its queries.
    query_tokens : int
        As in `Requests`.
    lifetime : float
        Steps for which they stay.
    """

    model: Transformer
    tokens: float
    sharers: float
    readers: float
    query_tokens: int = 1
    lifetime: float = np.inf

    def __post_init__(self) -> None:
        _is(self.model, Transformer, "model", "kvlib.model(name)")
        positive(tokens=_one(tokens=self.tokens))
        positive(sharers=_one(sharers=self.sharers), readers=_one(readers=self.readers))
        whole(query_tokens=_one(query_tokens=self.query_tokens))
        _steps(lifetime=self.lifetime)
        if not 1 <= self.sharers <= self.readers:
            raise ValueError(
                f"sharers = {self.sharers} must lie from 1 to readers = {self.readers}: who reads "
                f"each of the tokens also reads any of them."
            )
        if any(layer.attention.window for layer in self.model.groups):
            raise ValueError(
                f"{self.model.name!r} has windows: which of these tokens they reach is not known. "
                f"Give the prefix as Requests(prefix=...)."
            )


@dataclass(frozen=True, eq=False)
class State:
    """What is being served at one moment.

    Parameters
    ----------
    groups : sequence of Requests or Prefix
        Who is served.
    precision, kv_precision : str
        Formats of activations and of the cache; the same unless given.
    """

    groups: Sequence[Requests | Prefix]
    precision: str = "fp16"
    kv_precision: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.groups, Requests | Prefix):
            raise TypeError("groups must be a sequence: write State([Requests(...)]).")
        object.__setattr__(self, "groups", tuple(self.groups))
        if not self.groups:
            raise ValueError("a state of 0 groups serves nobody: give one or more Requests.")
        named: dict[str, Transformer] = {}
        for group in self.groups:
            _is(group, Requests | Prefix, "group", "Requests or Prefix")
            if named.setdefault(group.model.name, group.model) != group.model:
                raise ValueError(
                    f"two different models are called {group.model.name!r}: rename one, for "
                    f"instance by dataclasses.replace(model, name=...)."
                )
        itemsize(self.precision), itemsize(self.kv_precision or self.precision)

    @property
    def models(self) -> tuple[Transformer, ...]:
        """Models in use, each once."""
        return tuple({group.model.name: group.model for group in self.groups}.values())

    @property
    def active(self) -> tuple[Requests, ...]:
        """Requests that decode."""
        return tuple(g for g in self.groups if isinstance(g, Requests) and g.active)

    @property
    def gained(self) -> float:
        """Tokens that all requests gain in one step."""
        return sum(g.count * (g.accepted or 1.0) for g in self.active)


def _is(value: Any, kind: Any, name: str, remedy: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} = {value!r} is a {type(value).__name__}: give {remedy}.")


def _one(**named: Any) -> Any:
    ((name, value),) = named.items()
    if np.ndim(value):
        raise TypeError(f"{name} = {value!r} must be one number for all these requests.")
    return value


def _steps(**lifetimes: Any) -> None:
    for name, steps in lifetimes.items():
        if np.ndim(steps) or not isinstance(steps, int | float | np.number) or not steps > 0:
            raise ValueError(f"{name} = {steps!r} steps must be one number above 0; inf for ever.")

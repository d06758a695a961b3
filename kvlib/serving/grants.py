"""What a cache answers: whether a demand for room was met, and how to bring back who had to go."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from operator import index
from typing import Any, NoReturn

from kvlib.checks import UnknownName

__all__ = ["Grant", "Preempted", "token_numbers", "unknown_sequence"]


@dataclass(frozen=True)
class Grant:
    """Answer to a demand for room. One that does not fit has changed nothing.

    Parameters
    ----------
    needed, available : int
        Blocks (slots, where memory is contiguous) demanded, and those that could be had.
    found : int
        Tokens whose keys and values were there already.
    copied : int
        Blocks copied because a writer shared them.
    evicted : int
        Blocks without readers that had to go.

    Examples
    --------
    >>> short = Grant(needed=7, available=4)
    >>> short.fits, short.shortfall
    (False, 3)
    """

    needed: int
    available: int
    found: int = 0
    copied: int = 0
    evicted: int = 0

    @property
    def fits(self) -> bool:
        """Whether the demand was met."""
        return self.needed <= self.available

    @property
    def shortfall(self) -> int:
        """Blocks or slots missing."""
        return max(0, self.needed - self.available)


@dataclass(frozen=True)
class Preempted:
    """A sequence that had to leave before its end.

    ``cache.start(p.name, p.tokens, p.realm)`` brings it back, to the same cache or to another: by a
    new prefill, or by a copy from wherever its blocks were swapped to. What either costs is in
    `kvlib.serving.costs`.

    Parameters
    ----------
    name : hashable
        Whose it was.
    tokens : tuple of int
        Its tokens, prompt and answer so far.
    realm : str
        As in `PagedCache.start`.
    blocks : int
        Blocks that only it read: those that become free.
    """

    name: Hashable
    tokens: tuple[int, ...]
    realm: str
    blocks: int


def token_numbers(tokens: Iterable[Any]) -> tuple[int, ...]:
    """Return tokens as plain numbers.

    Raises
    ------
    TypeError
        If they are not a sequence of whole numbers.
    ValueError
        If one is negative.
    """
    try:
        numbers = tuple(map(index, tokens))
    except TypeError:
        raise TypeError(
            f"tokens = {tokens!r} must be a sequence of whole numbers: rows of the vocabulary."
        ) from None
    if numbers and min(numbers) < 0:
        raise ValueError(f"token {min(numbers)} must not be negative: it is a row of a table.")
    return numbers


def unknown_sequence(name: Hashable, known: Iterable[Hashable]) -> NoReturn:
    """Refuse a name that no sequence has.

    Raises
    ------
    UnknownName
        Always; the message lists the newest known names.
    """
    newest = ", ".join(map(repr, list(known)[-12:]))
    raise UnknownName(f"sequence {name!r} is unknown. Known: {newest or 'none'}.")

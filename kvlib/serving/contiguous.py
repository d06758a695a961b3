"""A KV cache in stretches: each request gets one, as long as it might ever need.

This is how engines managed their caches before pages, and what :cite:t:`kwon2023vllm` compared
with. A stretch is placed at the lowest address where it fits, or as a buddy allocator places it: a
power of two long, at a multiple of its length.
"""

from collections.abc import Hashable
from typing import NamedTuple

from kvlib.checks import whole
from kvlib.serving.grants import Grant, unknown_sequence

__all__ = ["ContiguousCache", "Stretch"]


class Stretch(NamedTuple):
    """Part of the memory that one request holds, in slots of one token."""

    start: int
    length: int
    reserved: int
    tokens: int


class ContiguousCache:
    """A line of slots, one token each, and the stretches that requests hold.

    Parameters
    ----------
    slots : int
        Tokens that fit into the memory.
    buddy : bool
        Whether stretches are powers of two at multiples of their length; the lowest address where
        it fits otherwise.

    Raises
    ------
    ValueError
        If the slots are not a whole number above zero.

    Examples
    --------
    Forty slots are free, yet a request of 40 does not fit:

    >>> cache = ContiguousCache(slots=100)
    >>> for name, reserved in [("a", 20), ("b", 30), ("c", 30), ("d", 20)]:
    ...     grant = cache.start(name, tokens=5, reserve=reserved)
    >>> cache.free("a"), cache.free("d")
    (None, None)
    >>> cache.available, cache.start("e", tokens=5, reserve=40)
    (40, Grant(needed=40, available=20, found=0, copied=0, evicted=0))
    """

    def __init__(self, slots: int, buddy: bool = False) -> None:
        whole(slots=slots)
        self.slots, self.buddy = int(slots), buddy
        self._stretches: dict[Hashable, Stretch] = {}

    @property
    def available(self) -> int:
        """Free slots, wherever they are."""
        return self.slots - sum(stretch.length for stretch in self._stretches.values())

    @property
    def stored(self) -> int:
        """Tokens in the memory."""
        return sum(stretch.tokens for stretch in self._stretches.values())

    @property
    def sequences(self) -> tuple[Hashable, ...]:
        """Names of the sequences, the newest last."""
        return tuple(self._stretches)

    @property
    def holes(self) -> list[tuple[int, int]]:
        """Start and length of each free stretch, by address."""
        found, free = [], 0
        for stretch in sorted(self._stretches.values()):
            if stretch.start > free:
                found.append((free, stretch.start - free))
            free = stretch.start + stretch.length
        return found + [(free, self.slots - free)] * (free < self.slots)

    def stretch(self, name: Hashable) -> Stretch:
        """Where a sequence is: start, length with padding, slots it asked for, tokens it holds."""
        if name not in self._stretches:
            unknown_sequence(name, self._stretches)
        return self._stretches[name]

    def start(self, name: Hashable, tokens: int, reserve: int) -> Grant:
        """Reserve a stretch for all tokens that a request may ever have, and store its prompt.

        Raises
        ------
        ValueError
            If the name is taken, or the reserve is shorter than the prompt.
        """
        whole(tokens=tokens, reserve=reserve)
        if name in self._stretches:
            raise ValueError(f"sequence {name!r} is there already: free it, or take another name.")
        if reserve < tokens:
            raise ValueError(f"reserve = {reserve} slots must hold the {tokens} tokens there are.")
        length = 1 << (reserve - 1).bit_length() if self.buddy else reserve
        best = 0
        for start, room in self.holes:
            aligned = -(-start // length) * length if self.buddy else start
            best = max(best, room - (aligned - start))
            if best >= length:
                self._stretches[name] = Stretch(aligned, length, reserve, tokens)
                break
        return Grant(length, best)

    def append(self, name: Hashable, tokens: int = 1) -> Grant:
        """Store more tokens in the stretch of a sequence, if it is long enough.

        Raises
        ------
        UnknownName
            If there is no such sequence.
        ValueError
            If the tokens are not a whole number.
        """
        stretch = self.stretch(name)
        whole(True, tokens=tokens)
        grant = Grant(tokens, stretch.length - stretch.tokens)
        if grant.fits:
            self._stretches[name] = stretch._replace(tokens=stretch.tokens + tokens)
        return grant

    def free(self, name: Hashable) -> None:
        """End a sequence."""
        self.stretch(name)
        del self._stretches[name]

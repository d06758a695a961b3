"""A pool of blocks: who reads each, which are free, and which full ones can be found again.

A block is free, idle or read. A full block is known by its tokens and by the block before it;
nothing is hashed to a number, so two prefixes are never taken for one. One without readers stays
idle until its room is needed, and the one left longest ago goes first.
"""

from collections.abc import Sequence

from kvlib.checks import whole

__all__ = ["BlockPool"]

_Key = tuple[int | str, tuple[int, ...]]
"""The block before, or the realm of a first block, and the tokens of a block."""


class BlockPool:
    """Blocks of a fixed number of tokens with their readers counted.

    Parameters
    ----------
    blocks : int
        Blocks in the pool.
    block_tokens : int
        Tokens in a block.

    Raises
    ------
    ValueError
        If a count is not a whole number above zero.

    Examples
    --------
    >>> pool = BlockPool(blocks=1, block_tokens=2)
    >>> block = pool.take()
    >>> pool.content[block] += [7, 8]
    >>> pool.make_known(block, before="mine") == block
    True
    >>> pool.drop(block)
    >>> pool.find([7, 8], "mine"), pool.find([7, 8], "yours"), pool.available
    ([0], [], 1)
    """

    def __init__(self, blocks: int, block_tokens: int) -> None:
        whole(blocks=blocks, block_tokens=block_tokens)
        self.blocks, self.block_tokens = int(blocks), int(block_tokens)
        self.content: list[list[int]] = [[] for _ in range(self.blocks)]
        self.readers = [0] * self.blocks
        self.free = list(range(self.blocks))[::-1]
        self.idle: dict[int, None] = {}  # full, without readers, those left longest ago first
        self.known: dict[_Key, int] = {}
        self.keys: dict[int, _Key] = {}
        self.evicted = 0

    @property
    def available(self) -> int:
        """Blocks that are free, or would be after eviction."""
        return len(self.free) + len(self.idle)

    @property
    def stored(self) -> int:
        """Tokens in blocks that have readers, each block counted once."""
        return sum(len(c) for c, n in zip(self.content, self.readers, strict=True) if n)

    def take(self) -> int:
        """Return an empty block with one reader; the oldest idle one is evicted if none is free."""
        if not self.free:
            oldest = next(iter(self.idle))
            del self.idle[oldest]
            del self.known[self.keys.pop(oldest)]
            self.free.append(oldest)
            self.evicted += 1
        block = self.free.pop()
        self.content[block] = []
        self.readers[block] = 1
        return block

    def hold(self, block: int) -> None:
        """Count one more reader."""
        self.idle.pop(block, None)
        self.readers[block] += 1

    def drop(self, block: int) -> None:
        """Count one reader less; without any, a known block is idle and another one free.

        Raises
        ------
        ValueError
            If nobody reads it: it would be freed twice.
        """
        if not self.readers[block]:
            raise ValueError(f"block = {block} has 0 readers: only who holds a block can drop it.")
        self.readers[block] -= 1
        if self.readers[block]:
            return
        if block in self.keys:
            self.idle[block] = None
        else:
            self.free.append(block)

    def find(self, tokens: Sequence[int], realm: str) -> list[int]:
        """Return the blocks that hold the longest known prefix of a realm, in whole blocks."""
        found: list[int] = []
        for start in range(0, len(tokens) - self.block_tokens + 1, self.block_tokens):
            part = tuple(tokens[start : start + self.block_tokens])
            block = self.known.get((found[-1] if found else realm, part))
            if block is None:
                break
            found.append(block)
        return found

    def make_known(self, block: int, before: int | str) -> int:
        """Let others find a block that is full; give it up if an equal one is known.

        Returns
        -------
        int
            The block to read from now on.
        """
        key = (before, tuple(self.content[block]))
        if key in self.known:
            self.hold(self.known[key])
            self.drop(block)
            return self.known[key]
        self.known[key], self.keys[block] = block, key
        return block

"""A KV cache in pages: blocks of a fixed number of tokens, and a table of blocks per sequence.

The scheme is that of :cite:t:`kwon2023vllm`. A block has any number of readers; another sequence
with the same prefix finds its full blocks. A block that is not full and has two readers is copied
before one of them writes. Full blocks without readers stay until their room is needed.

Only token numbers are stored here, in place of their keys and values: what a sequence reads
through its table can be compared with what it wrote.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from kvlib.serving.blocks import BlockPool
from kvlib.serving.grants import Grant, Preempted, token_numbers, unknown_sequence

__all__ = ["PagedCache"]


@dataclass
class _Sequence:
    realm: str
    table: list[int]


class PagedCache:
    """A pool of blocks and the sequences that read them.

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
    Two samples of one prompt share its blocks until they write; the full one stays shared:

    >>> cache = PagedCache(blocks=4, block_tokens=4)
    >>> cache.start("a", [1, 2, 3, 4, 5]).needed
    2
    >>> cache.fork("a", "b")
    >>> cache.append("b", [6]).copied, cache.table("b")
    (1, (0, 2))
    >>> cache.read("a"), cache.read("b")
    ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])

    A demand that does not fit is a value:

    >>> cache.start("c", list(range(20)))
    Grant(needed=5, available=1, found=0, copied=0, evicted=0)
    """

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.pool = BlockPool(blocks, block_tokens)
        self.blocks, self.block_tokens = self.pool.blocks, self.pool.block_tokens
        self._sequences: dict[Hashable, _Sequence] = {}

    # ---- what there is ----------------------------------------------------------------------

    @property
    def available(self) -> int:
        """Blocks that are free, or would be after eviction."""
        return self.pool.available

    @property
    def idle(self) -> int:
        """Full blocks without readers, kept for who may come with the same prefix."""
        return len(self.pool.idle)

    @property
    def stored(self) -> int:
        """Tokens in blocks that have readers, each block counted once."""
        return self.pool.stored

    @property
    def sequences(self) -> tuple[Hashable, ...]:
        """Names of the sequences, the newest last."""
        return tuple(self._sequences)

    def table(self, name: Hashable) -> tuple[int, ...]:
        """Blocks of a sequence, in order."""
        return tuple(self._of(name).table)

    def readers(self, block: int) -> int:
        """Sequences whose table holds the block: its reference count.

        Raises
        ------
        ValueError
            If there is no such block.
        """
        if not 0 <= block < self.blocks:
            raise ValueError(f"block = {block} must lie from 0 to {self.blocks - 1}.")
        return self.pool.readers[block]

    def read(self, name: Hashable) -> list[int]:
        """Tokens of a sequence as they stand in its blocks."""
        return [token for block in self._of(name).table for token in self.pool.content[block]]

    # ---- what happens -----------------------------------------------------------------------

    def start(self, name: Hashable, tokens: Sequence[int], realm: str = "") -> Grant:
        """Take in a prompt, and share the full blocks of its prefix that are there already.

        Parameters
        ----------
        name : hashable
            Name of the new sequence.
        tokens : sequence of int
            Its tokens, at least one.
        realm : str
            Who may share: prefixes are found among sequences of the same realm only.

        Raises
        ------
        ValueError
            If the name is taken, or there is no token.
        TypeError
            If tokens are not whole numbers, or the realm is not a name.
        """
        self._new(name)
        tokens = token_numbers(tokens)
        if not tokens:
            raise ValueError(f"sequence {name!r} has 0 tokens: a prompt needs at least one.")
        if not isinstance(realm, str):  # the number of a block would be taken for that block
            raise TypeError(f"realm = {realm!r} must be a str: a name, not a number.")
        found = self.pool.find(tokens, realm)
        held = len(found) * self.block_tokens
        needed = -(-len(tokens) // self.block_tokens) - len(found)
        available = self.available - sum(block in self.pool.idle for block in found)
        if needed > available:
            return Grant(needed, available)
        for block in found:
            self.pool.hold(block)
        self._sequences[name] = sequence = _Sequence(realm, found)
        _, evicted = self._write(sequence, tokens[held:])
        return Grant(needed, available, found=held, evicted=evicted)

    def append(self, name: Hashable, tokens: Sequence[int]) -> Grant:
        """Add tokens to the end of a sequence; a shared last block is copied first.

        Raises
        ------
        UnknownName
            If there is no such sequence.
        TypeError
            If tokens are not whole numbers.
        """
        sequence, tokens = self._of(name), token_numbers(tokens)
        last = sequence.table[-1]
        room = -len(self.pool.content[last]) % self.block_tokens
        shared = bool(room and tokens and self.pool.readers[last] > 1)
        needed = -(-max(0, len(tokens) - room) // self.block_tokens) + shared
        available = self.available
        if needed > available:
            return Grant(needed, available)
        copied, evicted = self._write(sequence, tokens)
        return Grant(needed, available, copied=copied, evicted=evicted)

    def fork(self, name: Hashable, child: Hashable) -> None:
        """Let a new sequence go on from where another one is: it takes no block until it writes.

        Raises
        ------
        UnknownName
            If there is no such sequence.
        ValueError
            If the child's name is taken.
        """
        parent = self._of(name)
        self._new(child)
        for block in parent.table:
            self.pool.hold(block)
        self._sequences[child] = _Sequence(parent.realm, list(parent.table))

    def free(self, name: Hashable) -> None:
        """End a sequence. Its full blocks stay to be found until their room is needed."""
        for block in reversed(self._of(name).table):  # the last first: it is evicted before those
            self.pool.drop(block)  # that lead to it
        del self._sequences[name]

    def preempt(self, name: Hashable | None = None) -> Preempted:
        """Take the blocks of a sequence, the newest unless named, and say how to restore it.

        Raises
        ------
        ValueError
            If there is no sequence at all.
        """
        if not self._sequences:
            raise ValueError("no sequence is left to preempt: the pool holds 0.")
        name = next(reversed(self._sequences)) if name is None else name
        sequence = self._of(name)
        alone = sum(self.pool.readers[block] == 1 for block in sequence.table)
        gone = Preempted(name, tuple(self.read(name)), sequence.realm, alone)
        self.free(name)
        return gone

    # ---- how it is done ---------------------------------------------------------------------

    def _of(self, name: Hashable) -> _Sequence:
        if name not in self._sequences:
            unknown_sequence(name, self._sequences)
        return self._sequences[name]

    def _new(self, name: Hashable) -> None:
        if name in self._sequences:
            raise ValueError(f"sequence {name!r} is there already: free it, or take another name.")

    def _write(self, sequence: _Sequence, tokens: Sequence[int]) -> tuple[int, int]:
        """Write behind the last token; the caller has seen to the room. Blocks copied, evicted."""
        pool, table = self.pool, sequence.table
        copied, before, done = 0, pool.evicted, 0
        while done < len(tokens):
            if not table or len(pool.content[table[-1]]) == self.block_tokens:
                table.append(pool.take())
            elif pool.readers[table[-1]] > 1:
                new = pool.take()
                pool.content[new] = list(pool.content[table[-1]])
                pool.drop(table[-1])
                table[-1] = new
                copied += 1
            content = pool.content[table[-1]]
            part = tokens[done : done + self.block_tokens - len(content)]
            content.extend(part)
            done += len(part)
            if len(content) == self.block_tokens:
                link = table[-2] if len(table) > 1 else sequence.realm
                table[-1] = pool.make_known(table[-1], link)
        return copied, pool.evicted - before

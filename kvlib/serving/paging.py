"""A KV cache in pages: blocks of a fixed number of tokens, and a table of blocks per sequence.

The scheme is that of :cite:t:`kwon2023vllm`. A block has any number of readers. A full block is
known by its tokens and by the block before it, so that another sequence with the same prefix finds
it; nothing is hashed to a number, so two prefixes are never taken for one. A block that is not
full and has two readers is copied before one of them writes. Full blocks without readers stay
until their room is needed, and then go oldest first.

Only token numbers are stored here, in place of their keys and values: what a sequence reads
through its table can be compared with what it wrote.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from kvlib.checks import choose, whole

__all__ = ["Grant", "PagedCache", "Preempted"]

_Key = tuple[int | str, tuple[int, ...]]
"""The block before, or the realm of a first block, and the tokens of a block."""


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

    ``cache.start(p.name, p.tokens, p.realm)`` brings it back: by a new prefill, or by a copy from
    wherever its blocks were swapped to. What either costs is in `kvlib.serving.costs`.

    Parameters
    ----------
    name : hashable
        Whose it was.
    tokens : tuple of int
        Its tokens, prompt and answer so far.
    realm : str
        As in `PagedCache.start`.
    blocks : int
        Blocks that only it read: those that a swap must move.
    """

    name: Hashable
    tokens: tuple[int, ...]
    realm: str
    blocks: int


@dataclass
class _Sequence:
    realm: str
    table: list[int] = field(default_factory=list)


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
        whole(blocks=blocks, block_tokens=block_tokens)
        self.blocks, self.block_tokens = int(blocks), int(block_tokens)
        self._content: list[list[int]] = [[] for _ in range(self.blocks)]
        self._readers = [0] * self.blocks
        self._free = list(range(self.blocks))[::-1]
        self._idle: dict[int, None] = {}  # full, without readers, those left longest ago first
        self._known: dict[_Key, int] = {}
        self._keys: dict[int, _Key] = {}
        self._sequences: dict[Hashable, _Sequence] = {}

    # ---- what there is ----------------------------------------------------------------------

    @property
    def available(self) -> int:
        """Blocks that are free, or would be after eviction."""
        return len(self._free) + len(self._idle)

    @property
    def idle(self) -> int:
        """Full blocks without readers, kept for who may come with the same prefix."""
        return len(self._idle)

    @property
    def stored(self) -> int:
        """Tokens in blocks that have readers, each block counted once."""
        return sum(len(c) for c, n in zip(self._content, self._readers, strict=True) if n)

    @property
    def sequences(self) -> tuple[Hashable, ...]:
        """Names of the sequences, the newest last."""
        return tuple(self._sequences)

    def table(self, name: Hashable) -> tuple[int, ...]:
        """Blocks of a sequence, in order."""
        return tuple(self._of(name).table)

    def readers(self, block: int) -> int:
        """Sequences whose table holds the block: its reference count."""
        return self._readers[block]

    def read(self, name: Hashable) -> list[int]:
        """Tokens of a sequence as they stand in its blocks."""
        return [token for block in self._of(name).table for token in self._content[block]]

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
        """
        self._new(name)
        if not len(tokens):
            raise ValueError(f"sequence {name!r} has 0 tokens: a prompt needs at least one.")
        found = self._lookup(tokens, realm)
        held = len(found) * self.block_tokens
        needed = -(-len(tokens) // self.block_tokens) - len(found)
        available = self.available - sum(block in self._idle for block in found)
        if needed > available:
            return Grant(needed, available)
        for block in found:
            self._hold(block)
        self._sequences[name] = sequence = _Sequence(realm, found)
        _, evicted = self._write(sequence, tokens[held:])
        return Grant(needed, available, found=held, evicted=evicted)

    def append(self, name: Hashable, tokens: Sequence[int]) -> Grant:
        """Add tokens to the end of a sequence; a shared last block is copied first.

        Raises
        ------
        UnknownName
            If there is no such sequence.
        """
        sequence = self._of(name)
        room = -len(self._content[sequence.table[-1]]) % self.block_tokens
        shared = bool(room and tokens and self._readers[sequence.table[-1]] > 1)
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
            self._hold(block)
        self._sequences[child] = _Sequence(parent.realm, list(parent.table))

    def free(self, name: Hashable) -> None:
        """End a sequence. Its full blocks stay to be found until their room is needed."""
        for block in reversed(self._of(name).table):  # the last first: it is evicted before those
            self._drop(block)  # that lead to it
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
        alone = sum(self._readers[block] == 1 for block in sequence.table)
        gone = Preempted(name, tuple(self.read(name)), sequence.realm, alone)
        self.free(name)
        return gone

    # ---- how it is done ---------------------------------------------------------------------

    def _of(self, name: Hashable) -> _Sequence:
        if name not in self._sequences:
            choose(str(name), map(str, self._sequences), "sequence")
        return self._sequences[name]

    def _new(self, name: Hashable) -> None:
        if name in self._sequences:
            raise ValueError(f"sequence {name!r} is there already: free it, or take another name.")

    def _lookup(self, tokens: Sequence[int], realm: str) -> list[int]:
        """Blocks that hold the longest known prefix, in whole blocks."""
        found: list[int] = []
        for start in range(0, len(tokens) - self.block_tokens + 1, self.block_tokens):
            part = tuple(tokens[start : start + self.block_tokens])
            block = self._known.get((found[-1] if found else realm, part))
            if block is None:
                break
            found.append(block)
        return found

    def _write(self, sequence: _Sequence, tokens: Sequence[int]) -> tuple[int, int]:
        """Write tokens behind the last one; the caller has made sure that there is room."""
        copied, evicted, done, table = 0, 0, 0, sequence.table
        while done < len(tokens):
            last = self._content[table[-1]] if table else []
            if len(last) % self.block_tokens == 0:
                table.append(self._take())
                evicted += self._made_room
            elif self._readers[table[-1]] > 1:
                new = self._take()
                evicted += self._made_room
                self._content[new] = list(last)
                self._drop(table[-1])
                table[-1] = new
                copied += 1
            content = self._content[table[-1]]
            part = tokens[done : done + self.block_tokens - len(content)]
            content.extend(part)
            done += len(part)
            if len(content) == self.block_tokens:
                self._make_known(sequence)
        return copied, evicted

    def _make_known(self, sequence: _Sequence) -> None:
        """Let others find the last block, now full; give it up if an equal one is known."""
        table = sequence.table
        before = table[-2] if len(table) > 1 else sequence.realm
        key = (before, tuple(self._content[table[-1]]))
        if key in self._known:
            self._hold(self._known[key])
            self._drop(table[-1])
            table[-1] = self._known[key]
        else:
            self._known[key], self._keys[table[-1]] = table[-1], key

    def _take(self) -> int:
        self._made_room = not self._free
        if self._made_room:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            del self._known[self._keys.pop(oldest)]
            self._free.append(oldest)
        block = self._free.pop()
        self._content[block] = []
        self._readers[block] = 1
        return block

    def _hold(self, block: int) -> None:
        self._idle.pop(block, None)
        self._readers[block] += 1

    def _drop(self, block: int) -> None:
        self._readers[block] -= 1
        if self._readers[block]:
            return
        if block in self._keys:
            self._idle[block] = None
        else:
            self._free.append(block)

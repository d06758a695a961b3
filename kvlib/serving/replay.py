"""Requests of known lengths run through an allocator, and every slot booked in every step.

A saturated server: all requests wait from the start, are let in first come first served, and grow
by a token a step. Steps are counted, not timed.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, whole
from kvlib.serving.books import Books, Replay
from kvlib.serving.contiguous import ContiguousCache
from kvlib.serving.paging import PagedCache

__all__ = ["replay_contiguous", "replay_paged"]


def replay_paged(
    prompts: Any, outputs: Any, *, blocks: int, block_tokens: int, spare: float = 0.01
) -> Replay:
    """Run requests through a `PagedCache`; the newest is preempted when a block is missing.

    Parameters
    ----------
    prompts, outputs : sequence of int
        Tokens of each request, given and generated.
    blocks, block_tokens : int
        As in `PagedCache`.
    spare : float
        Part of the blocks that newcomers must leave free, so that the others can grow.

    Raises
    ------
    ValueError
        If a request alone exceeds the memory, or a count or part cannot be.

    Examples
    --------
    >>> run = replay_paged([30] * 40, [50] * 40, blocks=40, block_tokens=16)
    >>> print(f"{run.shares()['stored']:.0%} of the memory, {len(run.preempted)} preempted")
    87% of the memory, 40 preempted
    """
    cache = PagedCache(blocks, block_tokens)
    if not 0 <= spare < 1:
        raise ValueError(f"spare = {spare} must be a part of the blocks: from 0 to below 1.")
    prompts, outputs = _checked(prompts, outputs, int(blocks - spare * blocks) * block_tokens)
    waiting = deque((i, int(p)) for i, p in enumerate(prompts))
    ends = prompts + outputs
    lengths: dict[int, int] = {}  # tokens of each running request
    left_at: dict[int, int] = {}  # step in which each was preempted last
    books, preempted, recomputed, stalled = Books(), [], [], []
    while waiting:
        while waiting:
            name, length = waiting[0]
            room = cache.available - spare * blocks
            if -(-length // block_tokens) > room:
                break
            grant = cache.start(name, range(length), realm=str(name))
            if name in left_at:
                recomputed.append(length - grant.found)
                stalled.append(len(books.lines) - left_at[name])
            lengths[name] = length
            waiting.popleft()
        for name in list(lengths):
            while name in lengths and not cache.append(name, (lengths[name],)).fits:
                newest = next(reversed(lengths))
                preempted.append(len(cache.preempt(newest).tokens))
                waiting.appendleft((newest, lengths.pop(newest)))
                left_at[newest] = len(books.lines)
            if name in lengths:
                lengths[name] += 1
        held = (blocks - cache.available) * block_tokens
        stored = sum(lengths.values())
        books.add(1, len(lengths), stored, 0, 0, held - stored, blocks * block_tokens - held)
        for name in [name for name, n in lengths.items() if n == ends[name]]:
            cache.free(name)
            del lengths[name]
    return books.close(blocks * block_tokens, preempted, recomputed, stalled)


def replay_contiguous(
    prompts: Any,
    outputs: Any,
    *,
    slots: int,
    reserve: Literal["longest", "power of two", "exact"],
    longest: int = 2048,
    buddy: bool = True,
) -> Replay:
    """Run requests through a `ContiguousCache` that reserves when a request is let in.

    Parameters
    ----------
    prompts, outputs : sequence of int
        Tokens of each request, given and generated.
    slots : int
        As in `ContiguousCache`.
    reserve : {"longest", "power of two", "exact"}
        What is reserved: `longest` for each request; the prompt and the next power of two above
        what will be generated, at most `longest` together; or what will be needed, as if that were
        known.
    longest : int
        Longest request that is served [token].
    buddy : bool
        As in `ContiguousCache`.

    Raises
    ------
    ValueError
        If a request exceeds `longest`, or its stretch the memory.

    Examples
    --------
    >>> run = replay_contiguous([100] * 40, [200] * 40, slots=4096, reserve="longest")
    >>> {name: round(share, 2) for name, share in run.shares().items()}
    {'stored': 0.1, 'to come': 0.05, 'never used': 0.85, 'padding': 0.0, 'free': 0.0}
    """
    choose(reserve, ["longest", "power of two", "exact"], "reserve")
    whole(slots=slots, longest=longest)
    prompts, outputs = _checked(prompts, outputs, min(longest, slots))
    wanted = {
        "longest": np.full_like(prompts, longest),
        "power of two": prompts + 2 ** np.ceil(np.log2(outputs)).astype(int),
        "exact": prompts + outputs,
    }
    asked = np.minimum(wanted[reserve], longest)
    cache = ContiguousCache(slots, buddy)
    waiting = deque(range(len(prompts)))
    left: dict[int, int] = {}  # tokens that each running request will still generate
    books = Books()
    while waiting:
        while waiting:
            name = waiting[0]
            grant = cache.start(name, int(prompts[name]), int(asked[name]))
            if not grant.fits:
                if not left:
                    raise ValueError(
                        f"a stretch of {grant.needed} slots exceeds the memory of {slots}: give "
                        f"more, or set buddy=False."
                    )
                break
            left[name] = int(outputs[waiting.popleft()])
        steps = min(left.values())  # until then nothing happens but growth
        for name in left:
            cache.append(name, steps)
            left[name] -= steps
        held = [cache.stretch(name) for name in left]
        stored = sum(stretch.tokens for stretch in held) - len(held) * (steps - 1) / 2
        needed = sum(int(prompts[name] + outputs[name]) for name in left)
        reserved = sum(stretch.reserved for stretch in held)
        padding = sum(stretch.length for stretch in held) - reserved
        unused = (needed - stored, reserved - needed, padding, cache.available)
        books.add(steps, len(left), stored, *unused)
        for name in [name for name, n in left.items() if n == 0]:
            cache.free(name)
            del left[name]
    return books.close(slots)


def _checked(prompts: Iterable[int], outputs: Iterable[int], most: float) -> tuple[Any, Any]:
    prompts, outputs = np.asarray(prompts), np.asarray(outputs)
    whole(prompts=prompts, outputs=outputs)
    if prompts.shape != outputs.shape or prompts.ndim != 1 or not prompts.size:
        raise ValueError(
            f"prompts of shape {prompts.shape} and outputs of shape {outputs.shape}: give one "
            f"length of each for every request."
        )
    if np.max(prompts + outputs) > most:
        raise ValueError(
            f"a request of {int(np.max(prompts + outputs))} tokens exceeds the {int(most)} it may "
            f"have: cut it, or give more memory."
        )
    return prompts, outputs

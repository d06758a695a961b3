"""Requests of known lengths run through an allocator, and every slot booked in every step.

A saturated server: all requests wait from the start, are let in first come first served, and grow
by a token a step. Steps are counted, not timed. Slots are booked as :cite:t:`kwon2023vllm` do:
those that hold a token; those reserved for a token still to come; those reserved and never used;
padding, known when the room is given (the rest of a last page, or up to a power of two); and free
ones, which nobody can use while somebody waits.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kvlib.checks import choose, fraction, positive, whole
from kvlib.serving.contiguous import ContiguousCache
from kvlib.serving.paging import PagedCache

__all__ = ["Replay", "draw_lengths", "replay_contiguous", "replay_paged"]

_BOOKS = ("stored", "to come", "never used", "padding", "free")


@dataclass(frozen=True, eq=False)
class Replay:
    """Books of one replay, for the steps in which requests were waiting.

    Parameters
    ----------
    slots : int
        Slots of the memory.
    books : dict of str to array
        Slots by use: stored, to come, never used, padding, free. One entry an interval.
    running : array
        Requests in the memory, by interval.
    steps : array
        Steps of each interval, in which the books hold on average.
    preempted : array
        Tokens of each preempted request: what a swap moves out and in again.
    recomputed : array
        Those of each request that came back whose blocks had been taken in the meantime.
    stalled : array
        Steps for which each of these had to wait.
    """

    slots: int
    books: dict[str, Any]
    running: Any
    steps: Any
    preempted: Any
    recomputed: Any
    stalled: Any

    @property
    def generated(self) -> int:
        """Tokens generated: one a step for each request in the memory."""
        return int(self.running @ self.steps)

    def shares(self, warm_up: float = 0.2) -> dict[str, float]:
        """Mean part of the memory by use, after a part of the steps in which all are young."""
        late = self._late(warm_up)
        return {name: float(book @ late) / self.slots for name, book in self.books.items()}

    def batch(self, warm_up: float = 0.2) -> float:
        """Mean number of requests in the memory, after a part of the steps."""
        return float(self.running @ self._late(warm_up))

    def _late(self, warm_up: float) -> Any:
        """Weight of each interval."""
        weights = self.steps * (np.cumsum(self.steps) > warm_up * self.steps.sum())
        return weights / weights.sum()


def draw_lengths(
    count: int, mean: float, *, median: float | None = None, longest: int, seed: int
) -> Any:
    """Draw lengths of requests: log-normal if a median is known, exponential otherwise.

    A stand-in for a trace of which only summary figures are printed. Longer ones are cut, as an
    engine cuts them.

    Parameters
    ----------
    count : int
        Requests.
    mean, median : float
        Of the lengths, before the cut [token]; the median below the mean.
    longest : int
        Where they are cut [token].
    seed : int
        Seed.

    Examples
    --------
    >>> drawn = draw_lengths(1000, mean=338, longest=2048, seed=1)
    >>> int(drawn.min()), int(drawn.max()), round(float(drawn.mean()))
    (1, 2048, 340)
    """
    whole(count=count, longest=longest)
    positive(mean=mean)
    random = np.random.default_rng(seed)
    if median is None:
        drawn = random.exponential(mean, count)
    else:
        if not 0 < median < mean:
            raise ValueError(f"median = {median} must lie above 0 and below mean = {mean}.")
        drawn = random.lognormal(np.log(median), np.sqrt(2 * np.log(mean / median)), count)
    return np.clip(np.ceil(drawn), 1, longest).astype(int)


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
        If a request alone exceeds the memory.

    Examples
    --------
    >>> run = replay_paged([30] * 40, [50] * 40, blocks=40, block_tokens=16)
    >>> print(f"{run.shares()['stored']:.0%} of the memory, {len(run.preempted)} preempted")
    87% of the memory, 40 preempted
    """
    fraction(spare=spare)
    prompts, outputs = _checked(prompts, outputs, (blocks - 1) * block_tokens * (1 - spare))
    cache = PagedCache(blocks, block_tokens)
    waiting = deque((i, int(p)) for i, p in enumerate(prompts))
    ends = prompts + outputs
    lengths: dict[int, int] = {}  # tokens of each running request
    left_at: dict[int, int] = {}  # step in which each was preempted last
    books, preempted, recomputed, stalled = _Books(), [], [], []
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
    books = _Books()
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


class _Books:
    def __init__(self) -> None:
        self.lines: list[tuple[float, ...]] = []

    def add(self, *entries: float) -> None:
        """Steps, requests, and the slots by use."""
        self.lines.append(entries)

    def close(self, slots: int, *lists: Any) -> Replay:
        steps, running, *books = np.array(self.lines).T
        rest = [np.array(entries, int) for entries in lists or ((), (), ())]
        return Replay(slots, dict(zip(_BOOKS, books, strict=True)), running, steps, *rest)


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

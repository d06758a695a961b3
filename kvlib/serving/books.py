"""Books of a memory: which slots hold a token, and what the others are kept for."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.checks import whole
from kvlib.operators import plain

__all__ = ["Books", "Replay", "last_page_waste", "used_share"]

_BOOKS = ("stored", "to come", "never used", "padding", "free")


@dataclass(frozen=True, eq=False)
class Replay:
    """Books of one replay, for the steps in which requests were waiting.

    Slots are booked as :cite:t:`kwon2023vllm` do: those that hold a token; those reserved for a
    token still to come; those reserved and never used; padding, known when the room is given (the
    rest of a last page, or up to a power of two); and free ones, which nobody can use while
    somebody waits.

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
        """Mean part of the memory by use, after a part of the steps in which all are young.

        Raises
        ------
        ValueError
            If that part is not from 0 to below 1.
        """
        late = self._late(warm_up)
        return {name: float(book @ late) / self.slots for name, book in self.books.items()}

    def batch(self, warm_up: float = 0.2) -> float:
        """Mean number of requests in the memory, after a part of the steps."""
        return float(self.running @ self._late(warm_up))

    def _late(self, warm_up: float) -> Any:
        """Weight of each interval."""
        if not 0 <= warm_up < 1:
            raise ValueError(f"warm_up = {warm_up} must be a part of the steps: from 0 to below 1.")
        weights = self.steps * (np.cumsum(self.steps) > warm_up * self.steps.sum())
        return weights / weights.sum()


class Books:
    """Books of a replay while it runs: a line for each interval."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, ...]] = []

    def add(self, *entries: float) -> None:
        """Steps, requests, and the slots by use."""
        self.lines.append(entries)

    def close(self, slots: int, *lists: Any) -> Replay:
        """Return the replay of a memory of so many slots."""
        steps, running, *books = np.array(self.lines).T
        rest = [np.array(entries, int) for entries in lists or ((), (), ())]
        return Replay(slots, dict(zip(_BOOKS, books, strict=True)), running, steps, *rest)


def used_share(prompt: Any, output: Any, reserved: Any) -> Any:
    r"""Part of a reservation that holds tokens, on average over the steps of a request.

    .. math:: u = \frac{p + (o + 1) / 2}{R}

    for a prompt of p tokens and o generated ones, one a step, in R slots reserved from the start.

    Raises
    ------
    ValueError
        If a count is not a whole number above zero, or a request is longer than its reservation.

    Examples
    --------
    >>> round(used_share(161, 338, reserved=2048), 3)
    0.161
    """
    whole(prompt=prompt, output=output, reserved=reserved)
    tokens = np.asarray(prompt) + output
    if np.any(tokens > reserved):
        raise ValueError(
            f"a request of {int(np.max(tokens))} tokens exceeds its reservation of "
            f"{int(np.min(reserved))}: reserve as many as it may need."
        )
    return plain((prompt + (output + 1) / 2) / reserved)


def last_page_waste(tokens: Any, block_tokens: Any) -> Any:
    """Slots of the last page that hold nothing, between 0 and `block_tokens` - 1.

    Examples
    --------
    >>> last_page_waste(499, 16), last_page_waste(512, 16)
    (13, 0)
    """
    whole(tokens=tokens, block_tokens=block_tokens)
    return plain(-tokens % block_tokens)

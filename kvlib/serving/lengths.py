"""Lengths of requests, drawn to the few figures that a source prints of them."""

from typing import Any

import numpy as np

from kvlib.checks import positive, whole

__all__ = ["draw_lengths"]


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
    whole(True, seed=seed)
    random = np.random.default_rng(seed)
    if median is None:
        drawn = random.exponential(mean, count)
    else:
        if not 0 < median < mean:
            raise ValueError(f"median = {median} must lie above 0 and below mean = {mean}.")
        drawn = random.lognormal(np.log(median), np.sqrt(2 * np.log(mean / median)), count)
    return np.clip(np.ceil(drawn), 1, longest).astype(int)

"""Chances: of a step that waits for the slowest, and of a guess about somebody else's prefix."""

from statistics import NormalDist
from typing import Any

import numpy as np

from kvlib.checks import fraction, positive, whole
from kvlib.operators import plain

__all__ = ["affected", "probes"]


def affected(probability: Any, pieces: Any) -> Any:
    r"""Probability that at least one of several independent pieces is hit.

    .. math:: 1 - (1 - p)^n

    Holds for slow replies that a barrier waits for as for lost devices :cite:`dean2013tail`.

    Examples
    --------
    >>> round(affected(0.01, 8), 3)
    0.077
    """
    positive(True, probability=probability)
    whole(pieces=pieces)
    if np.any(np.asarray(probability) > 1):
        raise ValueError(f"probability = {probability} must be at most 1.")
    return plain(1 - (1 - np.asarray(probability, dtype=float)) ** pieces)


def probes(difference: Any, noise: Any, error: float = 0.01) -> Any:
    r"""Timings to average before a hit can be told from a miss.

    .. math:: n = \Big\lceil \big(2 z_{1-\varepsilon}\,\sigma / \Delta\big)^2 \Big\rceil

    for normal noise and a threshold half-way between the two means.

    Parameters
    ----------
    difference : float or array
        Time that a hit saves [s].
    noise : float or array
        Standard deviation of one timing [s].
    error : float
        Probability of a wrong answer.

    Examples
    --------
    >>> probes(0.05, noise=0.01), probes(0.001, noise=0.01)
    (1.0, 2165.0)
    """
    positive(difference=difference)
    positive(True, noise=noise)
    fraction(error=2 * error)
    z = NormalDist().inv_cdf(1 - error)
    return plain(np.maximum(1.0, np.ceil((2 * z * noise / difference) ** 2)))

r"""Splitting with nothing in the way: no capacity, no links, all sites at work at once.

Work w of piece j takes :math:`w_j x_{jm} / e_{jm}` on site m, for shares x and rates e. What can be
said then is exact, and bounds what any placement can gain by splitting alone.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvlib.checks import positive

__all__ = ["best_time", "blind_time", "cut", "largest_gain", "roofline_rates", "stripe_time"]

Array = NDArray[Any]


def roofline_rates(reuse: ArrayLike, bandwidth: ArrayLike, peak: ArrayLike) -> Array:
    r"""Rates :math:`e_{jm} = \min(B_m, F_m / r_j)` of each piece on each site [B/s].

    Examples
    --------
    >>> roofline_rates([1, 8], bandwidth=[3.35, 13.4], peak=[989, 13.4])
    array([[ 3.35 , 13.4  ],
           [ 3.35 ,  1.675]])
    """
    reuse, bandwidth, peak = (np.asarray(x, dtype=float) for x in (reuse, bandwidth, peak))
    positive(reuse=reuse, bandwidth=bandwidth, peak=peak)
    return np.asarray(np.minimum(bandwidth, peak / reuse[:, None]))


def stripe_time(work: ArrayLike, rates: ArrayLike) -> float:
    r"""Time if each piece is split by its own rates: :math:`\sum_j w_j / \sum_m e_{jm}` [s]."""
    work, rates = _checked(work, rates)
    return float(np.sum(work / rates.sum(axis=1)))


def blind_time(work: ArrayLike, rates: ArrayLike) -> float:
    r"""Time of the best single set of shares for all pieces [s].

    .. math:: \Bigl(\sum_m \bigl(\textstyle\sum_j w_j / e_{jm}\bigr)^{-1}\Bigr)^{-1}
    """
    work, rates = _checked(work, rates)
    return float(1 / np.sum(1 / np.sum(work[:, None] / rates, axis=0)))


def best_time(work: ArrayLike, rates: ArrayLike) -> tuple[float, Array]:
    """Shortest time of all splits, and the shares of each piece on each site, by linear program.

    Returns
    -------
    time : float
        Time until the last site is done [s].
    shares : array of shape (pieces, sites)
        A vertex: at most sites - 1 pieces are split.

    Examples
    --------
    >>> rates = roofline_rates([1, 64], bandwidth=[3.35, 13.4], peak=[989, 13.4])
    >>> time, shares = best_time([0.7, 0.3], rates)
    >>> round(stripe_time([0.7, 0.3], rates) / time, 2), shares.round(2).tolist()
    (1.44, [[0.0, 1.0], [0.98, 0.02]])
    """
    from scipy.optimize import linprog

    work, rates = _checked(work, rates)
    pieces, sites = rates.shape
    scale = stripe_time(work, rates)
    times = work[:, None] / rates / scale
    loads = np.zeros((sites, pieces * sites + 1))
    for m in range(sites):
        loads[m, m:-1:sites] = times[:, m]
    loads[:, -1] = -1.0
    once = np.hstack([np.kron(np.eye(pieces), np.ones(sites)), np.zeros((pieces, 1))])
    goal = np.zeros(pieces * sites + 1)
    goal[-1] = 1.0
    found = linprog(
        goal, loads, np.zeros(sites), once, np.ones(pieces), method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )  # fmt: skip
    if found.status != 0:
        raise RuntimeError(f"the linear program ended early: {found.message}")
    return scale * float(found.fun), found.x[:-1].reshape(pieces, sites)


def cut(work: ArrayLike, rates: ArrayLike) -> tuple[float, Array]:
    """Best split over two sites without a solver: sort by the ratio of the rates, cut once.

    Returns
    -------
    time : float
        Time until both sites are done [s].
    shares : array of shape (pieces, 2)
        At most one piece is split.

    Examples
    --------
    >>> rates = roofline_rates([1, 64], bandwidth=[3.35, 13.4], peak=[989, 13.4])
    >>> cut([0.7, 0.3], rates)[1].round(2).tolist()
    [[0.0, 1.0], [0.98, 0.02]]
    """
    work, rates = _checked(work, rates)
    if rates.shape[1] != 2:
        raise ValueError(f"rates has {rates.shape[1]} sites: a cut divides two.")
    order = np.argsort(-rates[:, 0] / rates[:, 1], kind="stable")
    first, second = (work[order, None] / rates[order]).T
    before, after = np.cumsum(first), second.sum() - np.cumsum(second)
    k = int(np.argmax(before >= after))  # the first site is the later one once piece k is on it
    start, rest = before[k] - first[k], after[k] + second[k]
    part = (rest - start) / (first[k] + second[k])
    shares = np.zeros_like(rates)
    shares[order[:k], 0] = shares[order[k + 1 :], 1] = 1.0
    shares[order[k]] = part, 1.0 - part
    return float(start + part * first[k]), shares


def largest_gain(rates: ArrayLike) -> float:
    r"""Most that splitting by nature can gain over rate striping, whatever the sizes.

    .. math:: G = \sum_m \max_j s_{jm}, \qquad s_{jm} = e_{jm} / \sum_{m'} e_{jm'}

    It is 1 if and only if the rates have rank one, at most the number of sites, and reached.

    Parameters
    ----------
    rates : array of shape (pieces, sites)
        Rates [B/s].

    Examples
    --------
    A GPU of 3.35 TB/s and units beside four times that bandwidth with a ridge of 1 flop/B:

    >>> for reuse in ([1, 1], [1, 8], [1, 64]):
    ...     rates = roofline_rates(reuse, bandwidth=[3.35, 13.4], peak=[989, 13.4])
    ...     print(reuse, round(largest_gain(rates), 2))
    [1, 1] 1.0
    [1, 8] 1.47
    [1, 64] 1.74
    """
    rates = np.asarray(rates, dtype=float)
    positive(rates=rates)
    return float(np.sum(np.max(rates / rates.sum(axis=1, keepdims=True), axis=0)))


def _checked(work: ArrayLike, rates: ArrayLike) -> tuple[Array, Array]:
    work, rates = np.asarray(work, dtype=float), np.asarray(rates, dtype=float)
    positive(work=work, rates=rates)
    if rates.ndim != 2 or work.shape != rates.shape[:1]:
        raise ValueError(
            f"work has shape {work.shape} and rates {rates.shape}: one row of rates a piece."
        )
    return work, rates

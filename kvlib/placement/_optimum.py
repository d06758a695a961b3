"""The exact optimum by linear or mixed-integer programming, with its bound and its prices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kvlib.checks import positive
from kvlib.placement._case import Case, Placement, Shortage
from kvlib.placement._costs import costs

__all__ = ["Prices", "Solution", "optimum"]


@dataclass(frozen=True)
class Prices:
    """What one more of each scarce thing is worth: the dual values of the optimum.

    Parameters
    ----------
    capacity : dict of str to float
        Time that a step would be shorter for one more byte in a memory [s/B].
    share_of_time : dict of str to float
        Part of the waiting that each resource is to blame for, adding up to 1: with 0.3, a resource
        that is 1 % faster saves 0.3 % of it.
    """

    capacity: dict[str, float]
    share_of_time: dict[str, float]


@dataclass(frozen=True)
class Solution:
    """A placement with the proof of how good it is.

    Parameters
    ----------
    placement : Placement
        The shares.
    time : float
        Time of a step by the solver's own account [s]; `evaluate` has the independent one.
    bound : float
        No placement of this case takes less [s].
    prices : Prices
        Dual values; where something is whole, with that fixed.
    """

    placement: Placement
    time: float
    bound: float
    prices: Prices = field(repr=False)

    @property
    def gap(self) -> float:
        """How far the time may be above the best there is, relative to it."""
        return (self.time - self.bound) / self.bound if self.bound else 0.0


def optimum(
    case: Case,
    *,
    distinguish: Sequence[str] | None = None,
    whole: bool = False,
    time_limit: float = 60.0,
    options: Iterable[str] | None = None,
) -> Solution | Shortage:
    r"""Find the shares that make a step shortest.

    .. math::

        \min \sum_k T_k \quad \text{with} \quad
        \sum_{p \in k,\, o} c_{rpo} x_{po} + f_{kr} + d_{kr} z_{kr} \le T_k, \quad
        \sum_{p,o \in m} b_p x_{po} \le C_m, \quad \sum_o x_{po} = 1, \quad x_{po} \le z_{ks(o)}

    for resources r, stages k, memories m and ways o to serve a piece p, with z in {0, 1} telling
    which sites start at all. Without delays d it is a linear program.

    Parameters
    ----------
    case : Case
        What to place.
    distinguish : sequence of str, optional
        Axes, of `kvlib.segments.LABELS`, along which shares may differ: pieces that agree in all of
        these share alike. All unless given; none makes the nature-blind optimum.
    whole : bool
        Whether KV heads of single requests are indivisible: shares come in multiples of 1 / units.
    time_limit : float
        Time after which the solver may stop [s].
    options : iterable of str, optional
        Ways to serve that may be used, as in ``map(str, case.system.options)``; all unless given.

    Returns
    -------
    Solution or Shortage
        A shortage, which is false, if the cache does not fit.

    Raises
    ------
    SolverStopped
        If the solver stopped before it proved an optimum; the message says how far it was.
    ValueError
        If `whole` is asked for together with `distinguish`.

    Notes
    -----
    HiGHS, :cite:t:`huangfu2018highs`, by SciPy.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.hardware import Link
    >>> from kvlib.placement import Case, Site, System
    >>> from kvlib.segments import Requests, State, pieces
    >>> system = System("gpu with pim", sites=(
    ...     Site(name="gpu", bandwidth=3e12, peak=900e12, capacity=80e9),
    ...     Site(name="pim", bandwidth=12e12, peak=12e12, capacity=80e9)),
    ...     links={("gpu", "pim"): Link(name="nvlink", bandwidth=450e9, latency=1e-6)}, hub="gpu")
    >>> state = State([Requests(model("llama-2-7b"), context=[2048] * 32, prefix=1024)])
    >>> found = optimum(Case(pieces=pieces(state), system=system, startup=False))
    >>> for name, row in found.placement.table().items():
    ...     print(name, {option: round(share, 3) for option, share in row.items()})
    llama-2-7b MHA {'gpu': 0.175, 'pim': 0.825}
    llama-2-7b MHA prefix x32 {'gpu': 1.0}
    """
    positive(time_limit=time_limit)
    if whole and distinguish is not None:
        raise ValueError("whole = True divides pieces one by one: leave distinguish out.")
    allowed = _allowed(case, options)
    usable = {case.system.options[o].home for o in np.flatnonzero(allowed)}
    if (short := case.shortage(usable)) is not None:
        return short
    from kvlib.placement._program import Program  # needs SciPy; whoever only bounds does not

    every = np.arange(len(case.pieces))
    groups = every if distinguish is None else case.pieces.groups(*distinguish)
    program = Program(costs(case), groups, allowed, whole)
    shares, time, bound, capacity, weights = program.solve(time_limit)
    return Solution(Placement(case, shares), time, bound, Prices(capacity, weights))


def _allowed(case: Case, options: Iterable[str] | None) -> NDArray[np.bool_]:
    names = [str(option) for option in case.system.options]
    if options is None:
        return np.ones(len(names), dtype=bool)
    chosen = set(options)
    if unknown := chosen - set(names):
        raise ValueError(f"options {sorted(unknown)} are not among {', '.join(names)}.")
    return np.array([name in chosen for name in names])

"""What a DRAM bank imposes on a processor beside it: opening rows, closing them, refresh.

Times in seconds, and of any shape: a timing parameter may be an array, to sweep it.
"""

from typing import Any

import numpy as np

from kvlib.checks import positive
from kvlib.hardware import Timing

__all__ = ["check_timing", "refreshes", "row_time"]

_ORDER = (("tCCD_S", "tCCD_L"), ("tRRD_S", "tRRD_L"), ("tRTP_S", "tRTP_L"))


def check_timing(timing: Timing) -> Timing:
    """Return the timing after checking that its parameters do not contradict each other.

    Checked are the parameters that are stated: tRAS + tRP must fit in tRC (up to the rounding of
    one clock, where tCK is stated), a row must stay open at least until it may be read, a limit
    within a bank group is no shorter than across groups, and refreshing ends before the next
    refresh is due.

    Raises
    ------
    ValueError
        If two parameters contradict each other; the message says which, and what to change.

    Examples
    --------
    >>> from kvlib.units import ns
    >>> figures = {"tRAS": 33 * ns, "tRP": 14 * ns, "tRC": 40 * ns}
    >>> check_timing(Timing(name="HBM2", parameters=figures))
    Traceback (most recent call last):
    ...
    ValueError: 'HBM2': tRAS + tRP = 33 + 14 = 47 ns exceeds tRC = 40 ns. A row that is opened at
    once again was open for tRAS and closed for tRP: raise tRC, or lower the other two.
    """
    known = timing.parameters
    positive(**dict(known))
    name = timing.name
    if {"tRAS", "tRP", "tRC"} <= set(known):
        slack = known.get("tCK", 0.0) * (1 + 1e-9) + 1e-15
        over = np.asarray(known["tRAS"] + known["tRP"] > known["tRC"] + slack)
        if np.any(over):
            ras, rp, rc = (_at(known[part], over) for part in ("tRAS", "tRP", "tRC"))
            raise ValueError(
                f"{name!r}: tRAS + tRP = {ras:g} + {rp:g} = {ras + rp:g} ns exceeds "
                f"tRC = {rc:g} ns. A row that is opened at once again was open for tRAS and closed "
                f"for tRP: raise tRC, or lower the other two."
            )
    for low, high in _ORDER:
        if {low, high} <= set(known):
            over = np.asarray(known[low] > known[high] * (1 + 1e-9))
            if np.any(over):
                raise ValueError(
                    f"{name!r}: {low} = {_at(known[low], over):g} ns exceeds "
                    f"{high} = {_at(known[high], over):g} ns. {low} can be at most {high}."
                )
    if {"tRFC", "tREFI"} <= set(known):
        over = np.asarray(known["tRFC"] >= known["tREFI"])
        if np.any(over):
            raise ValueError(
                f"{name!r}: a refresh takes tRFC = {_at(known['tRFC'], over):g} ns but one is due "
                f"every tREFI = {_at(known['tREFI'], over):g} ns: nothing else would ever run. "
                f"Check the units of the two."
            )
    return timing


def row_time(macs: Any, timing: Timing, openings: Any = 1) -> Any:
    r"""Time from opening a row in all banks until the next row may be opened [s].

    .. math::

        t = \max\bigl(t_\text{open} + (c - 1)\,t_\text{MAC} + t_\text{RTP},\;
            (o - 1)\,t_\text{FAW} + t_\text{RAS}\bigr) + t_\text{RP}, \qquad
        t_\text{open} = (o - 1)\,t_\text{FAW} + t_\text{RCD}

    and no less than tRC, where it is stated.

    Parameters
    ----------
    macs : int or array
        Multiply-add commands c that read columns of the open row.
    timing : Timing
        States tRCD, tRP, tRAS, tRTP and tMAC; tRC if it binds; tFAW if a row takes several
        openings.
    openings : int or array
        Activation windows o that opening the row in all banks takes: 1 with a command that opens
        all of them at once.

    Notes
    -----
    The constraints are those of JEDEC's DRAM standards, as the simulators of
    :cite:t:`park2024attacc` and :cite:t:`gu2025cent` apply them to all-bank commands.

    Examples
    --------
    One row of GDDR6-AiM, 2 KiB in columns of 32 bytes, takes 113 ns for 64 ns of multiplying:

    >>> from kvlib import device
    >>> from kvlib.nearmemory import gddr6_aim
    >>> print(f"{row_time(64, gddr6_aim().timing) * 1e9:.0f} ns")
    113 ns
    """
    windows = (openings - 1) * (timing["tFAW"] if np.any(np.asarray(openings) > 1) else 0.0)
    streaming = timing["tRCD"] + (macs - 1) * timing["tMAC"] + timing["tRTP"]
    closed = windows + np.maximum(streaming, timing["tRAS"]) + timing["tRP"]
    return np.maximum(closed, timing["tRC"]) if "tRC" in timing.parameters else closed


def refreshes(last_chance: Any, timing: Timing) -> Any:
    r"""Refreshes that fall into an operation which starts just after one.

    A refresh is due every tREFI and waits until the rows are closed, so the last that delays the
    operation is the last that is due when its last row opens, at time B if nothing were refreshed:

    .. math:: n = \Bigl\lfloor \frac{B - t_\text{RFC}}{t_\text{REFI} - t_\text{RFC}} \Bigr\rfloor

    Parameters
    ----------
    last_chance : float or array
        B [s].
    timing : Timing
        States tRFC and tREFI.

    Examples
    --------
    >>> from kvlib.units import ns, us
    >>> timing = Timing(name="HBM3", parameters={"tRFC": 350 * ns, "tREFI": 3.9 * us})
    >>> [float(refreshes(time * us, timing)) for time in (1, 4, 40)]
    [0.0, 1.0, 11.0]
    """
    pause, interval = timing["tRFC"], timing["tREFI"]
    count = np.floor((last_chance - pause) / (interval - pause) * (1 + 1e-12))
    return np.maximum(count, 0.0)


def _at(value: Any, where: np.ndarray[Any, Any]) -> float:
    """First offending value, in nanoseconds."""
    values = np.broadcast_to(np.asarray(value, dtype=float), where.shape)
    return round(float(values[where].flat[0] if where.ndim else values) * 1e9, 6)

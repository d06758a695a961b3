"""What each risk of managing a cache costs, as functions of sizes, devices and links.

All of them broadcast over arrays. Time on a device comes from `kvlib.roofline`, on a link from
`kvlib.network`; nothing here queues, so what a stall does to others waiting is not counted.
"""

from statistics import NormalDist
from typing import Any

import numpy as np

from kvlib.checks import fraction, positive, whole
from kvlib.hardware import Device
from kvlib.operators import plain
from kvlib.phases import prefill
from kvlib.roofline import step_time
from kvlib.workload import Transformer

__all__ = [
    "affected", "copy_time", "last_page_waste", "live_migration", "probes", "recompute_time",
    "tiered_read_time", "used_share",
]  # fmt: skip


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


def recompute_time(
    model: Transformer,
    device: Device,
    tokens: Any,
    *,
    cached: Any = 0,
    precision: str = "bf16",
) -> Any:
    """Time of the prefill that rebuilds keys and values behind `cached` tokens [s].

    Parameters
    ----------
    model : Transformer
        The model.
    device : Device
        The GPU; its architecture must have been measured.
    tokens : int or array
        All tokens of the sequence.
    cached : int or array
        Those whose keys and values are there; fewer than `tokens`, for the last one must be run to
        get the next.
    precision : str
        Number format.

    Raises
    ------
    ValueError
        If nothing is left to run.

    Examples
    --------
    >>> from kvlib import device, model
    >>> from kvlib.units import ms
    >>> t = recompute_time(model("llama-3.1-8b"), device("h100-sxm-80gb"), 4096)
    >>> print(f"{t / ms:.0f} ms")
    86 ms
    """
    whole(tokens=tokens)
    whole(True, cached=cached)
    if np.any(np.asarray(tokens) <= cached):
        raise ValueError(f"{cached} of {tokens} tokens are cached: at least one must be run.")
    new = np.asarray(tokens) - cached
    step = prefill(model, batch=1, prompt=plain(new), cached=cached, precision=precision)
    return plain(step_time(step, device, precision=precision).total)


def copy_time(bytes: Any, bandwidth: Any, *, copies: Any = 1, overhead: Any = 0.0) -> Any:
    r"""Time to move bytes in several copies, one after another [s].

    .. math:: t = n\,t_0 + Q / B

    Parameters
    ----------
    bytes : float or array
        All bytes Q [B].
    bandwidth : float or array
        Bandwidth B of the path, one direction [B/s].
    copies : int or array
        Copies n: pieces that are not contiguous at both ends.
    overhead : float or array
        Time :math:`t_0` that each copy costs beside its bytes [s].

    Examples
    --------
    >>> from kvlib.units import GB, MB, ms, s, us
    >>> t = copy_time(512 * MB, 64 * GB / s, copies=16384, overhead=1 * us)
    >>> print(f"{t / ms:.1f} ms")
    24.4 ms
    """
    positive(True, bytes=bytes, overhead=overhead)
    positive(bandwidth=bandwidth)
    whole(copies=copies)
    return plain(copies * overhead + bytes / bandwidth)


def live_migration(bytes: Any, bandwidth: Any, append_rate: Any, step: Any) -> tuple[Any, Any]:
    r"""Time to move a growing cache while it is read, and the pause at the end [s].

    What was appended during a round of copying is copied in the next one, until what is left takes
    less than a step.

    .. math::

        t = \frac{Q/B}{1 - a/B}, \qquad t_\text{pause} \le \frac{a\,t_\text{step}}{B}

    Parameters
    ----------
    bytes : float or array
        Cache at the start, Q [B].
    bandwidth : float or array
        Bandwidth B of the path [B/s].
    append_rate : float or array
        Rate a at which the cache grows [B/s].
    step : float or array
        Time of one decode step [s].

    Raises
    ------
    ValueError
        If the cache grows as fast as it is copied: it would never end.

    Examples
    --------
    >>> total, pause = live_migration(1e9, 50e9, append_rate=1e7, step=0.01)
    >>> print(f"{total * 1e3:.1f} ms, of them {pause * 1e6:.0f} us without tokens")
    20.0 ms, of them 2 us without tokens
    """
    positive(True, bytes=bytes, append_rate=append_rate)
    positive(bandwidth=bandwidth, step=step)
    if np.any(np.asarray(append_rate) >= bandwidth):
        raise ValueError(
            f"the cache grows by {append_rate} B/s and is copied at {bandwidth} B/s: it never ends."
        )
    return plain(bytes / (bandwidth - append_rate)), plain(append_rate * step / bandwidth)


def tiered_read_time(bytes: Any, slow_share: Any, fast: Any, slow: Any) -> Any:
    """Time to read a cache once of which a part lies behind a slower path, both at once [s].

    Parameters
    ----------
    bytes : float or array
        Bytes read [B].
    slow_share : float or array
        Part of them on the slower path.
    fast, slow : float or array
        Bandwidths [B/s].

    Examples
    --------
    >>> tiered_read_time(100.0, 0.25, fast=10.0, slow=1.0)
    25.0
    """
    positive(True, bytes=bytes, slow_share=slow_share)
    positive(fast=fast, slow=slow)
    if np.any(np.asarray(slow_share) > 1):
        raise ValueError(f"slow_share = {slow_share} is a part of the bytes and at most 1.")
    return plain(np.maximum((1 - slow_share) * bytes / fast, slow_share * bytes / slow))


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

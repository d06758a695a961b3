"""Time that managing a cache costs: to rebuild it, to copy it, to move it, to read it in two tiers.

All of them broadcast over arrays. Time on a device comes from `kvlib.roofline`; a link has a
bandwidth and no queue, so what a stall does to others waiting is not counted.
"""

from typing import Any

import numpy as np

from kvlib.checks import positive, whole
from kvlib.hardware import Device
from kvlib.operators import plain
from kvlib.phases import prefill
from kvlib.roofline import step_time
from kvlib.workload import Transformer

__all__ = ["copy_time", "live_migration", "recompute_time", "tiered_read_time"]


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

"""Time on links: one transfer, and the collectives of ranks that share a model.

A transfer over a link takes its latency, then its bytes at the link's bandwidth. A collective is
made of such transfers, and libraries know several ways to do it, each the fastest at some size:

- ring: each of the `ranks` passes a part to its neighbour, `ranks - 1` times to gather or to
  scatter, twice that to reduce everywhere. NCCL has three protocols for it: LL sends a flag with
  every word and waits for nothing else, LL128 a flag with every 120 bytes, Simple waits for whole
  chunks but fills the link;
- pairwise: each rank sends to every other one at the same time;
- in-switch (NVLink SHARP): the switch adds up what it forwards;
- one-shot and two-shot: each rank reads the memory of the others, either all of it, or its own
  part before it reads the sums of the others. Serving engines use them for the short messages of
  decode.

The model knows each way by three constants (`Algorithm`) and takes the fastest. All ranks hang on
one switch, each with a link of the same bandwidth.

>>> from kvlib.hardware import Link
>>> from kvlib.units import GB, ms, s, us
>>> network = Link(name="network", bandwidth=50 * GB / s, latency=2 * us)
>>> cache = 4096 * 80 * 2 * 8 * 128 * 2  # tokens, layers, K and V, KV heads, head_dim, bytes
>>> print(f"{cache / GB:.2f} GB in {transfer_time(network, cache) / ms:.1f} ms")
1.34 GB in 26.8 ms
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Self

import numpy as np

from kvlib.checks import choose, fraction, positive, whole
from kvlib.hardware import Link, UnknownFigure
from kvlib.operators import plain
from kvlib.parallel import Collective

__all__ = [
    "COLLECTIVES", "Algorithm", "CollectiveKernels",
    "collective_time", "exchange_time", "link_bytes", "transfer_time",
]  # fmt: skip

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")
"""What ranks can exchange."""

_RING_PASSES = {"all_gather": 1, "reduce_scatter": 1, "all_reduce": 2}


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Measured constants of one way to do a collective.

    Parameters
    ----------
    latency : float
        Time that does not depend on ranks or bytes: start, first and last synchronisation [s].
    hop : float
        Time of each further step, such as one flag across the link [s].
    bandwidth_fraction : float
        Sustained part of the link's datasheet bandwidth, in (0, 1].

    Raises
    ------
    ValueError
        If a constant is outside its range.
    """

    latency: float
    hop: float = 0.0
    bandwidth_fraction: float

    def __post_init__(self) -> None:
        positive(True, latency=self.latency, hop=self.hop)
        fraction(bandwidth_fraction=self.bandwidth_fraction)

    def time(self, steps: Any, sent: Any, bandwidth: Any) -> Any:
        """Time of `steps` steps in which each link carries `sent` bytes in one direction [s]."""
        return self.latency + steps * self.hop + sent / (self.bandwidth_fraction * bandwidth)


@dataclass(frozen=True, kw_only=True)
class CollectiveKernels:
    """Measured collectives of one GPU architecture; a way that it lacks is None.

    Parameters
    ----------
    copy_rate : float
        Rate at which a rank copies its own part from the input to the output [B/s].
    ring_ll, ring_ll128, ring_simple : Algorithm
        Rings of NCCL by protocol.
    pairwise_ll, pairwise_simple : Algorithm
        Sends and receives of NCCL, by protocol.
    in_switch : Algorithm
        All-reduce in the switch, by NCCL.
    one_shot, two_shot : Algorithm
        All-reduce by reading the memory of the other ranks, as serving engines do.

    Raises
    ------
    ValueError
        If the copy rate is not above zero.
    """

    copy_rate: float
    ring_ll: Algorithm | None = None
    ring_ll128: Algorithm | None = None
    ring_simple: Algorithm | None = None
    pairwise_ll: Algorithm | None = None
    pairwise_simple: Algorithm | None = None
    in_switch: Algorithm | None = None
    one_shot: Algorithm | None = None
    two_shot: Algorithm | None = None

    def __post_init__(self) -> None:
        positive(copy_rate=self.copy_rate)

    @classmethod
    def from_figures(cls, figures: Mapping[str, Any]) -> Self:
        """Build from the tables of a card: `copy_rate`, and a table of constants per algorithm.

        Raises
        ------
        UnknownName
            If there is no algorithm of that name.

        Examples
        --------
        >>> card = {"copy_rate": 8e11, "ring_ll": {"latency": 4.4e-6, "bandwidth_fraction": 0.03}}
        >>> CollectiveKernels.from_figures(card).ring_ll.hop
        0.0
        """
        known = [field.name for field in fields(cls)]
        parts: dict[str, Any] = {}
        for name, part in figures.items():
            choose(name, known, "collective algorithm")
            parts[name] = Algorithm(**part) if isinstance(part, Mapping) else part
        return cls(**parts)


def transfer_time(link: Link, bytes: Any) -> Any:
    r"""Time to move bytes over a link that carries nothing else [s].

    .. math:: t = t_\text{latency} + Q / B

    Parameters
    ----------
    link : Link
        Path with a bandwidth [B/s] and a latency [s].
    bytes : float or array
        Size of the message [B].

    Raises
    ------
    UnknownFigure
        If no source states the link's bandwidth or latency; what is assumed must be said, as in
        ``link.replace(latency=2e-6)``.
    ValueError
        If the bytes are negative or not finite.

    Examples
    --------
    >>> from kvlib.units import GB, s, us
    >>> link = Link(name="pcie", bandwidth=63 * GB / s, latency=1 * us)
    >>> print(f"{transfer_time(link, 63e6) / us:.0f} us")
    1001 us
    """
    positive(True, bytes=bytes)
    return plain(link.latency + bytes / link.bandwidth)


def link_bytes(collective: str, ranks: Any, message_bytes: Any) -> Any:
    r"""Bytes that a collective must move over each link, in the busier direction [B].

    .. math::

        Q = \begin{cases}
            S (n - 1) / n & \text{all-gather, reduce-scatter, all-to-all} \\
            2 S (n - 1) / n & \text{all-reduce} \\
            S & \text{send}
        \end{cases}

    for n ranks and a message of S bytes; nothing for n = 1. A switch that adds up lowers the bytes
    of an all-reduce to :math:`S (n + 1) / n`.

    Parameters
    ----------
    collective, ranks, message_bytes
        As in `collective_time`.

    Notes
    -----
    Divided by the time, it is what nccl-tests calls the bus bandwidth.

    Examples
    --------
    >>> link_bytes("all_reduce", 8, 1e6)
    1750000.0
    """
    choose(collective, COLLECTIVES, "collective")
    whole(ranks=ranks)
    positive(True, message_bytes=message_bytes)
    several, message = ranks > 1, message_bytes * 1.0  # products of integers could overflow
    if collective == "send":
        return plain(several * message)
    return plain(_RING_PASSES.get(collective, 1) * message * (ranks - 1) / ranks)


def collective_time(
    collective: str,
    ranks: Any,
    message_bytes: Any,
    *,
    bandwidth: Any,
    kernels: CollectiveKernels,
    direct: bool = False,
) -> Any:
    r"""Time of the fastest way to do a collective among ranks on one switch [s].

    .. math:: t = \min_a \left[ t_a + k_a h_a + \frac{Q_a}{\varphi_a B} + \frac{o_a}{c} \right]

    =========== ================ ====================== ======= ================================
    a           steps k          bytes on a link Q      own o   does
    =========== ================ ====================== ======= ================================
    ring        n - 1            S (n - 1) / n          S / n   all-gather, reduce-scatter
    ring        2 (n - 1)        2 S (n - 1) / n        S / n   all-reduce
    in-switch   0                S (n + 1) / n          0       all-reduce
    one-shot    n - 1            S (n - 1)              0       all-reduce
    two-shot    n - 1            2 S (n - 1) / n        0       all-reduce
    pairwise    n - 1            S (n - 1) / n          S / n   all-to-all
    pairwise    1                S                      0       send
    =========== ================ ====================== ======= ================================

    with latency :math:`t_a`, time per step :math:`h_a` and fraction :math:`\varphi_a` of each
    `Algorithm`, n ranks, S bytes, bandwidth B and copy rate c.

    Parameters
    ----------
    collective : {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"}
        What is exchanged; `send` is a message from one rank to another.
    ranks : int or array
        Ranks that take part. One rank alone has nothing to exchange and takes no time.
    message_bytes : float or array
        Size S of the message as nccl-tests counts it: the larger one of a rank's two buffers [B].
        That is the *gathered* result of an all-gather, and what each rank puts in for all others.
    bandwidth : float or array
        Datasheet bandwidth of one rank's link to the switch, one direction [B/s].
    kernels : CollectiveKernels
        Constants of the architecture.
    direct : bool
        Whether all-reduce kernels that read the memory of the other ranks are at hand besides
        NCCL, as in serving engines; other collectives take no notice.

    Returns
    -------
    float or array
        Time, in the broadcast shape of ranks, bytes and bandwidth [s].

    Raises
    ------
    UnknownName
        If the collective is unknown.
    UnknownFigure
        If no way to do it was measured on the architecture, or none of the `direct` ones.
    ValueError
        If ranks are not whole numbers above zero, bytes are negative, or the bandwidth is not
        above zero.

    Notes
    -----
    Never faster than the link: every constant only slows a message down.
    Fitted on 2 and 8 ranks in one box and on 512 bytes to 512 MiB; a `send` was not measured alone,
    it takes the constants of an all-to-all. NCCL switches between its protocols by a table of its
    own, not always at the best size: near 2 MiB this can be 40 % less than measured.

    Examples
    --------
    The all-reduce of one token's hidden state (8192 x 2 bytes) among 8 H100 took 16.6 us by NCCL,
    and 3.6 us by a kernel that reads the memory of the others:

    >>> from kvlib.units import GB, s, us
    >>> hopper = CollectiveKernels(
    ...     copy_rate=745 * GB / s,
    ...     ring_ll=Algorithm(latency=4.36 * us, hop=0.82 * us, bandwidth_fraction=0.0238),
    ...     ring_ll128=Algorithm(latency=5.31 * us, hop=0.82 * us, bandwidth_fraction=0.354),
    ...     one_shot=Algorithm(latency=2.42 * us, hop=0.115 * us, bandwidth_fraction=0.686))
    >>> for direct in (False, True):
    ...     t = collective_time("all_reduce", 8, 8192 * 2, bandwidth=450 * GB / s, kernels=hopper,
    ...                         direct=direct)
    ...     print(f"{t / us:.1f} us")
    17.0 us
    3.6 us
    """
    choose(collective, COLLECTIVES, "collective")
    whole(ranks=ranks)
    positive(True, message_bytes=message_bytes)
    positive(bandwidth=bandwidth)
    times: dict[str, Any] = {}
    for name, steps, sent, own in _ways(collective, ranks * 1.0, message_bytes * 1.0, direct):
        algorithm: Algorithm | None = getattr(kernels, name)
        if algorithm is not None:
            times[name] = algorithm.time(steps, sent, bandwidth) + own / kernels.copy_rate
    unmeasured = direct and collective == "all_reduce" and not {"one_shot", "two_shot"} & set(times)
    if not times or unmeasured:
        raise UnknownFigure(
            f"{'direct ' * unmeasured}{collective} was not measured on this architecture: its "
            f"kernels state no algorithm for it. Add one with its source; link_bytes / bandwidth "
            f"is the least it can take."
        )
    return plain(((ranks > 1) & (message_bytes > 0)) * reduce(np.minimum, times.values()))


def exchange_time(
    collective: Collective, *, bandwidth: Any, kernels: CollectiveKernels, direct: bool = False
) -> Any:
    """Time of one message of a split model [s].

    Parameters
    ----------
    collective : Collective
        What the ranks tell each other; its bytes are those that each rank puts in.
    bandwidth, kernels, direct
        As in `collective_time`.

    Examples
    --------
    >>> from kvlib.units import GB, s, us
    >>> ring = Algorithm(latency=5.31 * us, hop=0.82 * us, bandwidth_fraction=0.354)
    >>> hopper = CollectiveKernels(copy_rate=745 * GB / s, ring_ll128=ring)
    >>> logits = Collective("all_gather", ranks=8, bytes=32 * 16032 * 2, after="lm_head")
    >>> print(f"{exchange_time(logits, bandwidth=450 * GB / s, kernels=hopper) / us:.1f} us")
    57.5 us
    """
    gathered = collective.ranks if collective.kind == "all_gather" else 1
    return collective_time(
        collective.kind, collective.ranks, collective.bytes * gathered,
        bandwidth=bandwidth, kernels=kernels, direct=direct,
    )  # fmt: skip


def _ways(
    collective: str, ranks: Any, message: Any, direct: bool
) -> Iterator[tuple[str, Any, Any, Any]]:
    """Yield name, steps, bytes on each link and bytes copied at home of each algorithm."""
    part = message / ranks
    others = ranks - 1
    if collective in _RING_PASSES:
        passes = _RING_PASSES[collective]
        for protocol in ("ring_ll", "ring_ll128", "ring_simple"):
            yield protocol, passes * others, passes * others * part, part
    if collective == "all_reduce":
        yield "in_switch", 0, (ranks + 1) * part, 0
        if direct:
            yield "one_shot", others, others * message, 0
            yield "two_shot", others, 2 * others * part, 0
    for protocol in ("pairwise_ll", "pairwise_simple"):
        if collective == "all_to_all":
            yield protocol, others, others * part, part
        if collective == "send":
            yield protocol, 1, message, 0

"""A box against more of its GPUs: at equal capacity, equal power and equal cost."""

from dataclasses import dataclass

from kvlib.catalogue import device
from kvlib.nearmemory import attacc
from kvlib.placement import Placement, Shortage, bank_level_site, evaluate, single
from kvlib.quoted import Quoted
from kvlib.study._boxes import GPU, alone, box
from kvlib.study._effects import tokens_per_second
from kvlib.study._points import Point, case
from kvlib.systems.cent import cost_share

__all__ = [
    "BreakEven", "as_many_gpus", "break_even", "capacity_ratio", "power_ratio", "price_ratio",
]  # fmt: skip

_POWERS = {"CENT": ("cent-system", 1), "host": ("xeon-6980p", 2)}
"""Cards that state what stands beside eight GPUs draws, and how many of them do."""


@dataclass(frozen=True)
class BreakEven:
    r"""How many nodes of GPUs alone do what a box does.

    k nodes that serve N / k requests each in the time in which the box serves N give the same
    tokens a second with the same step, so the box pays if it costs less than k of them in whatever
    is counted, capacity, power or price:

    .. math:: k = N \big/ \max\{ n : T_\text{GPUs}(n) \le T_\text{box}(N) \}

    Parameters
    ----------
    many : int
        Requests that the box serves, N.
    each : int
        Requests of each node, n; it must hold them.
    seconds : float
        Time of a step [s].
    tokens : float
        Tokens a second of the box, and of the k nodes but for rounding [1/s].
    """

    many: int
    each: int
    seconds: float
    tokens: float

    @property
    def nodes(self) -> float:
        """Nodes of GPUs alone, k."""
        return self.many / self.each

    @property
    def worth(self) -> float:
        """What stands beside the GPUs may cost at most, in parts of the GPUs."""
        return self.nodes - 1


def break_even(point: Point) -> BreakEven:
    """Find how many nodes of GPUs alone do what a box does.

    Parameters
    ----------
    point : Point
        The point, with its batch.

    Raises
    ------
    ValueError
        If the box does not hold the cache, or GPUs alone do not serve one request in its time.

    Examples
    --------
    >>> found = break_even(Point("llama-2-7b", "AttAcc", "chat", many=160, gpus=1))
    >>> print(f"{found.nodes:.2f} nodes: units worth {found.worth:.2f} of the GPUs beside them")
    4.32 nodes: units worth 3.32 of the GPUs beside them
    """
    tokens, seconds = tokens_per_second(point)
    each, more = 0, point.many + 1
    while tokens and more - each > 1:
        middle = (each + more) // 2
        found = _gpus(point.replace(many=middle))
        within = isinstance(found, Placement) and evaluate(found).time <= seconds * (1 + 1e-9)
        each, more = (middle, more) if within else (each, middle)
    if not each:
        raise ValueError(f"{point} is not served by its box, or by no number of GPUs in its time.")
    return BreakEven(point.many, each, seconds, tokens)


def capacity_ratio(name: str) -> float:
    """Memory of a box over that of its GPUs: nodes of equal capacity.

    Examples
    --------
    >>> {name: round(capacity_ratio(name), 2) for name in ("AttAcc", "NeuPIMs", "CXL-PNM")}
    {'AttAcc': 1.68, 'NeuPIMs': 1.0, 'CXL-PNM': 5.03}
    """
    system = box(name)
    rooms = [system[memory].capacity for memory in system.memories]
    return sum(rooms) / system["gpu"].capacity


def power_ratio(name: str) -> Quoted | None:
    """Power of a box over that of its GPUs, None where no source states what is beside them draws.

    GPUs count with their datasheet's maximum. AttAcc's units count with what their simulator spends
    on reading and computing at full rate: no refresh, no standby, no link, so it is a lower bound.
    Of a host only the processors count.

    Examples
    --------
    >>> for name in ("AttAcc", "CENT", "CXL-PNM"):
    ...     print(name, power_ratio(name))
    AttAcc 1.17
    CENT 1.19
    CXL-PNM None
    """
    gpus = 8 * float(device(GPU).power)
    if name == "AttAcc":
        units = bank_level_site(attacc("bank"), count=8)
        watts = (units.energy_per_flop or 0.0) * units.peak
        return Quoted(1 + watts / gpus, source="attacc2024repo", basis="derived", unit="1")
    if name not in _POWERS:
        return None
    card, count = _POWERS[name]
    stated = device(card).power
    if not isinstance(stated, Quoted):
        raise TypeError(f"the power of {card!r} was changed: a what-if has no source.")
    return Quoted(1 + count * stated / gpus, source=stated.source, basis=stated.basis, unit="1")


def price_ratio(name: str) -> Quoted | None:
    """Price of a box over that of its GPUs, None where no source states one: an upper bound.

    Of CENT alone: its authors give the cost of 32 devices in that of four A100s, and an H200 does
    not cost less than an A100.

    Examples
    --------
    >>> print(price_ratio("CENT"), price_ratio("AttAcc"))
    1.21 None
    """
    if name != "CENT":
        return None
    a100s = 4.0 / cost_share(gpus=4, devices=32)
    return Quoted(1 + a100s / 8, source="cent2025repo", basis="derived", unit="1")


def as_many_gpus(point: Point, nodes: float) -> float:
    """Tokens a second of several nodes of GPUs alone that share a point's requests evenly.

    Parameters
    ----------
    point : Point
        The point; its box only says what is compared.
    nodes : float
        Nodes, not necessarily whole: each serves so much less than all.

    Returns
    -------
    float
        Tokens a second of all nodes [1/s]; 0 if a node does not hold its part.

    Examples
    --------
    >>> round(as_many_gpus(Point("llama-3.1-70b", "AttAcc", "chat", many=512), 2.0))
    27894
    """
    found = _gpus(point.replace(many=max(round(point.many / nodes), 1)))
    return nodes * evaluate(found).throughput if isinstance(found, Placement) else 0.0


def _gpus(point: Point) -> Placement | Shortage:
    """Put a point's cache into its GPUs alone."""
    placed = case(point)
    return single(placed.replace(system=alone(placed.system)), "gpu")

"""The time of one step under a placement, from first principles: every gain is recomputed here.

Nothing is shared with the arrays that the optimum and the rules work on. Each piece is walked
through in each way it is served, and whatever it occupies is entered in a ledger.
"""

from collections import defaultdict
from dataclasses import dataclass

from kvlib.placement._case import Case, Placement
from kvlib.placement._system import System

__all__ = ["Outcome", "evaluate"]

_NEGLIGIBLE = 1e-9  # share of a piece below which an executor is not started


@dataclass(frozen=True)
class Outcome:
    """One step under one placement.

    Parameters
    ----------
    time : float
        Time of the step [s].
    attention : float
        Part of it in which attention is waited for [s].
    busy : dict of str to float
        Time that each processor, shared memory and direction of a link is busy in the step [s].
    moved : dict of str to float
        Bytes over each link in each direction [B].
    held : dict of str to float
        Bytes of cache in each memory [B].
    dynamic_energy, static_energy, cost : float or None
        Energy of attention and its traffic [J], energy drawn whatever is done [J], and cost of the
        step [USD]; None if a site or link that counts states no figure for it.
    tokens : float
        Tokens gained in the step.
    """

    time: float
    attention: float
    busy: dict[str, float]
    moved: dict[str, float]
    held: dict[str, float]
    dynamic_energy: float | None
    static_energy: float | None
    cost: float | None
    tokens: float

    @property
    def throughput(self) -> float:
        """Tokens per second [1/s]."""
        return self.tokens / self.time

    @property
    def cost_per_token(self) -> float | None:
        """Cost of a token [USD]."""
        return None if self.cost is None else self.cost / self.tokens


class _Ledger:
    """Seconds by stage and resource, bytes by link, joules."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.seconds: dict[tuple[int, str], float] = defaultdict(float)
        self.bytes: dict[str, float] = defaultdict(float)
        self.joules: float | None = 0.0
        self.links = list(system.links.items())

    def read(self, stage: int, site: str, seconds: float) -> None:
        """Keep a site busy with its memory, and all others that take turns there."""
        self.seconds[stage, site] += seconds
        memory = self.system.memory(site)
        if memory in self.system.shared:
            self.seconds[stage, f"memory of {memory}"] += seconds

    def send(self, stage: int, start: str, end: str, size: float) -> None:
        """Send bytes along the shortest path."""
        for hop in self.system.path(start, end):
            (a, b), link = self.links[hop.link]
            name = f"{a} to {b}" if hop.direction > 0 else f"{b} to {a}"
            self.seconds[stage, name] += size / float(link.bandwidth)
            self.bytes[name] += size
            self.spend(size, link.energy if hasattr(link, "energy") else None)

    def spend(self, amount: float, each: float | None) -> None:
        """Add energy, or forget it all where a figure is unknown."""
        if amount and (self.joules is None or each is None):
            self.joules = None
        elif amount and self.joules is not None and each is not None:
            self.joules += amount * float(each)


def evaluate(placement: Placement) -> Outcome:
    """Time, traffic, energy and cost of one step.

    Parameters
    ----------
    placement : Placement
        Shares of all pieces.

    Returns
    -------
    Outcome
        Under the schedule of ``placement.case``.

    Examples
    --------
    >>> from kvlib import model
    >>> from kvlib.placement import Case, Placement, Site, System
    >>> from kvlib.segments import Requests, State, pieces
    >>> gpu = Site(name="gpu", bandwidth=3e12, peak=900e12, capacity=80e9)
    >>> case = Case(pieces=pieces(State([Requests(model("llama-3-8b"), context=[8192] * 32)])),
    ...             system=System("gpu", sites=(gpu,), links={}, hub="gpu"), dense=5e-3)
    >>> print(f"{1e3 * evaluate(Placement(case, share=[[1.0]])).time:.2f} ms")
    16.45 ms
    """
    case, ledger = placement.case, _Ledger(placement.case.system)
    system, pieces, hub = case.system, case.pieces, case.system.hub
    used: set[tuple[int, str]] = set()
    at: dict[tuple[int, str], float] = defaultdict(float)
    for p in range(len(pieces)):
        stage = 0 if case.schedule == "pipelined" else int(pieces.stage[p])
        for option, share in zip(system.options, placement.share[p], strict=True):
            if share > 0:
                _serve(ledger, case, p, stage, option.home, option.executor, float(share))
                at[p, option.executor] += float(share)
                if pieces.touched[p] > 0 and share > _NEGLIGIBLE:
                    used.add((int(pieces.stage[p]), option.executor))
    for keys, values in pieces.parted:
        stage = 0 if case.schedule == "pipelined" else int(pieces.stage[keys])
        for site in system.sites:
            apart = (at[keys, site.name] - at[values, site.name]) * float(pieces.scores[keys])
            ledger.send(stage, site.name, hub, max(apart, 0.0))
            ledger.send(stage, hub, site.name, max(-apart, 0.0))
    for number, executor in used:
        stage = 0 if case.schedule == "pipelined" else number
        ledger.seconds[stage, executor] += case.delay(number, executor)
    attention = _waits(ledger)
    if case.schedule == "barrier":
        total = case.outside + float(case.dense.sum()) + attention
    else:
        for number, seconds in enumerate(case.dense):
            ledger.read(0 if case.schedule == "pipelined" else number, hub, float(seconds))
        total = case.outside + _waits(ledger)
        attention = max(total - case.outside - float(case.dense.sum()), 0.0)
    busy: dict[str, float] = defaultdict(float)
    for (_, resource), seconds in ledger.seconds.items():
        busy[resource] += seconds
    powers = [site.power for site in system.sites]
    prices = [site.price for site in system.sites]
    return Outcome(
        time=total,
        attention=attention,
        busy=dict(busy),
        moved=dict(ledger.bytes),
        held=placement.held,
        dynamic_energy=ledger.joules,
        static_energy=None if None in powers else total * sum(p for p in powers if p is not None),
        cost=None if None in prices else total * sum(p for p in prices if p is not None),
        tokens=case.tokens,
    )


def _serve(
    ledger: _Ledger, case: Case, p: int, stage: int, home: str, executor: str, share: float
) -> None:
    """Enter what a share of a piece occupies when it lives here and is worked on there."""
    pieces, system = case.pieces, case.system
    hub, memory, site = system[system.hub], system[home], system[executor]
    touched, flop = share * float(pieces.touched[p]), share * float(pieces.flop[p])
    if system.memory(executor) == home:
        ledger.read(stage, executor, max(touched / site.bandwidth, flop / site.peak))
        ledger.spend(touched, site.energy_per_byte)
    else:
        ledger.read(stage, home, touched / memory.bandwidth)
        ledger.spend(touched, memory.energy_per_byte_out)
        ledger.send(stage, home, executor, touched)
        ledger.seconds[stage, executor] += flop / site.peak
    ledger.spend(flop, site.energy_per_flop)
    appended = share * float(pieces.appended[p])
    ledger.read(stage, home, appended / memory.bandwidth)
    ledger.send(stage, system.hub, home, appended + share * float(pieces.renewed[p]))
    ledger.send(stage, system.hub, executor, share * float(pieces.queries[p]))
    ledger.send(stage, executor, system.hub, share * float(pieces.results[p]))
    if system.path(executor, system.hub):
        ledger.read(stage, system.hub, share * float(pieces.results[p]) / hub.bandwidth)


def _waits(ledger: _Ledger) -> float:
    """Sum over stages of the time of the busiest resource [s]."""
    longest: dict[int, float] = defaultdict(float)
    for (stage, _), seconds in ledger.seconds.items():
        longest[stage] = max(longest[stage], seconds)
    return sum(longest.values())

"""Where a piece can live and what can work on it there: sites, and the links between them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from kvlib.checks import choose, positive
from kvlib.hardware import Link
from kvlib.operators import plain

__all__ = ["Hop", "Option", "Site", "System"]


class Option(NamedTuple):
    """A way to serve a piece: the memory it lives in, and the processor that works on it."""

    home: str
    executor: str

    def __str__(self) -> str:
        return self.home if self.home == self.executor else f"{self.home} to {self.executor}"


class Hop(NamedTuple):
    """One link on a path, in one direction: +1 as it was declared, -1 against it."""

    link: int
    direction: int


@dataclass(frozen=True, kw_only=True)
class Site:
    """A memory with a processor beside it, by what they sustain.

    Parameters
    ----------
    name : str
        Its name.
    bandwidth : float
        Rate at which the processor reads the memory [B/s].
    peak : float
        Rate at which it computes attention [flop/s]; 0 for a memory that only stores.
    capacity : float
        Bytes the memory holds [B]; 0 for a processor in another site's memory.
    beside : str, optional
        The site in whose memory this processor works, as bank-level units do in a GPU's HBM.
    dual_row_buffers : bool
        Whether it and the owner of that memory can read at the same time. If not, their times add.
    latency : float
        Time lost in each layer in which the site is used at all [s].
    energy_per_byte, energy_per_flop : float, optional
        Energy of reading a byte and of an operation [J]; None if no source states it.
    energy_per_byte_out : float, optional
        Energy of reading a byte of its memory for a processor elsewhere [J]; that of reading it
        here unless given. It must be said where reading counts with the operations.
    power : float, optional
        Power drawn whatever is done [W]; None if no source states it.
    price : float, optional
        Cost of having it for a second [USD/s]; None if not stated.

    Raises
    ------
    ValueError
        If a figure is negative, or a site has both a memory of its own and another's.
    """

    name: str
    bandwidth: float
    peak: float
    capacity: float
    beside: str | None = None
    dual_row_buffers: bool = False
    latency: float = 0.0
    energy_per_byte: float | None = None
    energy_per_flop: float | None = None
    power: float | None = None
    price: float | None = None
    energy_per_byte_out: float | None = None

    def __post_init__(self) -> None:
        positive(**{f"bandwidth of {self.name!r}": self.bandwidth})
        figures = ("peak", "capacity", "latency", "energy_per_byte", "energy_per_flop", "power")
        if self.energy_per_byte_out is None and self.energy_per_byte:
            object.__setattr__(self, "energy_per_byte_out", self.energy_per_byte)
        for name in (*figures, "price", "energy_per_byte_out"):
            if (value := getattr(self, name)) is not None:
                positive(True, **{f"{name} of {self.name!r}": value})
        if (self.beside is None) == (self.capacity == 0):
            raise ValueError(
                f"site {self.name!r} has capacity = {self.capacity} and beside = {self.beside!r}: "
                f"give it a memory of its own, or name the site in whose memory it works."
            )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other figures, for a what-if."""
        return replace(self, **changes)

    def rate(self, reuse: Any) -> Any:
        r"""Bytes of its own memory worked on per second at a reuse r [B/s].

        .. math:: e = \min(B,\; F / r)

        Examples
        --------
        >>> Site(name="pim", bandwidth=16e12, peak=16e12, capacity=16e9).rate(8.0)
        2000000000000.0
        """
        if not self.peak:
            raise ValueError(f"site {self.name!r} only stores: its peak is 0, stream from it.")
        with np.errstate(divide="ignore"):
            return plain(np.minimum(self.bandwidth, np.divide(self.peak, reuse)))


@dataclass(frozen=True, eq=False)
class System:
    """Sites, and links between them. Everything but attention runs at the hub.

    Parameters
    ----------
    name : str
        Its name.
    sites : tuple of Site
        Where pieces can live and be worked on.
    links : mapping of (str, str) to kvlib.hardware.Link
        Links by the two sites they join; each carries its bandwidth in both directions at once.
    hub : str
        The site that holds the weights: queries come from there, results go there.
    streams_to : tuple of str
        Sites to which a piece may be sent from another memory in every step; the hub unless given.

    Raises
    ------
    ValueError
        If a site has no path to the hub, or two sites have one name.
    UnknownName
        If a link, the hub or `beside` names a site that is not there.

    Examples
    --------
    >>> from kvlib.units import GB, TB, TFLOP, s, us
    >>> system = System(
    ...     "gpu with pim",
    ...     sites=(Site(name="gpu", bandwidth=3 * TB / s, peak=900 * TFLOP / s, capacity=80 * GB),
    ...            Site(name="pim", bandwidth=12 * TB / s, peak=12 * TFLOP / s, capacity=80 * GB)),
    ...     links={("gpu", "pim"): Link(name="nvlink", bandwidth=450 * GB / s, latency=1 * us)},
    ...     hub="gpu")
    >>> [str(option) for option in system.options]
    ['gpu', 'pim', 'pim to gpu']
    """

    name: str
    sites: tuple[Site, ...]
    links: Mapping[tuple[str, str], Link]
    hub: str
    streams_to: tuple[str, ...] | None = field(default=None)

    def __post_init__(self) -> None:
        names = [site.name for site in self.sites]
        if len(set(names)) < len(names):
            raise ValueError(f"sites {names}: each needs a name of its own.")
        choose(self.hub, names, f"hub of {self.name!r}")
        for site in self.sites:
            if site.beside is not None:
                owner = self[choose(site.beside, names, f"owner of the memory of {site.name!r}")]
                if owner.beside is not None:
                    raise ValueError(
                        f"{site.name!r} is beside {owner.name!r}, which works in the memory of "
                        f"{owner.beside!r}: name that one."
                    )
        for pair in self.links:
            for end in pair:
                choose(end, names, f"end of the link {pair}")
        object.__setattr__(self, "links", MappingProxyType(dict(self.links)))
        for name in names:
            self.path(self.hub, name)

    def __getitem__(self, name: str) -> Site:
        return self.sites[self.index(name)]

    def index(self, name: str) -> int:
        """Number of a site."""
        names = [site.name for site in self.sites]
        return names.index(choose(name, names, f"site of {self.name!r}"))

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other parts, for a what-if."""
        return replace(self, **changes)

    def change(self, name: str, **changes: Any) -> Self:
        """Return a copy with other figures of one site."""
        self.index(name)
        sites = (site.replace(**changes) if site.name == name else site for site in self.sites)
        return replace(self, sites=tuple(sites))

    def memory(self, name: str) -> str:
        """Name of the site in whose memory a site works."""
        return self[name].beside or name

    @cached_property
    def memories(self) -> tuple[str, ...]:
        """Sites with a memory of their own."""
        return tuple(site.name for site in self.sites if site.beside is None)

    @cached_property
    def shared(self) -> dict[str, tuple[str, ...]]:
        """Memories in which several processors take turns, and these processors."""
        found: dict[str, tuple[str, ...]] = {}
        for memory in self.memories:
            users = [s for s in self.sites if s.beside == memory and not s.dual_row_buffers]
            if users:
                found[memory] = (memory, *(site.name for site in users))
        return found

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """Ways to serve a piece: at its home first, then by streaming it elsewhere."""
        able = [site.name for site in self.sites if site.peak]
        targets = (self.hub,) if self.streams_to is None else self.streams_to
        streams = [
            Option(home, executor)
            for executor in targets
            for home in self.memories
            if executor in able and self.memory(executor) != home
        ]
        return (*(Option(self.memory(name), name) for name in able), *streams)

    def local(self, name: str) -> int:
        """Number of the option in which a site works on what lives in its memory.

        Raises
        ------
        ValueError
            If the site only stores.
        """
        wanted = Option(self.memory(name), name)
        if wanted not in self.options:
            raise ValueError(f"site {name!r} only stores: attention cannot be done there.")
        return self.options.index(wanted)

    def path(self, start: str, end: str) -> tuple[Hop, ...]:
        """Links from one site to another, as few as possible; none within one memory.

        Raises
        ------
        ValueError
            If there is no path.
        """
        goal, first = self.memory(end), self.memory(start)
        found: dict[str, tuple[Hop, ...]] = {first: ()}
        queue = deque([first])
        while queue and goal not in found:
            here = queue.popleft()
            for number, pair in enumerate(self.links):
                a, b = map(self.memory, pair)
                for there, came, direction in ((b, a, 1), (a, b, -1)):
                    if came == here and there not in found:
                        found[there] = (*found[here], Hop(number, direction))
                        queue.append(there)
        if goal not in found:
            raise ValueError(
                f"{self.name!r} has no path from {start!r} to {end!r}: its links join "
                f"{', '.join(' and '.join(pair) for pair in self.links) or 'nothing'}. Add a link."
            )
        return found[goal]

    def delay(self, executor: str) -> float:
        """Time lost in a layer if a site is used: its own, and the links' there and back [s]."""
        links = list(self.links.values())
        hops = self.path(self.hub, executor)
        return self[executor].latency + 2 * sum(float(links[hop.link].latency) for hop in hops)

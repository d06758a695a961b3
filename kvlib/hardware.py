"""What a machine offers: memories, the units that compute beside them, and links.

All figures are in SI base units: bytes, bytes per second, floating-point operations per second,
joules, watts. A figure that no source states is absent: asking for it raises `UnknownFigure`, and
`hasattr` answers whether it is there. Nothing here knows what an operator is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from types import MappingProxyType
from typing import Any, Self, TypeVar

from kvlib.checks import choose, positive
from kvlib.quoted import Quoted

__all__ = ["Compute", "Device", "Link", "Memory", "Timing", "UnknownFigure"]


class UnknownFigure(AttributeError):
    """A physical figure that no source states; there is no default for it."""


def _absent() -> Any:
    return field(default_factory=lambda: None)


class _Figures:
    """Fields that are absent unless stated, fixed once given, and never negative."""

    name: str

    def __post_init__(self) -> None:
        for slot in fields(self):  # type: ignore[arg-type]
            value, what = vars(self)[slot.name], f"{vars(self)['name']} {slot.name}"
            if value is None:
                object.__delattr__(self, slot.name)
            elif slot.type in (float, int):
                positive(**{what: value})
            elif slot.type == Mapping[str, float]:
                if not isinstance(value, Mapping):
                    raise TypeError(f"{what} = {value!r} must map names to numbers.")
                positive(True, **{f"{what}.{key}": number for key, number in value.items()})
                object.__setattr__(self, slot.name, MappingProxyType(dict(value)))

    def __getattr__(self, wanted: str) -> Any:
        if wanted not in {slot.name for slot in fields(self)}:  # type: ignore[arg-type]
            raise AttributeError(f"{type(self).__name__} has no field {wanted!r}.")
        raise UnknownFigure(
            f"{vars(self).get('name', type(self).__name__)!r} states no {wanted}: "
            f"no source gives it. "
            f"For a what-if, use .replace({wanted}=...); to state it, add it to a card."
        )

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __repr__(self) -> str:
        stated = ", ".join(f"{k}={_short(v)}" for k, v in vars(self).items())
        return f"{type(self).__name__}({stated})"

    def __getstate__(self) -> dict[str, Any]:
        return {k: dict(v) if isinstance(v, Mapping) else v for k, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for slot, value in state.items():
            frozen = MappingProxyType(value) if isinstance(value, dict) else value
            object.__setattr__(self, slot, frozen)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other figures, for a what-if.

        Examples
        --------
        >>> Memory(name="hbm", bandwidth=2e12).replace(bandwidth=4e12).bandwidth
        4000000000000.0
        """
        return type(self)(**{**vars(self), **changes})


def _short(value: Any) -> str:
    return repr(float(value)) if isinstance(value, float) else repr(value)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Timing(_Figures):
    """DRAM timing parameters by their JEDEC names, each in seconds [s].

    Examples
    --------
    >>> from kvlib.units import ns
    >>> Timing(name="HBM2", parameters={"tRCD": 14 * ns})["tRCD"] / ns
    14.0
    """

    name: str
    parameters: Mapping[str, float]

    def __getitem__(self, parameter: str) -> float:
        if parameter in self.parameters:
            return self.parameters[parameter]
        raise UnknownFigure(
            f"{self.name!r} states no {parameter}: it has {', '.join(self.parameters) or 'none'}. "
            f"Add it with its source to the card, or pass it yourself."
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Memory(_Figures):
    """A place where bytes live.

    Parameters
    ----------
    name : str
        Short name within its device, such as ``"hbm"``.
    capacity : float
        Bytes it holds [B].
    bandwidth : float
        Rate at which the device's own processor reads it [B/s].
    stack_bandwidth : float
        The same for one stack or chip [B/s].
    latency : float
        Time to the first byte [s].
    energy : float
        Energy to bring one byte to that processor [J/B].
    stacks, ranks, channels, banks, bank_groups : float
        Counts; banks and bank groups per channel.
    row, column : float
        Bytes in one row of a bank, and in one column access [B].
    """

    name: str
    capacity: float = _absent()
    bandwidth: float = _absent()
    stack_bandwidth: float = _absent()
    latency: float = _absent()
    energy: float = _absent()
    stacks: float = _absent()
    ranks: float = _absent()
    channels: float = _absent()
    banks: float = _absent()
    bank_groups: float = _absent()
    row: float = _absent()
    column: float = _absent()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Compute(_Figures):
    """A processor.

    Parameters
    ----------
    name : str
        Short name within its device, such as ``"tensor"``.
    peak : mapping of str to float
        Dense operations per second by precision [flop/s]; a multiply-add is two.
    sparse_peak : mapping of str to float
        The same with two of four weights zero [flop/s].
    units : float
        Streaming multiprocessors, cores or processing units.
    lanes : mapping of str to float
        Multiply-adds per unit and clock by precision.
    clock : float
        Clock at which the peak is quoted [Hz].
    energy : float
        Energy of one operation [J/flop].
    """

    name: str
    peak: Mapping[str, float] = _absent()
    sparse_peak: Mapping[str, float] = _absent()
    units: float = _absent()
    lanes: Mapping[str, float] = _absent()
    clock: float = _absent()
    energy: float = _absent()

    def __post_init__(self) -> None:
        super().__post_init__()
        for column in ("peak", "sparse_peak", "lanes"):
            for precision, figure in vars(self).get(column, {}).items():
                positive(**{f"{self.name} {column}.{precision}": figure})
        for precision, sparse in vars(self).get("sparse_peak", {}).items():
            dense = vars(self).get("peak", {}).get(precision, 0.0)
            if dense > sparse:
                raise ValueError(
                    f"{self.name} {precision}: dense peak {dense:g} flop/s exceeds the sparse peak "
                    f"{sparse:g} flop/s. Check that the two columns were not swapped."
                )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Link(_Figures):
    """A path between devices: bandwidth in one direction [B/s], latency [s], energy [J/B]."""

    name: str
    bandwidth: float = _absent()
    latency: float = _absent()
    energy: float = _absent()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Device(_Figures):
    """Memories, processors and links in one package, as a catalogue card states them.

    The first memory and the first processor are the main ones.

    Parameters
    ----------
    name, title, kind, year, note : str and int
        Catalogue name, the name people use, what sort of thing it is, first year, remarks.
    dated : datetime.date
        Day on which its card was written.
    architecture : str
        Generation whose kernels were measured, such as ``"hopper"``.
    memories, computes, links : tuple
        What is in the package.
    timing : Timing
        DRAM timing of the main memory.
    power, idle_power : float
        Power under load and idle [W].
    price : float
        Price [USD].
    area : float
        Die or package area [m2].
    parameters : mapping of str to float
        Figures that only this technology has.
    supports : tuple of str
        Operations it can do, where it cannot do all.
    """

    name: str
    title: str
    kind: str
    year: int = _absent()
    dated: date = _absent()
    architecture: str = _absent()
    note: str = ""
    memories: tuple[Memory, ...] = ()
    computes: tuple[Compute, ...] = ()
    links: tuple[Link, ...] = ()
    timing: Timing = _absent()
    power: float = _absent()
    idle_power: float = _absent()
    price: float = _absent()
    area: float = _absent()
    parameters: Mapping[str, float] = field(default_factory=dict)
    supports: tuple[str, ...] = ()

    def memory(self, name: str | None = None) -> Memory:
        """Return the memory called `name`, or the main one."""
        return _part(self, self.memories, name, "memory")

    def compute(self, name: str | None = None) -> Compute:
        """Return the processor called `name`, or the main one."""
        return _part(self, self.computes, name, "processor")

    def link(self, name: str | None = None) -> Link:
        """Return the link called `name`, or the main one."""
        return _part(self, self.links, name, "link")

    def peak(self, precision: str) -> float:
        """Dense peak of the main processor [flop/s].

        Raises
        ------
        UnknownFigure
            If no source states a peak for this precision: none is guessed from another.
        """
        peaks = self.compute().peak
        if precision in peaks:
            return peaks[precision]
        raise UnknownFigure(
            f"{self.name!r} states no peak for {precision!r}; it states {', '.join(peaks)}. "
            f"Choose one of these: no rate is guessed from another precision."
        )

    def ridge(self, precision: str) -> float:
        r"""Intensity above which the processor, not the memory, sets the pace [flop/B].

        .. math:: \text{ridge} = \text{peak} / \text{bandwidth}

        Source: :cite:t:`williams2009roofline`.

        Examples
        --------
        >>> from kvlib import device
        >>> round(device("h100-sxm-80gb").ridge("fp16"))
        295
        """
        return float(self.peak(precision) / self.memory().bandwidth)

    def energy_per_byte(self) -> float:
        r"""Energy of the whole package for each byte that its main memory delivers [J/B].

        .. math:: \text{energy per byte} = \text{power} / \text{bandwidth}

        An upper bound for work that only streams: the power is the one quoted for full load. What
        the memory alone takes is ``device.memory().energy``, where a source states it.

        Raises
        ------
        UnknownFigure
            If no source states the power or the bandwidth.

        Examples
        --------
        >>> from kvlib import device
        >>> from kvlib.units import pJ
        >>> round(device("h100-sxm-80gb").energy_per_byte() / pJ)
        209
        """
        return float(self.power / self.memory().bandwidth)

    @property
    def provenance(self) -> dict[str, Quoted]:
        """Every quoted figure by its place on the card, such as ``"memory.hbm.bandwidth"``.

        A figure changed in a what-if has no source and is not here.

        Examples
        --------
        >>> from kvlib import device
        >>> device("h100-sxm-80gb").provenance["memory.hbm.bandwidth"].source
        'nvidia2023h100'
        """
        found: dict[str, Quoted] = {}
        groups = {"memory": self.memories, "compute": self.computes, "link": self.links}
        for group, parts in groups.items():
            for part in parts:
                found.update(_quoted(vars(part), f"{group}.{part.name}"))
        stated = vars(self)
        found.update(_quoted(stated, "package"))
        if "timing" in stated:
            found.update(_quoted(self.timing.parameters, "timing"))
        found.update(_quoted(self.parameters, "parameters"))
        return found


def _quoted(figures: Mapping[str, Any], where: str) -> Iterator[tuple[str, Quoted]]:
    """Quoted figures of one table, and of the tables by precision inside it, with their places."""
    for name, figure in figures.items():
        if isinstance(figure, Quoted):
            yield f"{where}.{name}", figure
        elif isinstance(figure, Mapping) and name in ("peak", "sparse_peak", "lanes"):
            yield from _quoted(figure, f"{where}.{name}")


_Part = TypeVar("_Part", Memory, Compute, Link)


def _part(device: Device, parts: tuple[_Part, ...], name: str | None, what: str) -> _Part:
    if not parts:
        raise UnknownFigure(f"{device.name!r} states no {what}: no source gives one.")
    if name is None:
        return parts[0]
    found = choose(name, [part.name for part in parts], f"{what} of {device.name!r}")
    return next(part for part in parts if part.name == found)

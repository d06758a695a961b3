"""Time of in-array programs: commands, row decoders, and the activation window."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from kvlib.checks import positive, whole
from kvlib.hardware import Device
from kvlib.nearmemory.dram import check_timing
from kvlib.nearmemory.subarray import Commands

__all__ = ["ArrayTime", "ArrayTiming", "array_energy", "array_time"]


@dataclass(frozen=True, kw_only=True)
class ArrayTiming:
    """What the commands cost on one part; every field may be an array.

    Parameters
    ----------
    banks : int or array
        Banks that run the same program side by side.
    row : float or array
        Bytes in one row across the module [B].
    t_aap, t_ap : float or array
        Time of an AAP whose activations overlap, and of an AP [s].
    t_aap_apart : float or array
        Time of an AAP whose addresses share a decoder, :math:`2 t_{RAS} + t_{RP}` [s].
    t_faw : float or array
        Window in which the rank may activate four rows [s].

    Raises
    ------
    ValueError
        If a figure is not above zero, or an AAP is shorter than an AP.
    """

    banks: Any
    row: Any
    t_aap: Any
    t_ap: Any
    t_aap_apart: Any
    t_faw: Any

    def __post_init__(self) -> None:
        whole(banks=self.banks)
        positive(row=self.row, t_aap=self.t_aap, t_ap=self.t_ap)
        positive(t_aap_apart=self.t_aap_apart, t_faw=self.t_faw)
        if np.any(np.asarray(self.t_aap) < self.t_ap):
            raise ValueError(
                f"t_aap = {self.t_aap} s is shorter than t_ap = {self.t_ap} s, but an AAP is an AP "
                f"with one more activation. Check that the two were not swapped."
            )

    @classmethod
    def of(cls, part: Device) -> Self:
        """Timing of a device of the catalogue.

        Raises
        ------
        ValueError
            If the card's timing parameters contradict each other, as tRAS + tRP > tRC.
        UnknownFigure
            If the card does not state a figure.

        Examples
        --------
        >>> from kvlib import device
        >>> from kvlib.units import ns
        >>> ArrayTiming.of(device("ambit-ddr3-1600")).t_aap_apart / ns
        80.0
        """
        memory, dram = part.memory(), check_timing(part.timing)
        return cls(
            banks=memory.banks,
            row=memory.row,
            t_aap=part.parameters["t_aap"],
            t_ap=part.parameters["t_ap"],
            t_aap_apart=2 * dram["tRAS"] + dram["tRP"],
            t_faw=dram["tFAW"],
        )


@dataclass(frozen=True)
class ArrayTime:
    """Time of a program in all banks at once, under three readings [s].

    Parameters
    ----------
    commands : float or array
        Every AAP overlaps its activations and no window binds: what the papers print.
    decoders : float or array
        AAP whose addresses share a decoder take their full length.
    window : float or array
        Time the rank needs to issue all activations, four to a window.
    """

    commands: Any
    decoders: Any
    window: Any

    @property
    def total(self) -> Any:
        """Time with both limits respected [s]."""
        return np.maximum(self.decoders, self.window)

    def times(self, passes: Any) -> "ArrayTime":
        """Time of several passes over all banks."""
        return ArrayTime(self.commands * passes, self.decoders * passes, self.window * passes)


def array_time(commands: Commands, timing: ArrayTiming) -> ArrayTime:
    r"""Time in which every bank runs a program once.

    .. math::
        t_\text{commands} &= n_{AAP}\, t_{AAP} + n_{AP}\, t_{AP} \\
        t_\text{window} &= n_\text{banks}\, (2 n_{AAP} + n_{AP})\, t_{FAW} / 4

    Here an AAP activates twice, also for the window: two wordlines are driven. The public
    simulator of :cite:t:`mimdram2024repo` books one activation for it, which halves the AAP's part
    of the window. :cite:t:`seshadri2017ambit` and :cite:t:`hajinazar2021simdram` count the commands
    of each bank alone.

    Parameters
    ----------
    commands : Commands
        What one bank issues.
    timing : ArrayTiming
        What it costs there.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import ns
    >>> time = array_time(Commands(aap=4), ArrayTiming.of(device("ambit-ddr3-1600")))
    >>> time.commands / ns, time.window / ns
    (196.0, 480.0)
    """
    apart = commands.same_decoder * (timing.t_aap_apart - timing.t_aap)
    serial = commands.aap * timing.t_aap + commands.ap * timing.t_ap
    window = timing.banks * commands.activations * timing.t_faw / 4
    return ArrayTime(commands=serial, decoders=serial + apart, window=window)


def array_energy(commands: Commands, timing: ArrayTiming, energy_aap: Any) -> tuple[Any, Any]:
    """Energy of a program in all banks, from below and above [J].

    No source states what an AP takes. It activates once where an AAP activates twice, so it takes
    at least half of an AAP and at most a whole one.

    Parameters
    ----------
    commands : Commands
        What one bank issues.
    timing : ArrayTiming
        How many banks there are.
    energy_aap : float or array
        Energy of one AAP on one row [J].

    Returns
    -------
    low, high : float or array
        With an AP at half and at the whole of an AAP [J].

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import nJ
    >>> simdram = device("simdram-16")
    >>> timing = ArrayTiming.of(simdram)
    >>> low, high = array_energy(Commands(aap=49, ap=16), timing, simdram.parameters["energy_aap"])
    >>> round(low / nJ), round(high / nJ)
    (794, 906)
    """
    positive(energy_aap=energy_aap)
    each = timing.banks * energy_aap
    return each * commands.activations / 2, each * commands.total

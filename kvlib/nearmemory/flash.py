"""Flash-Cosmos: bulk bitwise logic by sensing many wordlines of NAND flash at once.

What one sensing computes shows `kvlib.nearmemory.nand`; here is what it brings in a whole drive,
whose result still has to leave it.

>>> from kvlib import device
>>> drive = FlashDrive.of(device("flash-cosmos"))
>>> size, operands = 2**30, 36
>>> inside = sensing_at_once(operands, size, drive)
>>> print(f"{outside(operands, size, drive).lower / inside.lower:.1f} times the host, "
...       f"{one_by_one(operands, size, drive).lower / inside.lower:.2f} times one page at a time")
36.0 times the host, 3.09 times one page at a time

Published, as means over three applications, are 32 and 3.5 :cite:`park2022flashcosmos`. With all
results sent to the host, the host link is the bound of the new scheme, so the first ratio is the
number of operands, and the second that number times sensing over sending of a page from every
plane, 22.5 us over 262 us. No one number of operands gives both: 32 gives the first, 41 the second,
and 33 to 38 give both within 20 %.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from kvlib.checks import positive, whole
from kvlib.hardware import Device

__all__ = [
    "FlashDrive", "DriveTime", "one_by_one", "outside", "sense_energy", "sense_factor",
    "sensing_at_once",
]  # fmt: skip


def sense_factor(wordlines: Any, blocks: Any, drive: "FlashDrive") -> Any:
    """Time of one sensing over that of a plain read.

    Lines through the points that :cite:t:`park2022flashcosmos` measured on 160 chips: one wordline
    and all of a string, one block, 4 and 32. That the two effects multiply is assumed.

    Examples
    --------
    >>> from kvlib import device
    >>> drive = FlashDrive.of(device("flash-cosmos"))
    >>> [round(float(sense_factor(k, 1, drive)), 3) for k in (1, 8, 48)]
    [1.0, 1.005, 1.033]
    """
    string = drive.factor_string - 1
    few, many = drive.factor_4_blocks - 1, drive.factor_32_blocks - drive.factor_4_blocks
    along = 1 + string * (wordlines - 1) / (drive.wordlines - 1)
    across = 1 + few * np.minimum(blocks - 1, 3) / 3 + many * np.maximum(blocks - 4, 0) / 28
    return along * across


def sense_energy(blocks: Any, energy_read: Any, drive: "FlashDrive") -> Any:
    """Energy of one sensing of several blocks [J], from that of a plain read [J].

    The power grows by the measured share of the second block for each block more.

    Examples
    --------
    Sensing four blocks at once against reading them in turn; the paper reports 53 % less:

    >>> from kvlib import device
    >>> print(f"{1 - sense_energy(4, 1.0, FlashDrive.of(device('flash-cosmos'))) / 4:.0%} less")
    48% less
    """
    positive(energy_read=energy_read)
    whole(blocks=blocks)
    power = 1 + drive.power_per_block * (blocks - 1)
    return energy_read * power * sense_factor(1, blocks, drive)


@dataclass(frozen=True, kw_only=True)
class FlashDrive:
    """A solid-state drive that can compute in its flash; every field may be an array.

    Parameters
    ----------
    planes : int
        Planes that sense side by side.
    page : float
        Bytes in a page [B].
    channels, host : float
        Bandwidth from all chips to the controller, and from the drive to the host [B/s].
    t_read, t_program : float
        Time to sense a page, and to write it reliably enough to compute with [s].
    wordlines : int
        Wordlines of a string.
    factor_string, factor_4_blocks, factor_32_blocks : float
        Sensing time over `t_read` for all wordlines of a string, for 4 and for 32 blocks.
    power_per_block : float
        Rise of the power with a second block.
    """

    planes: Any
    page: Any
    channels: Any
    host: Any
    t_read: Any
    t_program: Any
    wordlines: Any
    factor_string: Any
    factor_4_blocks: Any
    factor_32_blocks: Any
    power_per_block: Any

    def __post_init__(self) -> None:
        positive(**vars(self))

    @classmethod
    def of(cls, part: Device) -> Self:
        """Figures of a device of the catalogue; `UnknownFigure` or KeyError if it lacks one."""
        figures = part.parameters
        return cls(
            planes=figures["planes"],
            page=part.memory().row,
            channels=part.memory("channel").bandwidth,
            host=part.link("host").bandwidth,
            t_read=figures["t_read"],
            t_program=figures["t_program_esp"],
            wordlines=figures["operands_and"],
            factor_string=figures["mws_factor_48"],
            factor_4_blocks=figures["mws_factor_4_blocks"],
            factor_32_blocks=figures["mws_factor_32_blocks"],
            power_per_block=figures["power_increase_2_blocks"],
        )

    @property
    def write_bandwidth(self) -> Any:
        """Rate at which operands can be stored [B/s]."""
        return self.planes * self.page / self.t_program

    def write_time(self, size: Any) -> Any:
        """Time to store bytes: whole pages, in all planes at once [s].

        Examples
        --------
        One token of Llama 3 8B fills 8 pages, and is needed to make the next one:

        >>> from kvlib import device, model
        >>> from kvlib.units import us
        >>> drive = FlashDrive.of(device("flash-cosmos"))
        >>> print(f"{drive.write_time(model('llama-3-8b').kv_bytes_per_token()) / us:.0f} us")
        400 us
        """
        positive(size=size)
        return np.ceil(size / (self.page * self.planes)) * self.t_program


@dataclass(frozen=True)
class DriveTime:
    """Time of the three stages an operation passes through [s]."""

    sense: Any
    channel: Any
    host: Any

    @property
    def lower(self) -> Any:
        """Time if the stages overlap fully [s]."""
        return np.maximum(np.maximum(self.sense, self.channel), self.host)

    @property
    def upper(self) -> Any:
        """Time if they follow one another [s]."""
        return self.sense + self.channel + self.host


def _stages(senses: Any, sent: Any, size: Any, drive: FlashDrive) -> DriveTime:
    """Stages of `senses` read times per page and `sent` bytes over channel and host link."""
    turns = np.ceil(size / (drive.planes * drive.page))
    return DriveTime(turns * senses * drive.t_read, sent / drive.channels, sent / drive.host)


def outside(operands: Any, size: Any, drive: FlashDrive) -> DriveTime:
    """Send all operands to the host and combine them there.

    Parameters
    ----------
    operands : int or array
        Bit vectors that are combined.
    size : float or array
        Bytes in each, and in the result [B].
    drive : FlashDrive
        Where they live.
    """
    whole(operands=operands)
    positive(size=size)
    return _stages(operands, operands * size, size, drive)


def one_by_one(operands: Any, size: Any, drive: FlashDrive) -> DriveTime:
    """Sense the operands in turn and combine them in the page buffers, as ParaBit does."""
    whole(operands=operands)
    positive(size=size)
    return _stages(operands, size, size, drive)


def sensing_at_once(operands: Any, size: Any, drive: FlashDrive) -> DriveTime:
    """Sense as many operands as a string has wordlines at once, in turns if there are more.

    Examples
    --------
    The operands pass the sense amplifiers at 4.3 TB/s, while the result is as large as one:

    >>> from kvlib import device
    >>> drive = FlashDrive.of(device("flash-cosmos"))
    >>> print(f"{48 * 2**31 / sensing_at_once(48, 2**31, drive).sense / 1e12:.1f} TB/s")
    4.3 TB/s
    """
    whole(operands=operands)
    positive(size=size)
    turns, rest = operands // drive.wordlines, operands % drive.wordlines
    last = (rest > 0) * sense_factor(np.maximum(rest, 1), 1, drive)
    senses = turns * sense_factor(drive.wordlines, 1, drive) + last
    return _stages(senses, size, size, drive)

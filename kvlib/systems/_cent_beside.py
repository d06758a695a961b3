"""What stands around the banks of CENT: messages over CXL, and the units near the memory.

Messages travel in flits of 256 bytes that carry three lines of 64. A device has an equal share of
the switch's 144 lanes, whole lanes only, at half their rate because they multicast. The units near
the memory are 32 accelerators of 16 lanes and 8 small cores at 2 GHz; they serve every block of
their device in turn :cite:p:`cent2025repo`.
"""

from typing import Any

import numpy as np

from kvlib.catalogue import device
from kvlib.quoted import Quoted
from kvlib.units import GB, GHz, GiB

__all__ = ["accelerators", "between_blocks", "message", "within_block"]

_BROADCASTS, _GATHERS = 5, 5  # of the hidden state, in a block; and one of each of the wide vector
_CLOCK = Quoted(2 * GHz, source="cent2025repo", basis="paper", unit="GHz")


def _cycles(value: float, note: str) -> Quoted:
    return Quoted(value, source="cent2025repo", basis="paper", unit="cycle", note=note)


EXPONENT = _cycles(44, "one step of 32 exponent units: 32 reads, 11 to compute, a write")
ADDITION = _cycles(66, "one step of 32 adders: 64 reads, an addition, a write")
NORM = _cycles(29, "reduction tree and one core, a norm")
SOFTMAX = _cycles(18.25, "reduction tree and one core, a head")
ROTARY = _cycles(3 / 8, "an element, on 8 cores")
_LANES, _REDUCED = 16, 16  # elements of a step, and sums that the banks reduced before


def message(flits: Any, devices: int, *, binary: bool = True) -> Any:
    """Time of a message over one hop of the switch [s].

    Parameters
    ----------
    flits : float or array
        Its length.
    devices : int
        Devices that share the switch's lanes.
    binary : bool
        Whether the lane's GB/s are taken for GiB/s, as the authors' script does.

    Raises
    ------
    ValueError
        If there are more devices than lanes.
    """
    figures = device("cent-device").parameters
    lanes = figures["shared_lanes"] // devices
    if not lanes:
        raise ValueError(
            f"devices = {devices} behind one switch of {figures['shared_lanes']:.0f} lanes leave "
            f"none for some. Use at most {figures['shared_lanes']:.0f}."
        )
    rate = lanes * figures["lane_bandwidth"] / 2 * (GiB / GB if binary else 1)
    return figures["cxl_round_trip"] + flits * figures["flit"] / rate


def between_blocks(hidden: int, devices: int, *, binary: bool = True) -> Any:
    """Time to pass a hidden state on to the next stage [s].

    Examples
    --------
    >>> print(f"{between_blocks(8192, 32) / 1e-9:.0f} ns")
    1461 ns
    """
    return message(_flits(hidden), devices, binary=binary)


def within_block(hidden: int, wide: int, devices: int, sharing: int, *, binary: bool = True) -> Any:
    """Time of all messages of a block whose matrices some devices share [s].

    Parameters
    ----------
    hidden, wide : int
        Elements of the hidden state, and of the feed-forward network's.
    devices, sharing : int
        Devices in all, and those that share a block.
    binary : bool
        As in `message`.

    Examples
    --------
    >>> print(f"{within_block(8192, 28672, 32, 32) / 1e-6:.2f} us")
    24.57 us
    """
    total = 0.0
    for elements, sent, gathered in ((hidden, _BROADCASTS, _GATHERS), (wide, 1, 1)):
        parts = _flits(elements / sharing) * (sharing - 1)
        total += sent * message(_flits(elements), devices, binary=binary)
        total += gathered * message(parts, devices, binary=binary)
    return total


def accelerators(
    hidden: int, heads: int, group: float, context: Any, *, rotary: bool = True
) -> dict[str, Any]:
    """Time of the norms, softmax and rotary positions of one block near the memory [s].

    Examples
    --------
    >>> found = accelerators(8192, 64, 8, 4096)
    >>> print({name: f"{1e6 * time:.2f} us" for name, time in found.items()})
    {'norms': '0.10 us', 'rotary': '1.73 us', 'softmax': '28.74 us'}
    """
    channels = device("cent-device").memory().channels
    steps = context * heads / _LANES / channels
    cycles = {
        "norms": 2 * (hidden / _LANES / _REDUCED / channels * ADDITION + NORM),
        "rotary": hidden * ROTARY * (1 + 1 / group) * rotary,
        "softmax": steps * (EXPONENT + ADDITION) + heads * SOFTMAX,
    }
    return {name: count / _CLOCK for name, count in cycles.items()}


def _flits(elements: float) -> Any:
    """Flits of some elements of two bytes."""
    return np.ceil(2 * elements / device("cent-device").parameters["flit_payload"])

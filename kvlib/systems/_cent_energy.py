"""Energy of a CENT device's instructions, from powers and times, as the authors count it.

An all-bank multiplication is counted as three reads of one bank, though it reads sixteen; opening a
row in all banks as sixteen single openings. Standby is what the slip of the script concerns: see
`standby` :cite:p:`cent2025repo`.
"""

from typing import Any

from kvlib.catalogue import device
from kvlib.quoted import Quoted
from kvlib.systems._cent_program import Place, Program
from kvlib.units import mW, ns

__all__ = ["dynamic", "standby"]

READ_TIME = Quoted(
    1.25 * ns, source="cent2025repo", basis="paper", unit="ns", note="charged for a read or write"
)
LEAKAGE = Quoted(
    21.7 * mW, source="cent2025repo", basis="derived", unit="mW",
    note="buffers and near-memory units of a device; their other figures are below 1 % of the rest",
)  # fmt: skip
_ALL = 16  # banks that an all-bank command opens or writes
_QUARTER = 4  # an element-wise multiplication works in one bank of four
_SHARING = 2  # channels of a controller
_COLUMNS = ("RD", "WR", "WRGB", "RDMAC16", "RDAF16", "WRMAC16", "WRA16")
_INTERNAL = ("MAC16", "AF16", "EWMUL16", "RDCP", "WRCP")


def dynamic(program: Program) -> dict[str, Any]:
    """Energy of the commands of one device, by part [J].

    Examples
    --------
    >>> from kvlib.nearmemory import cent
    >>> from kvlib.systems._cent_program import Place
    >>> one = Place(pim=cent(), channels=32).product(8192, 8192)
    >>> print({name: f"{energy / 1e-6:.0f} uJ" for name, energy in dynamic(one).items()})
    {'open rows': '193 uJ', 'multiply': '345 uJ', 'read and write': '5 uJ', 'pins': '35 uJ',
    'controllers': '47 uJ'}
    """
    card = device("cent-device")
    power, t, done = card.parameters, card.timing, program.commands

    def count(*names: str, weight: float = 1.0) -> Any:
        return weight * sum((done.get(name, 0.0) for name in names), 0.0)

    opened = count("ACT") + count("ACT16", weight=_ALL)
    reads = count("RD", "RDCP", "RDMAC16", "RDAF16") + count("AF16", weight=_ALL)
    writes = count("WR", "WRCP", "WRMAC16") + count("WRA16", weight=_ALL)
    multiplied = count("MAC16") + count("EWMUL16") / _QUARTER
    columns = count(*_COLUMNS)
    instructions = columns + count(*_INTERNAL)
    commands = instructions + count("TMOD") + 2 * count("ACT", "ACT16")
    each = t["tCK"] / _SHARING
    return {
        "open rows": opened * power["power_activate"] * t["tRC"],
        "multiply": multiplied
        * power["mac_power_over_read"] * power["power_read"] * t["tCCD_L"],
        "read and write": (reads * power["power_read"] + writes * power["power_write"]) * READ_TIME,
        "pins": columns * card.memory().column * power["energy_dq"],
        "controllers": (
            instructions * power["power_memory_controller"] + commands * power["power_memory_phy"]
        ) * each,
    }  # fmt: skip


def standby(place: Place, working: Any, waiting: Any, *, all_channels: bool) -> Any:
    """Energy of one device while it works and while it waits [J].

    Parameters
    ----------
    place : Place
        Which channels have rows open while the device works.
    working, waiting : float or array
        Time with rows open, and time in which the banks wait for messages and near-memory units
        [s].
    all_channels : bool
        Whether every channel of the device stands by all the time. The authors' script divides by
        the channels twice, so that a device counts as one channel, and counts no waiting.
    """
    power, channels = device("cent-device").parameters, place.pim.channels
    share = place.active / channels
    open_power = power["power_active_standby"] * share
    shut_power = power["power_precharge_standby"]
    while_working = (open_power + shut_power * (1 - share)) * working
    if not all_channels:
        return while_working + LEAKAGE * working
    return channels * (while_working + shut_power * waiting) + LEAKAGE * (working + waiting)

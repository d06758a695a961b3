"""Five published bank-level designs as `BankPim`.

Timing, organisation and energy come from the device cards. What a card cannot say, which matrix
element lies where and how vectors and results move, is written here with its source.
"""

import math
from typing import Literal

from kvlib.catalogue import device
from kvlib.checks import choose, whole
from kvlib.hardware import Device, Timing
from kvlib.nearmemory.bank import BankPim
from kvlib.nearmemory.layout import Layout
from kvlib.quoted import Quoted
from kvlib.units import ns

__all__ = ["attacc", "cent", "gddr6_aim", "hbm_pim", "neupims"]


def _timing(card: Device, mac: float, **better: float) -> Timing:
    """Timing of a card, the interval between multiply commands, and what is better known."""
    figures = {**card.timing.parameters, "tMAC": mac, **better}
    figures["tRCD"] = figures.get("tRCD_MAC", figures["tRCD"])
    return Timing(name=card.title, parameters=figures)


def _by_row(units: int, read_steps: int, *, new_row: bool) -> Layout:
    """Outputs across the units, inputs along the columns, one command to reach every unit."""
    return Layout(
        output_banks=units,
        input_banks=1,
        along="inputs",
        write_steps=1,
        read_steps=read_steps,
        new_row=new_row,
    )


def hbm_pim() -> BankPim:
    """One cube of Samsung's HBM-PIM: 8 units to a pseudo channel, each behind two banks.

    A unit holds 8 columns of a vector and 8 columns of sums, which the host reads lane by lane; for
    every 64 multiplications the next 8 columns of the vector are written. A unit reads its even or
    its odd bank; both open their rows at once, so the second bank hides nothing.

    Notes
    -----
    :cite:t:`lee2021hbmpim`; order of commands as in :cite:t:`samsungpimsim`. No source maps
    attention on this part: keys and values here use the same instructions as its matrix-vector
    kernel.

    Examples
    --------
    >>> print(f"{hbm_pim().bandwidth / 1e12:.2f} TB/s at 2.0 Gb/s to a pin")
    1.02 TB/s at 2.0 Gb/s to a pin
    """
    card = device("hbm-pim")
    memory, known = card.memory(), card.timing
    note = "HBM2_samsung_2M_16B_x64.ini, read in a copy of the repository"
    timing = _timing(
        card,
        known["tCCD_L"],
        tRTP=Quoted(5 * ns, source="samsungpimsim", basis="vendor", note=note),
        tRFC=Quoted(350 * ns, source="samsungpimsim", basis="vendor", note=note),
        tREFI=Quoted(3900 * ns, source="samsungpimsim", basis="vendor", note=note),
    )
    units = int(card.parameters["units_per_channel"])
    by_row = _by_row(units, units, new_row=False)
    by_lane = Layout(
        output_banks=units, input_banks=1, along="outputs", write_steps=1, read_steps=units
    )
    return BankPim(
        name="HBM-PIM",
        timing=timing,
        channels=int(memory.channels),
        row=int(memory.row),
        column=int(memory.column),
        banks_per_unit=1,
        banks_per_window=units,
        layouts={"matrix": by_row, "keys": by_row, "values": by_lane},
        results="lanes",
        vector_columns=8,
        accumulators=8,
        write=known["tCCD_L"],
        read=known["tCCD_S"],
        write_setup=0.0,
        overlap=False,
        reuse=1,
        held=1,
        dual_row_buffers=False,
        precisions=("fp16",),
        capacity=memory.capacity,
        energy=None,
        unit_energy=None,
    )


def _aim(card: Device, name: str) -> BankPim:
    memory, costs = card.memory(), device("gddr6-aim-channel").parameters
    banks = int(memory.banks)
    by_row = _by_row(banks, 1, new_row=True)
    return BankPim(
        name=name,
        timing=_timing(card, card.timing["tCCD_L"]),
        channels=int(memory.channels),
        row=int(memory.row),
        column=int(memory.column),
        banks_per_unit=1,
        banks_per_window=banks,
        layouts={"matrix": by_row, "keys": by_row, "values": by_row},
        results="gather",
        vector_columns=int(memory.row // memory.column),
        accumulators=32,
        write=card.timing["tCCD_L"],
        read=costs["write_bias"] + costs["read_mac"],
        write_setup=costs["write_global_buffer_overhead"],
        overlap=False,
        reuse=1,
        held=1,
        dual_row_buffers=False,
        precisions=("bf16",),
        capacity=memory.capacity,
        energy=None,
        unit_energy=None,
    )


def gddr6_aim() -> BankPim:
    """One chip of SK hynix GDDR6-AiM: a unit to each of 16 banks in both channels.

    A channel has one vector buffer of 2 KiB. Each row of a matrix starts a DRAM row of its own;
    values are kept by dimension, so that the adder trees can run along the tokens. One command
    opens a row in all banks.

    Notes
    -----
    :cite:t:`kwon2022aimhc`; timing of :cite:t:`aim2025repo`. Placement, 32 sums to a unit and the
    costs of filling the buffer (32 ns and 1 ns a column) and of setting and reading a sum (37.5 ns
    each) as in :cite:t:`cent2025repo`.

    Examples
    --------
    >>> aim = gddr6_aim()
    >>> print(f"{aim.bandwidth / 1e12:.3f} TB/s, {aim.row_efficiency:.3f} of it with row switching")
    1.024 TB/s, 0.566 of it with row switching
    """
    return _aim(device("gddr6-aim"), "GDDR6-AiM")


def cent() -> BankPim:
    """One device of CENT: 32 channels of GDDR6-AiM behind a CXL controller.

    Examples
    --------
    >>> print(f"{cent().bandwidth / 1e12:.1f} TB/s")
    16.4 TB/s
    """
    return _aim(device("cent-device"), "CENT")


def attacc(
    level: Literal["bank", "bank-group", "buffer"] = "bank",
    *,
    power_limited: bool = True,
    stacks: int = 5,
) -> BankPim:
    """AttAcc: units in HBM3, one to a bank, to a bank group, or on the buffer die.

    Both pseudo channels and both ranks of a channel step together. Vectors and results move on
    their own paths while the units multiply. A power limit stretches the interval between
    multiplications of all banks from 4 clocks to 6.

    Parameters
    ----------
    level : {"bank", "bank-group", "buffer"}
        Where the units are.
    power_limited : bool
        Whether the interval obeys the power limit.
    stacks : int
        HBM3 stacks of 16 channels; five stand beside one GPU.

    Notes
    -----
    :cite:t:`park2024attacc`; timing, placement and energy of its simulator,
    :cite:t:`attacc2024repo`, which sets no limit to the vector buffer.

    Examples
    --------
    >>> for level in ("bank", "bank-group", "buffer"):
    ...     print(level, f"{attacc(level, stacks=1).bandwidth / 1e9:.0f} GB/s a stack")
    bank 7102 GB/s a stack
    bank-group 1775 GB/s a stack
    buffer 666 GB/s a stack
    """
    choose(level, ["bank", "bank-group", "buffer"], "level of AttAcc's units")
    whole(stacks=stacks)
    card = device(f"attacc-{level}")
    memory, known = card.memory(), card.timing
    if level == "buffer":
        interval = known["tCCD_S"]
    else:
        interval = known["tCCD_AB"] if power_limited else known["tCCD_L"]
    halves = 2  # pseudo channels that obey one command
    token_banks = halves if level == "buffer" else int(halves * memory.bank_groups)
    dim_banks = int(memory.banks / memory.bank_groups) if level == "bank" else 1
    keys = Layout(
        output_banks=token_banks,
        input_banks=dim_banks,
        along="inputs",
        write_steps=dim_banks,
        read_steps=token_banks // halves,
    )
    values = Layout(
        output_banks=dim_banks,
        input_banks=token_banks,
        along="outputs",
        write_steps=token_banks // halves,
        read_steps=1 if level == "buffer" else int(dim_banks * memory.ranks),
    )
    share = stacks / memory.stacks
    return BankPim(
        name=f"AttAcc {level}",
        timing=_timing(card, interval),
        channels=int(memory.channels / halves * share),
        row=int(memory.row),
        column=int(memory.column),
        banks_per_unit=int(halves * memory.banks) // keys.banks,
        banks_per_window=keys.banks,
        layouts={"matrix": keys, "keys": keys, "values": values},
        results="tree",
        vector_columns=math.inf,
        accumulators=16,
        write=known["tCCD_S"],
        read=known["tCCD_S"],
        write_setup=0.0,
        overlap=True,
        reuse=1,
        held=1,
        dual_row_buffers=False,
        precisions=("fp16", "int8"),
        capacity=memory.capacity * share,
        energy=memory.energy,
        unit_energy=card.parameters["energy_multiply_add"] / 2,
    )


def neupims() -> BankPim:
    """NeuPIMs: 32 channels of HBM2, one unit to each of 32 banks, two row buffers to a bank.

    One command opens rows in four banks and two such commands fit a window of tFAW, so opening all
    banks takes four windows: the model shows what an all-bank opening would save.

    Notes
    -----
    :cite:t:`heo2024neupims`; the windows, 100 ns to fill the vector buffer and 16 ns to read a tile
    of 32 sums as its simulator estimates them, :cite:t:`neupims2024repo`.

    Examples
    --------
    >>> pim = neupims()
    >>> print(f"{pim.row_period(32) * 1e9:.0f} ns a row, {pim.row_efficiency:.2f} of the peak")
    186 ns a row, 0.34 of the peak
    """
    card = device("neupims-pim")
    memory = card.memory()
    banks, lanes = int(memory.banks), int(card.compute().lanes["fp16"])
    by_row = _by_row(banks, 1, new_row=True)
    return BankPim(
        name="NeuPIMs",
        timing=_timing(card, card.timing["tCCD_L"]),
        channels=int(memory.channels),
        row=int(memory.row),
        column=int(memory.column),
        banks_per_unit=1,
        banks_per_window=8,
        layouts={"matrix": by_row, "keys": by_row, "values": by_row},
        results="gather",
        vector_columns=int(memory.row // memory.column),
        accumulators=32,
        write=0.0,
        read=8 * card.timing["tCCD_L"] / (banks / lanes),
        write_setup=card.parameters["t_gwrite"] * card.timing["tCK"],
        overlap=False,
        reuse=1,
        held=1,
        dual_row_buffers=True,
        precisions=("fp16",),
        capacity=memory.capacity,
        energy=None,
        unit_energy=None,
    )

"""Figures of the catalogue agree with each other as the physics says they must."""

import pytest

from kvlib import device, devices
from kvlib.hardware import UnknownFigure
from kvlib.units import GB, TFLOP, GHz, MHz, pJ, s


def has(part, *names):
    return all(name in vars(part) for name in names)


PEAKS = [
    (name, compute.name, precision)
    for name in devices()
    for compute in device(name).computes
    if has(compute, "units", "lanes", "clock", "peak")
    for precision in compute.lanes
    if precision in compute.peak
]
STACKS = [
    (name, memory.name)
    for name in devices()
    for memory in device(name).memories
    if has(memory, "stacks", "stack_bandwidth", "bandwidth")
]
CHANNELS = [
    name
    for name in devices("memory")
    if device(name).memories
    and has(device(name), "timing")
    and has(device(name).memory(), "channels", "column", "bandwidth")
    and "tCCD_S" in device(name).timing.parameters
    and name != "gddr6-chip"  # its timing, a simulator's preset, gives 28 GB/s; the pins give 64
]


@pytest.mark.parametrize(("name", "compute", "precision"), PEAKS)
def test_peak_is_units_times_lanes_times_two_times_clock(name, compute, precision):
    part = device(name).compute(compute)
    peak = part.units * part.lanes[precision] * 2 * part.clock
    assert peak == pytest.approx(part.peak[precision], rel=0.005)


@pytest.mark.parametrize(("name", "memory"), STACKS)
def test_bandwidth_is_that_of_the_stacks(name, memory):
    part = device(name).memory(memory)
    assert part.stacks * part.stack_bandwidth == pytest.approx(part.bandwidth, rel=0.03)


@pytest.mark.parametrize("name", CHANNELS)
def test_bandwidth_is_a_column_from_each_channel_every_interval(name):
    memory, timing = device(name).memory(), device(name).timing
    rate = memory.channels * memory.column / timing["tCCD_S"]
    assert rate == pytest.approx(memory.bandwidth, rel=0.03)


def test_enough_cards_are_checked_by_physics():
    assert len(PEAKS) >= 15
    assert len(STACKS) >= 20
    assert len(CHANNELS) >= 6


def test_row_cycle_is_at_least_open_and_close():
    """A row cannot be opened again before it was open for tRAS and closed for tRP."""
    checked = 0
    for name in devices():
        timing = vars(device(name)).get("timing")
        if timing and {"tRAS", "tRP", "tRC"} <= timing.parameters.keys():
            least = timing["tRAS"] + timing["tRP"]
            assert timing["tRC"] >= least * 0.98 or "precharge" in timing["tRC"].note, name
            checked += 1
    assert checked >= 10


def test_hbm_pim_computes_what_its_parts_do():
    cube = device("hbm-pim")
    pim, bank = cube.compute(), cube.memory()
    assert pim.units * pim.lanes["fp16"] * 2 * pim.clock == pytest.approx(1.229 * TFLOP, rel=1e-3)
    # units of 16 lanes take one column of 32 B per clock, one unit to two banks
    assert pim.units * bank.column * pim.clock == pytest.approx(bank.bandwidth, rel=1e-3)
    assert bank.channels * cube.parameters["units_per_channel"] == pim.units
    assert pim.units * cube.parameters["banks_per_unit"] == bank.channels * bank.banks


def test_aim_reads_what_its_banks_do():
    chip = device("gddr6-aim")
    bank = chip.memory()
    rate = bank.channels * bank.banks * bank.column / chip.timing["tCCD_S"]
    assert rate / (1e12) == pytest.approx(1.024)
    assert bank.bandwidth == pytest.approx(rate)
    assert device("gddr6-aim-channel").memory().bandwidth * bank.channels == pytest.approx(rate)


def test_neupims_reads_what_its_banks_do():
    pim = device("neupims-pim")
    bank = pim.memory()
    rate = bank.channels * bank.banks * bank.column / pim.timing["tCCD_L"]
    assert rate == pytest.approx(bank.bandwidth)


def test_upmem_adds_as_fast_as_it_issues_instructions():
    core = device("upmem-dpu")
    rate = core.compute().clock / core.parameters["instructions_int32_add"]
    assert rate / 1e6 == pytest.approx(58.3, abs=0.05)
    assert core.peak("int32") == pytest.approx(rate, rel=1e-3)
    system = device("upmem-2556")
    assert system.peak("int32") == pytest.approx(2556 * rate, rel=1e-3)
    assert system.memory().capacity == 2556 * core.memory().capacity


@pytest.mark.parametrize(
    ("name", "ridge"), [("h100-sxm-80gb", 295), ("h200-sxm-141gb", 206), ("a100-sxm-80gb", 153)]
)
def test_ridges(name, ridge):
    assert round(device(name).ridge("fp16")) == ridge


def test_ridges_are_positive_and_those_beside_a_bank_are_small():
    for name in devices():
        part = device(name)
        if part.computes and part.memories and has(part.memory(), "bandwidth"):
            peaks = vars(part.compute()).get("peak", {})
            for precision in peaks:
                assert part.ridge(precision) > 0, (name, precision)
                if part.kind == "pim-bank" and precision in ("fp16", "bf16"):
                    assert part.ridge(precision) <= 16, (name, precision)


def test_energy_per_byte_is_power_over_bandwidth():
    h100 = device("h100-sxm-80gb")
    assert h100.energy_per_byte() / pJ == pytest.approx(700 / 3.35, rel=1e-9)
    with pytest.raises(UnknownFigure, match="power"):
        device("hbm-pim").energy_per_byte()


def test_units_of_the_vendor_become_si():
    h100 = device("h100-sxm-80gb")
    assert h100.memory().capacity == 80 * GB
    assert h100.compute().clock == pytest.approx(1.83 * GHz)
    assert h100.compute().clock == pytest.approx(1830 * MHz)
    assert h100.peak("fp16") == pytest.approx(989.4 * TFLOP / s)

"""Flash that computes: sensing many wordlines, sums of currents, and what writing costs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kvlib import device, model
from kvlib.nearmemory import flash, fpim
from kvlib.nearmemory.nand import Plane
from kvlib.nearmemory.storage import lifetime, write_budget
from kvlib.units import GB, GiB, KiB, ns, s, us


@pytest.fixture(scope="module")
def drive():
    return flash.FlashDrive.of(device("flash-cosmos"))


@pytest.fixture(scope="module")
def array():
    return fpim.FlashArray.of(device("3d-fpim"), cell_bits=2)


def filled(pages):
    """A plane whose blocks hold `pages`, of shape (blocks, wordlines, bitlines)."""
    blocks, wordlines, bitlines = pages.shape
    plane = Plane(blocks, wordlines, bitlines, most_blocks=4)
    for block in range(blocks):
        for wordline in range(wordlines):
            plane.program(block, wordline, pages[block, wordline])
    return plane


PAGES = npst.arrays(
    np.uint8,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 9)),
    elements=st.integers(0, 1),
)


# ---- one sensing ---------------------------------------------------------------------------------


@given(PAGES, st.booleans(), st.data())
def test_sensing_is_the_or_over_blocks_of_the_and_within_each(pages, inverse, data):
    plane = filled(pages)
    lines = st.lists(st.integers(0, pages.shape[1] - 1), min_size=1, unique=True)
    chosen = data.draw(st.dictionaries(st.integers(0, pages.shape[0] - 1), lines, min_size=1))
    strings = [np.bitwise_and.reduce(pages[block, wanted]) for block, wanted in chosen.items()]
    expected = np.bitwise_or.reduce(strings)
    got = plane.sense(chosen, inverse=inverse)
    np.testing.assert_array_equal(got, 1 - expected if inverse else expected)
    assert len(plane.senses) == 1  # however many operands


@given(PAGES)
def test_complemented_pages_turn_and_of_many_into_or(pages):
    plane = filled(1 - pages)
    got = plane.sense({0: range(pages.shape[1])}, inverse=True)
    np.testing.assert_array_equal(got, np.bitwise_or.reduce(pages[0]))


@given(PAGES)
def test_exclusive_or_takes_two_sensings(pages):
    plane = filled(pages)
    last = (pages.shape[0] - 1, pages.shape[1] - 1)
    np.testing.assert_array_equal(plane.exclusive_or((0, 0), last), pages[0, 0] ^ pages[last])
    assert len(plane.senses) == 2


def test_flash_cannot_overwrite():
    plane = Plane(blocks=1, wordlines=2, bitlines=4, most_blocks=1)
    plane.program(0, 0, [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"already written.*erase the whole block"):
        plane.program(0, 0, [0, 1, 0, 1])
    plane.erase(0)
    np.testing.assert_array_equal(plane.sense({0: [0, 1]}), [1, 1, 1, 1])
    plane.program(0, 0, [1, 1, 0, 1])
    assert (plane.programs, plane.erases) == (2, 1)


def test_a_sensing_refuses_what_the_strings_cannot_do():
    plane = Plane(blocks=6, wordlines=2, bitlines=4, most_blocks=4)
    with pytest.raises(ValueError, match=r"3 operands in block 0, whose strings have 2 wordlines"):
        plane.sense({0: [0, 1, 2]})
    with pytest.raises(ValueError, match=r"5 blocks sensed at once.*power budget allows 4"):
        plane.sense({block: [0] for block in range(5)})
    with pytest.raises(ValueError, match="each at most once"):
        plane.sense({0: [1, 1]})
    with pytest.raises(ValueError, match="page 2 of block 0 does not exist"):
        plane.sense({0: [2]})
    with pytest.raises(ValueError, match="give one each"):
        plane.program(0, 0, [1])


# ---- a whole drive -------------------------------------------------------------------------------


def test_sense_factor_passes_through_the_measured_points(drive):
    along = flash.sense_factor(np.array([1, 8, 48]), 1, drive)
    np.testing.assert_allclose(along[[0, 2]], [1, 1.033])
    assert along[1] < device("flash-cosmos").parameters["mws_factor_8"]
    across = flash.sense_factor(1, np.array([1, 4, 32]), drive)
    np.testing.assert_allclose(across, [1, 1.033, 1.363])


def test_energy_of_four_blocks_is_about_half_that_of_four_reads(drive):
    assert flash.sense_energy(4, 1.0, drive) / 4 == pytest.approx(1 - 0.53, rel=0.2)


def test_read_and_write_rates_of_the_drive(drive):
    read = 2**31 / flash.one_by_one(1, 2**31, drive).sense
    assert read / (GB / s) == pytest.approx(93.2, rel=1e-3)
    assert drive.write_bandwidth / (GB / s) == pytest.approx(5.24, rel=1e-3)


@pytest.mark.parametrize("operands", range(33, 39))
def test_published_speed_ups_within_20_percent(operands, drive):
    size = 2**31
    inside = flash.sensing_at_once(operands, size, drive).lower
    assert flash.outside(operands, size, drive).lower / inside == pytest.approx(32, rel=0.2)
    assert flash.one_by_one(operands, size, drive).lower / inside == pytest.approx(3.5, rel=0.2)


@given(st.integers(1, 500), st.floats(1, 1e12))
def test_computing_inside_never_loses_to_sending_everything(operands, size):
    drive = flash.FlashDrive.of(device("flash-cosmos"))
    inside = flash.sensing_at_once(operands, size, drive)
    by_one = flash.one_by_one(operands, size, drive)
    host = flash.outside(operands, size, drive)
    assert inside.lower <= by_one.lower * (1 + 1e-12)
    assert by_one.lower <= host.lower * (1 + 1e-12)
    assert inside.lower <= inside.upper


def test_more_operands_than_a_string_has_take_another_sensing(drive):
    one, two = (flash.sensing_at_once(k, 1, drive).sense for k in (48, 49))
    assert one == pytest.approx(22.5 * us * 1.033)
    assert two == pytest.approx(one + 22.5 * us)


def test_drive_times_broadcast(drive):
    times = flash.sensing_at_once(np.array([[2], [48], [96]]), np.array([1e6, 1e9]), drive)
    assert times.lower.shape == (3, 2)


# ---- sums of currents ----------------------------------------------------------------------------


@st.composite
def products(draw):
    bits = draw(st.integers(2, 8))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 300)))
    values = st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    weights = draw(npst.arrays(np.int64, shape, elements=values, fill=values))
    inputs = draw(npst.arrays(np.int64, shape[1], elements=values, fill=values))
    return bits, weights, inputs


@given(products(), st.integers(1, 4))
def test_a_wide_converter_gives_the_exact_product(drawn, cell_bits):
    bits, weights, inputs = drawn
    array = fpim.FlashArray.of(device("3d-fpim"), cell_bits=cell_bits)
    exact = int(fpim.converter_bits(array))
    widths = {"weight_bits": bits, "vector_bits": bits}
    got = fpim.matvec(weights, inputs, array, **widths, converter=exact)
    np.testing.assert_array_equal(got, weights @ inputs)


def test_a_narrow_converter_rounds_within_half_a_step_a_sum(array):
    rng = np.random.default_rng(3)
    weights, inputs = rng.integers(-8, 8, (20, 100)), rng.integers(-16, 16, 100)
    widths = {"weight_bits": 4, "vector_bits": 5}
    exact = weights @ inputs
    errors = []
    for converter in (6, 8, 10, 14):
        got = fpim.matvec(weights, inputs, array, **widths, converter=converter)
        step = max(1, 130 * 31 * 3 / (2**converter - 1))
        assert np.abs(got - exact).max() <= step / 2 * 2 * 2 * (1 + 4)  # signs, slices of 1 and 4
        errors.append(np.abs(got - exact).mean())
    assert errors[0] > errors[1] > errors[2] > errors[3] == 0


def test_flash_products_refuse_bad_input(array):
    widths = {"weight_bits": 4, "vector_bits": 4, "converter": 12}
    with pytest.raises(TypeError, match=r"weights are float64.*Quantise"):
        fpim.matvec([[1.0]], [1], array, **widths)
    with pytest.raises(ValueError, match="inputs reach beyond 4 bits: -8 to 7"):
        fpim.matvec([[1]], [8], array, **widths)
    with pytest.raises(ValueError, match="cannot multiply"):
        fpim.matvec([[1, 2]], [1], array, **widths)
    with pytest.raises(ValueError, match="needs 32 units, but there are 4"):
        fpim.time(4096, 4096, array, weight_bits=8, vector_bits=8, owned=4, t_convert=1 * ns)


def test_more_units_and_fewer_bits_are_faster(array):
    def time(owned, bits):
        widths = {"weight_bits": 8, "vector_bits": bits}
        return fpim.time(4096, 4096, array, **widths, owned=owned, t_convert=10 * ns)

    np.testing.assert_array_less(time(np.array([64, 128]), 8), time(np.array([32, 64]), 8))
    assert time(64, 5) == time(64, 8) / 2
    widths = {"weight_bits": 8, "vector_bits": 8}
    assert np.all(np.diff(fpim.energy(np.arange(1, 9), 64, array, **widths, energy_convert=0)) > 0)


# ---- writing -------------------------------------------------------------------------------------


def test_a_cache_wears_flash_out_in_days():
    token = model("llama-3-8b").kv_bytes_per_token("fp16")
    cycles = np.array([1e3, 1e4, 1e5])
    budget = write_budget(16 * GiB, cycles=cycles, write_amplification=1)
    days = lifetime(budget, 2000 * token) / 86400
    np.testing.assert_allclose(days, [0.76, 7.6, 76], rtol=0.01)


def test_writing_takes_whole_pages_in_turns(drive):
    two = replace(drive, planes=2)
    times = two.write_time(np.array([1, 32, 33]) * KiB)
    np.testing.assert_allclose(times / us, [400, 400, 800])

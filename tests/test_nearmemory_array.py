"""Ambit and SIMDRAM: what the commands compute, how many there are, and how long they take."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlib import device
from kvlib.checks import UnknownName
from kvlib.hardware import UnknownFigure
from kvlib.nearmemory import ambit, simdram
from kvlib.nearmemory.answer import decode_attention, matrix_vector
from kvlib.nearmemory.array_time import ArrayTiming, array_energy, array_time
from kvlib.nearmemory.sites_in_array import (
    ambit_site,
    bitwise_task,
    flash_cosmos_site,
    fpim_site,
    simdram_site,
)
from kvlib.nearmemory.sites_on_die import upmem_site
from kvlib.nearmemory.subarray import RESERVED, Commands, Subarray, parse
from kvlib.nearmemory.upright import read_upright, transposition_time, write_upright
from kvlib.units import GB, KiB, ns, s

WIDTHS = (4, 8, 16, 32)
NUMPY_BITS = {
    "not": lambda a, b: 1 - a,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "nand": lambda a, b: 1 - (a & b),
    "nor": lambda a, b: 1 - (a | b),
    "xor": np.bitwise_xor,
    "xnor": lambda a, b: 1 - (a ^ b),
}


def _mask(n):
    return np.uint64(2**n - 1)


def _absolute(a, n):
    sign = (a >> np.uint64(n - 1)) & np.uint64(1)
    return np.where(sign == 1, np.uint64(0) - a, a) & _mask(n)


def _parity(a, n):
    return np.bitwise_count(a) & 1


# What NumPy says, on unsigned words of n bits.
NUMPY_WORDS = {
    "add": lambda a, b, n: (a + b) & _mask(n),
    "subtract": lambda a, b, n: (a - b) & _mask(n),
    "multiply": lambda a, b, n: a * b,
    "greater": lambda a, b, n: a > b,
    "greater_equal": lambda a, b, n: a >= b,
    "equal": lambda a, b, n: a == b,
    "maximum": lambda a, b, n: np.maximum(a, b),
    "minimum": lambda a, b, n: np.minimum(a, b),
    "relu": lambda a, n: np.where(a >> np.uint64(n - 1), 0, a),
    "absolute": _absolute,
    "bit_count": lambda a, n: np.bitwise_count(a),
    "and_reduce": lambda a, n: a == _mask(n),
    "or_reduce": lambda a, n: a != 0,
    "xor_reduce": _parity,
}

# Published counts, CMU-SAFARI/MIMDRAM microworkloads.
PUBLISHED = {
    "add": lambda n: 8 * n + 1,
    "subtract": lambda n: 8 * n + 1,
    "multiply": lambda n: 11 * n**2 - 5 * n - 1,
    "greater": lambda n: 3 * n + 2,
    "greater_equal": lambda n: 3 * n + 2,
    "equal": lambda n: 4 * n + 3,
    "maximum": lambda n: 10 * n + 2,
    "minimum": lambda n: 10 * n + 2,
    "select": lambda n: 7 * n,
    "relu": lambda n: 3 * n + (n - 1) % 2,
    "absolute": lambda n: 10 * n - 1,
    "bit_count": lambda n: 8 * (n - 1),
    "and_reduce": lambda n: 5 * n // 2 + 2,
    "or_reduce": lambda n: 5 * n // 2 + 2,
    "xor_reduce": lambda n: 3 * n + 2,
}


def words(bits):
    return st.integers(0, 2**bits - 1)


@st.composite
def operands(draw, count):
    bits = draw(st.integers(1, 32))
    lanes = draw(st.integers(1, 20))
    columns = st.lists(words(bits), min_size=lanes, max_size=lanes)
    return bits, [np.array(draw(columns), np.uint64) for _ in range(count)]


@pytest.fixture(scope="module")
def module():
    return ArrayTiming.of(device("ambit-ddr3-1600"))


@pytest.fixture(scope="module")
def part():
    return ArrayTiming.of(device("simdram-16"))


# ---- what the commands compute -------------------------------------------------------------------


@pytest.mark.parametrize("operation", ambit.PROGRAMS)
@given(bits=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_ambit_equals_numpy(operation, bits):
    a, b = np.array(bits, np.uint8).T
    expected = NUMPY_BITS[operation](a, b)
    got = ambit.evaluate(operation, a) if operation == "not" else ambit.evaluate(operation, a, b)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("operation", NUMPY_WORDS)
@settings(max_examples=40)
@given(data=st.data())
def test_simdram_equals_numpy(operation, data):
    count = len(simdram.OPERATIONS[operation].operands)
    bits, values = data.draw(operands(count))
    got, _ = simdram.execute(operation, *values, bits=bits)
    np.testing.assert_array_equal(got, NUMPY_WORDS[operation](*values, bits))


@given(operands(2), st.randoms(use_true_random=False))
def test_select_equals_numpy(drawn, random):
    bits, (a, b) = drawn
    chosen = np.array([random.randint(0, 1) for _ in a])
    got, _ = simdram.execute("select", chosen, a, b, bits=bits)
    np.testing.assert_array_equal(got, np.where(chosen, a, b))


@settings(max_examples=40)
@given(operands(2))
def test_division_equals_numpy_and_the_divisor_zero_gives_all_ones(drawn):
    bits, (a, b) = drawn
    (quotient, remainder), _ = simdram.execute("divide", a, b, bits=bits)
    safe = np.maximum(b, np.uint64(1))
    np.testing.assert_array_equal(quotient, np.where(b == 0, _mask(bits), a // safe))
    np.testing.assert_array_equal(remainder, np.where(b == 0, a, a % safe))


@pytest.mark.parametrize("operation", ["greater", "greater_equal", "maximum", "minimum"])
@given(data=st.data())
def test_signed_comparison_equals_numpy(operation, data):
    bits = data.draw(st.integers(2, 16))
    pair = st.tuples(*[st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)] * 2)
    a, b = np.array(data.draw(st.lists(pair, min_size=1, max_size=20))).T
    got, issued = simdram.execute(operation, a, b, bits=bits, signed=True)
    np.testing.assert_array_equal(got, getattr(np, operation)(a, b))
    assert issued.total == PUBLISHED[operation](bits)


def test_signed_addition_and_relu():
    a, b = np.array([-8, 7, -1, 3]), np.array([-8, 1, 1, -4])
    total, _ = simdram.execute("add", a, b, bits=5, signed=True)
    np.testing.assert_array_equal(total, a + b)
    np.testing.assert_array_equal(simdram.execute("relu", a, bits=4)[0], np.maximum(a, 0))


def test_an_activation_of_three_rows_destroys_its_operands():
    subarray = Subarray(rows=3, columns=8)
    subarray.write(0, [1, 1, 0, 0, 1, 1, 0, 0])
    subarray.write(1, [1, 0, 1, 0, 1, 0, 1, 0])
    subarray.run("AAP a B0, AAP b B1, AAP C0 B2, AP B12, AAP B0 x", a=0, b=1, x=2)
    np.testing.assert_array_equal(subarray.read(2), [1, 0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(subarray.read(0), [1, 1, 0, 0, 1, 1, 0, 0])  # the copy is safe


def test_every_reserved_address_raises_at_most_three_rows():
    assert {len(lines) for lines in RESERVED.values()} == {1, 2, 3}
    assert len([name for name in RESERVED if name.startswith("B")]) == 16


# ---- how many commands ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "aap", "ap"),
    [
        ("not", 2, 0), ("and", 4, 0), ("or", 4, 0), ("nand", 5, 0), ("nor", 5, 0),
        ("xor", 5, 2), ("xnor", 5, 2),
    ],
)  # fmt: skip
def test_ambit_commands(operation, aap, ap):
    counted = ambit.commands(operation)
    assert (counted.aap, counted.ap) == (aap, ap)
    card = device("ambit-ddr3-1600").parameters
    assert (card[f"aap_{operation}"], card.get(f"ap_{operation}", 0)) == (aap, ap)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("operation", PUBLISHED)
def test_executed_commands_equal_the_published_count_and_the_closed_form(operation, bits):
    letters = simdram.OPERATIONS[operation].operands
    values = [np.zeros(1, int)] * len(letters)
    _, issued = simdram.execute(operation, *values, bits=bits)
    assert issued.total == PUBLISHED[operation](bits)
    assert simdram.commands(operation, bits) == issued


@pytest.mark.parametrize(("bits", "published"), [(4, 180), (8, 624), (16, 2304), (32, 8832)])
def test_division_needs_fewer_commands_than_published(bits, published):
    _, issued = simdram.execute("divide", [1], [1], bits=bits)
    assert simdram.commands("divide", bits) == issued
    assert issued.total == 7.5 * bits**2 + 15.5 * bits - 8
    assert 0.92 < issued.total / published < 1


@pytest.mark.parametrize("bits", [3, 5, 7, 11, 24])
@pytest.mark.parametrize("operation", [name for name in PUBLISHED if name != "bit_count"])
def test_closed_forms_hold_at_other_widths(operation, bits):
    values = [np.zeros(1, int)] * len(simdram.OPERATIONS[operation].operands)
    assert simdram.commands(operation, bits) == simdram.execute(operation, *values, bits=bits)[1]


def test_published_split_of_addition_subtraction_and_multiplication():
    n = np.array(WIDTHS)
    add, subtract = simdram.commands("add", n), simdram.commands("subtract", n)
    np.testing.assert_array_equal(add.aap, 6 * n + 1)
    np.testing.assert_array_equal(add.ap, 2 * n)
    np.testing.assert_array_equal(subtract.aap, 7 * n + 1)
    np.testing.assert_array_equal(subtract.ap, n)
    multiply = simdram.commands("multiply", np.array([8, 32]))
    np.testing.assert_array_equal(multiply.aap, [495, 8127])
    np.testing.assert_array_equal(multiply.ap, [168, 2976])


def test_an_adder_of_seven_commands_a_bit_activates_no_fewer_rows():
    bits, rng = 8, np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 64))
    array = Subarray(rows=24, columns=64)
    write_upright(array, range(8), a, lanes=64)
    write_upright(array, range(8, 16), b, lanes=64)
    issued = array.run("AAP C0 B12")
    for bit in range(bits):
        issued += array.run(
            "AAP a B5, AAP b B10, AAP B14 B7, AAP a B1, AAP B15 B5, AAP B14 out, AAP B0 B12",
            a=bit, b=8 + bit, out=16 + bit,
        )  # fmt: skip
    np.testing.assert_array_equal(read_upright(array, range(16, 24), 64), (a + b) % 256)
    assert issued.total == 7 * bits + 1 < simdram.commands("add", bits).total
    assert issued.activations == simdram.commands("add", bits).activations


# ---- how long they take --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "rate"), [("not", 669), ("and", 334), ("or", 334), ("xor", 196)]
)
def test_ambit_throughput(operation, rate, module):
    time = ambit.time(operation, 64 * KiB, module)
    assert round(64 * KiB / time.commands / (GB / s)) == rate


def test_the_activation_window_bounds_ambit(module):
    time = ambit.time("and", 64 * KiB, module)
    assert time.window == pytest.approx(8 * 8 * 30 * ns / 4)
    assert time.total == time.window > time.commands


@pytest.mark.parametrize(
    ("operation", "bits", "nanoseconds"),
    [
        ("add", 8, 3121), ("add", 16, 6193), ("add", 32, 12337),
        ("multiply", 8, 31815), ("multiply", 16, 131135), ("multiply", 32, 532143),
    ],
)  # fmt: skip
def test_simdram_latency(operation, bits, nanoseconds, part):
    assert simdram.time(operation, 1, bits, part).commands / ns == pytest.approx(nanoseconds)


@pytest.mark.parametrize(
    ("operation", "bits", "rate"),
    [("add", 8, 336), ("add", 16, 169), ("add", 32, 85.0), ("multiply", 8, 33.0)],
)
def test_simdram_throughput_of_16_banks(operation, bits, rate, part):
    lanes = 16 * 65536
    time = simdram.time(operation, lanes, bits, part)
    assert lanes / time.commands / 1e9 == pytest.approx(rate, rel=2e-3)


def test_times_broadcast_over_sizes_and_timing(module):
    sweep = ArrayTiming(**{**vars(module), "t_aap": np.array([[49.0], [80.0]]) * ns})
    time = ambit.time("and", np.array([1, 64, 65]) * KiB, sweep)
    assert time.commands.shape == (2, 3)
    np.testing.assert_allclose(time.commands / ns, [[196, 196, 392], [320, 320, 640]])
    bits = np.array(WIDTHS)
    assert simdram.time("multiply", np.array([[1], [2**24]]), bits, module).total.shape == (2, 4)


def test_same_decoder_commands_take_their_full_length(module):
    nand = array_time(ambit.commands("nand"), module)
    assert (nand.decoders - nand.commands) / ns == pytest.approx(80 - 49)


def test_energy_bounds_enclose_each_other(part):
    low, high = array_energy(simdram.commands("add", 32), part, 0.871e-9)
    assert low < high < 2 * low
    assert high == pytest.approx(16 * 257 * 0.871e-9)


def test_transposition_crosses_the_channel_once():
    assert transposition_time(8, 16, 16.0) == 1.0


def test_rowclone_by_both_ways(module):
    near, same_bank = Subarray(rows=2, columns=65536), Subarray(rows=2, columns=65536)
    far = Subarray(rows=2, columns=65536, bank=1)
    near.write(0, np.arange(65536) % 2)
    assert ambit.copy(ambit.Place(near, 0), ambit.Place(near, 1)) == ambit.Copy(aap=1)
    assert ambit.copy(ambit.Place(near, 1), ambit.Place(far, 0)) == ambit.Copy(lines=128)
    assert ambit.copy(ambit.Place(near, 1), ambit.Place(same_bank, 0)) == ambit.Copy(lines=256)
    np.testing.assert_array_equal(far.read(0), near.read(0))
    assert ambit.copy_time(ambit.Copy(lines=128), module, t_line=5 * ns) / ns == pytest.approx(640)


# ---- one question --------------------------------------------------------------------------------


def test_arrays_answer_what_they_can_and_say_why_not():
    attend = decode_attention(1024, heads=8, kv_heads=8, head_dim=128, precision="int8")
    product = matrix_vector(65536, 64, precision="int8")
    conjunction = bitwise_task("and", 64 * KiB)
    bits = ambit_site(device("ambit-ddr3-1600"))
    serial = simdram_site(device("simdram-16"))
    assert bits(conjunction).bound == "activation window"
    assert bits(attend).constraint == bits(product).constraint == "operation"
    assert serial(conjunction).constraint == "operation"
    assert serial(replace(product, precision="fp16")).constraint == "precision"
    assert serial(attend).time > serial(product).time > 0


def test_flash_and_cores_answer_what_they_can_and_say_why_not():
    attend = decode_attention(1024, heads=8, kv_heads=8, head_dim=128, precision="int8")
    product = matrix_vector(4096, 4096, precision="int8")
    sensing = flash_cosmos_site(device("flash-cosmos"))
    assert sensing(bitwise_task("or", 1e9, operands=40)).bound == "host link"
    assert sensing(bitwise_task("or", 1e12, operands=40)).constraint == "capacity"
    assert sensing(product).constraint == "operation"
    few = fpim_site(device("3d-fpim"), cell_bits=4, owned=15, t_convert=10 * ns)
    assert few(product).constraint == "capacity"
    assert few(attend).constraint == "residency"
    assert few(replace(product, precision="bf16")).constraint == "precision"
    cores = upmem_site(device("upmem-2556"), device("upmem-dpu"))
    assert cores(attend).bound == cores(product).bound == "pipeline"
    assert cores(matrix_vector(2**20, 2**18, precision="int8")).constraint == "capacity"
    assert cores(bitwise_task("and", 1.0)).constraint == "operation"
    four = decode_attention(1024, heads=32, kv_heads=8, head_dim=128, precision="int8")
    assert cores(four).time == pytest.approx(4 * cores(attend).time, rel=0.05)  # no reuse


# ---- bad input -----------------------------------------------------------------------------------


def test_operands_in_different_subarrays_are_refused():
    here, there = Subarray(rows=2, columns=8), Subarray(rows=2, columns=8, bank=3)
    place = ambit.Place
    with pytest.raises(ValueError, match=r"operand b lies in another subarray \(bank 3\).*copy"):
        ambit.bitwise("or", place(here, 0), place(there, 0), place(here, 1))
    with pytest.raises(ValueError, match="the result lies in another subarray"):
        ambit.bitwise("or", place(here, 0), place(here, 1), place(there, 0))


def test_wrong_operands_are_refused():
    a = ambit.Place(Subarray(rows=2, columns=8), 0)
    with pytest.raises(ValueError, match="'not' takes 1 operand rows, but 2 came"):
        ambit.bitwise("not", a, a, a)
    with pytest.raises(UnknownName, match="Ambit operation 'add' is unknown"):
        ambit.bitwise("add", a, a, a)
    with pytest.raises(ValueError, match="vectors of one length"):
        ambit.evaluate("and", [1, 0], [1])
    with pytest.raises(ValueError, match="takes 2 operands, got 1"):
        simdram.execute("add", [1], bits=4)
    with pytest.raises(ValueError, match="value 16 does not fit in 4 bits"):
        simdram.execute("add", [16], [1], bits=4)
    with pytest.raises(ValueError, match="one value to each lane"):
        simdram.execute("add", [1, 2], [1], bits=4)
    with pytest.raises(ValueError, match="whole number"):
        simdram.commands("add", 3.5)


def test_floating_point_is_refused():
    with pytest.raises(TypeError, match=r"integers.*Quantise"):
        simdram.execute("add", [1.5], [2.0], bits=16)


def test_closed_forms_say_where_they_hold():
    with pytest.raises(ValueError, match="powers of two"):
        simdram.commands("bit_count", np.array([8, 12]))
    with pytest.raises(ValueError, match="three bits"):
        simdram.commands("divide", 2)
    assert simdram.execute("bit_count", [4095], bits=12)[0] == 12
    assert simdram.execute("divide", [3], [2], bits=2)[0].tolist() == [[1], [1]]


def test_a_subarray_refuses_what_its_circuits_cannot_do():
    subarray = Subarray(rows=2, columns=8)
    with pytest.raises(ValueError, match="raises two wordlines"):
        subarray.ap("B10")
    with pytest.raises(ValueError, match="C0 holds constants"):
        subarray.aap(0, "C0")
    with pytest.raises(ValueError, match="outside this subarray of 2 data rows"):
        subarray.aap(0, 2)
    with pytest.raises(UnknownName, match="row address 'B16' is unknown"):
        subarray.aap(0, "B16")
    with pytest.raises(ValueError, match=r"operand 'b' of .* has no row"):
        subarray.run("AAP a B0, AAP b B1", a=0)
    with pytest.raises(ValueError, match="write 'AAP source destination'"):
        parse("ACT a")
    with pytest.raises(ValueError, match="one each"):
        subarray.write(0, [1, 0])
    with pytest.raises(ValueError, match="multiple of 8"):
        Subarray(rows=1, columns=12)


def test_a_program_that_needs_more_rows_than_there_are_is_refused():
    subarray = Subarray(rows=20, columns=8)
    write_upright(subarray, range(16), [1], lanes=1)
    with pytest.raises(ValueError, match="operands and results do not all fit"):
        write_upright(subarray, range(16, 32), [1], lanes=1)
    assert read_upright(subarray, range(16), 1)[0] == 1


def test_contradicting_timing_is_refused(module):
    with pytest.raises(ValueError, match="shorter than"):
        ArrayTiming(**{**vars(module), "t_aap": 40 * ns})
    card = device("ambit-ddr3-1600")
    slow = card.timing.replace(parameters={**card.timing.parameters, "tRP": 20 * ns})
    with pytest.raises(ValueError, match=r"tRAS \+ tRP"):
        ArrayTiming.of(card.replace(timing=slow))
    bare = card.timing.replace(parameters={"tRAS": 35 * ns, "tRP": 10 * ns})
    with pytest.raises(UnknownFigure, match="tFAW"):
        ArrayTiming.of(card.replace(timing=bare))


def test_commands_add_and_scale():
    mac = simdram.commands("multiply", 8) + simdram.commands("add", 32)
    assert mac.total == 663 + 257
    assert 3 * Commands(1, 2, 1) == Commands(3, 6, 3)

"""UPMEM: what the cores compute, what their pipeline and transfers allow, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kvlib import device
from kvlib.hardware import UnknownFigure
from kvlib.nearmemory.upmem import System, exchange_time
from kvlib.nearmemory.upmem_gemv import fits, gemv, gemv_time, mac_instructions
from kvlib.units import MB, GiB, MiB, s

SYSTEM = System.of(device("upmem-2556"), device("upmem-dpu"))


@pytest.fixture(scope="module")
def system():
    return SYSTEM


@st.composite
def products(draw, dtype):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 40)))
    matrix = draw(npst.arrays(dtype, shape))
    return matrix, draw(npst.arrays(dtype, shape[1]))


# ---- what the cores compute ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "wide"), [("int8", "int32"), ("int32", "int32"), ("int64", "int64")]
)
@given(data=st.data(), dpus=st.integers(1, 9))
def test_integer_products_equal_numpy_modulo_their_width(dtype, wide, data, dpus):
    matrix, vector = data.draw(products(dtype))
    splits = data.draw(st.integers(1, dpus))
    got, _ = gemv(matrix, vector, dpus=dpus, splits=splits)
    assert got.dtype == wide
    np.testing.assert_array_equal(got, matrix.astype(wide) @ vector.astype(wide))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_products_equal_numpy_to_rounding(dtype):
    rng = np.random.default_rng(7)
    matrix, vector = rng.normal(size=(30, 257)).astype(dtype), rng.normal(size=257).astype(dtype)
    got, _ = gemv(matrix, vector, dpus=8, splits=2)
    assert got.dtype == dtype
    bound = 257 * np.finfo(dtype).eps * (np.abs(matrix) @ np.abs(vector))
    assert np.all(np.abs(got - matrix.astype(float) @ vector.astype(float)) <= bound)


@given(st.integers(1, 200), st.integers(1, 3000), st.integers(1, 16), st.integers(1, 4))
def test_closed_form_counts_what_was_executed(n, k, dpus, splits):
    splits = min(splits, dpus)
    cores = replace(SYSTEM, dpus=dpus)
    _, done = gemv(np.zeros((n, k), np.int8), np.zeros(k, np.int8), dpus=dpus, splits=splits)
    time = gemv_time(n, k, "int8", cores, tasklets=24, splits=splits)
    issued = done.multiply_adds * mac_instructions("int8", cores)
    assert time.pipeline >= issued / cores.clock * (1 - 1e-12)
    assert time.dma == pytest.approx(done.transfers * cores.dma_time(2048))


# ---- what pipeline and transfers allow -----------------------------------------------------------


@pytest.mark.parametrize(("size", "rate"), [(8, 34.6), (2048, 651)])
def test_bank_bandwidth(size, rate, system):
    assert system.dma_bandwidth(size) / (MB / s) == pytest.approx(rate, rel=1e-3)


def test_bank_bandwidth_approaches_the_datasheet_from_below(system):
    sizes = np.arange(8, 2049, 8)
    rates = system.dma_bandwidth(sizes)
    assert np.all(np.diff(rates) > 0)
    assert rates[-1] < 700 * MB / s
    assert np.all(system.dma_bandwidth(sizes, to="bank") > rates)


def test_streaming_addition(system):
    rate = system.issue_rate(16) / system.add_int32
    assert rate / 1e6 == pytest.approx(58.3, rel=1e-3)
    assert rate * system.dpus / 1e9 == pytest.approx(149, rel=1e-3)


def test_eleven_tasklets_fill_the_pipeline(system):
    rates = system.issue_rate(np.arange(1, 25))
    assert np.argmax(rates == rates.max()) + 1 == 11


def test_measured_rates_come_back(system):
    measured = device("upmem-dpu").parameters
    for precision in ("int64", "fp32", "fp64"):
        multiply, add = system.arithmetic[precision]
        assert system.clock / (multiply + 5) == pytest.approx(measured[f"measured_{precision}_mul"])
        assert system.clock / (add + 5) == pytest.approx(measured[f"measured_{precision}_add"])


@pytest.mark.parametrize("precision", ["int8", "int32", "fp32"])
def test_products_are_bound_by_the_pipeline(precision, system):
    time = gemv_time(2**16, 4096, precision, system)
    assert time.pipeline > 5 * time.dma
    assert time.total > time.cores == time.pipeline


def test_float_products_are_about_36_times_slower_than_bytes(system):
    ratio = gemv_time(2**16, 4096, "fp32", system).pipeline
    ratio /= gemv_time(2**16, 4096, "int8", system).pipeline
    assert ratio == pytest.approx(250 / 7, rel=0.01)


def test_splitting_columns_trades_work_for_results_to_gather(system):
    splits = np.array([1, 2, 4])
    time = gemv_time(8192, 8192, "int8", system, splits=splits)
    assert np.all(np.diff(time.pipeline) < 0)
    assert np.all(np.diff(time.host_out) > 0)


def test_times_broadcast(system):
    time = gemv_time(np.array([[4096], [8192]]), np.array([1024, 2048, 4096]), "int8", system)
    assert time.total.shape == (2, 3)


def test_capacity_of_the_system(system):
    assert system.dpus * system.bank / GiB == 159.75


def test_energy_is_power_times_time(system):
    assert system.energy(2.0) == 2 * 383
    with pytest.raises(UnknownFigure, match="no power is stated"):
        replace(system, power=None).energy(1.0)


def test_the_only_path_between_cores_leads_through_the_host(system):
    time = exchange_time(1 * MiB, system)
    assert time > 64 * MiB / system.host_write + 64 * MiB / system.host_read * 0.999


# ---- bad input -----------------------------------------------------------------------------------


def test_a_matrix_that_does_not_fit_is_refused(system):
    with pytest.raises(ValueError, match=r"does not fit in 2556 banks of 64 MiB.*fits"):
        gemv_time(2**20, 2**18, "int8", system)
    sizes = np.array([2**12, 2**22])
    np.testing.assert_array_equal(fits(sizes, 2**16, "int8", system), [True, False])


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp8"])
def test_a_precision_without_a_routine_is_refused(precision, system):
    with pytest.raises(ValueError, match=rf"'{precision}'.*It computes in int8, int32"):
        gemv_time(16, 16, precision, system)


def test_types_and_shapes_are_checked():
    with pytest.raises(TypeError, match=r"float16.*give both the same type"):
        gemv(np.ones((2, 2), np.float16), np.ones(2, np.float16), dpus=1)
    with pytest.raises(ValueError, match="cannot multiply"):
        gemv(np.ones((2, 3), np.int8), np.ones(2, np.int8), dpus=1)
    with pytest.raises(ValueError, match="splits = 3, but there are 2 cores"):
        gemv(np.ones((2, 3), np.int8), np.ones(3, np.int8), dpus=2, splits=3)


@pytest.mark.parametrize("size", [4, 12, 4096])
def test_transfers_of_odd_size_are_refused(size, system):
    with pytest.raises(ValueError, match="multiple of 8 B, at most 2048 B"):
        system.dma_time(size)


def test_too_many_tasklets_are_refused(system):
    with pytest.raises(ValueError, match="tasklets = 25, but a core runs at most 24"):
        system.issue_rate(25)
    with pytest.raises(ValueError, match="splits = 3000, but there are 2556"):
        gemv_time(16, 4096, "int8", system, splits=3000)

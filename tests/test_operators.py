"""Operators against the loops of a textbook, counted while they run, and against their limits."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from kvlib.hardware import Compute, Device, Memory
from kvlib.operators import Operator, Work, gemm, gemv, linear, plain
from kvlib.roofline import bounds
from kvlib.sweep import axes

SIZE = st.integers(1, 100_000)
BYTES = st.sampled_from([0.5, 1, 2, 4, 8])
SCALE = st.sampled_from([0, 1, -1, 0.5])


def parts(work):
    return work.flop, work.weights, work.kv, work.activations


def counted_gemm(m, n, k, alpha, beta):
    """Multiply A (m, k) by B (k, n) in three loops: operations, elements of B, those of A and C."""
    flop, a, b, read, written = 0, set(), set(), set(), set()
    for row in range(m):
        for column in range(n):
            for inner in range(k):
                a.add((row, inner))
                b.add((inner, column))
                flop += 2  # a multiplication and an addition
            if alpha != 1:
                flop += 1
            if beta != 0:
                read.add((row, column))
                flop += 1 if beta == 1 else 2  # add the old result; scale it unless by one
            written.add((row, column))
    return flop, len(b), len(a) + len(read) + len(written)


@given(*[st.integers(1, 6)] * 3, st.sampled_from([1, 2, -0.5]), SCALE, BYTES)
def test_gemm_is_what_three_loops_do(m, n, k, alpha, beta, size):
    flop, weights, activations = counted_gemm(m, n, k, alpha, beta)
    work = gemm(m, n, k, element_bytes=size, alpha=alpha, beta=beta)
    assert parts(work) == (flop, weights * size, 0, activations * size)


@given(SIZE, SIZE, SIZE, BYTES)
def test_closed_forms(m, n, k, size):
    product = gemm(m, n, k, element_bytes=size)
    assert product.flop == 2 * m * n * k
    assert product.bytes == size * (m * k + k * n + m * n)
    assert product.intensity == pytest.approx(2 / size / (1 / m + 1 / n + 1 / k))
    assert parts(gemv(n, k, element_bytes=size)) == parts(gemm(1, n, k, element_bytes=size))
    layer = linear(m, k, n, element_bytes=size, weight_bytes=1, bias=True)
    assert layer.flop == product.flop + m * n
    assert layer.weights == n * k + n
    assert layer.activations == product.activations


@given(SIZE, SIZE, SIZE, BYTES)
def test_scales_cost_passes_over_the_result_and_nothing_else(m, n, k, size):
    plainly = gemm(m, n, k, element_bytes=size)
    for alpha, beta, passes, reads in [(2, 0, 1, 0), (1, 1, 1, 1), (1, 3, 2, 1), (2, 3, 3, 1)]:
        scaled = gemm(m, n, k, element_bytes=size, alpha=alpha, beta=beta)
        assert scaled.flop == plainly.flop + passes * m * n
        assert scaled.bytes == plainly.bytes + reads * size * m * n
        assert scaled.weights == plainly.weights


@given(SIZE, SIZE, SIZE, BYTES)
def test_work_is_positive_and_grows_with_every_size(m, n, k, size):
    here = gemm(m, n, k, element_bytes=size)
    assert here.flop > 0
    assert here.bytes > 0
    for bigger in [(m + 1, n, k), (m, n + 1, k), (m, n, k + 1)]:
        there = gemm(*bigger, element_bytes=size)
        assert there.flop > here.flop
        assert there.bytes > here.bytes
        assert there.intensity >= here.intensity
    assert gemm(m, n, k, element_bytes=2 * size).bytes == 2 * here.bytes


@given(SIZE, SIZE, SIZE)
def test_intensity_has_a_ceiling(m, n, k):
    assert gemv(n, k, element_bytes=2).intensity < 1
    assert gemm(m, n, k, element_bytes=2).intensity < min(m, n, k)
    assert gemm(m, m, m, element_bytes=2).intensity == pytest.approx(m / 3)


def test_numbers_of_chapter_two():
    assert gemm(4096, 4096, 4096, element_bytes=2).intensity == pytest.approx(4096 / 3)
    assert gemv(4096, 4096, element_bytes=2).intensity == pytest.approx(2048 / 2049)
    assert gemm(1, 8192, 8192, element_bytes=2).bytes == 2 * 8192 * 8194


SOME = st.lists(st.integers(1, 9999), min_size=1, max_size=4, unique=True)


@settings(max_examples=30)
@given(SOME, SOME, SOME)
def test_arrays_and_labelled_arrays_equal_scalar_calls(ms, ns, ks):
    labelled = gemm(**axes(m=ms, n=ns, k=ks), element_bytes=2, beta=0.5)
    grid = np.ix_(ms, ns, ks)
    arrays = gemm(*grid, element_bytes=2, beta=0.5)
    assert labelled.flop.dims == ("m", "n", "k")
    for name in ("flop", "bytes", "intensity"):
        one_by_one = [
            getattr(gemm(m, n, k, element_bytes=2, beta=0.5), name)
            for m in ms for n in ns for k in ks
        ]  # fmt: skip
        shape = (len(ms), len(ns), len(ks))
        array = np.broadcast_to(getattr(arrays, name), shape)
        named = getattr(labelled, name).transpose("m", "n", "k").values
        np.testing.assert_array_equal(array.ravel(), one_by_one)
        np.testing.assert_array_equal(named.ravel(), one_by_one)


def test_a_sweep_over_formats_broadcasts_too():
    sizes = xr.DataArray([2.0, 1.0, 0.5], dims="format", coords={"format": ["fp16", "fp8", "fp4"]})
    layer = linear(1, 4096, 4096, element_bytes=2, weight_bytes=sizes)
    assert layer.weights.dims == ("format",)
    assert (layer.weights.values == 4096**2 * sizes.values).all()


def test_sizes_of_small_integer_types_do_not_overflow():
    small = np.array([8192], dtype=np.int32)
    assert gemm(small, small, small, element_bytes=2).flop == 2 * 8192**3


SCALES = st.floats(0.01, 100)


@given(SIZE, SIZE, SIZE, SCALES)
def test_rescale_the_byte_and_seconds_stay_put(m, n, k, scale):
    """A unit is a convention: count bytes in other units everywhere, and no time changes."""

    def seconds(unit):
        memory = Memory(name="memory", bandwidth=3.35e12 * unit)
        core = Compute(name="core", peak={"fp16": 1e15})
        toy = Device(name="toy", title="Toy", kind="gpu", memories=(memory,), computes=(core,))
        return bounds(gemm(m, n, k, element_bytes=2 * unit), toy, "fp16")

    assert seconds(scale).lower == pytest.approx(seconds(1).lower, rel=1e-12)
    assert seconds(scale).upper == pytest.approx(seconds(1).upper, rel=1e-12)


def test_work_adds_and_repeats():
    first, second = Work(1.0, 2.0, 3.0, 4.0), Work(10.0, 20.0, 30.0, 40.0)
    assert parts(first + second) == (11, 22, 33, 44)
    assert parts(first * 3) == parts(3 * first) == (3, 6, 9, 12)
    assert first.bytes == 9
    assert np.isnan(Work().intensity)
    assert Work(flop=1.0).intensity == np.inf


def test_operator_counts_its_layers():
    work = Work(1.0, 2.0, 3.0, 4.0)
    assert Operator("logits", "gemm", work).count == 1
    repeated = Operator("ffn_up", "gemm", work, layers=(0, 1, 5))
    assert repeated.count == 3
    assert parts(repeated.total) == (3, 6, 9, 12)


def test_plain_unwraps_only_numpy_scalars():
    array = np.ones(2)
    assert type(plain(np.float64(2))) is float
    assert plain(array) is array
    assert plain("name") == "name"


@pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan"), float("inf"), [4, 0]])
def test_impossible_sizes_are_refused_by_their_names(wrong):
    for place, name in enumerate("mnk"):
        sizes = [4, 4, 4]
        sizes[place] = wrong
        with pytest.raises(ValueError, match=f"^{name} = .* must be "):
            gemm(*sizes, element_bytes=2)
    for place, name in enumerate(("tokens", "inputs", "outputs")):
        sizes = [4, 4, 4]
        sizes[place] = wrong
        with pytest.raises(ValueError, match=f"^{name} = .* must be "):
            linear(*sizes, element_bytes=2)


@pytest.mark.parametrize("wrong", ["8", None, True, 1j])
def test_sizes_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(TypeError, match=r"^n = .* must be a number"):
        gemm(4, wrong, 4, element_bytes=2)
    with pytest.raises(TypeError, match=r"^element_bytes = .* must be a number"):
        gemm(4, 4, 4, element_bytes=wrong)


@pytest.mark.parametrize("wrong", [0, -2, float("nan"), float("inf")])
def test_elements_need_a_size_and_scales_a_value(wrong):
    with pytest.raises(ValueError, match=r"^element_bytes = .* must be finite and above zero"):
        gemm(4, 4, 4, element_bytes=wrong)
    with pytest.raises(ValueError, match=r"^element_bytes = "):
        linear(4, 4, 4, element_bytes=wrong)
    with pytest.raises(ValueError, match=r"^weight_bytes = "):
        linear(4, 4, 4, element_bytes=2, weight_bytes=wrong)
    if not np.isfinite(wrong):
        with pytest.raises(ValueError, match=r"^alpha = .* must be finite"):
            gemm(4, 4, 4, element_bytes=2, alpha=wrong)
        with pytest.raises(ValueError, match=r"^beta = .* must be finite"):
            gemv(4, 4, element_bytes=2, beta=wrong)

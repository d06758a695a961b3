"""Times on a GPU against the datasheet's bounds, the stated equation, and measured kernels."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import device
from kvlib.catalogue import architectures, constants
from kvlib.checks import UnknownName
from kvlib.hardware import Compute, Device, Memory, UnknownFigure
from kvlib.operators import Work, gemm, gemv
from kvlib.quoted import BASES, Quoted
from kvlib.roofline import (
    Bounds,
    GemmKernel,
    attainable,
    bounds,
    efficiency,
    gemm_kernel_time,
    gemm_time,
)
from kvlib.sweep import axes
from kvlib.validation import errors, excerpt, load

ROOT = Path(__file__).resolve().parent.parent
MORE_KERNELS = ROOT.parent / "shared" / "authorities" / "gemm.csv"
HIGHEST_ERROR = 0.07
SIZE = st.integers(1, 40_000)
# Dense bf16 peak [flop/s] and memory bandwidth [B/s], as the datasheets print them.
CARDS = {
    "a100-sxm-80gb": (312e12, 2.039e12),
    "h100-sxm-80gb": (989.4e12, 3.35e12),
    "h200-sxm-141gb": (989.4e12, 4.8e12),
}
GPU = st.sampled_from(list(CARDS))


def ideal(name, m, n, k):
    peak, bandwidth = CARDS[name]
    return max(2 * m * n * k / peak, 2 * (m * k + k * n + m * n) / bandwidth)


def time(name, m, n, k):
    return gemm_time(device(name), m=m, n=n, k=k, precision="bf16")


# ---- bounds ---------------------------------------------------------------------


@given(GPU, SIZE, SIZE, SIZE)
def test_lower_bound_is_the_roofline_and_the_upper_at_most_twice_it(name, m, n, k):
    pace = bounds(gemm(m, n, k, element_bytes=2), device(name), "bf16")
    assert pace.lower == pytest.approx(ideal(name, m, n, k), rel=1e-3)
    assert pace.lower <= pace.upper <= 2 * pace.lower
    assert pace.memory_bound == (pace.memory > pace.compute)


@given(GPU, st.floats(1e-3, 1e6))
def test_attainable_rate_is_what_the_bounds_give(name, intensity):
    work = Work(flop=intensity * 1e9, weights=1e9)
    rate = attainable(intensity, device(name), "bf16")
    assert rate == pytest.approx(work.flop / bounds(work, device(name), "bf16").lower)
    assert rate <= CARDS[name][0] * (1 + 1e-3)


@pytest.mark.parametrize("name", CARDS)
def test_memory_and_processor_balance_at_the_ridge(name):
    ridge = device(name).ridge("bf16")
    pace = bounds(Work(flop=ridge * 1e9, weights=1e9), device(name), "bf16")
    assert pace.compute == pytest.approx(pace.memory)
    assert pace.upper == pytest.approx(2 * pace.lower)


def test_bounds_broadcast_by_name():
    pace = bounds(gemm(**axes(m=[1, 64, 4096]), n=4096, k=4096, element_bytes=2),
                  device("h100-sxm-80gb"), "bf16")  # fmt: skip
    assert pace.lower.dims == ("m",)
    assert pace.memory_bound.values.tolist() == [True, True, False]
    one = bounds(gemm(64, 4096, 4096, element_bytes=2), device("h100-sxm-80gb"), "bf16")
    assert pace.lower.sel(m=64).item() == one.lower


def test_no_bound_without_a_stated_peak_or_bandwidth():
    work = gemv(8, 8, element_bytes=2)
    with pytest.raises(UnknownFigure, match=r"no peak for 'fp61'; it states .*bf16"):
        bounds(work, device("h100-sxm-80gb"), "fp61")
    bare = Device(name="bare", title="Bare", kind="gpu", memories=(Memory(name="hbm"),),
                  computes=(Compute(name="core", peak={"fp16": 1e12}),))  # fmt: skip
    with pytest.raises(UnknownFigure, match="'hbm' states no bandwidth"):
        bounds(work, bare, "fp16")
    with pytest.raises(ValueError, match=r"intensity = -1.0 must be"):
        attainable(-1.0, device("h100-sxm-80gb"), "fp16")


def test_bounds_of_numbers():
    assert Bounds(compute=3.0, memory=1.0).lower == 3.0
    assert Bounds(compute=3.0, memory=1.0).upper == 4.0
    assert not Bounds(compute=3.0, memory=1.0).memory_bound


# ---- the equation of a kernel ---------------------------------------------------


def stated_time(name, m, n, k):
    """Evaluate the equation printed with `gemm_kernel_time`, one shape at a time."""
    kernel, core = efficiency(device(name)).gemm, device(name).compute()
    peak, bandwidth = CARDS[name]
    memory = 2 * (m * k + k * n + m * n) / (kernel.bandwidth_fraction * bandwidth)
    best = math.inf
    for M, N in [(64, 64), (64, 128), (128, 64), (128, 128), (64, 256), (256, 64), (128, 256),
                 (256, 128)]:  # fmt: skip
        for split in (1, 2, 4, 8, 16, 32):
            s = min(split, max(1, k // 256))
            element = 2 if split == 1 else 4
            waves = math.ceil(math.ceil(m / M) * math.ceil(n / N) * s / core.units)
            step = 2 * M * N * core.units / (kernel.matrix_fraction * peak)
            loop = k / s * (step + kernel.issue_clocks / core.clock)
            store = element * min(m, M) * min(n, N) / (kernel.store_rate * core.clock)
            p = kernel.overlap_exponent
            both = (memory**p + (waves * (loop + store)) ** p) ** (1 / p)
            best = min(best, both + (kernel.split_latency if split > 1 else 0))
    return kernel.kernel_floor + best


@given(GPU, SIZE, SIZE, SIZE)
def test_time_is_what_the_equation_says(name, m, n, k):
    assert time(name, m, n, k) == pytest.approx(stated_time(name, m, n, k), rel=2e-3)


@given(GPU, SIZE, SIZE, SIZE)
def test_no_kernel_beats_the_roofline(name, m, n, k):
    lower = bounds(gemm(m, n, k, element_bytes=2), device(name), "bf16").lower
    assert time(name, m, n, k) > lower


@given(GPU, SIZE, SIZE, st.integers(1, 150), st.data())
def test_more_work_never_takes_less_time(name, m, n, blocks, data):
    """In m and n at any size; in k by steps of 256, between which the best split can change."""
    here, more = time(name, m, n, 256 * blocks), st.integers(1, 5000)
    assert time(name, m + data.draw(more), n, 256 * blocks) >= here
    assert time(name, m, n + data.draw(more), 256 * blocks) >= here
    assert time(name, m, n, 256 * (blocks + data.draw(st.integers(1, 20)))) >= here


def test_without_losses_whole_tiles_reach_the_roofline():
    perfect = GemmKernel(kernel_floor=0, bandwidth_fraction=1, matrix_fraction=1, issue_clocks=0,
                         store_rate=1e30, split_latency=0, overlap_exponent=math.inf)  # fmt: skip
    core = Compute(name="core", peak={"bf16": 1e12}, units=1, clock=1e9)
    one = Device(name="one", title="One", kind="gpu", computes=(core,),
                 memories=(Memory(name="hbm", bandwidth=1e10),))  # fmt: skip
    for m, n, k in [(64, 64, 64), (256, 512, 1024), (4096, 4096, 4096), (64, 64, 1)]:
        found = gemm_kernel_time(one, perfect, m=m, n=n, k=k, precision="bf16")
        assert found == pytest.approx(bounds(gemm(m, n, k, element_bytes=2), one, "bf16").lower)


def test_a_column_more_than_whole_tiles_costs_a_wave():
    h100 = device("h100-sxm-80gb")  # 132 processors: 132 tiles of 256 x 128 are one wave
    full, over = (
        gemm_time(h100, m=256 * 12, n=n, k=8192, precision="bf16") for n in (128 * 11, 128 * 11 + 1)
    )
    assert over > 1.05 * full


def test_arrays_and_labelled_arrays_equal_scalar_calls():
    h100, sizes = device("h100-sxm-80gb"), {"m": [1, 65, 4096], "n": [512, 8192], "k": [128, 4096]}
    labelled = gemm_time(h100, **axes(**sizes), precision="bf16").transpose("m", "n", "k")
    m, n, k = np.ix_(*sizes.values())
    array = gemm_time(h100, m=m, n=n, k=k, precision="bf16")
    one_by_one = [
        time("h100-sxm-80gb", m, n, k)
        for m in sizes["m"] for n in sizes["n"] for k in sizes["k"]
    ]  # fmt: skip
    np.testing.assert_allclose(array.ravel(), one_by_one, rtol=1e-14)
    np.testing.assert_allclose(labelled.values.ravel(), one_by_one, rtol=1e-14)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan"), float("inf")])
def test_impossible_sizes_are_refused(wrong):
    for name in "mnk":
        with pytest.raises(ValueError, match=f"^{name} = {wrong} must be"):
            gemm_time(device("h100-sxm-80gb"), **{"m": 8, "n": 8, "k": 8, name: wrong},
                      precision="bf16")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [("bandwidth_fraction", 1.1), ("matrix_fraction", 0), ("store_rate", 0), ("kernel_floor", -1),
     ("issue_clocks", -1), ("split_latency", float("nan")), ("overlap_exponent", 0.9),
     ("overlap_exponent", float("nan"))],
)  # fmt: skip
def test_impossible_constants_are_refused(name, value):
    given = {field: float(figure) for field, figure in constants("hopper")["gemm"].items()}
    with pytest.raises(ValueError, match=f"{name} = "):
        GemmKernel(**{**given, name: value})


# ---- whose constants ------------------------------------------------------------


def test_h200_runs_hoppers_kernels():
    h200 = device("h200-sxm-141gb")
    assert efficiency(h200) == efficiency(device("h100-sxm-80gb")) == efficiency("hopper")
    shape = {"m": 64, "n": 8192, "k": 8192, "precision": "bf16"}
    assert gemm_time(h200, **shape) == gemm_time(h200, **shape, kernel=efficiency("hopper").gemm)
    assert gemm_time(h200, **shape) < gemm_time(device("h100-sxm-80gb"), **shape)


def test_an_unmeasured_architecture_has_no_constants_and_says_what_to_do():
    unmeasured = device("h100-sxm-80gb").replace(architecture=None)
    remedy = r"no measured kernels: constants exist for ampere,.*Use `bounds`.*'hopper'"
    with pytest.raises(UnknownFigure, match=remedy):
        efficiency(unmeasured)
    with pytest.raises(UnknownFigure, match=remedy):
        gemm_time(unmeasured, m=1, n=8, k=8, precision="bf16")
    assumed = gemm_time(
        unmeasured, m=1, n=8, k=8, precision="bf16", kernel=efficiency("hopper").gemm
    )
    assert assumed == time("h100-sxm-80gb", 1, 8, 8)
    with pytest.raises(
        UnknownName, match=r"architecture 'hoper' is unknown. Nearest known: hopper"
    ):
        efficiency("hoper")


def test_every_constant_has_a_source_that_resolves():
    known = set(re.findall(r"^@\w+\{([^,]+),", (ROOT / "book/references.bib").read_text(), re.M))
    assert {"ampere", "hopper"} <= set(architectures())
    for architecture in architectures():
        kernels = constants(architecture)
        assert "gemm" in kernels
        for kernel, figures in kernels.items():
            for name, figure in figures.items():
                where = f"{architecture} {kernel} {name}"
                assert isinstance(figure, Quoted), where
                assert figure.source in known, where
                assert figure.basis in BASES, where
                assert figure.note, where


# ---- measured kernels -----------------------------------------------------------


def test_quoted_kernels_are_predicted_within_seven_per_cent():
    kind, table = load(excerpt("gemm"))
    model, pure = (errors(times, table["latency_s"]) for times in kind.predict(table))
    assert model.mean <= HIGHEST_ERROR
    assert 0.97 < model.ratio < 1.03
    assert pure.ratio < 1
    assert pure.mean > 2 * model.mean


@pytest.mark.skipif(not MORE_KERNELS.exists(), reason="no larger table of measured kernels is here")
def test_more_measured_kernels_are_predicted_within_seven_per_cent(capsys):
    from kvlib.validation.__main__ import main

    assert main([str(MORE_KERNELS)]) == 0
    closing = re.fullmatch(r"MAPE (\S+) % over (\d+) rows \(gemm.csv gemm\)",
                           capsys.readouterr().out.splitlines()[-1])  # fmt: skip
    assert closing
    assert float(closing[1]) <= 100 * HIGHEST_ERROR
    assert int(closing[2]) > 100

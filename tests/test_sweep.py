"""A labelled grid has the axes that were named, and nothing that was not meant."""

import numpy as np
import pytest

from kvlib.operators import gemm
from kvlib.sweep import axes


def test_axes_carry_their_names_and_points():
    grid = axes(batch=[1, 8], precision=["fp16", "fp8"], share=(0.1, 0.5, 1.0), step=range(1, 5))
    assert list(grid) == ["batch", "precision", "share", "step"]
    for name, axis in grid.items():
        assert axis.dims == (name,)
        assert list(axis.coords) == [name]
    assert grid["precision"].values.tolist() == ["fp16", "fp8"]
    assert grid["step"].values.tolist() == [1, 2, 3, 4]
    assert (grid["batch"] * grid["share"]).sel(batch=8, share=0.5).item() == 4


def test_results_have_every_axis_and_can_be_looked_up():
    work = gemm(**axes(m=[1, 64], n=[4096, 8192]), k=4096, element_bytes=2)
    assert work.flop.dims == ("m", "n")
    assert work.flop.sel(m=64, n=8192).item() == 2 * 64 * 8192 * 4096


def test_a_generator_and_an_array_are_lists_of_points():
    assert axes(m=(2**n for n in range(3)))["m"].values.tolist() == [1, 2, 4]
    assert axes(m=np.array([1, 2]))["m"].size == 2


@pytest.mark.parametrize(
    ("points", "error", "message"),
    [
        ([], ValueError, r"axis 'm' has shape \(0,\): give a list of one or more points"),
        ([[1, 2], [3, 4]], ValueError, r"axis 'm' has shape \(2, 2\)"),
        ([1, 2, 1], ValueError, "axis 'm' holds 1 twice: list each point once"),
        (["fp8", "fp8"], ValueError, "axis 'm' holds fp8 twice"),
        ([1.0, float("nan")], ValueError, "axis 'm' holds nan: every point must be finite"),
        ([1.0, float("inf")], ValueError, "axis 'm' holds inf"),
        (4096, TypeError, r"axis 'm' = 4096 must be a list of points: write \[4096\]"),
        ("fp16", TypeError, r"axis 'm' = 'fp16' must be a list of points: write \['fp16'\]"),
        ([1, None], TypeError, "axis 'm' = .* must hold numbers or names"),
    ],
)
def test_what_is_no_axis_is_refused(points, error, message):
    with pytest.raises(error, match=message):
        axes(m=points)

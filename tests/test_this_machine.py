"""The reader's own machine is measured, quickly, and is a device like any other."""

import pytest

from kvlib.hardware import Device, UnknownFigure
from kvlib.operators import gemm, gemv
from kvlib.roofline import bounds
from kvlib.this_machine import device, fastest, measure_gemm, measure_gemv, threads


def test_this_machine_is_a_device():
    here = device(size=48, stream_bytes=1e5)
    assert isinstance(here, Device)
    assert here.kind == "cpu"
    assert here.title == f"this machine, {threads()} threads"
    assert here.ridge("fp32") == here.peak("fp32") / here.memory().bandwidth
    assert bounds(gemv(64, 64, element_bytes=4), here, "fp32").lower > 0
    with pytest.raises(UnknownFigure, match="no peak for 'fp16'"):
        here.peak("fp16")


def test_work_and_time_belong_together():
    for measure, expected in [
        (measure_gemm, gemm(40, 40, 40, element_bytes=4)),
        (measure_gemv, gemv(40, 40, element_bytes=4)),
    ]:
        work, seconds = measure(40)
        assert work == expected
        assert 0 < seconds < 1


def test_fastest_warms_up_and_times_at_least_three_runs():
    runs = []
    assert fastest(lambda: runs.append(len(runs)), seconds=0) < 1
    assert len(runs) == 4


def test_there_is_a_thread():
    assert threads() >= 1


@pytest.mark.parametrize("wrong", [0, -1, 1.5, float("nan")])
def test_impossible_sizes_are_refused_before_anything_is_measured(wrong):
    for measure in (measure_gemm, measure_gemv, device):
        with pytest.raises(ValueError, match=f"size = {wrong} must be"):
            measure(wrong)
    with pytest.raises(ValueError, match=r"stream_bytes = -1 must be finite and above zero"):
        device(size=8, stream_bytes=-1)

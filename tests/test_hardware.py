"""A device states what a source states; everything else is absent, and absent is an error."""

import copy
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import device
from kvlib.checks import UnknownName
from kvlib.hardware import Compute, Device, Link, Memory, Timing, UnknownFigure
from kvlib.quoted import Quoted

# Dense bf16 peak over memory bandwidth, both as the datasheets print them.
RIDGES = {
    "a100-sxm-80gb": 312e12 / 2.039e12,  # 153
    "h100-sxm-80gb": 989.4e12 / 3.35e12,  # 295
    "h200-sxm-141gb": 989.4e12 / 4.8e12,  # 206
}


def toy(**changes):
    given = {
        "name": "toy",
        "title": "A toy",
        "kind": "gpu",
        "memories": (Memory(name="near", bandwidth=2e12), Memory(name="far", capacity=1e12)),
        "computes": (Compute(name="core", peak={"fp16": 4e14}),),
        "links": (Link(name="wire", bandwidth=1e9),),
        "timing": Timing(name="DDR", parameters={"tRCD": 14e-9}),
    }
    return Device(**{**given, **changes})


@pytest.mark.parametrize(("name", "ridge"), RIDGES.items())
def test_ridge_points_of_the_first_chapter(name, ridge):
    assert device(name).ridge("fp16") == pytest.approx(ridge, rel=1e-3)


@pytest.mark.parametrize(
    ("part", "figure"),
    [
        (Memory(name="hbm"), "bandwidth"),
        (Memory(name="hbm"), "capacity"),
        (Compute(name="core"), "peak"),
        (Link(name="wire"), "latency"),
        (toy(), "price"),
        (toy(), "architecture"),
    ],
)
def test_an_absent_figure_is_an_error_and_not_there(part, figure):
    assert not hasattr(part, figure)
    with pytest.raises(UnknownFigure, match=rf"'{part.name}' states no {figure}.*\.replace\("):
        getattr(part, figure)


def test_what_is_no_field_at_all_is_a_plain_attribute_error():
    with pytest.raises(AttributeError, match="Memory has no field 'colour'") as error:
        _ = Memory(name="hbm").colour
    assert not isinstance(error.value, UnknownFigure)


def test_parts_are_found_by_name_and_the_first_is_the_main_one():
    assert toy().memory().name == "near"
    assert toy().memory("far").capacity == 1e12
    assert toy().compute("core") == toy().compute()
    assert toy().link().bandwidth == 1e9
    with pytest.raises(UnknownName, match=r"memory of 'toy' 'fair' is unknown. Nearest known: far"):
        toy().memory("fair")
    with pytest.raises(UnknownFigure, match="'bare' states no link"):
        Device(name="bare", title="Bare", kind="memory").link()


def test_no_peak_and_no_timing_is_guessed():
    with pytest.raises(UnknownFigure, match="no peak for 'fp8'; it states fp16"):
        toy().peak("fp8")
    assert toy().timing["tRCD"] == 14e-9
    with pytest.raises(UnknownFigure, match="states no tFAW: it has tRCD"):
        toy().timing["tFAW"]


def test_replace_answers_a_what_if_and_leaves_the_original():
    memory = Memory(name="hbm", bandwidth=2e12)
    assert memory.replace(bandwidth=4e12).bandwidth == 4e12
    assert memory.bandwidth == 2e12
    assert not hasattr(memory.replace(bandwidth=None), "bandwidth")
    faster = toy().replace(memories=(memory.replace(bandwidth=4e12),))
    assert faster.ridge("fp16") == toy().ridge("fp16") / 2
    with pytest.raises(TypeError, match="colour"):
        memory.replace(colour=1)


def test_a_replaced_figure_no_longer_passes_for_the_vendors():
    h100 = device("h100-sxm-80gb").memory()
    assert isinstance(h100.bandwidth, Quoted)
    assert not isinstance(h100.replace(bandwidth=h100.bandwidth * 2).bandwidth, Quoted)


def test_a_device_is_fixed():
    with pytest.raises(FrozenInstanceError):
        toy().name = "other"
    with pytest.raises(FrozenInstanceError):
        del toy().name
    with pytest.raises(TypeError):
        toy().compute().peak["fp16"] = 1e15


def test_a_mapping_handed_in_can_change_without_changing_the_device():
    peaks = {"fp16": 1e14}
    core = Compute(name="core", peak=peaks)
    peaks["fp16"] = 2e14
    assert core.peak["fp16"] == 1e14


def test_equal_figures_make_equal_devices():
    assert toy() == toy()
    assert hash(toy()) == hash(toy())
    assert len({toy(), toy()}) == 1
    assert toy() != toy(price=1.0)
    assert Memory(name="a") != Link(name="a")
    assert Memory(name="a") != "a"


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))]
)
@pytest.mark.parametrize("original", [toy(), device("h100-sxm-80gb")], ids=["toy", "h100"])
def test_copies_and_pickles_are_equal_and_still_fixed(again, original):
    restored = again(original)
    assert restored == original
    assert hash(restored) == hash(original)
    assert restored.peak("fp16") == original.peak("fp16")
    assert not hasattr(restored, "area") or hasattr(original, "area")
    with pytest.raises(TypeError):
        restored.compute().peak["fp16"] = 1.0


def test_pickled_figures_keep_their_source():
    restored = pickle.loads(pickle.dumps(device("h100-sxm-80gb")))
    assert restored.memory().bandwidth.source == device("h100-sxm-80gb").memory().bandwidth.source


def test_dense_peak_above_the_sparse_one_is_refused():
    Compute(name="core", peak={"fp16": 1e15}, sparse_peak={"fp16": 2e15})
    with pytest.raises(ValueError, match=r"core fp16: dense peak 2e.15 flop/s exceeds the sparse"):
        Compute(name="core", peak={"fp16": 2e15}, sparse_peak={"fp16": 1e15})


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), np.float32(-1), np.int64(0)])
def test_impossible_figures_are_refused(wrong):
    with pytest.raises(ValueError, match=r"hbm bandwidth = .* must be finite and above zero"):
        Memory(name="hbm", bandwidth=wrong)
    with pytest.raises(ValueError, match=r"core peak.fp16 = "):
        Compute(name="core", peak={"fp16": -abs(wrong) if wrong else -1})


@pytest.mark.parametrize("wrong", ["2 TB/s", True, [None]])
def test_figures_that_are_no_numbers_are_refused(wrong):
    with pytest.raises(TypeError, match=r"hbm bandwidth = .* must be a number"):
        Memory(name="hbm", bandwidth=wrong)
    with pytest.raises(TypeError, match=r"core peak.fp16 = .* must be a number"):
        Compute(name="core", peak={"fp16": wrong})


def test_peaks_without_a_precision_are_refused():
    with pytest.raises(TypeError, match=r"core peak = 1e\+16 must map names to numbers"):
        Compute(name="core", peak=1e16)


def test_repr_states_what_is_stated():
    assert (
        repr(Memory(name="hbm", bandwidth=2e12)) == "Memory(name='hbm', bandwidth=2000000000000.0)"
    )


@given(st.floats(1e9, 1e16), st.floats(1e6, 1e14))
def test_ridge_is_peak_over_bandwidth(peak, bandwidth):
    memory, core = Memory(name="m", bandwidth=bandwidth), Compute(name="c", peak={"fp16": peak})
    made = toy(memories=(memory,), computes=(core,))
    assert made.ridge("fp16") * bandwidth == pytest.approx(peak, rel=1e-12)

"""Processors on memory modules and in drives: bounds, published gains, and refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvlib import device, model
from kvlib.hardware import Timing
from kvlib.nearmemory import (
    Drive,
    MemoryModule,
    ask,
    axdimm,
    cxl_pnm,
    decode_attention,
    drive,
    drive_site,
    lifetime,
    matrix_vector,
    module_site,
    rank_gain,
    scan,
    scan_time,
    write_budget,
)
from kvlib.units import us, year

PNM = {"fp16": 8e12}


def test_axdimm_gain():
    """1.89 measured on two ranks (Ke et al. 2022)."""
    assert rank_gain(2, device("ddr4-2400-channel").timing) == pytest.approx(1.89, rel=0.02)
    assert axdimm().bandwidth / axdimm().link < 2


def test_rank_gain_broadcasts_over_ranks_and_refresh():
    timing = Timing(
        name="DDR4", parameters={"tRFC": np.array([0.16, 0.35]) * us, "tREFI": 7.8 * us}
    )
    assert rank_gain(np.array([[1], [2], [4]]), timing).shape == (3, 2)


def test_cxl_pnm_is_a_roofline_with_a_link():
    module = cxl_pnm(PNM)
    task = matrix_vector(8192, 8192, precision="fp16")
    reply = module_site(module)(task)
    assert reply.bound == "bandwidth"
    assert reply.time > task.work.weights / 1.1e12
    assert reply.time == pytest.approx(task.work.weights / 1.1e12, rel=0.02)
    many = matrix_vector(8192, 8192, precision="fp16", vectors=512)
    assert module_site(module)(many).bound == "compute"


def test_module_refuses_what_it_cannot_do():
    sites = {"AxDIMM": module_site(axdimm()), "CXL-PNM": module_site(cxl_pnm(PNM))}
    task = decode_attention(4096, heads=64, kv_heads=8, head_dim=128, precision="fp16")
    assert ask(task, sites)["AxDIMM"].constraint == "operation"
    other = decode_attention(4096, heads=64, kv_heads=8, head_dim=128, precision="fp8")
    assert ask(other, sites)["CXL-PNM"].constraint == "precision"
    large = matrix_vector(1_000_000, 1_000_000, precision="fp16")
    assert "holds 512 GB" in ask(large, sites)["CXL-PNM"].reason


def test_cxl_pnm_needs_a_rate():
    with pytest.raises(ValueError, match="no source states CXL-PNM's rate"):
        cxl_pnm({})
    with pytest.raises(ValueError, match="peak of fp16 = -1"):
        cxl_pnm({"fp16": -1})
    with pytest.raises(ValueError, match="bandwidth = 0"):
        MemoryModule(name="none", bandwidth=0, link=1, capacity=1, operations=())


@pytest.mark.parametrize(
    ("name", "bound"), [("genstore-l", 16), ("genstore-m", 2.74), ("genstore-h", 2.4)]
)
def test_genstore_like_scan_bounds(name, bound):
    here = drive(name)
    gain = scan_time(1e12, here, inside=False) / scan_time(1e12, here, selectivity=1e-3)
    assert gain == pytest.approx(bound, rel=0.01)


def test_smartssd_gains_only_where_drives_add_up():
    here = drive("smartssd")
    assert scan_time(1e12, here, inside=False) == scan_time(1e12, here, selectivity=1e-3)
    many = {"drives": 24, "host": 15.75e9}
    gain = scan_time(1e12, here, inside=False, **many) / scan_time(
        1e12, here, selectivity=1e-3, **many
    )
    assert gain == pytest.approx(24 * 3.0 / 15.75, rel=0.01)


@given(size=st.floats(1e6, 1e15), selectivity=st.floats(1e-6, 1), drives=st.integers(1, 100))
def test_a_filter_never_hurts_and_never_beats_the_flash(size, selectivity, drives):
    here = drive("ssd-ndp-16ch")
    inside = scan_time(size, here, selectivity=selectivity, drives=drives)
    assert inside <= scan_time(size, here, inside=False, drives=drives)
    assert size / inside <= drives * here.bandwidth


def test_dies_bound_a_drive_with_few_planes():
    generic = drive("ssd-ndp-16ch")
    few = Drive(
        name="few", channel_bandwidth=generic.channel_bandwidth, link=generic.link,
        die_bandwidth=generic.die_bandwidth / 64, read_time=generic.read_time, capacity=None,
    )  # fmt: skip
    assert generic.bandwidth == generic.channel_bandwidth
    assert few.bandwidth == pytest.approx(16 * 32 * 16384 / 22.5e-6 / 64)


def test_a_cache_wears_flash_out():
    budget = write_budget(3.84e12, cycles=3000, write_amplification=2)
    rate = 1000 * model("llama-2-7b").kv_bytes_per_token("fp16")
    assert lifetime(budget, rate) / year == pytest.approx(0.348, rel=0.01)
    assert np.all(np.diff(lifetime(budget, rate * np.array([1, 2, 4]))) < 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scan(1e9, selectivity=0), "selectivity = 0 must lie above 0"),
        (lambda: scan(-1, selectivity=0.5), "size = -1"),
        (lambda: scan_time(1e9, drive("smartssd"), drives=1.5), "drives = 1.5"),
        (lambda: write_budget(1e12, cycles=1e3, write_amplification=0.5), "must be 1 or more"),
        (lambda: lifetime(1e15, math.nan), "rate = nan"),
        (lambda: decode_attention(9, heads=9, kv_heads=2, head_dim=8, precision="fp16"), "divide"),
    ],
)  # fmt: skip
def test_bad_input_says_which_rule_broke(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_drive_scans_and_refuses_the_rest():
    site = drive_site(drive("smartssd"))
    assert site(scan(1e12, selectivity=0.1)).bound == "flash"
    assert site(scan(1e13, selectivity=0.1)).constraint == "capacity"
    assert site(matrix_vector(64, 64, precision="int8")).constraint == "operation"

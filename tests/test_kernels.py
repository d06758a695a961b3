"""Kernel models of attention, messages and steps against measured kernels, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from kvlib import device
from kvlib.hardware import UnknownFigure
from kvlib.roofline import decode_attention_time, decode_kernel_time, efficiency
from kvlib.validation import errors, excerpt, fastest, load

AUTHORITIES = Path(__file__).resolve().parents[2] / "shared" / "authorities"
LATENT = {"kv_heads": 1, "head_dim": 576, "value_dim": 512, "values_in_keys": True}
MEASURED = ("h100-sxm-80gb", "h200-sxm-141gb", "b200-hgx-180gb")


@pytest.mark.parametrize(
    ("name", "highest"),
    [("decode_attention", 0.11), ("latent_attention", 0.08), ("model_step", 0.05)],
)
def test_quoted_kernels_are_predicted(name, highest):
    kind, table = load(excerpt(name))
    model, pure = (errors(times, table["latency_s"]) for times in kind.predict(table))
    assert model.mean <= highest
    assert pure.mean > 2 * model.mean


@pytest.mark.parametrize(
    ("name", "highest"),
    [("decode_attention", 0.11), ("prefill_attention", 0.06), ("collectives", 0.06),
     ("model_step", 0.05)],
)  # fmt: skip
def test_larger_tables_are_predicted_as_well(name, highest):
    path = AUTHORITIES / f"{name}.csv"
    if not path.exists():
        pytest.skip(f"{path} is not here: the excerpts were checked instead")
    kind, table = load(path)
    table, (times,) = fastest(table, kind.shape, kind.measured, kind.times(table, kind.model))
    assert len(table) > 100
    assert errors(times, table["latency_s"]).mean <= highest


def test_latent_kernels_tell_waiting_for_memory_from_waiting_for_arithmetic():
    few, many = (
        [float(decode_attention_time(device(name), batch=64, heads=heads, context=16384,
                                     precision="bf16", **LATENT)) for name in MEASURED[:2]]
        for heads in (16, 128)
    )  # fmt: skip
    assert few[0] / few[1] == pytest.approx(4.8 / 3.35, rel=0.05), "the ratio of bandwidths"
    assert many[0] / many[1] < 1.1, "the arithmetic of the two is the same"


@given(
    st.sampled_from(MEASURED), st.integers(1, 256), st.integers(1, 128), st.integers(1, 100_000),
    st.sampled_from(["bf16", "fp8"]),
)  # fmt: skip
def test_latent_kernels_never_beat_the_roofline(name, batch, heads, context, kv):
    gpu = device(name)
    time = decode_attention_time(
        gpu, batch=batch, heads=heads, context=context, precision="bf16", kv_precision=kv, **LATENT
    )
    read = batch * context * 576 * {"bf16": 2, "fp8": 1}[kv] / gpu.memory().bandwidth
    products = 2 * batch * heads * context * (576 + 512) / gpu.peak("bf16")
    assert time >= max(read, products)


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 50_000))
def test_a_value_as_long_as_its_key_needs_no_word(batch, kv_heads, context):
    gpu = device("h100-sxm-80gb")
    common = {
        "batch": batch, "heads": 4 * kv_heads, "kv_heads": kv_heads, "head_dim": 128,
        "context": context, "precision": "bf16", "kv_precision": "bf16", "warm": False,
    }  # fmt: skip
    for kernel in efficiency(gpu).decode_attention.values():
        plain = decode_kernel_time(gpu, kernel, **common)
        assert_allclose(decode_kernel_time(gpu, kernel, value_dim=128, **common), plain)
        latent = decode_kernel_time(gpu, kernel, values_in_keys=True, **common)
        assert latent <= plain, "half of the bytes, the same products"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a100-sxm-80gb", {}, "Measured on ampere: none"),
        ("h100-sxm-80gb", {"library": "vllm", "kv_precision": "fp8"}, "on hopper: tensorrt-llm"),
    ],
)
def test_an_unmeasured_latent_kernel_is_refused(name, options, message):
    with pytest.raises(UnknownFigure, match=message):
        decode_attention_time(
            device(name), batch=1, heads=np.array([16, 128]), context=1024, precision="bf16",
            **LATENT, **options,
        )  # fmt: skip

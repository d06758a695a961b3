"""Fit the constants of MLA decode kernels to measured times, and report errors on other rows.

Usage::

    python benchmarks/fit_latent_attention.py WHEEL

WHEEL is the wheel of the PyPI package `aiconfigurator-core` (NVIDIA, Apache-2.0). Its tables of MLA
decode attention by SGLang and TensorRT-LLM count, with at most 256 sequences and at least 128
tokens each, and no faster than the datasheet's bandwidth. Constants are fitted on the batches in
`FITTED_BATCHES`, judged on the others, and those of Hopper on all rows of H200 as well. The fit is
that of `fit_attention.py`. Needs SciPy, pandas and pyarrow beside kvlib.
"""

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fit_attention import BOUNDS, FITTED_BATCHES, START, fit

from kvlib import device
from kvlib.hardware import Device
from kvlib.precision import itemsize
from kvlib.roofline import DecodeAttentionKernel, decode_kernel_time
from kvlib.units import us
from kvlib.validation import errors

RANK, ROPE = 512, 64
LIBRARIES = {"latent-flash": "mla/sglang/0.5.14", "latent-grouped": "mla/trtllm/1.3.0rc20"}
OF_DEVICE = {
    "a100-sxm-80gb": ("a100_sxm", {"latent-grouped": "mla/trtllm/1.0.0"}),
    "h100-sxm-80gb": ("h100_sxm", LIBRARIES),
    "b200-hgx-180gb": ("b200_sxm", LIBRARIES),
}
CARRIED = {"h100-sxm-80gb": {"h200-sxm-141gb": "h200_sxm"}}  # predicted, never fitted
STRUCTURE = {"blocks_per_core": 2.0, "tokens_per_split": 256.0, "query_rows": 64.0}


def read(wheel: zipfile.ZipFile, folder: str, kernel: str, name: str, kv: str) -> pd.DataFrame:
    """Rows of one kernel on one device with one format of the cache."""
    member = f"aiconfigurator_core/systems/data/{folder}/{kernel}/generation_mla_perf.parquet"
    table = pd.read_parquet(io.BytesIO(wheel.read(member)))
    table = table[table["kv_cache_dtype"] == {"bf16": "bfloat16", "fp8": "fp8"}[kv]]
    rows = pd.DataFrame({
        "batch": table["batch_size"], "heads": table["num_heads"],
        "context": table["step"] + table["isl"], "latency_s": table["latency"] * 1e-3,
    })  # fmt: skip
    rows = rows[(rows["batch"] <= 256) & (rows["context"] >= 128)]
    rows = rows.groupby(["batch", "heads", "context"], as_index=False).mean()
    read = rows["batch"] * rows["context"] * (RANK + ROPE) * itemsize(kv)
    return rows[read / rows["latency_s"] <= float(device(name).memory().bandwidth)]


def predict(rows: pd.DataFrame, gpu: Device, kernel: DecodeAttentionKernel, kv: str) -> Any:
    """Times of a kernel for rows, the cache warm as in any repeated call [s]."""
    return decode_kernel_time(
        gpu, kernel, batch=rows["batch"].to_numpy(), heads=rows["heads"].to_numpy(), kv_heads=1,
        head_dim=RANK + ROPE, value_dim=RANK, values_in_keys=True,
        context=rows["context"].to_numpy(), precision="bf16", kv_precision=kv, warm=True,
    )  # fmt: skip


def report(label: str, rows: pd.DataFrame, name: str, kernel: Any, kv: str) -> None:
    """Print errors, those of many heads on large caches apart."""
    off = predict(rows, device(name), kernel, kv) / rows["latency_s"] - 1
    wide = off[(rows["heads"] == 128) & (rows["latency_s"] > 100 * us)]
    print(
        f"  {label} {len(rows)} rows: {off.abs().mean():.1%} mean, {off.mean():+.1%} bias, "
        f"{errors(predict(rows, device(name), kernel, kv), rows['latency_s']).median:.1%} median; "
        f"128 heads above 100 us: {wide.abs().mean():.1%} of {len(wide)}"
    )


START_OF_KERNEL = {
    **{name: value for name, value in START.items() if name != "score_rate"},
    **STRUCTURE, "splits_ungrouped": 1.0,
}  # fmt: skip


def fit_and_report(wheel: zipfile.ZipFile, name: str, label: str, kernel: str, kv: str) -> None:
    """Fit one kernel, and print its constants and its errors here and elsewhere."""
    gpu, folder = device(name), OF_DEVICE[name][0]
    rows = read(wheel, folder, kernel, name, kv)
    inside = np.isin(rows["batch"], FITTED_BATCHES)
    own, other = rows[inside], rows[~inside]
    form = DecodeAttentionKernel(**START_OF_KERNEL)
    found = fit(form, lambda one: predict(own, gpu, one, kv), own["latency_s"])
    print(f"\n{name} {label} ({kernel}), {kv} cache")
    for constant in START:
        if hasattr(found, constant):
            print(f"  {constant:19} {getattr(found, constant):10.4g}")
    report("fitted", own, name, found, kv)
    report("others", other, name, found, kv)
    for to, folder_to in CARRIED.get(name, {}).items():
        report(to, read(wheel, folder_to, kernel, to, kv), to, found, kv)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    wheel = zipfile.ZipFile(parser.parse_args().wheel)
    BOUNDS["matrix_fraction"], START["matrix_fraction"] = (0.2, 1.0), 0.6
    for name, (_, kernels) in OF_DEVICE.items():
        for kv in ("bf16", "fp8"):
            for label, kernel in kernels.items():
                fit_and_report(wheel, name, label, kernel, kv)


if __name__ == "__main__":
    main()

"""Fit the constants of attention kernels to measured times, and report errors on other rows.

Usage::

    python benchmarks/fit_attention.py DECODE.csv PREFILL.csv

The tables have the columns that ``python -m kvlib.validation`` knows: decode attention and prefill
attention of bf16 kernels on A100 and H100, by vLLM and TensorRT-LLM. Constants are fitted on the
batches in `FITTED_BATCHES` and judged on the other batches. The fit minimises the logarithm of
predicted over measured time by least squares that weight outliers down; nothing in it is random.
Needs SciPy beside kvlib.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from kvlib import device
from kvlib.roofline import decode_kernel_time, efficiency, prefill_kernel_time
from kvlib.validation import Table, errors, load

FITTED_BATCHES = (1, 4, 16, 64, 256)
DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb")
BOUNDS = {
    "kernel_floor": (1e-6, 3e-5),
    "merge_latency": (1e-9, 1e-5),
    "block_latency": (1e-9, 1e-5),
    "bandwidth_fraction": (0.3, 0.97),
    "cache_share": (0.01, 1.0),
    "block_rate": (1e9, 1e11),
    "score_rate": (1e9, 1e12),
}
"""Range of each fitted constant, SI; the others are the structure of a kernel and stay."""

START = {
    "kernel_floor": 1e-5,
    "merge_latency": 8e-7,
    "block_latency": 1e-6,
    "bandwidth_fraction": 0.85,
    "cache_share": 0.3,
    "block_rate": 1.5e10,
    "score_rate": 3e10,
}


def fit(kernel: Any, predict: Callable[[Any], Any], measured: Any) -> Any:
    """Return the kernel with its free constants fitted from `START`, whatever they were before."""
    names = [name for name in START if hasattr(kernel, name)]
    low, high = (np.log([BOUNDS[name][side] for name in names]) for side in (0, 1))
    start = np.clip(np.log([START[name] for name in names]), low + 1e-6, high - 1e-6)

    def build(x: Any) -> Any:
        return replace(kernel, **dict(zip(names, np.exp(x).tolist(), strict=True)))

    found = least_squares(
        lambda x: np.log(predict(build(x)) / measured),
        start,
        bounds=(low, high),
        loss="soft_l1",
        f_scale=0.1,
        max_nfev=200,
    )
    return build(found.x)


def columns(table: Table, *names: str) -> dict[str, Any]:
    """Return columns of a table by name."""
    return {name: table[name] for name in names}


def decode(table: Table, name: str, kernel: Any) -> Any:
    """Times of a decode kernel for the rows of a table [s]."""
    shape = columns(table, "batch", "heads", "kv_heads", "head_dim", "context")
    return decode_kernel_time(
        device(name), kernel, **shape, precision="bf16", kv_precision="bf16", warm=True
    )


def prefill(table: Table, name: str, kernel: Any) -> Any:
    """Times of a prefill kernel for the rows of a table [s]."""
    shape = columns(table, "batch", "heads", "kv_heads", "head_dim", "prompt")
    return prefill_kernel_time(device(name), kernel, **shape, precision="bf16")


def report(label: str, rows: Table, kernel: Any, kept: Any, time: Callable[..., Any]) -> None:
    """Fit one kernel, and print its constants beside the catalogue's and both errors."""
    name = str(rows["device"][0])
    inside = np.isin(rows["batch"], FITTED_BATCHES)
    own, other = rows.take(inside), rows.take(~inside)
    found = fit(kernel, lambda kernel: time(own, name, kernel), own["latency_s"])
    print(f"\n{name} {label}: {len(own)} rows fitted, {len(other)} others")
    for constant in START:
        if hasattr(found, constant):
            new, old = getattr(found, constant), float(getattr(kept, constant))
            print(f"  {constant:19} {new:10.4g}   catalogue {old:10.4g}")
    for which, part in [("fitted", own), ("others", other)]:
        off = errors(time(part, name, found), part["latency_s"])
        print(f"  {which}: {off.mean:.1%} mean, {off.median:.1%} median")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("decode", type=Path)
    parser.add_argument("prefill", type=Path)
    options = parser.parse_args()
    decodes, prefills = load(options.decode)[1], load(options.prefill)[1]
    for name in DEVICES:
        kernels = efficiency(device(name))
        rows = decodes.take(decodes["device"] == name)
        group = rows["heads"] / rows["kv_heads"]
        tensorrt = np.char.find(rows["kernel"], "trtllm") >= 0
        packed = (group >= 2) & (group <= 32)
        for label, mine in [
            ("flash", ~tensorrt),
            ("grouped", tensorrt & packed),
            ("per-head", tensorrt & ~packed),
        ]:
            kernel = kernels.decode_attention[label]
            report(f"decode {label}", rows.take(mine), kernel, kernel, decode)
        rows = prefills.take(prefills["device"] == name)
        report("prefill", rows, kernels.prefill_attention, kernels.prefill_attention, prefill)


if __name__ == "__main__":
    main()

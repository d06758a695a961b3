"""Fit the constants of the GEMM time model to measured kernels, and report errors elsewhere.

Usage::

    python benchmarks/fit_gemm.py TABLE [--all-shapes] [--rows 2000] [--fit-half 0] [--free]

TABLE is a CSV file (device, kernel, m, n, k, dtype, latency_s), or the wheel of the PyPI package
`aiconfigurator-core` (NVIDIA, Apache-2.0), whose bf16 kernels of TensorRT-LLM and vLLM count.
The fastest kernel of each (device, m, n, k) counts.
Needs SciPy and pandas, and for the wheel pyarrow, which the book's environment does not have.

Weight shapes (n, k) fall into two halves by a checksum of "n,k": constants are fitted on `--rows`
rows of one half, errors are reported on all rows of the other.
The shapes KEPT_ASIDE take no part and are reported apart, unless `--all-shapes` is given.
`split_latency` and `overlap_exponent` are shared by all architectures unless `--free` is given.
The fit minimises the mean absolute logarithm of predicted over measured time by the
Nelder-Mead method; nothing in it is random.
"""

import argparse
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from kvlib import device
from kvlib.catalogue import constants
from kvlib.hardware import Device
from kvlib.operators import gemm
from kvlib.roofline import GemmKernel, bounds, gemm_kernel_time
from kvlib.units import GHz

FITTED = {"a100-sxm-80gb": "ampere", "h100-sxm-80gb": "hopper"}
CARRIED = {"h200-sxm-141gb": "hopper", "b200-hgx-180gb": "hopper"}  # predicted, never fitted
IN_WHEEL = {
    "a100-sxm-80gb": "a100_sxm", "h100-sxm-80gb": "h100_sxm",
    "h200-sxm-141gb": "h200_sxm", "b200-hgx-180gb": "b200_sxm",
}  # fmt: skip
ASSUMED_CLOCK = {"b200-hgx-180gb": 1.85 * GHz}  # where the card states none

OWN = {  # start of the search, and bounds
    "kernel_floor": (2.5e-6, 1e-7, 1e-4),
    "bandwidth_fraction": (0.85, 0.3, 1.0),
    "matrix_fraction": (0.9, 0.3, 1.0),
    "issue_clocks": (0.5, 1e-3, 50.0),
    "store_rate": (20.0, 0.1, 1e3),
}
SHARED = {"split_latency": (2e-6, 1e-8, 1e-4), "overlap_exponent": (3.0, 1.0, 20.0)}
KEPT_ASIDE = {  # (n, k) on which the book compares the model with measurements, and more like them
    (1024, 8192), (4096, 10240), (4096, 16384), (6144, 4096), (7168, 8192), (8192, 4096),
    (8192, 8192), (10240, 8192), (12288, 4096), (12288, 12288), (12288, 16384), (16384, 4096),
    (16384, 16384), (65536, 4096), (65536, 8192),
}  # fmt: skip
M_RANGES = (0, 16, 64, 256, 1024, 4096, 10**9)

Numbers = np.ndarray[Any, Any]


def fastest(path: Path) -> pd.DataFrame:
    """Fastest measured bf16 kernel of each device, m, n, k; column `time` in seconds."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        table = table[table.dtype == "bf16"].rename(columns={"latency_s": "time"})
    else:
        table = pd.concat(wheel_tables(path))
    return table.groupby(["device", "m", "n", "k"], as_index=False).time.min()


def wheel_tables(path: Path) -> list[pd.DataFrame]:
    """Return the measured bf16 kernels of every device and library in the wheel."""
    tables = []
    with zipfile.ZipFile(path) as wheel:
        for name, folder in IN_WHEEL.items():
            for member in sorted(wheel.namelist()):
                of_device = f"/data/{folder}/gemm/" in member and member.endswith("perf.parquet")
                if of_device and ("/trtllm/" in member or "/vllm/" in member):
                    table = pd.read_parquet(io.BytesIO(wheel.read(member)))
                    table = table[(table.gemm_dtype == "bfloat16") & (table.latency > 0)]
                    table = table.assign(device=name, time=table.latency * 1e-3)
                    tables.append(table[["device", "m", "n", "k", "time"]])
    return tables


def card(name: str) -> Device:
    """Return a device of the catalogue, with an assumed clock where its card states none."""
    found = device(name)
    if name in ASSUMED_CLOCK:
        core = found.compute().replace(clock=ASSUMED_CLOCK[name])
        return found.replace(computes=(core, *found.computes[1:]))
    return found


def predict(table: pd.DataFrame, name: str, kernel: GemmKernel) -> Numbers:
    """Return the model's time of every row [s]."""
    sizes = {size: table[size].to_numpy(float) for size in "mnk"}
    return np.asarray(gemm_kernel_time(card(name), kernel, **sizes, precision="bf16"))


def ideal(table: pd.DataFrame, name: str) -> Numbers:
    """Return the roofline's time of every row [s]."""
    work = gemm(*(table[size].to_numpy(float) for size in "mnk"), element_bytes=2)
    return np.asarray(bounds(work, card(name), "bf16").lower)


def checksums(table: pd.DataFrame, *columns: str) -> Numbers:
    """Return a number for each row that depends on `columns` alone."""
    rows = zip(*(table[column] for column in columns), strict=True)
    return np.array([zlib.crc32(",".join(map(str, row)).encode()) for row in rows])


def large(table: pd.DataFrame) -> Any:
    """Weights of a whole layer; smaller ones count a quarter in the fit."""
    return (table.n >= 1024) & (table.k >= 1024)


def fit(tables: Mapping[str, pd.DataFrame]) -> dict[str, GemmKernel]:
    """Constants by device, sharing SHARED, from the rows of `tables`."""
    start = [value for _ in tables for value in OWN.values()] + list(SHARED.values())
    x, low, high = np.log(np.array(start)).T

    def kernels(x: Numbers) -> dict[str, GemmKernel]:
        values = np.minimum(np.exp(x), np.exp(high)).tolist()
        common = dict(zip(SHARED, values[-len(SHARED) :], strict=True))
        own = [values[i : i + len(OWN)] for i in range(0, len(OWN) * len(tables), len(OWN))]
        return {
            name: GemmKernel(**dict(zip(OWN, part, strict=True)), **common)
            for name, part in zip(tables, own, strict=True)
        }

    weights = {name: np.where(large(table), 1.0, 0.25) for name, table in tables.items()}

    def loss(x: Numbers) -> float:
        found = kernels(x)
        off = [
            np.average(abs(np.log(predict(table, name, found[name]) / table.time)),
                       weights=weights[name])
            for name, table in tables.items()
        ]  # fmt: skip
        return float(np.mean(off))

    for size in (0.25, 0.25, 0.1):  # restart the simplex, so that it cannot stay degenerate
        steps = np.where(x + size <= high, size, -size)
        x = minimize(
            loss, x, method="Nelder-Mead", bounds=list(zip(low, high, strict=True)),
            options={"maxfev": 2500, "adaptive": True, "xatol": 1e-3, "fatol": 1e-6,
                     "initial_simplex": np.vstack([x, x + np.diag(steps)])},
        ).x  # fmt: skip
    return kernels(x)


def compare(name: str, kernel: GemmKernel) -> None:
    """Print fitted constants beside those of the catalogue."""
    print(f"{FITTED[name]}, fitted on {name}:")
    for constant, value in asdict(kernel).items():
        kept = constants(FITTED[name])["gemm"][constant]
        print(f"  {constant:20} {value:.4g}, catalogue {float(kept):.4g}", end="")
        print(f", {value / kept - 1:+.1%}")


def report(label: str, table: pd.DataFrame, name: str, kernel: GemmKernel) -> None:
    """Print the error, also by range of m: of the model and, in brackets, of the roofline."""
    if not len(table):
        return
    measured = table.time.to_numpy()
    ratio = predict(table, name, kernel) / measured
    off, plain = abs(ratio - 1), abs(ideal(table, name) / measured - 1)
    print(f"{name:14} {label:28} n={len(table):5}  MAPE {off.mean():5.1%} ({plain.mean():.1%})"
          f"  median {np.median(off):.1%}  p90 {np.quantile(off, 0.9):.1%}"
          f"  ratio {np.exp(np.log(ratio).mean()):.3f}  |", end="")  # fmt: skip
    for low, high in pairwise(M_RANGES):
        rows = ((table.m > low) & (table.m <= high)).to_numpy()
        if rows.any():
            label = f"m<={high}" if high < M_RANGES[-1] else f"m>{low}"
            print(f"  {label} {off[rows].mean():.1%} ({plain[rows].mean():.0%})", end="")
    print(flush=True)


def main() -> None:
    """Split the table, fit one half and report on the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--all-shapes", action="store_true", help="keep no shapes aside")
    parser.add_argument("--rows", type=int, default=2000, help="rows fitted per device")
    parser.add_argument("--fit-half", type=int, choices=(0, 1), default=0)
    parser.add_argument("--free", action="store_true", help="share no constant")
    options = parser.parse_args()

    table = fastest(options.table)
    shapes = zip(table.n, table.k, strict=True)
    aside = np.array([shape in KEPT_ASIDE and not options.all_shapes for shape in shapes])
    kept, table = table[aside], table[~aside]
    half = checksums(table, "n", "k") % 2

    fitted, tested = {}, {}
    for name in FITTED:
        of_device = (table.device == name).to_numpy()
        rows = table[of_device & (half == options.fit_half)]
        if not len(rows):
            parser.error(f"{options.table} has no row of {name} to fit: try --all-shapes")
        order = np.argsort(checksums(rows, "m", "n", "k"))
        fitted[name] = rows.iloc[np.sort(order[:: max(1, len(rows) // options.rows)])]
        tested[name] = table[of_device & (half != options.fit_half)]
    if options.free:
        found = {name: fit({name: rows})[name] for name, rows in fitted.items()}
    else:
        found = fit(fitted)

    for name, kernel in found.items():
        compare(name, kernel)
    for name, kernel in found.items():
        other = tested[name]
        report("fitted rows", fitted[name], name, kernel)
        report("other half, n and k >= 1024", other[large(other)], name, kernel)
        report("other half, n or k < 1024", other[~large(other)], name, kernel)
        report("shapes kept aside", kept[kept.device == name], name, kernel)
    by_architecture = {FITTED[name]: kernel for name, kernel in found.items()}
    for name, architecture in CARRIED.items():
        rows, kernel = table[table.device == name], by_architecture[architecture]
        report(f"{architecture}, n and k >= 1024", rows[large(rows)], name, kernel)
        report(f"{architecture}, n or k < 1024", rows[~large(rows)], name, kernel)


if __name__ == "__main__":
    main()

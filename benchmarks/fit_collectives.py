"""Fit the constants of the collectives to measured times, and report errors elsewhere.

Usage::

    python benchmarks/fit_collectives.py WHEEL [--toml constants.toml] [--rows]

WHEEL is the wheel of the PyPI package `aiconfigurator-core` 0.12.0 (NVIDIA, Apache-2.0) or the
folder it was unpacked into. Its NCCL tables (nccl-tests, out of place) and its tables of all-reduce
kernels in serving engines (CUDA graphs only) are read; the fastest time of each (device,
collective, ranks, bytes) counts.

Fitted: 2 and 8 ranks at the 14 sizes of `FITTED_SIZES` on one device of each architecture; direct
all-reduce at 2 and 8 ranks and all sizes up to 8 MiB.
Held out: 4 ranks, the other 7 sizes, and the other devices.
The fit minimises the mean absolute logarithm of predicted over measured time, from one start for
all architectures, by least squares and the Nelder-Mead method in turn; nothing in it is random.
"""

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares, minimize

from kvlib.network import CollectiveKernels, collective_time, link_bytes

#: Datasheet bandwidth of one GPU's link [B/s], and the constants that a device is given.
DEVICES = {
    "a100_sxm": (300e9, "ampere"),
    "h100_sxm": (450e9, "hopper"),
    "h200_sxm": (450e9, "hopper"),
    "b200_sxm": (900e9, "blackwell"),
    "b300_sxm": (900e9, "blackwell"),
    "gb200": (900e9, "blackwell"),
    "gb300": (900e9, "blackwell"),
}
FITTED = {"ampere": "a100_sxm", "hopper": "h100_sxm", "blackwell": "b200_sxm"}
PCIE = {"l40s": 32e9, "rtx_pro_6000_server": 64e9}
FITTED_SIZES = [2**k for k in (9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29)]
DIRECT_LIMIT = 8 * 2**20  # above, the engines hand over to NCCL

#: An LL line is half flags, an LL128 line 8 bytes of 128: neither can fill more of the link.
Start = dict[str, tuple[float, float, float]]  # value, lower bound, upper bound
LATENCY, HOP = (1e-7, 1e-3), (1e-9, 1e-4)
RING: Start = {
    "copy_rate": (800e9, 1e11, 1e13),
    "ring_ll.latency": (6e-6, *LATENCY),
    "ring_ll.hop": (1e-6, *HOP),
    "ring_ll.bandwidth_fraction": (0.02, 1e-3, 0.5),
    "ring_ll128.latency": (8e-6, *LATENCY),
    "ring_ll128.bandwidth_fraction": (0.33, 1e-2, 120 / 128),
    "ring_simple.latency": (20e-6, *LATENCY),
    "ring_simple.hop": (2e-6, *HOP),
    "ring_simple.bandwidth_fraction": (0.75, 0.5, 1.0),
}
SWITCH: Start = {
    "in_switch.latency": (60e-6, *LATENCY),
    "in_switch.bandwidth_fraction": (0.62, 0.3, 1.0),
}
PAIRWISE: Start = {
    "pairwise_ll.latency": (9e-6, *LATENCY),
    "pairwise_ll.hop": (0.2e-6, *HOP),
    "pairwise_ll.bandwidth_fraction": (0.1, 1e-3, 0.5),
    "pairwise_simple.latency": (20e-6, *LATENCY),
    "pairwise_simple.bandwidth_fraction": (0.65, 0.5, 1.0),
}
DIRECT: Start = {
    "one_shot.latency": (3e-6, *LATENCY),
    "one_shot.hop": (0.1e-6, *HOP),
    "one_shot.bandwidth_fraction": (0.6, 0.3, 1.0),
    "two_shot.latency": (8e-6, *LATENCY),
    "two_shot.hop": (0.2e-6, *HOP),
    "two_shot.bandwidth_fraction": (0.7, 0.3, 1.0),
}
#: A flag takes as long across the link in both protocols.
SHARED = {"ring_ll128.hop": "ring_ll.hop", "pairwise_simple.hop": "pairwise_ll.hop"}
#: In the tables the switch has no steps.
NONE = {"in_switch.hop": 0.0}


def tables(path: Path, device: str, name: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Every table of this name for a device, with its place."""
    part = f"/data/{device}/comm/"
    if path.is_dir():
        for file in sorted(path.rglob(name)):
            if part in file.as_posix():
                yield file.as_posix(), pd.read_parquet(file)
        return
    with zipfile.ZipFile(path) as wheel:
        for entry in sorted(wheel.namelist()):
            if part in entry and entry.endswith("/" + name):
                yield entry, pd.read_parquet(io.BytesIO(wheel.read(entry)))


def nccl(path: Path, device: str) -> pd.DataFrame:
    """Fastest NCCL time of each collective, ranks and bytes; half precision."""
    found = [table for _, table in tables(path, device, "nccl_perf.parquet")]
    table = pd.concat(found).query("nccl_dtype == 'half'")
    table["collective"] = table.op_name.replace("alltoall", "all_to_all")
    return fastest(table)


def direct(path: Path, device: str) -> pd.DataFrame:
    """Fastest all-reduce of any engine, in CUDA graphs, as far as it does not fall back on NCCL."""
    found = [table for _, table in tables(path, device, "custom_allreduce_perf.parquet")]
    table = pd.concat(found)
    table = table[~table.kernel_source.str.contains("eager")].assign(collective="all_reduce")
    return fastest(table).query("bytes <= @DIRECT_LIMIT")


def fastest(table: pd.DataFrame) -> pd.DataFrame:
    """Fastest row of each point; the tables count elements of two bytes and milliseconds."""
    table = table.assign(bytes=2 * table.message_size, ranks=table.num_gpus)
    keys = ["collective", "ranks", "bytes"]
    found = table.groupby(keys, as_index=False).latency.min()
    return found.assign(time=found.latency * 1e-3)


def build(figures: dict[str, float]) -> CollectiveKernels:
    """Kernels from figures named ``algorithm.constant``."""
    nested: dict[str, Any] = {}
    complete = figures | {k: figures[v] for k, v in SHARED.items() if v in figures}
    for name, value in (complete | NONE).items():
        algorithm, _, constant = name.partition(".")
        if constant and algorithm + ".latency" in figures:
            nested.setdefault(algorithm, {})[constant] = value
        elif not constant:
            nested[name] = value
    return CollectiveKernels.from_figures(nested)


def predict(
    table: pd.DataFrame, kernels: CollectiveKernels, bandwidth: float, by_engine: bool = False
) -> np.ndarray:
    """Predicted time of each row [s]."""
    found = np.empty(len(table))
    for collective in table.collective.unique():
        rows = (table.collective == collective).to_numpy()
        part = table[rows]
        found[rows] = collective_time(
            collective, part.ranks.to_numpy(), part.bytes.to_numpy(), bandwidth=bandwidth,
            kernels=kernels, direct=by_engine,
        )  # fmt: skip
    return found


def fit(table: pd.DataFrame, start: Start, known: dict[str, float], **how: Any) -> dict[str, float]:
    """Constants named in `start`, beside `known` ones, from the rows of `table`."""
    names = list(start)
    x, low, high = np.log(np.array(list(start.values()))).T

    def errors(x: np.ndarray) -> np.ndarray:
        kernels = build(known | dict(zip(names, np.exp(x), strict=True)))
        return np.asarray(np.log(predict(table, kernels, **how) / table.time))

    for _ in range(3):
        x = least_squares(errors, x, bounds=(low, high), loss="soft_l1", f_scale=0.03).x
        steps = np.where(x + 0.2 <= high, 0.2, -0.2)
        x = minimize(
            lambda x: float(np.mean(abs(errors(x)))), x, method="Nelder-Mead",
            bounds=list(zip(low, high, strict=True)),
            options={"maxfev": 1500, "initial_simplex": np.vstack([x, x + np.diag(steps)])},
        ).x  # fmt: skip
    return known | dict(zip(names, map(float, np.exp(x)), strict=True))


def fit_architecture(
    rows: pd.DataFrame, engine_rows: pd.DataFrame, bandwidth: float, architecture: str
) -> dict[str, float]:
    """All constants of an architecture, group by group."""
    ring = RING if architecture == "ampere" else RING | SWITCH  # Ampere's switch adds nothing up
    exchanged = rows.collective == "all_to_all"
    known = fit(rows[~exchanged], ring, {}, bandwidth=bandwidth)
    known = fit(rows[exchanged], PAIRWISE, known, bandwidth=bandwidth)
    return fit(engine_rows, DIRECT, known, bandwidth=bandwidth, by_engine=True)


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Three digits; what is printed is what is judged."""
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


def report(label: str, table: pd.DataFrame, predicted: np.ndarray, bandwidth: float) -> None:
    """Print errors by collective and by ranks, and in brackets those of the link alone."""
    if not len(table):
        return
    error = predicted / table.time.to_numpy() - 1
    size = [table.ranks.to_numpy(), table.bytes.to_numpy()]
    ideal = np.concatenate([
        link_bytes(c, *(s[table.collective == c] for s in size)) / bandwidth
        / table.time[table.collective == c] - 1
        for c in sorted(set(table.collective))
    ])  # fmt: skip
    parts = [
        f"{name} {100 * abs(error[table[key] == name]).mean():.1f}"
        for key in ("collective", "ranks")
        for name in sorted(set(table[key]))
    ]
    print(
        f"{label:36s} n={len(table):4d}  MAPE {100 * abs(error).mean():5.2f} % "
        f"(link alone {100 * abs(ideal).mean():.0f})  median {100 * np.median(abs(error)):.1f}"
        f"  p90 {100 * np.quantile(abs(error), 0.9):.1f}  max {100 * abs(error).max():.0f}"
        f"  gmean ratio {np.exp(np.log1p(error).mean()):.3f} | {'  '.join(parts)}"
    )


def main() -> None:
    """Fit, report, and optionally write the constants."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("wheel", type=Path)
    options.add_argument("--toml", type=Path, help="write the constants, with ranges, here")
    options.add_argument("--rows", action="store_true", help="print the error of every row")
    given = options.parse_args()
    table = {device: nccl(given.wheel, device) for device in [*DEVICES, *PCIE]}
    engine = {device: direct(given.wheel, device) for device in DEVICES}
    built, found, ranges = {}, {}, {}
    for architecture, device in FITTED.items():
        rows, engine_rows, bandwidth = table[device], engine[device], DEVICES[device][0]
        sizes, outer = rows.bytes.isin(FITTED_SIZES), rows.ranks != 4
        choices = {
            "fitted": (rows[sizes & outer], engine_rows[engine_rows.ranks != 4]),
            "all rows": (rows, engine_rows),
            "other sizes": (rows[~sizes], engine_rows[engine_rows.ranks != 8]),
        }
        fits = {
            name: rounded(fit_architecture(*chosen, bandwidth, architecture))
            for name, chosen in choices.items()
        }
        found[architecture], built[architecture] = fits["fitted"], build(fits["fitted"])
        ranges[architecture] = {
            name: (min(f[name] for f in fits.values()), max(f[name] for f in fits.values()))
            for name in fits["fitted"]
        }
        print(f"\n{architecture}, from {device}")
        for name, value in found[architecture].items():
            print(f"  {name:32s} {value:10.3g}  {ranges[architecture][name]}")
        predicted = predict(rows, built[architecture], bandwidth)
        for label, chosen in {
            "fitted rows": sizes & outer,
            "4 ranks, the fitted sizes": sizes & ~outer,
            "the other 7 sizes": ~sizes,
            "all": sizes | True,
        }.items():
            report(f"{device} {label}", rows[chosen], predicted[chosen], bandwidth)
        for name, figures in fits.items():
            if name != "fitted":
                other = predict(rows[sizes], build(figures), bandwidth)
                report(f"{device} 14 sizes, fit to {name}", rows[sizes], other, bandwidth)
        if given.rows:
            share = rows.assign(error=100 * (predicted / rows.time - 1))
            wide = share.set_index(["collective", "ranks", "bytes"]).error.unstack([0, 1])
            print(wide.round().astype(int).to_string())
    print("\nDevices that no constant was fitted to")
    for device, (bandwidth, architecture) in DEVICES.items():
        if device not in FITTED.values():
            predicted = predict(table[device], built[architecture], bandwidth)
            report(f"{device} with {architecture}", table[device], predicted, bandwidth)
    for device, bandwidth in PCIE.items():
        predicted = predict(table[device], built["hopper"], bandwidth)
        report(f"{device} (PCIe) with hopper", table[device], predicted, bandwidth)
    for architecture, device in {"ampere": "h100_sxm", "hopper": "b200_sxm"}.items():
        predicted = predict(table[device], built[architecture], DEVICES[device][0])
        report(f"{device} with {architecture}", table[device], predicted, DEVICES[device][0])
    print("\nDirect all-reduce of serving engines, up to 8 MiB")
    for device, (bandwidth, architecture) in DEVICES.items():
        for four in (True, False) if device in FITTED.values() else (None,):
            rows = engine[device]
            rows = rows if four is None else rows[(rows.ranks == 4) == four]
            predicted = predict(rows, built[architecture], bandwidth, by_engine=True)
            label = {True: "4 ranks", False: "fitted rows", None: "all"}[four]
            report(f"{device} {label}", rows, predicted, bandwidth)
    if given.toml:
        given.toml.write_text(card(found, ranges), encoding="utf-8")


UNITS = {"latency": ("us", 1e-6), "hop": ("us", 1e-6), "bandwidth_fraction": ("1", 1.0)}
WHERE = {"ampere": "A100-SXM-80GB", "hopper": "H100-SXM-80GB", "blackwell": "B200-SXM"}
MEANS = {
    "copy_rate": "A rank copies its own part out of place.",
    "latency": "Start and last synchronisation.",
    "hop": "One further step.",
    "bandwidth_fraction": "Of the link's datasheet bandwidth, one direction.",
}
ABOUT = {
    "ring_ll.bandwidth_fraction": "Half of each LL line is flags, and few thread blocks send it "
    "(inferred).",
    "ring_ll128.bandwidth_fraction": "Of each LL128 line 120 of 128 bytes are data.",
    "in_switch.latency": "Includes staging in buffers the switch can reach (inferred).",
    "in_switch.bandwidth_fraction": "NVLink SHARP, buffers not registered by the user.",
    "one_shot.bandwidth_fraction": "Fastest of vLLM, SGLang and TensorRT-LLM, in CUDA graphs.",
    "two_shot.bandwidth_fraction": "Fastest of vLLM, SGLang and TensorRT-LLM, in CUDA graphs.",
}


def card(found: dict[str, Any], ranges: dict[str, Any]) -> str:
    """Constants as tables of an efficiency card, one document with a table per architecture."""
    lines = []
    for architecture, figures in found.items():
        figures = figures | {k: figures[v] for k, v in SHARED.items()}
        spans = ranges[architecture] | {k: ranges[architecture][v] for k, v in SHARED.items()}
        lines += [f"[{architecture}.collectives.copy]"]
        lines += [figure("copy_rate", architecture, figures, spans)]
        for algorithm in dict.fromkeys(name.partition(".")[0] for name in figures if "." in name):
            lines += ["", f"[{architecture}.collectives.{algorithm}]"]
            lines += [
                figure(f"{algorithm}.{constant}", architecture, figures, spans)
                for constant in UNITS
                if f"{algorithm}.{constant}" in figures
            ]
        lines += ["", ""]
    return "\n".join(lines)


def figure(name: str, architecture: str, figures: dict[str, Any], spans: dict[str, Any]) -> str:
    """One constant as a quoted figure."""
    constant = name.rpartition(".")[2]
    unit, factor = UNITS.get(constant, ("GB/s", 1e9))
    value, low, high = (float(f"{v / factor:.3g}") for v in (figures[name], *spans[name]))
    sizes = "all sizes up to 8 MiB" if "_shot" in name else "14 sizes from 512 B to 512 MiB"
    shared = "; shared by both protocols" if name in (*SHARED, *SHARED.values()) else ""
    about = f"{MEANS[constant]} {ABOUT.get(name, '')}".strip()
    note = f"{about} Fitted on {WHERE[architecture]}, 2 and 8 ranks, {sizes}{shared}."
    key = "rate" if constant == "copy_rate" else constant
    return (
        f'{key} = {{ value = {value:g}, unit = "{unit}", source = "aiconfigurator2025repo", '
        f'basis = "measured", low = {low:g}, high = {high:g}, note = "{note}" }}'
    )


if __name__ == "__main__":
    main()

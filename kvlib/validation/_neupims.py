"""Predictions for logs of NeuPIMs' simulator: cycles of each operator of one layer.

A log names its metrics after stage and operator, and the same operator several times. `prepare`
gives each row the metric it belongs to and a key of its own; `predict` runs the batch once and
answers all keys.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from kvlib.catalogue import model
from kvlib.systems.neupims import MODELS, NeuPims, Run, naive, neupims
from kvlib.validation._neupims_requests import CLB_0
from kvlib.validation._runs import NotCovered
from kvlib.validation._tables import Table
from kvlib.workload import Transformer

__all__ = ["HEADLINE", "METRICS", "predict", "prepare"]

METRICS = {
    "stage cycles, matrices": "cycle",
    "stage cycles, attention": "cycle",
    "stage cycles, vectors": "cycle",
    "finish cycles": "cycle",
    "bandwidth, matrices": "B/s",
    "bandwidth, vectors": "B/s",
}
"""Metrics of a log and their dimensions."""

HEADLINE = tuple(name for name in METRICS if name.startswith("stage cycles"))
"""Metrics of the closing line."""

_NAMES = {
    "attention_norm": "attn.ln", "qkv_projection": "attn.QKVgen",
    "scores": "attn.NeuPIMSLogitSoftmax", "outputs": "attn.NeuPIMSAttend",
    "output_projection": "attn.proj", "attention_residual": "attn.res", "ffn_norm": "ffn.ln",
    "ffn_up": "ffn.fc1", "ffn_activation": "ffn.gelu", "ffn_down": "ffn.fc2",
    "ffn_residual": "ffn.res",
}  # fmt: skip
_MATRICES = ("QKVgen", "proj", "fc1", "fc2")
_OPERATOR = re.compile(r"(SA|PIM)_stage_[A-F]:layer0\.(?P<what>[\w.]+):(?P<count>\w+)")
_FINISH = re.compile(r"finish_cycle:layer0\.(?P<what>[\w.]+)")
_SYSTEM = re.compile(
    r"sub-batch-(?P<cut>on|off), (?P<count>\d+) requests"
    r"( \(first \d+ rows of (?P<trace>\S+) trace(: (?P<lengths>[\d, ]+))?\))?"
)
_MODEL = re.compile(r"(?P<name>GPT3-\d+B) layer, TP(?P<tensor>\d+)")


def prepare(table: Table) -> Table:
    """Return the table with the metric each row belongs to, a key, and units that can be read."""
    seen: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    metrics, keys = [], []
    runs = zip(*(table[column].tolist() for column in _RUN), strict=True)
    for run, metric in zip(runs, table["metric"].tolist(), strict=True):
        seen[run][metric] += 1
        metrics.append(_metric(metric))
        keys.append(f"{metric}#{seen[run][metric]}")
    units = [unit.replace("cycles @1GHz", "cycle").replace("cycles", "cycle")
             for unit in table["unit"].tolist()]  # fmt: skip
    columns = {"metric": np.array(metrics), "key": np.array(keys), "unit": np.array(units)}
    return Table(table.path, {**table.columns, **columns}, table.lines)


_RUN = ("simulator", "system", "model", "batch", "status")


def _metric(name: str) -> str:
    """Metric that a row of the log belongs to; its own name if none."""
    if _FINISH.fullmatch(name):
        return "finish cycles"
    found = _OPERATOR.fullmatch(name)
    if found is None:
        return name
    operator = found["what"].rsplit(".", 1)[-1]
    kind = (
        "matrices" if operator in _MATRICES
        else "attention" if operator.startswith("NeuPIMS") else "vectors"
    )  # fmt: skip
    if found["count"] == "TotalCycle":
        return f"stage cycles, {kind}"
    if found["count"] == "TotalMemoryBandwidth":
        return f"bandwidth, {kind}"
    return name


def predict(run: dict[str, Any]) -> Mapping[str, float]:
    """Cycles and bandwidths of one run, by key."""
    if run["status"] != "finished":
        raise NotCovered(f"the simulation is {run['status']!r}, not finished")
    shape, tensor = _transformer(run["model"])
    lengths, places, cut = _requests(run["system"])
    if len(lengths) != int(run["batch"]):
        raise NotCovered(f"batch = {run['batch']}, but the system names {len(lengths)} requests")
    system = neupims(tensor=tensor, sub_batches="always") if cut else naive(tensor=tensor)
    if places is None:
        system = replace(system, channels=replace(system.channels, balance="greedy"))
    found = system.decode(shape, lengths, places=places, layers=2 if cut else 1)
    return _log(found, _moved(system, shape, found))


def _transformer(name: str) -> tuple[Transformer, int]:
    """Model of the catalogue, and tensor-parallel devices."""
    found = _MODEL.fullmatch(name)
    if found is None or found["name"] not in MODELS:
        raise NotCovered(f"model {name!r} is not one layer of {', '.join(MODELS)} with its TP")
    return model(MODELS[found["name"]][0]), int(found["tensor"])


def _requests(system: str) -> tuple[list[int], list[int] | None, bool]:
    """Lengths and channels behind a name, and whether the batch is cut."""
    found = _SYSTEM.fullmatch(system)
    if found is None:
        raise NotCovered(f"system {system!r} is not sub-batch-on or -off with some requests")
    count, cut = int(found["count"]), found["cut"] == "on"
    quoted = CLB_0[:count]
    lengths = [length for length, _ in quoted]
    named = [int(each) for each in (found["lengths"] or "").split(",") if each.strip()]
    if found["trace"] == "clb-0" and len(quoted) == count and named in ([], lengths):
        return lengths, [channel for _, channel in quoted], cut
    if len(named) == count:
        return named, None, cut
    raise NotCovered(f"lengths of {count} requests of trace {found['trace']!r} are not known")


def _moved(system: NeuPims, shape: Transformer, run: Run) -> dict[str, float]:
    """Bytes of each operator of the NPU, named as in a run [B]."""
    sizes = {stage.tokens: None for stage in run.stages if stage.tokens}
    return {
        f"{operator} {tokens}": moved
        for tokens in sizes
        for operator, moved in system.operator_bytes(shape, tokens).items()
    }


def _log(run: Run, moved: Mapping[str, float]) -> dict[str, float]:
    """All lines of a log, by key, cycles of 1 ns."""
    found: dict[str, float] = {}
    finished: list[tuple[float, str]] = []
    begin = 0.0
    for stage in run.stages:
        for platform, times in (("SA", stage.npu_times), ("PIM", dict(stage.pim))):
            clock = begin
            for name, time in times.items():
                operator = name.rsplit(" ", 1)[0]
                label = f"{platform}_stage_{stage.name}:layer0.{_NAMES[operator]}"
                clock += time
                finished.append((clock, _NAMES[operator]))
                found[f"{label}:TotalCycle#1"] = time * 1e9
                if platform == "SA":
                    rate = moved[f"{operator} {stage.tokens}"] / time
                    found[f"{label}:TotalMemoryBandwidth#1"] = rate
        begin += stage.time
    order: Counter[str] = Counter()
    for clock, operator in sorted(finished):
        order[operator] += 1
        found[f"finish_cycle:layer0.{operator}#{order[operator]}"] = clock * 1e9
    return found

"""Predictions for CENT's published tables: a system by phase, and a token by context.

The first has a row for each metric, the second a column. Both average over one context in 128, as
the authors' script does unless told otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from kvlib.catalogue import model, models
from kvlib.checks import choose
from kvlib.nearmemory import cent as one_device
from kvlib.systems.cent import PHASES, Cent, Served, cent
from kvlib.validation._runs import NotCovered, Runs
from kvlib.validation._tables import Table, amount
from kvlib.workload import Transformer

__all__ = [
    "BY_CONTEXT", "METRICS", "Wide", "by_context", "melt", "optional", "predict",
]  # fmt: skip

GAP = 128
"""Contexts of which the authors count one."""

METRICS = {
    "throughput": "token/s", "total_latency": "s", "energy_per_token": "J/token",
    "total_power": "J/s",
}  # fmt: skip
"""Metrics of the table by phase, and their dimensions."""

_WIDE = {
    "PIM latency": ("ms", "s"), "CXL latency": ("ms", "s"), "Acc latency": ("ms", "s"),
    "TransformerBlock latency": ("ms", "s"), "Embedding latency": ("ms", "s"),
    "Token latency (ms)": ("ms", "s"), "Throughput (tokens/s)": ("token/s", "token/s"),
    "Token energy (mJ)": ("mJ", "J"), "Total power (W)": ("W", "J/s"),
    "Device utilization": ("1", "1"),
}  # fmt: skip
"""Metric columns of the table by context: unit and dimension."""

BY_CONTEXT = {column: dimension for column, (_, dimension) in _WIDE.items()}
"""Metrics of the table by context, and their dimensions."""

_SYSTEM = re.compile(
    r"CENT (?P<devices>\d+) devices x(?P<channels>\d+)ch PP=(?P<stages>\d+) TP=(?P<tensor>\d+) "
    r"phase=(?P<phase>\w+)"
)
_LONG = 4096  # above this context the authors spread the values over all devices of a block


@dataclass(frozen=True, kw_only=True)
class Wide(Runs):
    """A kind of table with a column for each metric of a run."""

    measured = "PIM latency"

    @property
    def shape(self) -> tuple[str, ...]:
        """Columns that say what was run."""
        return tuple(self.run)

    @property
    def columns(self) -> dict[str, Any]:
        """All columns and their readers."""
        return {**self.run, **dict.fromkeys(self.metrics, amount)}


def optional(text: str) -> str:
    """Read any text, or none."""
    return text.strip()


def melt(table: Table) -> Table:
    """Return the table by context with a row for each metric."""
    repeated = {
        column: np.repeat(values, len(_WIDE))
        for column, values in table.columns.items()
        if column not in _WIDE
    }
    values = np.stack([table[column] for column in _WIDE], axis=1).ravel()
    units = [unit for unit, _ in _WIDE.values()]
    columns = {
        **repeated,
        "metric": np.tile(list(_WIDE), len(table)),
        "value": values,
        "unit": np.tile(units, len(table)),
    }
    return Table(table.path, columns, np.repeat(table.lines, len(_WIDE)))


def predict(run: dict[str, Any]) -> Mapping[str, float]:
    """Metrics of one system in one phase, in SI."""
    found = _SYSTEM.fullmatch(run["system"])
    if found is None:
        raise NotCovered("measured on GPUs, or no name of a CENT system")
    shape = transformer(run["model"])
    devices, channels, stages, tensor = (
        int(found[name]) for name in ("devices", "channels", "stages", "tensor")
    )
    here = system(shape, devices, channels, stages, tensor)
    phase = choose(found["phase"], PHASES, "phase")
    served = _served(here, shape, int(run["lin"]), int(run["lout"]), int(run["batch"]))
    return {
        "throughput": served.rate[phase],
        "total_latency": served.time[phase],
        "energy_per_token": served.energy[phase],
        "total_power": served.power[phase],
    }


def by_context(run: dict[str, Any]) -> Mapping[str, float]:
    """Metrics of one system at one context, in SI."""
    shape, context = transformer(run["Model"]), int(run["Sequence length"])
    stages, tensor = int(run["Pipeline parallelism"]), int(run["Tensor parallelism"])
    devices, channels = int(run["Device number"]), int(run["Channels per device"])
    here = system(shape, devices, channels, stages, tensor)
    if here.place(shape).channels != int(run["Channels per block"]):
        raise NotCovered(f"{run['Channels per block']} channels to a block")
    if context > _LONG:
        here = replace(here, spread_values=True)
    block, cost = here.block(shape, context=context), here.decode(shape, context=context)
    return {
        "PIM latency": block.banks,
        "CXL latency": block.messages,
        "Acc latency": block.accelerators,
        "TransformerBlock latency": block.time,
        "Embedding latency": cost.time["embedding"],
        "Token latency (ms)": cost.total,
        "Throughput (tokens/s)": stages / cost.total,
        "Token energy (mJ)": cost.total_energy,
        "Total power (W)": here.power(shape, context=context),
        "Device utilization": here.used(shape) / devices,
    }


@cache
def system(shape: Transformer, devices: int, channels: int, stages: int, tensor: int) -> Cent:
    """System with so many devices, stages and devices to a stage."""
    whole = tensor == 1 and stages == len(shape.layers)
    if not whole and stages * tensor != devices:
        raise NotCovered(f"{stages} stages of {tensor} devices are not {devices} devices")
    pim = one_device()
    each = pim.replace(channels=channels, capacity=pim.capacity * channels / pim.channels)
    return cent(devices, tensor=None if whole else tensor, pim=each)


@cache
def _served(here: Cent, shape: Transformer, prompt: int, tokens: int, batch: int) -> Served:
    return here.serve(shape, prompt=prompt, tokens=tokens, batch=batch, gap=GAP)


@cache
def transformer(name: str) -> Transformer:
    """Model of the catalogue by the name in the table, such as ``"Llama2-70B"``.

    Examples
    --------
    >>> transformer("Llama2-70B").name
    'llama-2-70b'
    """
    known = {re.sub(r"[^a-z0-9.]", "", each): each for each in models()}
    return model(known[choose(re.sub(r"[^a-z0-9.]", "", name.lower()), known, "model")])

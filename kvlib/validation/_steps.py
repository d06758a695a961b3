"""Predictions for tables of messages between GPUs and of whole steps of a model."""

from typing import Any

import numpy as np

from kvlib.catalogue import device, model
from kvlib.network import collective_time, link_bytes
from kvlib.parallel import Parallel
from kvlib.phases import decode_step, prefill
from kvlib.roofline import bounds, efficiency, step_time
from kvlib.step import Step
from kvlib.validation._tables import Table

__all__ = [
    "COLLECTIVES",
    "collectives",
    "collectives_roofline",
    "model_step",
    "model_step_roofline",
]

COLLECTIVES = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
    "all_to_all": "all_to_all",
    "send": "send",
}
"""What tables call a collective, and what `kvlib.network` calls it."""

_PRECISION = "bf16"
"""Tables of model steps name no number format; those we know were measured in this one."""

Times = np.ndarray[Any, Any]


def collectives(rows: Table) -> Times:
    """Times of measured collectives among the GPUs of one box [s]."""
    hardware = device(str(rows["device"][0]))
    time = collective_time(
        COLLECTIVES[rows["collective"][0]],
        rows["ranks"],
        rows["message_bytes"],
        bandwidth=hardware.link("nvlink").bandwidth,
        kernels=efficiency(hardware).collectives,
    )
    return np.asarray(time)


def collectives_roofline(rows: Table) -> Times:
    """Times that the bytes on the busiest link need at its datasheet bandwidth [s]."""
    link = device(str(rows["device"][0])).link("nvlink")
    kind = COLLECTIVES[rows["collective"][0]]
    return np.asarray(link_bytes(kind, rows["ranks"], rows["message_bytes"]) / link.bandwidth)


def model_step(rows: Table) -> Times:
    """Times of whole steps as sums of measured kernels, each repeated as in a benchmark [s]."""
    library: Any = "tensorrt-llm" if "trtllm" in rows["kernel"][0] else "vllm"
    hardware = device(str(rows["device"][0]))
    time = step_time(_step(rows), hardware, precision=_PRECISION, library=library, warm=True)
    return np.asarray(time.total)


def model_step_roofline(rows: Table) -> Times:
    """Times of the datasheet's roofline for whole steps: all operations, all bytes [s]."""
    return np.asarray(bounds(_step(rows).work, device(str(rows["device"][0])), _PRECISION).lower)


def _step(rows: Table) -> Step:
    transformer = model(str(rows["model"][0]))
    ranks = Parallel(tensor=int(rows["tensor_parallel"][0]))
    batch, tokens = rows["batch"], rows["context"]
    if rows["phase"][0] == "prefill":
        return prefill(
            transformer, batch=batch, prompt=tokens, precision=_PRECISION, parallel=ranks
        )
    return decode_step(
        transformer, batch=batch, context=tokens + 1, precision=_PRECISION, parallel=ranks
    )

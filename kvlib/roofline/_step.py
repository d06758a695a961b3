"""Time of one pass through a model: the sum of its measured kernels and messages."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.attention import AttentionShape
from kvlib.hardware import Device
from kvlib.network import exchange_time
from kvlib.operators import GemmShape, Operator
from kvlib.roofline._efficiency import (
    Library,
    decode_attention_time,
    efficiency,
    prefill_attention_time,
)
from kvlib.roofline._gemm import gemm_kernel_time
from kvlib.step import Step

__all__ = ["StepTime", "step_time"]

_IN_ATTENTION = {"scores", "softmax", "context", "rotary", "kv_append"}
"""Operators that the measured attention kernels hold together."""

_WITH_THE_NORM = {"attention_residual", "ffn_residual"}
"""Additions that engines run in one launch with the norm behind them, one read saved."""


@dataclass(frozen=True)
class StepTime:
    """Time of a step by operator, all layers together [s].

    Parameters
    ----------
    gemm, attention, elementwise : dict of str to float or array
        Time of each operator of the kind; ``attention`` is one kernel per layer, by that name.
    communication : dict of str to float or array
        Time of each message, named after the operator it follows.
    """

    gemm: dict[str, Any]
    attention: dict[str, Any]
    elementwise: dict[str, Any]
    communication: dict[str, Any]

    @property
    def parts(self) -> dict[str, Any]:
        """Total of each of the four kinds [s]."""
        return {name: sum(times.values(), 0.0) for name, times in vars(self).items()}

    @property
    def total(self) -> Any:
        """Time of the step, kernels one after another [s]."""
        return sum(self.parts.values(), 0.0)


def step_time(
    step: Step,
    device: Device,
    *,
    precision: str,
    kv_precision: str | None = None,
    library: Library = "fastest",
    warm: bool = False,
    link: str = "nvlink",
) -> StepTime:
    """Time a step on GPUs whose kernels were measured, one kernel after another.

    Parameters
    ----------
    step : Step
        What `kvlib.phases.decode_step` or `prefill` returned; its batch and context may be arrays.
    device : Device
        The GPU of each rank.
    precision : str
        Number format the matrices are multiplied in.
    kv_precision : str, optional
        Number format of the cache; the same unless given.
    library : {"fastest", "vllm", "tensorrt-llm"}
        Whose attention kernel.
    warm : bool
        Whether attention finds its cache in the last-level cache, as in a repeated benchmark.
    link : str
        Link over which tensor-parallel ranks exchange messages.

    Returns
    -------
    StepTime
        Times by operator; no host overhead, nothing overlapped.

    Raises
    ------
    UnknownFigure
        If the device's architecture was not measured, or its card lacks a figure.

    Notes
    -----
    Three things were not measured and are assumed. A windowed or chunked prefill takes its share of
    a whole one, by visible pairs. Products that each head or expert has for itself run as one
    launch. Attention never takes less than its operations at the peak, which MLA can reach.

    Examples
    --------
    Llama-3-8B on an H100, one sequence of 4096 tokens:

    >>> from kvlib import device, model
    >>> from kvlib.phases import decode_step
    >>> from kvlib.units import ms
    >>> step = decode_step(model("llama-3-8b"), batch=1, context=4096, precision="bf16")
    >>> time = step_time(step, device("h100-sxm-80gb"), precision="bf16")
    >>> print(f"{time.total / ms:.2f} ms, {time.parts['gemm'] / time.total:.0%} of it matrices")
    6.48 ms, 85% of it matrices
    """
    kernels = efficiency(device)
    streaming = kernels.elementwise["bandwidth_fraction"] * device.memory().bandwidth
    found: dict[str, dict[str, Any]] = {"gemm": {}, "attention": {}, "elementwise": {}}

    def add(kind: str, operator: Operator, time: Any, name: str | None = None) -> None:
        name = name or operator.name
        found[kind][name] = found[kind].get(name, 0.0) + operator.count * time

    for operator in step.operators:
        shape = operator.shape
        if isinstance(shape, GemmShape):
            rows = np.ceil(shape.m)
            time = gemm_kernel_time(
                device, kernels.gemm, m=rows, n=shape.n, k=shape.k, precision=precision,
                copies=shape.copies,
            )  # fmt: skip
            add("gemm", operator, time)
        elif isinstance(shape, AttentionShape) and operator.name == "scores":
            time = _attention(
                step, shape, device, precision, kv_precision or precision, library, warm
            )
            add("attention", operator, time, name="attention")
        elif operator.name not in _IN_ATTENTION:
            alone = operator.name not in _WITH_THE_NORM
            saved = 0.0 if alone else _hidden_bytes(step)
            floor = float(kernels.elementwise["kernel_floor"]) * alone
            add("elementwise", operator, floor + (operator.work.bytes - saved) / streaming)
    messages: dict[str, Any] = {}
    for message in step.collectives:
        time = exchange_time(
            message, bandwidth=device.link(link).bandwidth, kernels=kernels.collectives, direct=True
        )
        count = max(len(message.layers), 1)
        messages[message.after] = messages.get(message.after, 0.0) + count * time
    return StepTime(**found, communication=messages)


def _hidden_bytes(step: Step) -> Any:
    return 1.0 * step.batch * step.query_tokens * step.model.hidden * step.element_bytes.activations


def _attention(
    step: Step,
    shape: AttentionShape,
    device: Device,
    precision: str,
    kv_precision: str,
    library: Library,
    warm: bool,
) -> Any:
    common: dict[str, Any] = {
        "batch": shape.batch,
        "kv_heads": shape.kv_heads,
        "precision": precision,
    }
    if step.phase == "decode":
        time = decode_attention_time(
            device, **common, heads=shape.heads * shape.query_tokens, head_dim=shape.key_dim,
            value_dim=shape.value_dim, values_in_keys=shape.values_in_keys, context=shape.rows,
            kv_precision=kv_precision, library=library, warm=warm,
        )  # fmt: skip
    else:
        row = shape.key_dim + (0 if shape.values_in_keys else shape.value_dim)
        whole = prefill_attention_time(
            device, **common, heads=shape.heads, head_dim=row / 2, prompt=shape.context
        )
        share = shape.positions / (shape.context * (shape.context + 1.0) / 2)
        floor = float(efficiency(device).prefill_attention.kernel_floor)
        time = floor + (whole - floor) * share
    flop = 2.0 * (shape.key_dim + shape.value_dim) * shape.pairs
    return np.maximum(time, flop / device.peak(precision))

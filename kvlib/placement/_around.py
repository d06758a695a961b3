"""The rest of a step around its attention: what the hub does meanwhile, and what it holds."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kvlib.footprint import weight_bytes
from kvlib.hardware import Device
from kvlib.operators import Work
from kvlib.parallel import Parallel
from kvlib.phases import decode_step
from kvlib.placement._case import Schedule
from kvlib.placement._system import Site
from kvlib.roofline import step_time
from kvlib.step import Step

if TYPE_CHECKING:
    from kvlib.segments import Pieces, State

__all__ = ["around"]


def around(
    state: "State",
    pieces: "Pieces",
    hub: Device | Site,
    *,
    schedule: Schedule,
    parallel: Parallel | None = None,
    precision: str = "bf16",
    weight_precision: str | None = None,
) -> dict[str, Any]:
    """Time all operators but attention, as a `Case` takes them.

    Parameters
    ----------
    state : kvlib.segments.State
        What is served.
    pieces : kvlib.segments.Pieces
        Its pieces, for their stages.
    hub : Device or Site
        What runs these operators: GPUs whose kernels were measured, or a site by its roofline.
    schedule : {"barrier", "overlapped", "pipelined"}
        One batch, or two sub-batches that read all weights twice.
    parallel : Parallel, optional
        Over how many GPUs the models are split; messages between them count.
    precision, weight_precision : str
        Format the matrices are multiplied in, and of the weights in memory.

    Returns
    -------
    dict
        ``schedule``, ``dense``, ``outside``, ``weights`` and ``tokens``.

    Examples
    --------
    >>> from kvlib import device, model
    >>> from kvlib.segments import Requests, State, pieces
    >>> state = State([Requests(model("llama-3-8b"), context=[4096] * 64)])
    >>> for schedule in ("barrier", "overlapped"):
    ...     found = around(state, pieces(state), device("h100-sxm-80gb"), schedule=schedule)
    ...     print(f"{schedule}: {1e3 * found['dense'][0]:.2f} ms in the layers")
    barrier: 5.66 ms in the layers
    overlapped: 11.11 ms in the layers
    """
    parallel, batches = parallel or Parallel(), 1 if schedule == "barrier" else 2
    dense = np.zeros(len(pieces.stages))
    outside, held = 0.0, 0.0
    for model in state.models:
        held += parallel.tensor * float(
            weight_bytes(model, weight_precision=weight_precision or precision, parallel=parallel)
        )
        tokens = sum(g.count * g.query_tokens for g in state.active if g.model.name == model.name)
        if not tokens:
            continue
        step = _without_attention(
            decode_step(model, batch=int(np.ceil(tokens / batches)), context=1, parallel=parallel,
                        precision=precision, weight_precision=weight_precision)
        )  # fmt: skip
        kinds = [stage for stage in pieces.stages if stage.model == model.name]
        names = list(dict.fromkeys(stage.kind for stage in kinds))
        inside = 0.0
        for kind, layer in zip(names, model.groups, strict=True):
            one = batches * _time(step.layer(model.layers.index(layer)), hub, precision)
            inside += model.groups[layer] * one
            for number, stage in enumerate(pieces.stages):
                if (stage.model, stage.kind) == (model.name, kind):
                    dense[number] = stage.layers * one
        outside += batches * _time(step, hub, precision) - inside
    return {
        "schedule": schedule, "dense": dense, "outside": max(outside, 0.0), "weights": held,
        "tokens": state.gained,
    }  # fmt: skip


def _without_attention(step: Step) -> Step:
    kept = [
        operator for operator in step.operators
        if operator.kind != "attention" and operator.name not in ("kv_append", "rotary")
    ]  # fmt: skip
    return replace(step, operators=tuple(kept))


def _time(step: Step, hub: Device | Site, precision: str) -> float:
    if isinstance(hub, Device):
        return float(step_time(step, hub, precision=precision).total)
    work = sum((operator.total for operator in step.operators), Work())
    return max(float(work.flop) / hub.peak, float(work.bytes) / hub.bandwidth)

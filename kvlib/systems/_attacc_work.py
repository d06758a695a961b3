"""What one layer asks of a box: the GPU's kernels, attention beside it, and a shared network."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from kvlib.attention import AttentionShape
from kvlib.operators import Operator
from kvlib.precision import itemsize
from kvlib.roofline import bounds
from kvlib.roofline import step_time as measured_step_time
from kvlib.step import Step
from kvlib.systems._attacc_beside import Host, Units
from kvlib.systems._attacc_gpu import Simulated, simulate
from kvlib.systems._attacc_layer import LayerWork
from kvlib.systems._cost import added

if TYPE_CHECKING:
    from kvlib.systems._attacc_box import Box

__all__ = ["layer_work", "on_gpu"]

_ATTENTION = ("scores", "softmax", "context")
_FEED_FORWARD = ("ffn_", "expert_", "shared_", "router")


def on_gpu(box: "Box", step: Step, precision: str) -> Simulated:
    """Time and energy of one GPU; energies are the simulator's, whichever times are asked."""
    found = simulate(step, box.gpu, split_attention="split-attention" in box.corrected)
    if box.gpu_model == "simulator":
        return found
    paces = {each.name: bounds(each.work, box.gpu, precision) for each in step.operators}
    return replace(
        found,
        time=measured_step_time(step, box.gpu, precision=precision),
        compute_bound={name: pace.compute > pace.memory for name, pace in paces.items()},
    )


def layer_work(
    box: "Box", step: Step, precision: str
) -> tuple[LayerWork, dict[str, Any], tuple[str, ...]]:
    """Work, energy and assumptions of one layer."""
    beside = _corrected(box)
    shape, notes = _shape_beside(step, beside)
    gpus_do = tuple(e for e in step.operators if e.kind != "attention" or beside is None)
    gpu = on_gpu(box, replace(step, operators=gpus_do), precision)
    gemm, norms = gpu.time.gemm, dict(gpu.time.elementwise)
    feed_forward = [e for e in gpus_do if e.name in gemm and e.name.startswith(_FEED_FORWARD)]
    of_network = {each.name for each in feed_forward}
    attention = added(t for name, t in gpu.time.attention.items() if name != "softmax")
    softmax, queries, results = gpu.time.attention.get("softmax", 0.0), 0.0, 0.0
    energy = {
        "attention memory": added(v for n, v in gpu.memory.items() if n in _ATTENTION),
        "matrix memory": added(v for n, v in gpu.memory.items() if n in gemm),
        "other memory": added(v for n, v in gpu.memory.items() if n not in {*gemm, *_ATTENTION}),
        "chip": added(gpu.chip.values()),
        "communication": gpu.communication,
    }
    if beside is not None:
        size = step.element_bytes.activations
        done = beside.attend(shape, precision, size)
        attention, softmax = done.time, done.softmax
        row = 1.0 * shape.batch * shape.query_tokens * shape.key_dim * size
        sent = row * (shape.heads + 2 * shape.kv_heads), row * shape.heads
        queries, results = (part / beside.link for part in sent)
        energy["attention memory"] = energy["attention memory"] + done.memory
        energy["chip"] = energy["chip"] + done.chip
        energy["communication"] = energy["communication"] + sum(sent) * beside.link_energy
    weights = {each.name: each.work.weights for each in gpus_do if each.name in gemm}
    before = added(w for n, w in weights.items() if n not in of_network)
    work = LayerWork(
        qkv=added(t for n, t in gemm.items() if n not in {*of_network, "output_projection"}),
        projection=gemm["output_projection"],
        feed_forward=added(_shared(box, each, gpu, precision) for each in feed_forward),
        first_norm=norms.pop("attention_norm"),
        elementwise=added(norms.values()),
        attention=attention,
        softmax=softmax,
        queries=queries,
        results=results,
        all_reduces=tuple(gpu.time.communication.values()),
        heads=shape.kv_heads,
        qkv_share=1 - weights["output_projection"] / before,
        beside=beside.name if beside is not None else "",
        overlaps=isinstance(beside, Units),
        pipelined=box.pipelined,
        coprocessing=box.coprocessing,
        counts_softmax="softmax" in box.corrected,
    )
    return work, {name: box.gpus * part for name, part in energy.items()}, notes


def _shared(box: "Box", operator: Operator, gpu: Simulated, precision: str) -> Any:
    """Time of a matrix that GPU and units share so that both are done at once [s]."""
    alone, shape = gpu.time.gemm[operator.name], operator.shape
    if not box.coprocessing or not isinstance(box.beside, Units):
        return alone
    if "timed-coprocessing" in box.corrected:
        units = operator.count * box.beside.product_time(shape, precision)
        return alone * units / (alone + units)
    units_rate = box.gpu.memory().bandwidth * box.beside.scale
    peak, size = box.gpu.peak("fp16"), itemsize(precision)
    by_compute = peak / (peak + 2 * units_rate / size)
    by_memory = 1 / (1 + box.beside.scale / shape.m)
    return alone * np.where(gpu.compute_bound[operator.name], by_compute, by_memory)


def _corrected(box: "Box") -> Units | Host | None:
    """What attends beside the GPUs, with its corrections."""
    if isinstance(box.beside, Units):
        return replace(box.beside, exact=box.beside.exact or "unit-energy" in box.corrected)
    if isinstance(box.beside, Host) and "two-sockets" in box.corrected:
        return replace(box.beside, share=2 / box.gpus)
    return box.beside


def _shape_beside(
    step: Step, beside: Units | Host | None
) -> tuple[AttentionShape, tuple[str, ...]]:
    """Sizes of the attention of a layer, and what must be assumed to do it beside the GPU."""
    shape: AttentionShape = next(e.shape for e in step.operators if e.name == "scores")
    if not isinstance(beside, Units):
        return shape, ()
    if shape.values_in_keys or not shape.cached:
        raise ValueError(
            f"{step.model.name!r} keeps one compressed row a token for all heads (MLA), but AttAcc "
            f"deals heads with keys and values of their own out to its stacks. "
            f"Let the GPUs attend: dgx()."
        )
    if shape.heads == shape.kv_heads:
        return shape, ()
    group = int(shape.heads / shape.kv_heads)
    reads = -(-group // beside.pim.reuse)
    again = "reads it again" if reads == group else f"of {reads} batches of them reads it again"
    return shape, (
        f"{group} query heads share a KV head, which AttAcc's mapping does not know: each {again}.",
    )

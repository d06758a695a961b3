"""The GPU of AttAcc's simulator: a roofline with whole tiles, kept to compare like with like.

Every kernel takes the larger of its compute time and its memory time, at 0.80 of the peak and 0.85
of the bandwidth, both lowered by the part of the processors that have a thread block:

    busy = blocks / (ceil(blocks / processors) x processors)

A matrix product has a block for each tile of its result, decode attention one for each KV head of
each sequence, because nothing splits one cache. Norms and activations take a fixed time and a
little for each byte; an all-reduce is one pass around a ring. There is no LM head, no embedding and
no residual, and a prompt's attention is not causal :cite:p:`attacc2024repo`.

One of its terms is left out: it lets a single processor do the arithmetic of an activation, which
adds up to 0.7 % to a prefill and nothing to a step.

`kvlib.roofline.step_time` answers the same question from measured kernels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kvlib.attention import AttentionShape
from kvlib.catalogue import device as catalogue
from kvlib.hardware import Device, UnknownFigure
from kvlib.operators import GemmShape, Operator
from kvlib.quoted import Quoted
from kvlib.roofline import StepTime
from kvlib.step import Step
from kvlib.units import GB, KiB, ns, pJ, s, us

__all__ = ["BANDWIDTH", "COMPUTE", "OPERATION_ENERGY", "Kernel", "Simulated", "simulate"]


def _figure(value: float, unit: str, note: str) -> Quoted:
    return Quoted(value, source="attacc2024repo", basis="assumed", unit=unit, note=note)


COMPUTE = _figure(0.80, "1", "part of the peak that a kernel can reach")
BANDWIDTH = _figure(0.85, "1", "part of the bandwidth that a kernel can reach")
L1 = {"ampere": _figure(192 * KiB, "KiB", "A100a"), "hopper": _figure(256 * KiB, "KiB", "H100")}
FIXED = {
    "activation": _figure(8.29 * us, "us", "launch of an activation"),
    "norm": _figure(6.87 * us, "us", "launch of a norm"),
}
FOR_A_BYTE = {
    "activation": _figure(0.447e-6 * us, "us", "at 1555 GB/s"),
    "norm": _figure(1.6e-6 * us, "us", "at 1555 GB/s"),
}
FITTED_AT = 1555 * GB / s
HOP = _figure(6.06 * us, "us", "one step of the ring, interpolated from measurements on A100")
HOP_AT = 300 * GB / s
HOP_BYTE = _figure(0.009 * ns, "ns", "a byte of it, at 300 GB/s to a direction")
L1_ENERGY = _figure(1.28 * pJ, "pJ", "a byte")
REGISTER_ENERGY = _figure(0.0675 * pJ, "pJ", "an operand of a multiply-add")
OPERATION_ENERGY = _figure(0.16 * pJ, "pJ", "half of a multiply-add")

_SIDES = np.array([8, 16, 32, 64, 128, 192, 256, 320, 384, 448, 512.0])
_DEPTH, _L2_PARTS = 32, 64  # inner dimension: elements of a tile in L1, parts of it in L2
_REGISTER_TILE = 16


@dataclass(frozen=True)
class Kernel:
    """One launch: its times [s], the bytes at each level [B], operands and operations."""

    compute: Any
    memory: Any
    off_chip: Any
    l2: Any
    l1: Any
    operands: Any
    flop: Any

    @property
    def time(self) -> Any:
        """The larger of compute and memory time [s]."""
        return np.maximum(self.compute, self.memory)


@dataclass(frozen=True)
class Simulated:
    """A step on one GPU, by operator: times [s], energies [J], and whether compute binds it."""

    time: StepTime
    memory: dict[str, Any]
    chip: dict[str, Any]
    communication: Any
    compute_bound: dict[str, Any]


def simulate(step: Step, device: Device, *, split_attention: bool = False) -> Simulated:
    r"""Time and dynamic energy of a step on one of the simulator's GPUs.

    Parameters
    ----------
    step : Step
        Of a layer, or of a whole model. Operators that the simulator does not know are left out.
    device : Device
        States fp16 peak, processors, bandwidth, L2 and link, and is of a generation in `L1`.
    split_attention : bool
        Whether a long cache is split over idle processors, which the simulator does not do.

    Raises
    ------
    UnknownFigure
        If the device lacks a figure.

    Notes
    -----
    One all-reduce of S bytes among n GPUs with links of B takes

    .. math:: (n - 1) \max(6.06\,\text{us} + 0.009\,\text{ns}\,S/n \cdot 300/B, \; S/(n B))

    A KV head that several query heads share is one product with as many rows. Energies are of the
    simulator's one table, whatever the GPU.
    """
    times: dict[str, dict[str, Any]] = {"gemm": {}, "attention": {}, "elementwise": {}}
    memory: dict[str, Any] = {}
    chip: dict[str, Any] = {}
    compute_bound: dict[str, Any] = {}
    table = catalogue("a100a-hbm3")
    for operator in step.operators:
        for kernel in _kernels(operator, step, device, split_attention):
            name, count = operator.name, operator.count
            on_chip = (
                kernel.l2 * table.memory("l2").energy + kernel.l1 * L1_ENERGY
                + kernel.operands * REGISTER_ENERGY + kernel.flop * OPERATION_ENERGY
            )  # fmt: skip
            _add(times[operator.kind], name, count * kernel.time)
            _add(memory, name, count * kernel.off_chip * table.memory().energy)
            _add(chip, name, count * on_chip)
            compute_bound[name] = kernel.compute > kernel.memory
    messages: dict[str, Any] = {}
    bandwidth, sent = device.link("nvlink").bandwidth, 0.0
    for message in step.collectives:
        part = message.bytes / (message.ranks if message.kind == "all_reduce" else 1)
        hop = np.maximum(HOP + HOP_BYTE * part * (HOP_AT / bandwidth), part / bandwidth)
        _add(messages, message.after, message.count * (message.ranks - 1) * hop)
        sent = sent + message.count * message.bytes
    return Simulated(
        time=StepTime(**times, communication=messages),
        memory=memory,
        chip=chip,
        communication=sent * table.link("nvlink").energy,
        compute_bound=compute_bound,
    )


def _add(found: dict[str, Any], name: str, amount: Any) -> None:
    found[name] = found.get(name, 0.0) + amount


def _kernels(operator: Operator, step: Step, device: Device, split: bool) -> Iterator[Kernel]:
    shape, size = operator.shape, step.element_bytes.activations
    if isinstance(shape, GemmShape):
        gates = _gates(operator, step)  # the simulator multiplies by a gate in a launch of its own
        for _ in range(1 + gates):
            yield _product(device, shape.m, shape.n / (1 + gates), shape.k, shape.copies, size)
    elif isinstance(shape, AttentionShape):
        rows = shape.query_tokens * (shape.heads / shape.kv_heads)
        caches, blocks = shape.batch * shape.kv_heads, "all" if split else "copies"
        if operator.name == "scores":
            yield _product(device, rows, shape.rows, shape.key_dim, caches, size, blocks)
        elif operator.name == "context":
            yield _product(device, rows, shape.value_dim, shape.rows, caches, size, blocks)
        elif operator.name == "softmax":
            scores = 1.0 * rows * shape.rows * caches
            busy = 1.0 if split else _busy(caches, device)
            yield _pass(device, 2 * scores * size, 5 * scores, size, busy)
    elif operator.name.endswith("_norm"):
        yield _fixed(device, "norm", 1.5 * operator.work.activations, operator.work.flop)
    elif operator.name.endswith("_activation"):
        yield _fixed(device, "activation", operator.work.activations, operator.work.flop)


def _gates(operator: Operator, step: Step) -> int:
    if not operator.layers or not operator.name.endswith("_up"):
        return 0
    return step.model.layers[operator.layers[0]].feed_forward.matrices - 2


def _busy(blocks: Any, device: Device) -> Any:
    """Part of the processors that have a thread block, on average over the waves."""
    cores = float(device.compute().units)
    return blocks / (np.ceil(blocks / cores) * cores)


def _peak(device: Device, size: float) -> float:
    """Rate of operations on elements of `size` bytes: the simulator doubles fp16 for one byte."""
    return float(device.peak("fp16") * 2 / size * COMPUTE)


def _pass(device: Device, moved: Any, flop: Any, size: float, busy: Any) -> Kernel:
    """One launch that reads and writes each element once at every level."""
    bandwidth = device.memory().bandwidth * BANDWIDTH
    return Kernel(
        flop / (_peak(device, size) * busy), moved / (bandwidth * busy), moved, moved, moved, moved,
        flop,
    )  # fmt: skip


def _fixed(device: Device, form: str, moved: Any, flop: Any) -> Kernel:
    """One launch of a norm or an activation: a fixed time, and a little for each byte."""
    slower = FITTED_AT / device.memory().bandwidth
    return Kernel(0.0, FIXED[form] + FOR_A_BYTE[form] * slower * moved, *4 * (moved,), flop)


def _product(
    device: Device, m: Any, n: Any, k: Any, copies: Any, size: float, blocks: str = "tiles"
) -> Kernel:
    """One launch of `copies` products C[m, n] = A[m, k] B[k, n] of elements of `size` bytes.

    Parameters
    ----------
    blocks : {"tiles", "copies", "all"}
        What makes a thread block: a tile of a result, or a whole product; or all processors work.
    """
    m, n, k, copies = (np.asarray(sizes, float) for sizes in (m, n, k, copies))
    rows, columns = _l1_tile(device, m, n, k, copies, size, blocks == "tiles")
    tiles = np.ceil(m / rows) * np.ceil(n / columns) if blocks == "tiles" else 1.0
    busy = 1.0 if blocks == "all" else _busy(copies * tiles, device)
    off_chip = copies * size * _off_chip(device, m, n, k, rows, columns, size)
    flop = 2.0 * m * n * k * copies
    return Kernel(
        compute=flop / (_peak(device, size) * busy),
        memory=off_chip / (device.memory().bandwidth * BANDWIDTH * busy),
        off_chip=off_chip,
        l2=copies * size * _moved(m, n, k, rows, columns),
        l1=copies * size * _moved(m, n, k, _REGISTER_TILE, _REGISTER_TILE),
        operands=3.0 * m * n * k,
        flop=flop,
    )


def _moved(m: Any, n: Any, k: Any, rows: Any, columns: Any) -> Any:
    """Elements read and written if the result is made in tiles of rows x columns."""
    return np.ceil(n / columns) * m * k + np.ceil(m / rows) * n * k + m * n


def _l1_tile(
    device: Device, m: Any, n: Any, k: Any, copies: Any, size: float, tiled: bool
) -> tuple[Any, Any]:
    """Rows and columns of the tile that fits in L1 and moves least, for busy processors.

    Least is the traffic divided by the square of the busy part.
    """
    tall, wide = _sides(m)[..., :, None], _sides(n)[..., None, :]
    m, n, k, copies = (sizes[..., None, None] for sizes in (m, n, k, copies))
    tiles = np.ceil(m / tall) * np.ceil(n / wide) if tiled else 1.0
    cost = _moved(m, n, k, tall, wide) * copies / _busy(copies * tiles, device) ** 2
    needed = ((tall + wide) * _DEPTH + tall * wide) * size
    cost = np.where(needed > _l1(device), np.inf, cost)
    tall, wide = (np.broadcast_to(sides, cost.shape) for sides in (tall, wide))
    flat = (*cost.shape[:-2], -1)
    best = np.argmin(cost.reshape(flat), axis=-1)[..., None]
    found = (np.take_along_axis(sides.reshape(flat), best, -1)[..., 0] for sides in (tall, wide))
    return next(found), next(found)


def _sides(size: Any) -> Any:
    """Sides a tile may have along a dimension of this size."""
    return (
        np.unique(np.minimum(_SIDES, size))
        if size.ndim == 0
        else np.minimum(_SIDES, size[..., None])
    )


def _l1(device: Device) -> float:
    generation = getattr(device, "architecture", "")
    if generation in L1:
        return L1[generation]
    raise UnknownFigure(
        f"{device.name!r} is of generation {generation!r}, and the simulator knows the L1 of "
        f"{', '.join(L1)} only. Use gpu_model='measured', or say whose L1 to assume: "
        f"device.replace(architecture='hopper')."
    )


def _off_chip(device: Device, m: Any, n: Any, k: Any, rows: Any, columns: Any, size: float) -> Any:
    """Elements through main memory with the best tile in L2 that is made of whole tiles in L1.

    For each width that the tile may have, the tallest that fits moves least.
    """
    least = _moved(m, n, k, rows, columns)  # one tile of L1 is always allowed
    room, m, n, k, rows, columns = (
        np.asarray(sizes)[..., None]
        for sizes in (device.memory("l2").capacity / size, m, n, k, rows, columns)
    )
    widest = np.floor(n / columns)
    steps = np.arange(1, np.max(widest) + 2)
    wide = np.where(steps > widest, n, steps * columns)
    fits = (room - wide * k / _L2_PARTS) / (k / _L2_PARTS + wide)
    tall = np.where(fits >= m, m, np.floor(fits / rows) * rows)
    moved = np.where(tall > 0, _moved(m, n, k, np.maximum(tall, 1), wide), np.inf)
    return np.minimum(least, np.min(moved, axis=-1))

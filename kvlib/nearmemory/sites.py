"""Each kind of processor as a site that `ask` can question."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kvlib.hardware import Device
from kvlib.nearmemory.answer import Answer, Refusal, Site, Task
from kvlib.nearmemory.bank import BankPim
from kvlib.nearmemory.lockstep import Cost, attention, gemv
from kvlib.nearmemory.module import MemoryModule
from kvlib.nearmemory.storage import Drive, scan_time
from kvlib.operators import Work
from kvlib.roofline import decode_attention_time, efficiency, gemm_time

__all__ = ["bank_site", "drive_site", "kernel_site", "module_site", "processor_site"]

_PARTS = {
    "multiply": "bandwidth",
    "switch": "row switching",
    "transfer": "vectors and results",
    "refresh": "refresh",
}


def _too_large(name: str, task: Task, capacity: float) -> Refusal:
    return Refusal(
        "capacity",
        f"{name} holds {capacity / 1e9:.4g} GB, but {task.operation} needs "
        f"{task.resident / 1e9:.4g} GB to live there. Divide the task, or store fewer bits.",
    )


def _unknown(name: str, task: Task, known: Any) -> Refusal:
    return Refusal(
        "operation", f"{name} cannot do {task.operation!r}. It can do: {', '.join(known)}."
    )


def _format(name: str, task: Task, known: Any) -> Refusal:
    return Refusal(
        "precision",
        f"{name} cannot compute in {task.precision!r}. "
        f"It can in: {', '.join(known) or 'none stated'}.",
    )


def processor_site(
    device: Device, *, time: Callable[[Work, Device, str], float] | None = None
) -> Site:
    r"""Let a GPU, NPU, TPU or CPU answer from its card.

    .. math:: t = \max(F / \text{peak},\; Q / \text{bandwidth})

    Parameters
    ----------
    device : Device
        Its card.
    time : callable, optional
        Gives the time of some work on a device in a precision [s], in place of this formula: for
        example one that knows which share of the peak and of the bandwidth kernels reach.

    Raises
    ------
    ValueError
        If the card is of another kind: its units see another bandwidth and know fewer operations.

    Notes
    -----
    :cite:t:`williams2009roofline`.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.nearmemory import matrix_vector
    >>> site = processor_site(device("h100-sxm-80gb"))
    >>> reply = site(matrix_vector(8192, 8192, precision="fp16"))
    >>> print(f"{reply.time * 1e6:.0f} us, {reply.bound}, energy {reply.energy}")
    40 us, bandwidth, energy None
    """
    if device.kind not in ("gpu", "npu", "tpu", "cpu"):
        raise ValueError(
            f"{device.name!r} is a card of kind {device.kind!r}, not a GPU, NPU, TPU or CPU. Build "
            f"its own model, for example kvlib.nearmemory.hbm_pim(), and use bank_site."
        )
    memory, peaks = device.memory(), device.compute().peak

    def answer(task: Task) -> Answer | Refusal:
        if task.precision not in peaks:
            return _format(device.title, task, peaks)
        if task.resident > memory.capacity:
            return _too_large(device.title, task, memory.capacity)
        compute = float(task.work.flop) / peaks[task.precision]
        moving = float(task.work.bytes) / memory.bandwidth
        total = max(compute, moving) if time is None else time(task.work, device, task.precision)
        energy = None
        if hasattr(memory, "energy") and hasattr(device.compute(), "energy"):
            energy = float(
                task.work.bytes * memory.energy + task.work.flop * device.compute().energy
            )
        return Answer(
            time=float(total),
            energy=energy,
            bound="compute" if compute > moving else "bandwidth",
            note="" if energy is not None else "no source states its energy",
        )

    return answer


def kernel_site(device: Device) -> Site:
    """Let a GPU answer with the times of measured kernels.

    Attention takes the time of `kvlib.roofline.decode_attention_time`, with as many query heads to
    a KV head as query rows meet it, and a product with a stored matrix that of
    `kvlib.roofline.gemm_time`. For any other operation no kernel was measured: the answer is that
    of `processor_site`, and its note says so. Refusals are those of `processor_site` too.

    Parameters
    ----------
    device : Device
        A GPU whose architecture was measured.

    Raises
    ------
    UnknownFigure
        If the device's architecture was not measured: use `processor_site`, or say whose kernels to
        assume with ``device.replace(architecture=...)``.

    Notes
    -----
    The bound is "launch" where more than half of the time would remain with one token to read. The
    attention kernels were measured with one query token and 1 to 96 query heads to a KV head;
    beyond that, and for the query rows of several tokens, the model extrapolates.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.nearmemory import decode_attention
    >>> site = kernel_site(device("h100-sxm-80gb"))
    >>> cache = {"heads": 64, "kv_heads": 8, "head_dim": 128, "precision": "bf16"}
    >>> for context, requests in ((512, 1), (4096, 32)):
    ...     reply = site(decode_attention(context, requests=requests, **cache))
    ...     print(f"{reply.time * 1e6:.0f} us, {reply.bound}")
    14 us, launch
    195 us, bandwidth
    """
    kernels, plain = efficiency(device), processor_site(device)

    def answer(task: Task) -> Answer | Refusal:
        reply, shape = plain(task), task.shape
        if isinstance(reply, Refusal):
            return reply
        if task.operation == "attention":
            total, start = (
                decode_attention_time(
                    device,
                    batch=1,
                    heads=shape["heads"] * shape["queries"],
                    kv_heads=shape["heads"],
                    head_dim=shape["head_dim"],
                    context=context,
                    precision=task.precision,
                )
                for context in (shape["context"], 1)
            )
        elif task.operation == "matrix-vector":
            start = kernels.gemm.kernel_floor
            total = gemm_time(
                device,
                m=shape["vectors"],
                n=shape["outputs"],
                k=shape["inputs"],
                precision=task.precision,
            )
        else:
            note = f"no kernel of {task.operation!r} was measured: plain roofline"
            return replace(reply, note="; ".join(filter(None, [note, reply.note])))
        bound = "launch" if 2 * start > total else reply.bound
        return replace(reply, time=float(total), bound=bound)

    return answer


def bank_site(pim: BankPim) -> Site:
    """Let units beside banks answer: products of a stored matrix, and attention.

    The energy counts what the units read from the cells, padding and repeated reads included, and
    what they compute; not the vectors and results that travel.

    Examples
    --------
    >>> from kvlib.nearmemory import attacc, matrix_vector
    >>> site = bank_site(attacc("bank"))
    >>> reply = site(matrix_vector(8192, 8192, precision="fp16"))
    >>> print(f"{reply.time * 1e6:.1f} us, {reply.energy * 1e6:.0f} uJ, {reply.bound}")
    6.1 us, 667 uJ, bandwidth
    >>> print(site(matrix_vector(8192, 8192, precision="fp8")).reason)
    AttAcc bank cannot compute in 'fp8'. It can in: fp16, int8.
    """
    one = pim.replace(channels=1)

    def answer(task: Task) -> Answer | Refusal:
        shape = {name: int(value) for name, value in task.shape.items()}
        if task.operation not in ("matrix-vector", "attention"):
            return _unknown(pim.name, task, ("matrix-vector", "attention"))
        if task.precision not in pim.precisions:
            return _format(pim.name, task, pim.precisions)
        if task.resident > pim.capacity:
            return _too_large(pim.name, task, pim.capacity)
        if task.operation == "attention":
            vectors = shape["queries"]
            cost, alone = (_attention(site, task.precision, shape) for site in (pim, one))
            macs = float(alone.macs)
        else:
            vectors = shape["vectors"]
            cost = gemv(
                pim,
                shape["outputs"],
                shape["inputs"],
                vectors=vectors,
                precision=task.precision,
            )
            macs = float(cost.macs) * pim.channels
        energy = None
        if pim.energy is not None and pim.unit_energy is not None:
            reads = macs * pim.units * pim.column
            energy = float(reads * pim.energy + task.work.flop * pim.unit_energy)
        return Answer(
            time=float(cost.time),
            energy=energy,
            bound=_bound(cost, again=vectors > pim.reuse),
            note="vectors and results not counted in the energy"
            if energy is not None
            else "no source states its energy",
        )

    return answer


def _attention(pim: BankPim, precision: str, shape: dict[str, int]) -> Cost:
    return attention(
        pim,
        shape["context"],
        heads=shape["heads"],
        head_dim=shape["head_dim"],
        queries=shape["queries"],
        precision=precision,
    )


def _bound(cost: Cost, *, again: bool) -> str:
    """Name the part that takes longest; columns read again and again wait for arithmetic."""
    part = max(_PARTS, key=lambda name: float(getattr(cost, name)))
    return "arithmetic" if part == "multiply" and again else _PARTS[part]


def module_site(module: MemoryModule) -> Site:
    """Let a processor on a memory module answer.

    Examples
    --------
    >>> from kvlib.nearmemory import cxl_pnm, decode_attention
    >>> site = module_site(cxl_pnm({"fp16": 8.2e12}))
    >>> reply = site(decode_attention(4096, heads=64, kv_heads=8, head_dim=128, precision="fp16"))
    >>> print(f"{reply.time * 1e6:.0f} us, {reply.bound}")
    17 us, compute
    """

    def answer(task: Task) -> Answer | Refusal:
        if task.operation not in module.operations:
            return _unknown(module.name, task, module.operations)
        if module.peak and task.precision not in module.peak:
            return _format(module.name, task, module.peak)
        if task.resident > module.capacity:
            return _too_large(module.name, task, module.capacity)
        compute, memory, link = (float(part) for part in module.time(task.work, task.precision))
        longest = max(
            (compute, "compute"), (memory, "bandwidth"), (link, "link"), key=lambda part: part[0]
        )
        energy = None if module.energy is None else float(task.work.bytes * module.energy)
        return Answer(
            time=max(compute, memory) + link,
            energy=energy,
            bound=longest[1],
            note="" if energy is not None else "no source states its energy",
        )

    return answer


def drive_site(here: Drive) -> Site:
    """Let a filter in a solid-state drive answer: scans only.

    Examples
    --------
    >>> from kvlib.nearmemory import drive, matrix_vector, scan
    >>> site = drive_site(drive("genstore-h"))
    >>> reply = site(scan(1e12, selectivity=0.01))
    >>> print(f"{reply.time:.0f} s, {reply.bound}")
    52 s, flash
    >>> site(matrix_vector(4096, 4096, precision="int8")).constraint
    'operation'
    """

    def answer(task: Task) -> Answer | Refusal:
        if task.operation != "scan":
            return _unknown(here.name, task, ("scan",))
        if here.capacity is not None and task.resident > here.capacity:
            return _too_large(here.name, task, here.capacity)
        selectivity = task.shape["selectivity"]
        flash = task.resident / here.bandwidth
        sent = selectivity * task.resident / here.link
        return Answer(
            time=float(scan_time(task.resident, here, selectivity=selectivity)),
            energy=None,
            bound="flash" if flash > sent else "link",
            note="no source states its energy",
        )

    return answer

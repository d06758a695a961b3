"""Memory arrays that compute, as sites that `ask` can question.

>>> from kvlib import device
>>> from kvlib.nearmemory.answer import ask, decode_attention
>>> task = decode_attention(4096, heads=32, kv_heads=8, head_dim=128, precision="int8", requests=16)
>>> replies = ask(task, {
...     "Ambit": ambit_site(device("ambit-ddr3-1600")),
...     "SIMDRAM": simdram_site(device("simdram-16")),
...     "3D-FPIM": fpim_site(device("3d-fpim"), cell_bits=4, owned=1000, t_convert=1e-8),
... })
>>> for name, reply in replies.items():
...     print(name, f"{reply.time * 1e3:.1f} ms, {reply.bound}" if reply else reply.constraint)
Ambit operation
SIMDRAM 19016.8 ms, activation window
3D-FPIM residency
"""

import numpy as np

from kvlib.checks import choose, positive, whole
from kvlib.hardware import Device
from kvlib.nearmemory import ambit, flash, fpim, simdram
from kvlib.nearmemory.answer import Answer, Refusal, Site, Task
from kvlib.nearmemory.array_time import ArrayTiming, array_time
from kvlib.nearmemory.subarray import Commands
from kvlib.operators import Work
from kvlib.precision import BITS

__all__ = [
    "ambit_site", "bitwise_task", "flash_cosmos_site", "fpim_site", "simdram_site",
]  # fmt: skip


def bitwise_task(operation: str, size: float, *, operands: int = 2) -> Task:
    """Build the task of combining stored bit vectors.

    Parameters
    ----------
    operation : str
        A key of `kvlib.nearmemory.ambit.PROGRAMS`.
    size : float
        Bytes in each vector and in the result [B].
    operands : int
        Vectors that are combined.

    Examples
    --------
    >>> bitwise_task("and", 1e9, operands=36).resident
    36000000000.0
    """
    choose(operation, ambit.PROGRAMS, "bitwise operation")
    whole(operands=operands)
    positive(size=size)
    bits = 8.0 * size * max(operands - 1, 1)
    return Task(
        operation=operation,
        work=Work(flop=bits, activations=(operands + 1.0) * size),
        precision="int1",
        resident=float(operands * size),
        shape={"bytes": size, "operands": operands},
    )


def no_such_operation(part: Device, task: Task, known: str) -> Refusal:
    return Refusal("operation", f"{part.title} cannot do {task.operation!r}. It can do: {known}.")


def ambit_site(part: Device) -> Site:
    """Let Ambit answer: bitwise operations, two operands at a time, in the subarray of both.

    Examples
    --------
    >>> from kvlib import device
    >>> reply = ambit_site(device("ambit-ddr3-1600"))(bitwise_task("and", 2**20))
    >>> print(f"{reply.time * 1e6:.1f} us, {reply.bound}")
    7.7 us, activation window
    """
    timing = ArrayTiming.of(part)

    def answer(task: Task) -> Answer | Refusal:
        if task.operation not in ambit.PROGRAMS:
            return no_such_operation(part, task, ", ".join(ambit.PROGRAMS))
        rounds = max(int(task.shape["operands"]) - 1, 1)
        time = ambit.time(task.operation, task.shape["bytes"], timing).times(rounds)
        return Answer(
            time=float(time.total),
            energy=None,
            bound="activation window" if time.window > time.decoders else "commands",
            note="operands lie in one subarray; no source states the energy of a command",
        )

    return answer


def flash_cosmos_site(part: Device) -> Site:
    """Let Flash-Cosmos answer: AND and OR of many operands, their complements, XOR of two.

    Examples
    --------
    >>> from kvlib import device
    >>> reply = flash_cosmos_site(device("flash-cosmos"))(bitwise_task("and", 1e9, operands=36))
    >>> print(f"{reply.time * 1e3:.0f} ms, {reply.bound}")
    125 ms, host link
    """
    drive = flash.FlashDrive.of(part)
    capacity = part.memory().capacity

    def answer(task: Task) -> Answer | Refusal:
        if task.operation not in ambit.PROGRAMS:
            return no_such_operation(part, task, ", ".join(ambit.PROGRAMS))
        if task.resident > capacity:
            return Refusal(
                "capacity",
                f"{part.title} holds {capacity / 1e9:.4g} GB, but the operands take "
                f"{task.resident / 1e9:.4g} GB. Divide the task.",
            )
        apart = task.operation in ("xor", "xnor")  # the strings know no exclusive or
        stages = flash.one_by_one if apart else flash.sensing_at_once
        time = stages(int(task.shape["operands"]), task.shape["bytes"], drive)
        parts = {"sensing": time.sense, "channels": time.channel, "host link": time.host}
        return Answer(
            time=float(time.lower),
            energy=None,
            bound=max(parts, key=lambda name: float(parts[name])),
            note="operands of one string lie in one block; no source states the energy of a read",
        )

    return answer


def simdram_site(part: Device, *, accumulator: int = 32) -> Site:
    """Let SIMDRAM answer: products of integers, a lane to each result.

    The factor that all lanes share is copied bit by bit from the rows of constants. Attention puts
    a KV head in a bank, and a token or an element of the weighted sum in a lane, which leaves most
    lanes idle: lanes cannot add to one another. Softmax is left to the host.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.nearmemory.answer import matrix_vector
    >>> site = simdram_site(device("simdram-16"))
    >>> reply = site(matrix_vector(4096, 4096, precision="int8"))
    >>> print(f"{reply.time * 1e3:.0f} ms, {reply.bound}")
    576 ms, activation window
    >>> print(site(matrix_vector(4096, 4096, precision="fp16")).constraint)
    precision
    """
    timing = ArrayTiming.of(part)
    lanes = float(8 * timing.row)

    def answer(task: Task) -> Answer | Refusal:
        if not task.precision.startswith("int"):
            return Refusal(
                "precision",
                f"{part.title} cannot compute in {task.precision!r}: command sequences are "
                f"published for integers only.",
            )
        bits = int(BITS[task.precision])
        multiply_add = (
            simdram.commands("multiply", bits)
            + simdram.commands("add", accumulator)
            + Commands(aap=bits, same_decoder=bits)
        )
        time = array_time(multiply_add, timing)
        shape = task.shape
        if task.operation == "matrix-vector":
            rounds = (
                shape["vectors"]
                * shape["inputs"]
                * np.ceil(shape["outputs"] / lanes / timing.banks)
            )
        elif task.operation == "attention":
            context, width = shape["context"], shape["head_dim"]
            each = width * np.ceil(context / lanes) + context * np.ceil(width / lanes)
            rounds = shape["queries"] * np.ceil(shape["heads"] / timing.banks) * each
        else:
            return no_such_operation(part, task, "matrix-vector, attention")
        time = time.times(rounds)
        return Answer(
            time=float(time.total),
            energy=None,
            bound="activation window" if time.window > time.decoders else "commands",
            note="data stand upright; softmax and transposition not counted",
        )

    return answer


def fpim_site(part: Device, *, cell_bits: int, owned: int, t_convert: float) -> Site:
    """Let 3D-FPIM answer: products with a matrix that never changes.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.nearmemory.answer import matrix_vector
    >>> site = fpim_site(device("3d-fpim"), cell_bits=4, owned=16, t_convert=1e-8)
    >>> print(f"{site(matrix_vector(4096, 4096, precision='int8')).time * 1e6:.1f} us")
    21.5 us
    """
    array = fpim.FlashArray.of(part, cell_bits=cell_bits)

    def answer(task: Task) -> Answer | Refusal:
        if task.operation == "attention":
            return Refusal(
                "residency",
                f"{part.title}: keys and values change with every token, but a cell takes hundreds "
                f"of microseconds to write and bears it some thousand times. Keep weights there.",
            )
        if task.operation != "matrix-vector":
            return no_such_operation(part, task, "matrix-vector")
        if not task.precision.startswith("int"):
            return Refusal(
                "precision",
                f"{part.title} cannot compute in {task.precision!r}: pulses are integers.",
            )
        n, k, bits = task.shape["outputs"], task.shape["inputs"], int(BITS[task.precision])
        needed = fpim.units(n, k, array, weight_bits=bits)
        if needed > owned:
            return Refusal(
                "capacity",
                f"the matrix fills {needed:.0f} units of {part.title}; there are {owned}.",
            )
        once = fpim.time(
            n, k, array, weight_bits=bits, vector_bits=bits, owned=owned, t_convert=t_convert
        )
        return Answer(
            time=float(once * task.shape["vectors"]),
            energy=None,
            bound="pulses and conversion",
            note="no source states time or energy of a conversion: the time was passed in",
        )

    return answer

"""The cores of UPMEM as a site that `ask` can question."""

from typing import Any

import numpy as np

from kvlib.hardware import Device
from kvlib.nearmemory.answer import Answer, Refusal, Site, Task
from kvlib.nearmemory.sites_in_array import no_such_operation
from kvlib.nearmemory.upmem import LARGEST_TRANSFER, System
from kvlib.nearmemory.upmem_gemv import fits, gemv_time, mac_instructions
from kvlib.precision import itemsize

__all__ = ["upmem_site"]


def upmem_site(part: Device, core: Device, *, tasklets: int = 16) -> Site:
    """Let the cores of UPMEM answer: products of a stored matrix, and attention without softmax.

    Attention deals the tokens out over the cores; scores and weighted sums go through the host.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.nearmemory.answer import matrix_vector
    >>> site = upmem_site(device("upmem-2556"), device("upmem-dpu"))
    >>> reply = site(matrix_vector(65536, 4096, precision="int8"))
    >>> print(f"{reply.time * 1e3:.1f} ms, {reply.energy:.2f} J, {reply.bound}")
    2.1 ms, 0.82 J, pipeline
    >>> site(matrix_vector(4096, 4096, precision="fp16")).constraint
    'precision'
    """
    system = System.of(part, core)

    def answer(task: Task) -> Answer | Refusal:
        if task.operation not in ("matrix-vector", "attention"):
            return no_such_operation(part, task, "matrix-vector, attention")
        if task.precision not in system.arithmetic:
            return Refusal(
                "precision",
                f"{part.title} cannot compute in {task.precision!r}. "
                f"It can in: {', '.join(system.arithmetic)}.",
            )
        if task.operation == "attention":
            parts = _upmem_attention(task, system, tasklets)
        else:
            n, k = task.shape["outputs"], task.shape["inputs"]
            if not fits(n, k, task.precision, system):
                return Refusal(
                    "capacity", f"{part.title}: the rows of one core exceed its bank of 64 MiB."
                )
            once = gemv_time(n, k, task.precision, system, tasklets=tasklets)
            parts = {
                name: float(value * task.shape["vectors"]) for name, value in vars(once).items()
            }
        cores = max(parts["pipeline"], parts["dma"])
        link = parts["host_in"] + parts["host_out"]
        time = cores + link
        bound = "pipeline" if parts["pipeline"] > parts["dma"] else "bank transfers"
        return Answer(
            time=time,
            energy=None if system.power is None else float(system.energy(time)),
            bound=bound if cores > link else "host link",
            note="softmax on the host not counted; energy from an estimated power",
        )

    return answer


def _upmem_attention(task: Task, system: System, tasklets: int) -> dict[str, Any]:
    """Scores and weighted sums of the tokens that the busiest core holds."""
    shape, size = task.shape, itemsize(task.precision)
    tokens = float(np.ceil(shape["context"] * shape["heads"] / system.dpus))
    macs = 2 * tokens * shape["head_dim"] * shape["queries"]
    held = 2 * tokens * shape["head_dim"] * size
    scores, sums = tokens * shape["queries"] * 4, shape["head_dim"] * shape["queries"] * 4
    queries = shape["head_dim"] * shape["queries"] * size
    each = mac_instructions(task.precision, system)
    return {
        "pipeline": macs * each / float(system.issue_rate(tasklets)),
        "dma": float(np.ceil(held / LARGEST_TRANSFER) * system.dma_time(LARGEST_TRANSFER)),
        "host_in": (queries + scores) * system.dpus_per_rank / system.host_write,
        "host_out": (scores + sums) * system.dpus_per_rank / system.host_read,
    }

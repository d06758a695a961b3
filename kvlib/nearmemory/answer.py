"""One question to every processor: time, energy and bound of a task on data that lives beside it.

A `Task` says what is to be done and how much data must already be there. A site is any function
that takes a task and gives an `Answer`, or a `Refusal` that says which constraint broke. `ask` puts
one task to several sites.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from kvlib.checks import choose, fraction, positive, whole
from kvlib.operators import Work, gemm
from kvlib.precision import itemsize

__all__ = [
    "Answer", "Refusal", "Site", "Task", "ask", "decode_attention", "matrix_vector", "scan",
]  # fmt: skip

Constraint = Literal["operation", "precision", "capacity", "residency"]


@dataclass(frozen=True)
class Answer:
    """How a site would do a task.

    Parameters
    ----------
    time : float
        Time [s].
    energy : float or None
        Energy [J]; None if some figure it needs has no source: it is not guessed.
    bound : str
        What sets the time, such as ``"bandwidth"`` or ``"row switching"``.
    note : str
        What the figures leave out.
    """

    time: float
    energy: float | None
    bound: str
    note: str = ""


@dataclass(frozen=True)
class Refusal:
    """Why a site cannot do a task; false where an answer is true.

    Parameters
    ----------
    constraint : {"operation", "precision", "capacity", "residency"}
        What broke: the site does not know the operation or the number format, the data do not fit,
        or they do not lie where the site could reach them.
    reason : str
        The values, the rule and what would help.

    Examples
    --------
    >>> bool(Refusal("capacity", "needs 3 GB, holds 2 GB")), bool(Answer(1e-6, None, "bandwidth"))
    (False, True)
    """

    constraint: Constraint
    reason: str

    def __post_init__(self) -> None:
        choose(self.constraint, ["operation", "precision", "capacity", "residency"], "constraint")

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something to do on data that already live in a memory.

    Parameters
    ----------
    operation : str
        Such as ``"matrix-vector"``, ``"attention"``, ``"scan"``, ``"and"``.
    work : Work
        Operations and bytes it needs at the least.
    precision : str
        Number format of the data.
    resident : float
        Bytes that must already be there [B].
    shape : mapping of str to number
        Sizes by name, as the operation defines them.

    Raises
    ------
    UnknownName
        If the precision is unknown.
    """

    operation: str
    work: Work
    precision: str
    resident: float
    shape: Mapping[str, float]

    def __post_init__(self) -> None:
        itemsize(self.precision)
        positive(True, resident=self.resident, **dict(self.shape))
        object.__setattr__(self, "shape", MappingProxyType(dict(self.shape)))


Site = Callable[[Task], Answer | Refusal]


def ask(task: Task, sites: Mapping[str, Site]) -> dict[str, Answer | Refusal]:
    """Put one task to several sites.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.nearmemory import attacc, bank_site, gddr6_aim, processor_site
    >>> task = decode_attention(4096, kv_heads=8, heads=64, head_dim=128, requests=16,
    ...                         precision="fp16")
    >>> replies = ask(task, {
    ...     "H100": processor_site(device("h100-sxm-80gb")),
    ...     "AttAcc": bank_site(attacc("bank")),
    ...     "AiM": bank_site(gddr6_aim()),
    ... })
    >>> for name, reply in replies.items():
    ...     print(name, f"{reply.time * 1e6:.0f} us, {reply.bound}" if reply else reply.constraint)
    H100 80 us, bandwidth
    AttAcc 100 us, arithmetic
    AiM precision
    """
    return {name: site(task) for name, site in sites.items()}


def matrix_vector(outputs: int, inputs: int, *, precision: str, vectors: int = 1) -> Task:
    """Build the task of multiplying a stored matrix with one or several vectors.

    Examples
    --------
    >>> task = matrix_vector(4096, 4096, precision="fp16")
    >>> task.resident == 4096 * 4096 * 2, round(task.work.intensity, 2)
    (True, 1.0)
    """
    whole(outputs=outputs, inputs=inputs, vectors=vectors)
    size = itemsize(precision)
    return Task(
        operation="matrix-vector",
        work=gemm(vectors, outputs, inputs, element_bytes=size),
        precision=precision,
        resident=outputs * inputs * size,
        shape={"outputs": outputs, "inputs": inputs, "vectors": vectors},
    )


def decode_attention(
    context: int,
    *,
    heads: int,
    kv_heads: int,
    head_dim: int,
    precision: str,
    requests: int = 1,
    tokens: int = 1,
) -> Task:
    """Build the task of one decode step's attention over cached keys and values of one layer.

    Parameters
    ----------
    context : int
        Cached tokens of each request.
    heads, kv_heads, head_dim : int
        Query heads, KV heads, elements of a head.
    precision : str
        Format of the cache.
    requests, tokens : int
        Requests of this length, and query tokens of each in this step.

    Examples
    --------
    >>> task = decode_attention(4096, heads=32, kv_heads=8, head_dim=128, precision="fp16")
    >>> task.resident == 2 * 4096 * 8 * 128 * 2, round(task.work.flop / task.work.kv)
    (True, 4)
    """
    whole(context=context, heads=heads, kv_heads=kv_heads, head_dim=head_dim)
    whole(requests=requests, tokens=tokens)
    if heads % kv_heads:
        raise ValueError(f"kv_heads = {kv_heads} must divide heads = {heads}.")
    size = itemsize(precision)
    cache = 2.0 * context * kv_heads * head_dim * requests * size
    rows = heads * tokens * requests
    return Task(
        operation="attention",
        work=Work(
            flop=4.0 * context * head_dim * rows, kv=cache, activations=2.0 * rows * head_dim * size
        ),
        precision=precision,
        resident=cache,
        shape={
            "context": context,
            "heads": kv_heads * requests,
            "queries": heads // kv_heads * tokens,
            "head_dim": head_dim,
        },
    )


def scan(size: float, *, selectivity: float, precision: str = "int8") -> Task:
    """Build the task of reading stored bytes once and passing on the part that matters.

    Parameters
    ----------
    size : float
        Bytes to read [B].
    selectivity : float
        Fraction of them that leaves the filter, above 0 and at most 1.
    precision : str
        Format of the data.

    Examples
    --------
    >>> scan(1e12, selectivity=0.01).resident
    1000000000000.0
    """
    positive(size=size)
    fraction(selectivity=selectivity)
    return Task(
        operation="scan",
        work=Work(activations=float(size)),
        precision=precision,
        resident=float(size),
        shape={"bytes": size, "selectivity": selectivity},
    )

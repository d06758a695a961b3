"""What is served in the study: models, and workloads with the means of published traces."""

from typing import Any

from kvlib.catalogue import device, model
from kvlib.checks import choose, whole
from kvlib.footprint import weight_bytes
from kvlib.placement import gpu_site
from kvlib.segments import Requests, Sparse, State
from kvlib.study._boxes import GPU
from kvlib.workload import Transformer

__all__ = ["MODELS", "OTHER_WORKLOADS", "WORKLOADS", "fewest_gpus", "served"]

MODELS = (
    "llama-2-7b", "llama-3.1-70b", "deepseek-v3", "gemma-3-27b", "gpt-oss-120b", "mixtral-8x7b",
)  # fmt: skip
"""Models of the study."""

WORKLOADS = ("chat", "long document", "agents", "speculation")
"""Workloads of the study."""

OTHER_WORKLOADS = ("eight prefixes", "all verifying", "idle sessions", "sparse documents")
"""More workloads, for the wide grid and for single axes."""

_PROMPT = {"chat": 1155, "long document": 12035, "agents": 8596}
_ANSWER = {"chat": 211, "long document": 343, "agents": 182}
_LIKE = {
    "speculation": "chat", "eight prefixes": "agents", "all verifying": "chat",
    "idle sessions": "chat", "sparse documents": "long document",
}  # fmt: skip
_PREFIX = 4096


def served(name: str, workload: str, many: int = 64, *, lifetime: float = 1.0) -> State:
    """Return a model under a workload.

    Prompts and answers have the means of a published trace, see chapter 16, and requests are caught
    halfway through their answers. Each request's cache is written once in its life, which lasts as
    many steps as its answer has tokens, or fewer if a step gains several; what they share stays.

    Parameters
    ----------
    name : str
        A model, or several joined by `` + ``, which share the requests.
    workload : str
        One of `WORKLOADS` or `OTHER_WORKLOADS`.
    many : int
        Requests that decode.
    lifetime : float
        Factor on how long they stay.

    Examples
    --------
    >>> len(served("llama-3.1-70b", "speculation").groups)
    2
    """
    choose(workload, (*WORKLOADS, *OTHER_WORKLOADS), "workload")
    names = name.split(" + ")
    whole(many=many)
    parts = [many // len(names) + (i < many % len(names)) for i in range(len(names))]
    return State([
        group
        for each, part in zip(names, parts, strict=True) if part
        for group in _groups(model(each), workload, part, lifetime)
    ])  # fmt: skip


def fewest_gpus(name: str) -> int:
    """Return how many GPUs, 1, 2, 4 or 8, hold the 8-bit weights in four fifths of their memory.

    Parameters
    ----------
    name : str
        A model, or several, as in `served`.

    Raises
    ------
    ValueError
        If eight do not.

    Examples
    --------
    >>> {name: fewest_gpus(name) for name in ("llama-3.1-70b", "gpt-oss-120b", "deepseek-v3")}
    {'llama-3.1-70b': 1, 'gpt-oss-120b': 2, 'deepseek-v3': 8}
    """
    held = sum(
        float(weight_bytes(model(each), weight_precision="fp8")) for each in name.split(" + ")
    )
    for count in (1, 2, 4, 8):
        if held <= 0.8 * gpu_site(device(GPU), count=count).capacity:
            return count
    raise ValueError(f"{name!r} holds {held / 1e9:.0f} GB of weights: more than 8 GPUs are needed.")


def _groups(shape: Transformer, workload: str, many: int, lifetime: float) -> list[Requests]:
    like = _LIKE.get(workload, workload)
    context, life = _PROMPT[like] + _ANSWER[like] // 2 + _ANSWER[like] % 2, lifetime * _ANSWER[like]

    def requests(count: int, **others: Any) -> list[Requests]:
        fitted = {"lifetime": life, **others}
        return [Requests(shape, [context] * count, **fitted)] if count else []

    verifying = {"query_tokens": 4, "accepted": 2.0, "lifetime": life / 2}
    if workload == "speculation":
        return requests(many - many // 2) + requests(many // 2, **verifying)
    if workload == "all verifying":
        return requests(many, **verifying)
    if workload == "agents":
        return requests(many, prefix=_PREFIX)
    if workload == "eight prefixes":
        parts = [many // 8 + (i < many % 8) for i in range(8)]
        return [group for part in parts for group in requests(part, prefix=_PREFIX)]
    if workload == "idle sessions":
        return [*requests(many), *requests(4 * many, active=False)]
    if workload == "sparse documents":
        return requests(many, sparse=Sparse(sinks=4, recent=1024, fraction=0.1))
    return requests(many)

"""NeuPIMs: an NPU multiplies matrices while the banks of its own memory attend.

Two things must hold for both to work at once :cite:p:`heo2024neupims`. Each bank has a second row
buffer, so that the NPU reads weights while units read keys and values; with one buffer the two take
turns (blocked mode). And the batch is cut into two sub-batches, because within one, attention needs
the projections before it and the projections behind it need attention.

The parts are those of `kvlib`: `phases` says what a layer computes, `nearmemory` how long a row of
keys takes, `schedule` what overlaps. Times are those of the authors' simulator as far as its
sources explain them, without a fitted constant; what it leaves out is put right on request.

>>> from kvlib import model
>>> requests = lengths(80, 296, 256)
>>> for system in npu_only(), naive(), neupims():
...     run = system.decode(model("gpt-3-6.7b"), requests)
...     print(f"{system.name}: {1e3 * run.time:.1f} ms a token")
NPU only: 45.8 ms a token
naive NPU+PIM: 11.8 ms a token
NeuPIMs: 9.6 ms a token
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from kvlib.catalogue import device, model
from kvlib.checks import choose, positive, whole
from kvlib.hardware import Device
from kvlib.parallel import Parallel
from kvlib.phases import decode_step
from kvlib.roofline import step_time
from kvlib.systems._neupims_channels import Balance, Channels
from kvlib.systems._neupims_npu import Npu
from kvlib.systems._neupims_stages import Run, StageRun
from kvlib.systems._neupims_system import CORRECTIONS, Cut, NeuPims
from kvlib.workload import Transformer

__all__ = [
    "CORRECTIONS", "MODELS", "NeuPims", "Run", "StageRun",
    "gains", "gpu_only_time", "lengths", "naive", "neupims", "npu_only",
]  # fmt: skip

MODELS = {
    "GPT3-7B": ("gpt-3-6.7b", 4, 1),
    "GPT3-13B": ("gpt-3-13b", 4, 1),
    "GPT3-30B": ("opt-30b", 4, 2),
    "GPT3-175B": ("gpt-3-175b", 8, 4),
}
"""Models of the paper: name in the catalogue, tensor-parallel devices, pipeline stages."""


def neupims(*, tensor: int = 4, pipeline: int = 1, sub_batches: Cut = "if faster") -> NeuPims:
    """Return the system of the paper: two row buffers, sub-batches, balanced channels."""
    return NeuPims(
        name="NeuPIMs", npu=Npu.of_neupims(), channels=Channels.of_neupims(),
        sub_batches=sub_batches, tensor=tensor, pipeline=pipeline,
    )  # fmt: skip


def naive(*, balance: Balance = "round-robin", tensor: int = 4, pipeline: int = 1) -> NeuPims:
    """Return NPU and PIM in turn: one row buffer, one batch, requests dealt out in turn."""
    channels = replace(Channels.of_neupims().single_row_buffer(), balance=balance)
    return NeuPims(
        name="naive NPU+PIM", npu=Npu.of_neupims(), channels=channels,
        tensor=tensor, pipeline=pipeline,
    )  # fmt: skip


def npu_only(*, exact_attention: bool = True, tensor: int = 4, pipeline: int = 1) -> NeuPims:
    """Return the NPU with the same memory and no units: it reads keys and values itself."""
    return replace(
        naive(tensor=tensor, pipeline=pipeline), name="NPU only", attends="NPU",
        exact_attention=exact_attention,
    )  # fmt: skip


def gpu_only_time(
    model: Transformer,
    requests: Sequence[int],
    *,
    gpu: Device | None = None,
    tensor: int = 4,
    pipeline: int = 1,
    whole_step: bool = False,
) -> float:
    """Time of one decode step of one pipeline stage on as many GPUs, by measured kernels [s].

    Parameters
    ----------
    model : Transformer
        The model.
    requests : sequence of int
        Tokens in the cache of each request; kernels are timed at their mean.
    gpu : Device, optional
        A100 with 40 GB, the paper's, unless given.
    tensor, pipeline : int
        GPUs that share each layer, and groups of them that share the layers.
    whole_step : bool
        Whether messages between GPUs, embedding and LM head count; NeuPIMs' simulator has none.

    Examples
    --------
    >>> from kvlib import model
    >>> print(f"{1e3 * gpu_only_time(model('gpt-3-6.7b'), [376] * 256):.1f} ms")
    16.2 ms
    """
    whole(requests=np.asarray(requests))
    step = decode_step(
        model, batch=len(requests), context=round(float(np.mean(requests))),
        parallel=Parallel(tensor=tensor),
    )  # fmt: skip
    time = step_time(step, gpu or device("a100-sxm-40gb"), precision="fp16")
    left_out = sum(time.communication.values()) + time.gemm["lm_head"]
    return float(time.total - (0.0 if whole_step else left_out)) / pipeline


def gains(name: str, prompt: float, output: float, batch: int) -> dict[str, float]:
    """How many times faster NeuPIMs is than each baseline, for one of the paper's models.

    Parameters
    ----------
    name : str
        Key of `MODELS`.
    prompt, output, batch
        As for `lengths`.

    Returns
    -------
    dict of str to float
        Over ``"GPU"``, ``"NPU"``, an ``"NPU at bandwidth"``, which attends as fast as its memory
        delivers the cache, and NPU and PIM ``"in turn"``.

    Examples
    --------
    >>> print({k: round(v, 1) for k, v in gains("GPT3-7B", 80, 296, 512).items()})
    {'GPU': 1.8, 'NPU': 5.6, 'NPU at bandwidth': 2.3, 'in turn': 1.3}
    """
    tag, tensor, pipeline = MODELS[choose(name, MODELS, "model of the paper")]
    shape, requests = model(tag), lengths(prompt, output, batch)
    alone = npu_only(tensor=tensor, pipeline=pipeline)
    systems = {
        "NPU": alone,
        "NPU at bandwidth": replace(alone, exact_attention=False),
        "in turn": naive(tensor=tensor, pipeline=pipeline),
    }
    own = neupims(tensor=tensor, pipeline=pipeline).decode(shape, requests).time
    gpu = gpu_only_time(shape, requests, tensor=tensor, pipeline=pipeline)
    others = {each: system.decode(shape, requests).time for each, system in systems.items()}
    return {rival: time / own for rival, time in {"GPU": gpu, **others}.items()}


def lengths(
    prompt: float, output: float, batch: int, *, longest: int = 2048, seed: int = 0
) -> list[int]:
    r"""Cache lengths of a batch in steady state: equal steps of their distribution, shuffled.

    Outputs that end with the same chance at every token have, when looked at, generated as many
    tokens as an output has in the mean, exponentially spread:

    .. math:: L_i = p - o \ln\bigl(1 - (i + 1/2) / n\bigr)

    Parameters
    ----------
    prompt, output : float
        Mean tokens in, p, and out, o.
    batch : int
        Requests n.
    longest : int
        Longest cache.
    seed : int
        Which order they arrive in.

    Examples
    --------
    >>> lengths(80, 296, 4)
    [371, 120, 220, 696]
    """
    whole(batch=batch, longest=longest)
    positive(prompt=prompt, output=output)
    share = (np.arange(batch) + 0.5) / batch
    found = np.minimum(np.ceil(prompt - output * np.log1p(-share)), longest).astype(int).tolist()
    Random(seed).shuffle(found)
    return list(found)

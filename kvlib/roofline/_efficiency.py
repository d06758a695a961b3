"""Measured kernels by device: which constants apply, and the times they give."""

from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Literal

import numpy as np

from kvlib.catalogue import architectures, constants
from kvlib.checks import choose
from kvlib.hardware import Device, UnknownFigure
from kvlib.network import CollectiveKernels
from kvlib.precision import BITS
from kvlib.quoted import Quoted
from kvlib.roofline._attention import (
    DecodeAttentionKernel,
    PrefillAttentionKernel,
    decode_kernel_time,
    prefill_kernel_time,
)
from kvlib.roofline._gemm import GemmKernel, gemm_kernel_time

__all__ = [
    "Efficiency",
    "decode_attention_time",
    "efficiency",
    "gemm_time",
    "prefill_attention_time",
]

Library = Literal["fastest", "vllm", "tensorrt-llm"]

_GROUPED = (2, 32)
"""Query heads per KV head that TensorRT-LLM's grouped kernel takes; others run per head.

Read off the measured table :cite:`aiconfigurator2025repo`: above 32 its times grow with heads.
"""

_LATENT = {"latent-flash": "vllm", "latent-grouped": "tensorrt-llm"}
"""Kernels of MLA, and the library for which each stands."""


@dataclass(frozen=True)
class Efficiency:
    """Measured kernels of one GPU architecture.

    Parameters
    ----------
    architecture : str
        Its name.
    gemm : GemmKernel
        Constants of matrix products; each is a `Quoted` figure with its source.
    decode_attention : dict of str to DecodeAttentionKernel
        Kernels of decode attention: ``flash`` (vLLM), ``grouped`` and ``per-head``
        (TensorRT-LLM), for MLA ``latent-flash`` (SGLang) and ``latent-grouped`` (TensorRT-LLM), and
        their ``-fp8`` variants for a cache of 8-bit numbers.
    prefill_attention : PrefillAttentionKernel
        The kernel of prefill attention (vLLM).
    elementwise : dict of str to Quoted
        `kernel_floor` of a kernel without a matrix [s], and its `bandwidth_fraction`.
    collectives : CollectiveKernels
        Ways to exchange messages between the GPUs of one box.
    """

    architecture: str
    gemm: GemmKernel
    decode_attention: dict[str, DecodeAttentionKernel]
    prefill_attention: PrefillAttentionKernel
    elementwise: dict[str, Quoted]
    collectives: CollectiveKernels


def efficiency(device: Device | str) -> Efficiency:
    """Return the measured kernels of a device's architecture, or of an architecture by name.

    Raises
    ------
    UnknownFigure
        If no kernel was measured on the device's architecture.
    UnknownName
        If there is no architecture of that name.

    Examples
    --------
    >>> from kvlib import device
    >>> efficiency(device("h200-sxm-141gb")).architecture
    'hopper'
    >>> efficiency("ampere").gemm.bandwidth_fraction.basis
    'measured'
    """
    if isinstance(device, str):
        architecture = device
    else:
        architecture = getattr(device, "architecture", "")
        if architecture not in architectures():
            raise UnknownFigure(
                f"{device.name!r} has no measured kernels: constants exist for "
                f"{', '.join(architectures())}. Use `bounds`, which needs none, or say whose "
                f"kernels to assume: device.replace(architecture='hopper')."
            )
    return _kernels(architecture)


@cache
def _kernels(architecture: str) -> Efficiency:
    found = constants(architecture)
    decode = {
        kernel.removeprefix("decode_attention."): DecodeAttentionKernel(**figures)
        for kernel, figures in found.items()
        if kernel.startswith("decode_attention.")
    }
    ways: dict[str, Any] = {
        kernel.removeprefix("collectives."): figures
        for kernel, figures in found.items()
        if kernel.startswith("collectives.")
    }
    copy_rate = ways.pop("copy")["rate"]
    return Efficiency(
        architecture=architecture,
        gemm=GemmKernel(**found["gemm"]),
        decode_attention=decode,
        prefill_attention=PrefillAttentionKernel(**found["prefill_attention"]),
        elementwise=found["elementwise"],
        collectives=CollectiveKernels.from_figures({"copy_rate": copy_rate, **ways}),
    )


def gemm_time(
    device: Device, *, m: Any, n: Any, k: Any, precision: str, kernel: GemmKernel | None = None
) -> Any:
    """Time that a measured kernel takes for C[m, n] = A[m, k] B[k, n] [s].

    Parameters
    ----------
    device : Device
        A GPU whose architecture was measured, unless `kernel` is given.
    m, n, k : int or array
        Rows and columns of the result, and the inner dimension; shapes broadcast.
    precision : str
        Number format of all three matrices.
    kernel : GemmKernel, optional
        Constants to use instead of the device's own.

    Returns
    -------
    float or array
        Time, in the broadcast shape of m, n and k [s].

    Raises
    ------
    UnknownFigure
        If the device's architecture was not measured, or its card states no peak, bandwidth,
        processor count or clock.
    ValueError
        If a dimension is not a whole number above zero.

    See Also
    --------
    kvlib.roofline.gemm_kernel_time : The equation.

    Examples
    --------
    One token through an 8192 x 8192 layer on an H100; the fastest kernel measured took 49.2 us:

    >>> from kvlib import device
    >>> from kvlib.units import us
    >>> t = gemm_time(device("h100-sxm-80gb"), m=1, n=8192, k=8192, precision="bf16")
    >>> print(f"{t / us:.1f} us")
    48.5 us
    """
    constants = kernel or efficiency(device).gemm
    return gemm_kernel_time(device, constants, m=m, n=n, k=k, precision=precision)


def decode_attention_time(
    device: Device,
    *,
    batch: Any,
    heads: Any,
    kv_heads: Any,
    head_dim: Any,
    context: Any,
    precision: str,
    value_dim: Any = None,
    values_in_keys: bool = False,
    kv_precision: str | None = None,
    library: Library = "fastest",
    warm: bool = False,
) -> Any:
    """Time that a measured kernel takes for the attention of one decode step in one layer [s].

    Parameters
    ----------
    device : Device
        A GPU whose architecture was measured.
    batch, heads, kv_heads, head_dim, context : int or array
        Sequences, query heads, KV heads, elements per head and cached tokens per sequence.
    precision : str
        Number format of queries and outputs.
    value_dim : int or array, optional
        Elements of a value per head, if not `head_dim`.
    values_in_keys : bool
        Whether the value is a part of the key's row, as in MLA: such a kernel is its own.
    kv_precision : str, optional
        Number format of the cache; the same unless given.
    library : {"fastest", "vllm", "tensorrt-llm"}
        Whose kernel; the faster of the two unless given. For MLA, vLLM's was not measured, and
        SGLang's, which is FlashAttention too, is assumed in its place.
    warm : bool
        Whether the cache was read just before, as in a benchmark that repeats one call. A serving
        step reads all weights in between, so the default is cold.

    Returns
    -------
    float or array
        Time, in the broadcast shape of the counts [s].

    Raises
    ------
    UnknownFigure
        If the device's architecture was not measured with such a kernel, or its card lacks a
        figure.
    ValueError
        If a count is not a whole number above zero, or KV heads do not divide heads.

    See Also
    --------
    kvlib.roofline.decode_kernel_time : The equation.

    Examples
    --------
    Llama-3-8B, 64 sequences of 2048 tokens on an H100:

    >>> from kvlib import device
    >>> from kvlib.units import us
    >>> t = decode_attention_time(device("h100-sxm-80gb"), batch=64, heads=32, kv_heads=8,
    ...                           head_dim=128, context=2048, precision="bf16")
    >>> print(f"{t / us:.0f} us")
    200 us
    """
    choose(library, ("fastest", "vllm", "tensorrt-llm"), "library")
    kernels = efficiency(device).decode_attention
    stored = kv_precision or precision
    suffix = "-fp8" if BITS.get(stored) == 8 and "flash-fp8" in kernels else ""

    def run(kernel: str) -> Any:
        return decode_kernel_time(
            device,
            kernels[kernel + suffix],
            batch=batch,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            value_dim=value_dim,
            values_in_keys=values_in_keys,
            context=context,
            precision=precision,
            kv_precision=stored,
            warm=warm,
        )

    if values_in_keys:
        measured = {owner: name for name, owner in _LATENT.items() if name + suffix in kernels}
        wanted = [name for owner, name in measured.items() if library in (owner, "fastest")]
        if not wanted:
            raise UnknownFigure(
                f"{device.name!r} has no measured MLA kernel for library = {library!r} and a cache "
                f"of {stored}. Measured on {device.architecture}: {', '.join(measured) or 'none'}."
            )
        return reduce(np.minimum, map(run, wanted))
    if library == "vllm":
        return run("flash")
    group = np.asarray(heads) / np.asarray(kv_heads)
    takes = (group >= _GROUPED[0]) & (group <= _GROUPED[1])
    grouped, per_head = run("grouped"), run("per-head")
    tensorrt = grouped * takes + per_head * ~takes
    return tensorrt if library == "tensorrt-llm" else np.minimum(run("flash"), tensorrt)


def prefill_attention_time(
    device: Device, *, batch: Any, heads: Any, kv_heads: Any, head_dim: Any, prompt: Any,
    precision: str,
) -> Any:  # fmt: skip
    """Time that a measured kernel takes for the causal attention of prompts in one layer [s].

    Parameters
    ----------
    device : Device
        A GPU whose architecture was measured.
    batch, heads, kv_heads, head_dim, prompt : int or array
        Prompts, query heads, KV heads, elements per head and tokens of each prompt.
    precision : str
        Number format of queries, cache and outputs.

    Returns
    -------
    float or array
        Time, in the broadcast shape of the counts [s].

    Raises
    ------
    UnknownFigure
        If the device's architecture was not measured, or its card lacks a figure.
    ValueError
        If a count is not a whole number above zero, or KV heads do not divide heads.

    See Also
    --------
    kvlib.roofline.prefill_kernel_time : The equation.

    Examples
    --------
    >>> from kvlib import device
    >>> from kvlib.units import us
    >>> t = prefill_attention_time(device("h100-sxm-80gb"), batch=1, heads=32, kv_heads=4,
    ...                            head_dim=128, prompt=8192, precision="bf16")
    >>> print(f"{t / us:.0f} us, measured 888 us")
    915 us, measured 888 us
    """
    return prefill_kernel_time(
        device,
        efficiency(device).prefill_attention,
        batch=batch,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        prompt=prompt,
        precision=precision,
    )

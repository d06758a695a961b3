"""Where operations and bytes become seconds on a processor beside its memory.

Two answers. `bounds` needs a datasheet only: no time below the larger of compute and memory time,
and, if the two do not overlap at all, none above their sum. `gemm_time` says what kernels measure:
the same two terms, with what a launch costs, what part of the bandwidth is sustained, and what is
lost when a matrix does not fill whole tiles and whole waves.

>>> from kvlib import device
>>> from kvlib.operators import gemm
>>> h100, shape = device("h100-sxm-80gb"), {"m": 4096, "n": 8192, "k": 8192}
>>> ideal = bounds(gemm(**shape, element_bytes=2), h100, "bf16").lower
>>> print(f"{gemm_time(h100, **shape, precision='bf16') / ideal:.2f} times the ideal")
1.20 times the ideal
"""

from kvlib.roofline._attention import (
    DecodeAttentionKernel,
    PrefillAttentionKernel,
    decode_kernel_time,
    prefill_kernel_time,
)
from kvlib.roofline._bounds import Bounds, attainable, bounds
from kvlib.roofline._efficiency import (
    Efficiency,
    decode_attention_time,
    efficiency,
    gemm_time,
    prefill_attention_time,
)
from kvlib.roofline._gemm import GemmKernel, gemm_kernel_time
from kvlib.roofline._step import StepTime, step_time

__all__ = [
    "Bounds",
    "DecodeAttentionKernel",
    "Efficiency",
    "GemmKernel",
    "PrefillAttentionKernel",
    "StepTime",
    "attainable",
    "bounds",
    "decode_attention_time",
    "decode_kernel_time",
    "efficiency",
    "gemm_kernel_time",
    "gemm_time",
    "prefill_attention_time",
    "prefill_kernel_time",
    "step_time",
]

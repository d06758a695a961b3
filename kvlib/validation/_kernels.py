"""Predictions for tables of kernels: matrix products and attention, in columns of shapes."""

from typing import Any

import numpy as np

from kvlib import operators
from kvlib.attention import AttentionShape, attend
from kvlib.catalogue import device
from kvlib.precision import itemsize
from kvlib.roofline import bounds, decode_attention_time, gemm_time, prefill_attention_time
from kvlib.validation._tables import Table

__all__ = [
    "HEADS",
    "decode_attention",
    "decode_attention_roofline",
    "gemm",
    "gemm_roofline",
    "latent_attention",
    "latent_attention_roofline",
    "prefill_attention",
    "prefill_attention_roofline",
]

HEADS = ("batch", "heads", "kv_heads", "head_dim")
"""Columns that every table of attention kernels has."""

Times = np.ndarray[Any, Any]


def gemm(rows: Table) -> Times:
    """Times of measured GEMM kernels [s]."""
    return _time(gemm_time, rows, "m", "n", "k")


def gemm_roofline(rows: Table) -> Times:
    """Times of the datasheet's roofline for GEMMs [s]."""
    work = operators.gemm(rows["m"], rows["n"], rows["k"], element_bytes=_element_bytes(rows))
    return _roofline(work, rows)


def decode_attention(rows: Table) -> Times:
    """Times of measured decode-attention kernels, each by the library that ran it [s].

    A benchmark repeats one call, so the cache is warm. Whatever is not TensorRT-LLM is taken to run
    a FlashAttention kernel, as vLLM does.
    """
    vllm = _time(decode_attention_time, rows, *HEADS, "context", warm=True, library="vllm")
    tensorrt = _time(
        decode_attention_time, rows, *HEADS, "context", warm=True, library="tensorrt-llm"
    )
    return np.where(_of_tensorrt(rows), tensorrt, vllm)


def decode_attention_roofline(rows: Table) -> Times:
    """Times of the datasheet's roofline for decode attention [s]."""
    return _roofline(_attend(rows, context=rows["context"], query_tokens=1), rows)


def latent_attention(rows: Table) -> Times:
    """Times of measured decode kernels of MLA, each by the library that ran it [s].

    The cache is warm, and whatever is not TensorRT-LLM is taken to run a FlashAttention kernel.
    """
    shape: dict[str, Any] = {
        "kv_heads": 1,
        "head_dim": rows["kv_rank"] + rows["rope_dim"],
        "value_dim": rows["kv_rank"],
        "values_in_keys": True,
        "kv_precision": str(rows["kv_dtype"][0]),
        "warm": True,
    }
    mine = _of_tensorrt(rows)
    found = np.empty(len(rows))
    for which, library in ((mine, "tensorrt-llm"), (~mine, "vllm")):
        if which.any():
            own = rows.take(which)
            part = {k: v[which] if isinstance(v, np.ndarray) else v for k, v in shape.items()}
            found[which] = _time(
                decode_attention_time, own, "batch", "heads", "context", library=library, **part
            )
    return found


def latent_attention_roofline(rows: Table) -> Times:
    """Times of the datasheet's roofline for decode attention of MLA [s]."""
    rank: Any = rows["kv_rank"]
    shape = AttentionShape(
        batch=rows["batch"], query_tokens=1, context=rows["context"], heads=rows["heads"],
        kv_heads=1, key_dim=rank + rows["rope_dim"], value_dim=rank, values_in_keys=True,
    )  # fmt: skip
    work = attend(
        shape, element_bytes=_element_bytes(rows), kv_bytes=itemsize(str(rows["kv_dtype"][0]))
    )
    return _roofline(work, rows)


def prefill_attention(rows: Table) -> Times:
    """Times of measured prefill-attention kernels [s]."""
    return _time(prefill_attention_time, rows, *HEADS, "prompt")


def prefill_attention_roofline(rows: Table) -> Times:
    """Times of the datasheet's roofline for causal prefill attention [s]."""
    return _roofline(_attend(rows, context=rows["prompt"], query_tokens=rows["prompt"]), rows)


def _time(function: Any, rows: Table, *columns: str, **options: Any) -> Times:
    hardware, precision = device(str(rows["device"][0])), str(rows["dtype"][0])
    shape = {column: rows[column] for column in columns}
    return np.asarray(function(hardware, **shape, precision=precision, **options))


def _roofline(work: operators.Work, rows: Table) -> Times:
    hardware, precision = device(str(rows["device"][0])), str(rows["dtype"][0])
    return np.asarray(bounds(work, hardware, precision).lower)


def _attend(rows: Table, context: Any, query_tokens: Any) -> operators.Work:
    width: Any = rows["head_dim"]
    shape = AttentionShape(
        batch=rows["batch"],
        query_tokens=query_tokens,
        context=context,
        heads=rows["heads"],
        kv_heads=rows["kv_heads"],
        key_dim=width,
        value_dim=width,
    )
    size = _element_bytes(rows)
    return attend(shape, element_bytes=size, kv_bytes=size)


def _element_bytes(rows: Table) -> float:
    return itemsize(str(rows["dtype"][0]))


def _of_tensorrt(rows: Table) -> Any:
    return np.char.find(rows["kernel"], "trtllm") >= 0

"""One transformer layer as named operators, in the order in which they run.

`phases` calls `layer_operators` once for each distinct layer. All sizes are those of one rank.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from kvlib import attention as attend
from kvlib import elementwise
from kvlib.feedforward import expert_operators, feed_forward_operators
from kvlib.operators import GemmShape, Operator, Work
from kvlib.parallel import Collective
from kvlib.step import Pass
from kvlib.workload import Attention, FeedForward, LatentAttention, Layer

__all__ = ["layer_operators"]


def layer_operators(layer: Layer, task: Pass) -> Iterator[Operator | Collective]:
    """Yield the operators of a layer and the collectives between them, in order.

    Raises
    ------
    ValueError
        If the layer's heads, widths or experts cannot be split as asked.
    """
    hidden, centred = task.model.hidden, task.model.biases
    yield task.norm("attention_norm", hidden, centred=centred)
    if isinstance(layer.attention, Attention):
        yield from _attention(layer.attention, task)
    else:
        yield from _latent_attention(layer.attention, task)
    yield from task.all_reduce("output_projection")
    yield task.elementwise("attention_residual", elementwise.add, task.tokens, hidden)
    yield task.norm("ffn_norm", hidden, centred=centred)
    if isinstance(layer.feed_forward, FeedForward):
        yield from feed_forward_operators(layer.feed_forward, "ffn", task)
        yield from task.all_reduce("ffn_down")
    else:
        yield from expert_operators(layer.feed_forward, task)
    yield task.elementwise("ffn_residual", elementwise.add, task.tokens, hidden)


def _attention(attention: Attention, task: Pass) -> Iterator[Operator]:
    model, width = task.model, attention.head_dim
    heads = task.parallel.heads(attention.heads)
    kv_heads = task.parallel.kv_heads(heads=attention.heads, kv_heads=attention.kv_heads)
    outputs = (heads + 2 * kv_heads) * width
    yield task.linear("qkv_projection", model.hidden, outputs, bias=attention.bias or model.biases)
    if attention.query_key_norm:
        yield task.norm("query_norm", width, task.tokens * heads)
        yield task.norm("key_norm", width, task.tokens * kv_heads)
    if model.position == "rope":
        yield task.elementwise(
            "rotary", elementwise.rotary, task.tokens * (heads + kv_heads), width
        )
    yield _append(2 * kv_heads * width, task)
    yield from _attend(
        task, heads, kv_heads, key_dim=width, value_dim=width, window=attention.window
    )
    yield task.linear("output_projection", heads * width, model.hidden, bias=model.biases)


def _latent_attention(attention: LatentAttention, task: Pass) -> Iterator[Operator]:
    hidden, heads = task.model.hidden, task.parallel.heads(attention.heads)
    rank, nope, rope = attention.kv_rank, attention.nope_dim, attention.rope_dim
    value, row = attention.value_dim, attention.kv_elements
    if attention.q_rank:
        yield task.linear("query_down", hidden, attention.q_rank)
        yield task.norm("query_norm", attention.q_rank)
        yield task.linear("query_up", attention.q_rank, heads * (nope + rope))
    else:
        yield task.linear("query_projection", hidden, heads * (nope + rope))
    yield task.linear("kv_down", hidden, row)
    yield task.norm("kv_norm", rank)
    if task.model.position == "rope" and rope:
        yield task.elementwise("rotary", elementwise.rotary, task.tokens * (heads + 1), rope)
    yield _append(row, task)
    if task.absorbed:
        absorb = task.linear_per_head("query_absorb", heads, nope, rank)
        beside = Work(activations=2 * task.tokens * heads * rope * task.bytes.activations)
        yield replace(absorb, work=absorb.work + beside)  # the rotary part goes along
        yield from _attend(task, heads, 1, key_dim=row, value_dim=rank, values_in_keys=True)
        yield task.linear_per_head("value_expand", heads, rank, value)
    else:
        yield _expand(attention, heads, task)
        yield from _attend(task, heads, heads, key_dim=nope + rope, value_dim=value, cached=False)
    yield task.linear("output_projection", heads * value, hidden, bias=task.model.biases)


def _expand(attention: LatentAttention, heads: Any, task: Pass) -> Operator:
    """Keys and values of every head from all cached rows, the rotary part copied to each head."""
    rank, nope, value = attention.kv_rank, attention.nope_dim, attention.value_dim
    rows, outputs = 1.0 * task.batch * task.context, heads * (nope + value)
    written = heads * (nope + attention.rope_dim + value)
    work = Work(
        flop=2 * rows * rank * outputs,
        weights=rank * outputs * task.bytes.weights,
        kv=rows * attention.kv_elements * task.bytes.kv,
        activations=rows * written * task.bytes.activations,
    )
    return Operator("kv_expand", "gemm", work, GemmShape(rows, outputs, rank))


def _append(width: Any, task: Pass) -> Operator:
    work = attend.append(
        task.tokens, width, element_bytes=task.bytes.activations, kv_bytes=task.bytes.kv
    )
    return Operator("kv_append", "gather", work)


def _attend(task: Pass, heads: Any, kv_heads: Any, **dims: Any) -> Iterator[Operator]:
    shape = attend.AttentionShape(
        batch=task.batch, query_tokens=task.query_tokens, context=task.context,
        heads=heads, kv_heads=kv_heads, **dims,
    )  # fmt: skip
    activations, fused = task.bytes.activations, task.fused
    sizes = {"element_bytes": activations, "kv_bytes": task.bytes.kv, "fused": fused}
    yield Operator("scores", "attention", attend.scores(shape, **sizes), shape)
    if task.model.position == "alibi":
        moved = 0.0 if fused else 2 * shape.pairs * activations
        bias = Work(flop=shape.pairs, activations=moved)
        yield Operator("position_bias", "attention", bias, shape)
    probabilities = attend.softmax(shape, element_bytes=activations, fused=fused)
    yield Operator("softmax", "attention", probabilities, shape)
    yield Operator("context", "attention", attend.context(shape, **sizes), shape)

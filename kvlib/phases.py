"""Prefill and decode: a transformer as the named operators of one pass through it.

Serving has two phases. `prefill` reads a prompt, many tokens at a time; `decode_step` adds one
token, or a few speculated ones, to each sequence. They run the same operators on different sizes,
and that difference is what this book is about:

>>> from kvlib import model
>>> llama = model("llama-3-8b")
>>> prompt = prefill(llama, batch=1, prompt=4096)
>>> token = decode_step(llama, batch=1, context=4096)
>>> for step in prompt, token:
...     qkv, cache = step.select("qkv_projection").work, step.select("scores", "context").work
...     print(f"{step.phase}: QKV {qkv.intensity:.0f}, attention {cache.intensity:.0f} flop/B")
prefill: QKV 1536, attention 1639 flop/B
decode: QKV 1, attention 4 flop/B

What is counted, and how: `kvlib.operators` and `kvlib.elementwise` for operations,
`kvlib.attention` for the cache. Each operator moves each matrix, row and activation once, the least
that any kernel must move. `kvlib.reference` executes the same operators and counts as they run.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from kvlib import elementwise
from kvlib.checks import choose, whole
from kvlib.layers import layer_operators
from kvlib.operators import Operator, Work, plain
from kvlib.parallel import Collective, Parallel
from kvlib.step import ElementBytes, Pass, Step
from kvlib.workload import Transformer

__all__ = ["Step", "decode_step", "prefill"]


def prefill(
    model: Transformer,
    *,
    batch: Any,
    prompt: Any,
    cached: Any = 0,
    logits: Literal["last", "all", "none"] = "last",
    precision: Any = "fp16",
    weight_precision: Any = None,
    kv_precision: Any = None,
    parallel: Parallel | None = None,
    absorbed: bool = False,
    fused: bool = True,
    distinct_experts: Any = None,
) -> Step:
    r"""Read a prompt, or a chunk of one, into the cache.

    Attention is causal: :math:`L (L + 1) / 2` pairs of positions a head, not :math:`L^2`.

    Parameters
    ----------
    model : Transformer
        The model.
    batch : int or array
        Sequences of one tensor-parallel group.
    prompt : int or array
        New tokens of each sequence.
    cached : int or array
        Tokens already in each cache: earlier chunks, or a prefix found there.
    logits : {"last", "all", "none"}
        For which of a sequence's new tokens the final norm and LM head run.
    precision, weight_precision, kv_precision : str, float or array
        Formats of activations, weights and cache, or bytes of one element [B]; weights and cache
        are as activations unless given.
    parallel : Parallel, optional
        Over how many ranks the model is split; one if not given. Work is that of one rank.
    absorbed : bool
        Whether MLA works on compressed rows. If not, every cached row is first expanded to keys and
        values of each head, which is less work for long prompts.
    fused : bool
        Whether scores and probabilities stay on chip.
    distinct_experts : float or array, optional
        Experts of a layer that some token meets; if not given, as uniform routing makes them.

    Returns
    -------
    Step
        Named operators. All numbers broadcast.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero, or the model cannot be split as asked.

    Examples
    --------
    >>> from kvlib import model
    >>> whole = prefill(model("llama-3-8b"), batch=1, prompt=8192)
    >>> chunk = prefill(model("llama-3-8b"), batch=1, prompt=2048, cached=6144)
    >>> round(chunk.select("scores").work.flop / whole.select("scores").work.flop, 3)
    0.437
    """
    whole(batch=batch, prompt=prompt)
    whole(True, cached=cached)
    choose(logits, ["last", "all", "none"], "logits")
    task = Pass(
        model=model, batch=batch, query_tokens=prompt, context=cached + prompt,
        bytes=ElementBytes.of(precision, weight_precision, kv_precision),
        parallel=parallel or Parallel(), absorbed=absorbed, fused=fused, distinct=distinct_experts,
    )  # fmt: skip
    return _step("prefill", task, {"last": 1, "all": prompt, "none": 0}[logits])


def decode_step(
    model: Transformer,
    *,
    batch: Any,
    context: Any,
    query_tokens: Any = 1,
    precision: Any = "fp16",
    weight_precision: Any = None,
    kv_precision: Any = None,
    parallel: Parallel | None = None,
    absorbed: bool = True,
    fused: bool = True,
    distinct_experts: Any = None,
) -> Step:
    """Add one token to each sequence, or verify a few speculated ones.

    Parameters
    ----------
    context : int or array
        Tokens in each cache once the new ones are appended: what the last new token attends to.
    query_tokens : int or array
        New tokens of each sequence.
    model, batch, precision, weight_precision, kv_precision, parallel, absorbed, fused
        As in `prefill`; MLA works on compressed rows unless told otherwise.
    distinct_experts
        As in `prefill`.

    Returns
    -------
    Step
        Named operators. All numbers broadcast.

    Raises
    ------
    ValueError
        If a size is not a whole number above zero, or the model cannot be split as asked.

    Examples
    --------
    The cache of Llama-2-70B is 320 KiB a token, and each token of it is read once a step:

    >>> from kvlib import model
    >>> step = decode_step(model("llama-2-70b"), batch=16, context=4096)
    >>> step.kv_read / (16 * 4096) / 1024
    320.0
    >>> bool(step.beyond_max_context)
    False
    """
    task = Pass(
        model=model, batch=batch, query_tokens=query_tokens, context=context,
        bytes=ElementBytes.of(precision, weight_precision, kv_precision),
        parallel=parallel or Parallel(), absorbed=absorbed, fused=fused, distinct=distinct_experts,
    )  # fmt: skip
    return _step("decode", task, query_tokens)


def _step(phase: Literal["prefill", "decode"], task: Pass, logits: Any) -> Step:
    whole(batch=task.batch, query_tokens=task.query_tokens, context=task.context)
    model = task.model
    parts: list[Operator | Collective] = [*_embed(task)]
    for layer in model.groups:
        indices = tuple(i for i, other in enumerate(model.layers) if other == layer)
        parts += [replace(part, layers=indices) for part in layer_operators(layer, task)]
    stages = task.parallel.stages(len(model.layers))
    if len(stages) > 1:
        message = task.tokens * model.hidden * task.bytes.activations
        ends = tuple(stage[-1] for stage in stages[:-1])
        parts.append(Collective("send", 2, message, "ffn_residual", ends))
    if np.any(logits):
        parts += _head(task, logits)
    return Step(
        phase=phase, model=model, batch=task.batch, query_tokens=task.query_tokens,
        context=task.context,
        element_bytes=task.bytes, parallel=task.parallel,
        operators=tuple(part for part in parts if isinstance(part, Operator)),
        collectives=tuple(part for part in parts if isinstance(part, Collective)),
    )  # fmt: skip


def _embed(task: Pass) -> Iterator[Operator | Collective]:
    """One row of the embedding a token, shared out over the tensor-parallel ranks."""
    size, width = task.bytes, task.model.hidden
    rows = elementwise.gather(
        task.tokens, width, element_bytes=size.activations, weight_bytes=size.weights
    )
    positions = Work()
    if task.model.position == "learned":  # all sequences of the batch are at the same positions
        table = 1.0 * task.query_tokens * width * size.weights
        positions = Work(flop=task.tokens * width, weights=table)
    work = replace(rows, weights=rows.weights / task.parallel.tensor) + positions
    yield Operator("embedding", "gather", work)
    yield from task.all_reduce("embedding")


def _head(task: Pass, logits: Any) -> Iterator[Operator | Collective]:
    """Final norm and LM head of the tokens whose successors are wanted."""
    model, size, tensor = task.model, task.bytes, task.parallel.tensor
    wanted = replace(task, query_tokens=logits)
    columns = plain(np.ceil(model.vocabulary / tensor))  # engines pad the vocabulary
    yield wanted.norm("final_norm", model.hidden, centred=model.biases)
    yield wanted.linear("lm_head", model.hidden, columns)
    if np.any(tensor != 1):
        message = wanted.tokens * columns * size.activations
        yield Collective("all_gather", tensor, message, "lm_head")
